"""The chart as Helm itself renders it: by Helm's engine in helm-python-sdk, without a cluster."""

import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "insource"
SIZES = ("small", "medium", "large")
PEERS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "apps"}}}

# Everything at once: what no example switches on is on here.
FULL: dict[str, Any] = {
    "settings": '[engines.hub]\nkind = "openai"\nbase_url = "https://llm.example.com/v1"\nregion = "eu"\n',
    "tasks": {"tickets": 'name = "tickets"\nkind = "classify"\n[outputs.intent]\nlabels = "labels/intent.txt"\n'},
    "labels": {"intent.txt": "refund\nstatus\n"},
    "gateway": {"tlsSecret": "gateway-tls", "autoscaling": {"enabled": True}},
    "image": {"pullSecrets": ["registry"], "digest": "sha256:" + "0" * 64},
    "store": {"secret": "insource-store"},
    "secrets": ["engine-keys"],
    "nightly": {"enabled": True},
    "metrics": {"serviceMonitor": True, "rules": True, "keySecret": "metrics", "labels": {"release": "prometheus"}},
    "service": {"annotations": {"example.com/x": "y"}},
    "network": {
        "serviceCidr": "10.96.0.0/12",
        "callers": [PEERS],
        "prometheus": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "database": {"cidrs": ["10.20.30.0/28"]},
        "destinations": [
            {"region": "premises", "cidr": "10.20.0.7/32", "ports": [8000]},
            {"region": "eu", "cidr": "198.51.100.0/24", "ports": [443], "names": ["llm.example.com"]},
        ],
    },
    "vllm": {"enabled": True, "modelsClaim": "models", "keySecret": "vllm"},
}


def size(name: str) -> dict[str, Any]:
    """The values of one of the three examples."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "sizes" / f"{name}.yaml").read_text("utf-8"))
    return found


CASES: dict[str, dict[str, Any]] = {"plain": {"gateway": {"replicas": 1}}, **{n: size(n) for n in SIZES}, "full": FULL}


@cache
def helm() -> Any:
    """Helm's engine.

    Its Go runtime takes SIGPIPE for itself as it starts, which Python ignores. Left so, a later test of the same
    process that writes to a socket which its peer has closed may end the process.
    """
    found = pytest.importorskip("helm_python", reason="no Helm for this kind of machine")
    with found.Chart.load(str(CHART)):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return found


def rendered(values: dict[str, Any], name: str = "insource", namespace: str = "llm") -> list[dict[str, Any]]:
    """Every manifest, as it would be applied."""
    with helm().Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name=name, namespace=namespace)
    texts = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def of_kind(manifests: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those of one kind."""
    return [each for each in manifests if each["kind"] == kind]


def pods(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod that the manifests make, by the name of what makes it."""
    for each in manifests:
        spec = each.get("spec", {})
        template = spec["jobTemplate"]["spec"]["template"] if each["kind"] == "CronJob" else spec.get("template")
        if template:
            yield each["metadata"]["name"], template

"""The chart, rendered by Helm's own engine, against the schemas of Kubernetes, and against the product itself."""

import ipaddress
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from deployed import CASES, CHART, FULL, helm, of_kind, pods, rendered

from insource.serve.run import DRAIN_S, LAST_WORDS_S
from insource.settings import load_settings, load_task

helm_python = helm()
OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()
OF_THE_OPERATOR = {"ServiceMonitor", "PrometheusRule"}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says which signals are ignored")
@pytest.mark.parametrize(
    ("line", "ignored"), [("helm()", True), ("import helm_python; helm_python.Chart.load(str(CHART))", False)]
)
def test_helm_leaves_a_closed_socket_an_error_as_python_has_it(line: str, ignored: bool) -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from deployed import CHART, helm\n{line}\n"
    code += "print(open('/proc/self/status').read())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    mask = int(said.partition("SigIgn:")[2].split()[0], 16)
    assert bool(mask & 1 << signal.SIGPIPE - 1) is ignored


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("case", CASES)
def test_every_manifest_is_what_kubernetes_takes(case: str, version: str) -> None:
    found = rendered(CASES[case])
    assert len(found) >= 9
    for manifest in found:
        if manifest["kind"] not in OF_THE_OPERATOR:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_manifest_with_a_key_that_kubernetes_does_not_know_is_found_out() -> None:
    deployment = of_kind(rendered(FULL), "Deployment")[0]
    deployment["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, NEWEST, strict=True)


def test_helm_finds_nothing_to_say_but_that_there_is_no_icon() -> None:
    for values in CASES.values():
        said = helm_python.lint(str(CHART), values, strict=True)
        assert not said["errors"]
        assert [each["error"] for each in said["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"gateway": {"replica": 3}},
        {"replicaCount": 3},
        {"image": {"tag": "latest"}},
        {"vllm": {"image": "vllm/vllm-openai"}},
        {"vllm": {"image": "vllm/vllm-openai:latest"}},
        {"network": {"destinations": [{"region": "eu", "cidr": "llm.example.com", "ports": [443]}]}},
        {"network": {"destinations": [{"region": "eu", "cidr": "198.51.100.0/24"}]}},
        {"network": {"callers": [{}]}},
        {"network": {"dns": {"namespace": "kube system"}}},
        {"tasks": {"../tickets": ""}},
        {"audit": {"keep_for": 400}},
        {"audit": {"keep_days": "400"}},
    ],
)
def test_values_that_mean_nothing_or_too_much_are_refused(wrong: dict[str, Any]) -> None:
    with helm_python.Chart.load(str(CHART)) as chart, pytest.raises(helm_python.HelmValuesError):
        chart.validate_schema({"gateway": {"replicas": 1}} | wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"gateway": {"replicas": 2}}, "several replicas share a database"),
        ({"gateway": {"autoscaling": {"enabled": True}, "replicas": 1}}, "several replicas share a database"),
        ({"store": {"secret": "s"}, "state": {"accessMode": "ReadWriteOnce"}}, "several replicas share the state"),
        ({"gateway": {"replicas": 1}, "vllm": {"enabled": True}}, "vllm.modelsClaim"),
        ({"gateway": {"replicas": 1}, "metrics": {"serviceMonitor": True}}, "metrics.keySecret"),
        ({"store": {"secret": "s"}, "settings": "[workspace]\n\n[audit]\nkeep_days = 30\n"}, "into audit"),
    ],
)
def test_what_cannot_work_is_told_before_it_is_applied(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(helm_python.HelmRenderError, match=words):
        rendered(wrong)


def gateway(values: dict[str, Any]) -> dict[str, Any]:
    """The Deployment of the gateway."""
    found = of_kind(rendered(values), "Deployment")
    return next(each for each in found if each["metadata"]["name"] == "insource")


def containers(manifests: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    return [
        (name, template["spec"], each)
        for name, template in pods(manifests)
        for each in [*template["spec"]["containers"], *template["spec"].get("initContainers", [])]
    ]


def loose(pod: dict[str, Any], container: dict[str, Any]) -> list[str]:
    """What breaks the profile "restricted" of the Pod Security Standards, and what we ask for beyond it."""
    of_pod, own = pod.get("securityContext", {}), container.get("securityContext", {})
    kinds = {kind for volume in pod.get("volumes", []) for kind in volume if kind != "name"}
    holds = {
        "runAsNonRoot": of_pod.get("runAsNonRoot") is True and own.get("runAsNonRoot", True),
        "runAsUser": of_pod.get("runAsUser", 0) > 0 and own.get("runAsUser", 1) > 0,
        "seccomp": of_pod.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
        "escalation": own.get("allowPrivilegeEscalation") is False,
        "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
        "privileged": not own.get("privileged"),
        "host": not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
        "volumes": kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret", "downwardAPI"},
        "host ports": not any("hostPort" in port for port in container.get("ports", [])),
        "read-only root": own.get("readOnlyRootFilesystem") is True,
        "no token": pod.get("automountServiceAccountToken") is False,
        "memory is bounded": "memory" in container["resources"]["limits"],
    }
    return [name for name, held in holds.items() if not held]


@pytest.mark.parametrize("case", CASES)
def test_every_container_keeps_the_restricted_profile(case: str) -> None:
    found = containers(rendered(CASES[case]))
    assert len(found) >= 2
    assert {name: loose(pod, each) for name, pod, each in found if loose(pod, each)} == {}


def test_a_loose_container_is_found_out() -> None:
    _, pod, container = containers(rendered(FULL))[0]
    container["securityContext"]["readOnlyRootFilesystem"] = False
    assert loose(pod | {"hostNetwork": True}, container) == ["host", "read-only root"]


def test_a_new_version_never_takes_away_a_replica_before_the_next_one_is_ready() -> None:
    spec = gateway(FULL)["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = spec["template"]["spec"]
    assert pod["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert pod["containers"][0]["livenessProbe"]["httpGet"]["path"] == "/healthz"
    waits = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= waits + DRAIN_S + LAST_WORDS_S


def test_a_change_of_settings_replaces_the_pods() -> None:
    def told(values: dict[str, Any]) -> str:
        gateway = next(
            each for each in of_kind(rendered(values), "Deployment") if each["metadata"]["name"] == "insource"
        )
        return str(gateway["spec"]["template"]["metadata"]["annotations"]["checksum/workspace"])

    assert told(FULL) == told(FULL)
    assert len({told(FULL), told(FULL | {"settings": ""}), told(FULL | {"labels": {"intent.txt": "a\nb\n"}})}) == 3


def workspace(values: dict[str, Any], folder: Path) -> Path:
    """The files that a pod of the gateway finds in its workspace, at their places."""
    manifests = rendered(values)
    data = of_kind(manifests, "ConfigMap")[0]["data"]
    pod = next(template["spec"] for name, template in pods(manifests) if name == "insource")
    for mount in pod["containers"][0]["volumeMounts"]:
        if mount["name"] == "workspace":
            path = folder / mount["mountPath"].removeprefix("/workspace/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(data[mount["subPath"]], "utf-8")
    return folder


@pytest.mark.parametrize("case", CASES)
def test_the_settings_that_are_written_are_settings_of_the_product(case: str, tmp_path: Path) -> None:
    found = load_settings(workspace(CASES[case], tmp_path), {})
    assert found.audit.spool == ("/spool" if "store" in CASES[case] else "")


@pytest.mark.parametrize("spool", [True, False])
def test_how_long_calls_are_kept_is_said_beside_the_spool(spool: bool, tmp_path: Path) -> None:
    keep = {"keep_days": 30, "keep_calls": 50_000_000, "checkpoint_s": 30.5, "sync": "second"}
    values = {"store": {"secret": "s"}, "gateway": {"spool": spool}, "audit": keep}
    folder = workspace(values, tmp_path)
    said = tomllib.loads((folder / "insource.toml").read_text("utf-8"))["audit"]
    assert said == keep | ({"spool": "/spool"} if spool else {})
    assert load_settings(folder, {}).audit.keep_calls == 50_000_000


def test_a_table_audit_of_the_settings_alone_is_left_as_it_is(tmp_path: Path) -> None:
    values = {"store": {"secret": "s"}, "gateway": {"spool": False}, "settings": "[audit]\nkeep_days = 30\n"}
    assert load_settings(workspace(values, tmp_path), {}).audit.keep_days == 30


def test_a_task_and_its_labels_are_where_the_product_looks(tmp_path: Path) -> None:
    settings = load_settings(workspace(FULL, tmp_path), {})
    assert load_task(settings, "tickets").outputs[0].labels == ("refund", "status")
    assert settings.engines["tier2"].replicas == ("http://insource-vllm-0:8000/v1",)
    assert settings.engines["tier2"].api_key_env == "TIER2_KEY"
    assert settings.engines["hub"].region == "eu"


@pytest.mark.parametrize("replicas", [1, 3])
def test_every_replica_of_vllm_is_one_that_the_gateway_knows_by_its_service(replicas: int, tmp_path: Path) -> None:
    values = FULL | {"vllm": FULL["vllm"] | {"replicas": replicas}}
    engine = load_settings(workspace(values, tmp_path), {}).engines["tier2"]
    manifests = rendered(values)
    (made,) = of_kind(manifests, "StatefulSet")
    labels = made["spec"]["template"]["metadata"]["labels"]
    services = {each["metadata"]["name"]: each["spec"] for each in of_kind(manifests, "Service")}
    assert len(engine.replicas) == made["spec"]["replicas"] == replicas
    assert services[made["spec"]["serviceName"]]["clusterIP"] == "None"
    for number, url in enumerate(engine.replicas):
        service = services[urlsplit(url).hostname or ""]
        pod = labels | {"statefulset.kubernetes.io/pod-name": f"{made['metadata']['name']}-{number}"}
        assert service["selector"].items() <= pod.items()
        assert service["selector"]["statefulset.kubernetes.io/pod-name"].endswith(f"-{number}")
        assert service["ports"][0]["port"] == urlsplit(url).port
        assert "clusterIP" not in service, "its address is one of network.serviceCidr"


@pytest.mark.parametrize("replicas", [1, 2])
def test_people_come_back_to_the_same_replica(replicas: int) -> None:
    store = {"store": {"secret": "s"}} if replicas > 1 else {}
    manifests = rendered({"gateway": {"replicas": replicas}} | store)
    services = {each["metadata"]["name"]: each["spec"] for each in of_kind(manifests, "Service")}
    assert ("insource-people" in services) == (replicas > 1)
    if replicas > 1:
        people = services["insource-people"]
        assert people["sessionAffinity"] == "ClientIP"
        assert people["selector"] == services["insource"]["selector"]


def test_the_authority_of_the_database_is_where_its_client_looks() -> None:
    ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    manifests = rendered({"gateway": {"replicas": 1}, "store": {"secret": "s", "ca": ca}})
    (config,) = of_kind(manifests, "ConfigMap")
    assert config["data"]["database-ca.pem"] == ca
    for _, _, container in containers(manifests):
        (where,) = [each["value"] for each in container["env"] if each["name"] == "PGSSLROOTCERT"]
        assert [each["subPath"] for each in container["volumeMounts"] if each["mountPath"] == where] == [
            "database-ca.pem"
        ]
    assert "PGSSLROOTCERT" not in str(rendered({"gateway": {"replicas": 1}}))
    with helm_python.Chart.load(str(CHART)) as chart, pytest.raises(helm_python.HelmValuesError):
        chart.validate_schema({"gateway": {"replicas": 1}, "store": {"ca": "db-ca.pem"}})


def test_a_region_is_the_same_to_the_gateway_and_to_the_network(tmp_path: Path) -> None:
    """One list makes both, so that neither can be wider than the other."""
    workspace(FULL, tmp_path)
    said = tomllib.loads((tmp_path / "insource.toml").read_text("utf-8"))["networks"]
    policy = next(p for p in of_kind(rendered(FULL), "NetworkPolicy") if p["metadata"]["name"] == "insource-out")
    blocks = {
        peer["ipBlock"]["cidr"] for rule in policy["spec"]["egress"] for peer in rule["to"] if "ipBlock" in peer
    } - set(FULL["network"]["database"]["cidrs"])
    networks = {place for places in said.values() for place in places if "/" in place}
    assert networks == blocks | {FULL["network"]["serviceCidr"]}
    assert said == {"premises": ["10.96.0.0/12", "10.20.0.7/32"], "eu": ["198.51.100.0/24", "llm.example.com"]}
    assert all(ipaddress.ip_network(each) for each in networks)


def test_without_destinations_the_premises_are_empty_and_not_every_private_network(tmp_path: Path) -> None:
    settings = load_settings(workspace(CASES["plain"], tmp_path), {})
    assert settings.networks.places["premises"] == ()


def test_secrets_are_named_and_never_held() -> None:
    manifests = rendered(FULL)
    assert not of_kind(manifests, "Secret")
    container = next(each for name, _, each in containers(manifests) if name == "insource")
    taken = {
        each["name"]: each["valueFrom"]["secretKeyRef"]["name"] for each in container["env"] if "valueFrom" in each
    }
    assert taken == {"INSOURCE_STORE_URL": "insource-store", "TIER2_KEY": "vllm"}
    assert container["envFrom"] == [{"secretRef": {"name": "engine-keys"}}]


def test_prometheus_finds_the_gateway_alone_and_shows_a_key() -> None:
    manifests = rendered(FULL)
    monitor = of_kind(manifests, "ServiceMonitor")[0]
    wanted = monitor["spec"]["selector"]["matchLabels"]
    found = [
        each["metadata"]["name"]
        for each in of_kind(manifests, "Service")
        if wanted.items() <= each["metadata"]["labels"].items()
    ]
    assert found == ["insource"]
    end = monitor["spec"]["endpoints"][0]
    assert (end["path"], end["scheme"]) == ("/metrics", "https")
    assert end["authorization"]["credentials"] == {"name": "metrics", "key": "key"}
    assert monitor["spec"]["jobLabel"] in monitor["metadata"]["labels"]
    rules = of_kind(manifests, "PrometheusRule")[0]["spec"]
    assert rules == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text("utf-8"))


def test_two_releases_in_one_cluster_do_not_take_each_others_pods() -> None:
    for name in ("one", "insource-two"):
        manifests = rendered(FULL, name=name)
        labels = [template["metadata"]["labels"] for _, template in pods(manifests)]
        assert {each["app.kubernetes.io/instance"] for each in labels} == {name}
        for each in [
            one for kind in ("Deployment", "StatefulSet", "PodDisruptionBudget") for one in of_kind(manifests, kind)
        ]:
            assert each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == name

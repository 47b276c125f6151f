"""The alerts are rules of Prometheus, about metrics that there are, and each fires on what it is for."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from deployed import CHART, DEPLOY, ROOT

RULES = CHART / "files" / "alerts.yaml"
CASES = Path(__file__).with_name("alerts_test.yaml")
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool here: Debian's prometheus has it")


def alerts() -> list[dict[str, str]]:
    found: list[dict[str, str]] = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]
    return found


def documented() -> dict[str, set[str]]:
    """Metric → its labels, as docs/how-to/observe.md tells them, which a test of its own holds to the product."""
    page = (ROOT / "docs" / "how-to" / "observe.md").read_text("utf-8")
    rows = re.findall(r"^\| (`insource_[^|]*)\|([^|]*)\|", page, re.MULTILINE)
    return {
        name: set(filter(None, labels.strip().split(", ")))
        for names, labels in rows
        for name in re.findall(r"`(\w+)`", names)
    }


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_metric_and_label_of_an_alert_is_there(rule: dict[str, str]) -> None:
    known = documented()
    names = {re.sub(r"_bucket$", "", name) for name in re.findall(r"\binsource_\w+", rule["expr"])}
    assert names <= set(known)
    assert names or "up{" in rule["expr"]
    labels = {label for name in names for label in known[name]} | {"instance", "le"}
    for group in re.findall(r"\bby \(([^)]*)\)", rule["expr"]):
        assert {one.strip() for one in group.split(",")} <= labels
    assert set(re.findall(r"(\w+)=~?\"", rule["expr"])) <= labels | {"job"}


def test_every_alert_is_tried_as_firing_and_as_silent() -> None:
    tests = yaml.safe_load(CASES.read_text("utf-8"))["tests"]
    tried = [(each["alertname"], bool(each.get("exp_alerts"))) for test in tests for each in test["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts()}
    assert {name for name, fires in tried if fires} == names
    assert {name for name, fires in tried if not fires} == names


def promtool(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    for path in (RULES, CASES):
        shutil.copy(path, folder)
    return subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True, check=False)


@needs_promtool
def test_each_fires_on_what_it_is_for_and_on_nothing_less(tmp_path: Path) -> None:
    done = promtool(tmp_path, "test", "rules", CASES.name)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    text = (DEPLOY / "compose" / "prometheus.yml").read_text("utf-8")
    key = tmp_path / "key"
    key.write_text("k", "utf-8")
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/prometheus-key", str(key)), "utf-8")
    done = promtool(tmp_path, "check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts())} rules found" in done.stdout

"""A real Prometheus with the file of deploy/ reads a real gateway: with a key it may, without one it may not."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest
import yaml
from deployed import CHART, DEPLOY
from test_balancers import free_port, gateway, run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus here")]


@contextmanager
def prometheus(folder: Path, key: str, port: int) -> Iterator[str]:
    """Prometheus with the configuration of compose, but for where the gateway is found."""
    config = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text("utf-8"))
    job = config["scrape_configs"][0]
    assert job.pop("dns_sd_configs")
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    (folder / "key").write_text(key, "utf-8")
    job["authorization"] = {"credentials_file": str(folder / "key")}
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    shutil.copy(CHART / "files" / "alerts.yaml", folder)
    own = free_port()
    words = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with subprocess.Popen([*words, f"--web.listen-address=127.0.0.1:{own}"], stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{own}"
        finally:
            process.terminate()


def asked(url: str, query: str) -> str:
    """The value of the one series that answers the query, as soon as there is one."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            found = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=5).json()["data"]["result"]
        except (httpx.TransportError, json.JSONDecodeError, KeyError):
            found = []
        if found:
            return str(found[0]["value"][1])
        time.sleep(0.5)
    raise AssertionError(f"no answer to {query} in 60 s")


def alerts() -> list[str]:
    """The names of the alerts, in order."""
    return re.findall(r"alert: (\w+)", (CHART / "files" / "alerts.yaml").read_text("utf-8"))


def test_prometheus_reads_the_gateway_with_its_key_and_all_alerts_are_loaded(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "insource.toml").write_text("", "utf-8")
    made = run_insource(root, "keys", "create", "prometheus", "--role", "operator")
    other = run_insource(root, "keys", "create", "helpdesk")
    port = free_port()
    process = gateway(root, port)
    try:
        for key, up in ((f"{made}\n", "1"), (other, "0")):
            folder = tmp_path / f"prometheus-{up}"
            folder.mkdir()
            with prometheus(folder, key, port) as url:
                assert asked(url, 'up{job="insource"}') == up
                if up == "1":
                    assert asked(url, "insource_store_up") == "1"
                    rules = httpx.get(f"{url}/api/v1/rules", timeout=5).json()["data"]["groups"][0]["rules"]
                    assert [rule["name"] for rule in rules] == alerts()
                    assert all(rule["health"] in ("ok", "unknown") for rule in rules)
    finally:
        process.terminate()
        process.wait(40)


def run_insource(root: Path, *words: str) -> str:
    """What a command puts on stdout."""
    done = run(sys.executable, "-m", "insource", "-C", str(root), *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()

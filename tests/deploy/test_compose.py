"""The compose file: what its schema says, who can reach whom, and that what it mounts is the product's."""

import json
import re
import shutil
import subprocess
import tomllib
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from deployed import CHART, DEPLOY, ROOT

from insource.settings import load_settings

COMPOSE, HOSTED = DEPLOY / "compose.yaml", DEPLOY / "compose.hosted.yaml"
PINNED = re.compile(r"[a-z0-9./_-]+(:v?\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?|@sha256:[0-9a-f]{64})")
SECRET = re.compile(  # a key of ours, a private key, a password in a URL or beside its name
    r"insource_[0-9A-Za-z]{8}_|PRIVATE KEY|://\w+:(?!PASSWORD@)[^\s/@]+@|PASSWORD[\"']?\s*[:=]\s*(?!HOST)[\"']?\w"
)
CLOSE = {
    ("balancer", "gateway"), ("gateway", "prometheus"), ("balancer", "prometheus"), ("gateway", "vllm"),
    ("database", "gateway"), ("grafana", "prometheus"),
}  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


def schema() -> dict[str, Any]:
    """The schema of the compose specification, as the package check-jsonschema carries it."""
    place = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json")
    found: dict[str, Any] = json.loads(place.read_text("utf-8"))
    return found


def check(compose: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema()).validate(compose)


@pytest.mark.parametrize("path", [COMPOSE, HOSTED], ids=lambda path: path.name)
def test_it_is_what_the_compose_specification_says(path: Path) -> None:
    check(read(path))


def test_a_key_that_compose_does_not_know_is_found_out() -> None:
    compose = read(COMPOSE)
    compose["services"]["gateway"]["replicas"] = 2
    with pytest.raises(jsonschema.ValidationError, match="replicas"):
        check(compose)


def networks(compose: dict[str, Any], service: str) -> set[str]:
    return set(compose["services"][service]["networks"])


def close(compose: dict[str, Any]) -> set[tuple[str, str]]:
    """Every two services that share a network."""
    pairs = combinations(sorted(compose["services"]), 2)
    return {pair for pair in pairs if networks(compose, pair[0]) & networks(compose, pair[1])}


def outward(compose: dict[str, Any]) -> set[str]:
    """The services that have a way out: a network that is not internal."""
    open_ones = {name for name, about in compose["networks"].items() if not about.get("internal")}
    return {name for name in compose["services"] if networks(compose, name) & open_ones}


def test_only_a_gateway_is_close_to_an_engine_or_the_database_and_neither_has_a_way_out() -> None:
    compose = read(COMPOSE)
    assert close(compose) == CLOSE
    assert outward(compose) == {"balancer", "grafana"}


def test_with_hosted_engines_the_gateway_alone_gets_a_way_out() -> None:
    compose, more = read(COMPOSE), read(HOSTED)
    assert set(more["services"]) == {"gateway"}
    compose["services"]["gateway"] |= more["services"]["gateway"]
    compose["networks"] |= more["networks"]
    assert close(compose) == CLOSE
    assert outward(compose) == {"balancer", "grafana", "gateway"}


def test_what_is_published_is_for_this_machine() -> None:
    services = read(COMPOSE)["services"]
    ports = {name: about["ports"] for name, about in services.items() if "ports" in about}
    assert set(ports) == {"balancer", "grafana"}
    assert all(port.startswith("127.0.0.1:") for each in ports.values() for port in each)


@pytest.mark.parametrize("name", read(COMPOSE)["services"])
def test_every_service_is_pinned_bounded_watched_and_without_rights(name: str) -> None:
    about = read(COMPOSE)["services"][name]
    assert PINNED.fullmatch(about["image"]), about["image"]
    assert about["cap_drop"] == ["ALL"]
    assert about["read_only"] is True
    assert "no-new-privileges:true" in about["security_opt"]
    assert about["restart"] == "unless-stopped"
    assert set(about["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert "healthcheck" in about or name == "gateway", "the gateway's is in its image"


def test_no_file_of_the_deployment_holds_a_secret() -> None:
    compose = read(COMPOSE)
    assert all(each["file"].startswith("secrets/") for each in compose["secrets"].values())
    assert (DEPLOY / ".gitignore").read_text("utf-8").splitlines() == ["secrets/"]
    for path in (each for each in DEPLOY.rglob("*") if each.is_file() and "secrets" not in each.parts):
        assert not SECRET.search(path.read_text("utf-8")), path


@pytest.mark.parametrize(
    "text",
    [
        "INSOURCE_STORE_URL=postgresql://insource:hunter2@db/insource",
        "key: insource_3fK9aQ1z_0123456789012345678901234567890123456789012345678",
        "-----BEGIN PRIVATE KEY-----",
        "POSTGRES_PASSWORD: hunter2",
    ],
)
def test_a_secret_in_a_file_is_found_out(text: str) -> None:
    assert SECRET.search(text)


def test_what_is_mounted_is_there() -> None:
    compose = read(COMPOSE)
    named = set(compose["volumes"])
    for about in compose["services"].values():
        for mount in about.get("volumes", []):
            source = mount.split(":")[0]
            assert source in named or (DEPLOY / source).exists(), source
    assert (DEPLOY / compose["services"]["gateway"]["build"]["context"]).resolve() == ROOT


def test_the_workspace_is_one_of_the_product_and_its_premises_are_the_network_of_the_engines() -> None:
    place = DEPLOY / "compose" / "workspace"
    settings = load_settings(place, {})
    subnet = read(COMPOSE)["networks"]["engines"]["ipam"]["config"][0]["subnet"]
    assert tomllib.loads((place / "insource.toml").read_text("utf-8"))["networks"] == {"premises": [subnet]}
    mounts = {mount.split(":")[1] for mount in read(COMPOSE)["services"]["gateway"]["volumes"]}
    assert settings.audit.spool in mounts
    assert {"/workspace/insource.toml", "/workspace/tasks", "/workspace/labels", "/workspace/.insource"} <= mounts


def test_grafana_gets_the_dashboard_of_the_docs_and_prometheus_the_alerts_of_the_chart() -> None:
    services = read(COMPOSE)["services"]
    assert any(mount.startswith("../docs/how-to/dashboard.json:") for mount in services["grafana"]["volumes"])
    assert any(mount.startswith("./helm/insource/files/alerts.yaml:") for mount in services["prometheus"]["volumes"])
    assert (CHART / "files" / "alerts.yaml").is_file()
    provider = read(DEPLOY / "compose" / "grafana" / "dashboards" / "insource.yaml")["providers"][0]
    assert provider["options"]["path"] in "".join(services["grafana"]["volumes"])


def composer() -> list[str] | None:
    """Docker's own compose, where it is on this machine."""
    ways: list[list[str]] = [["docker", "compose"], ["docker-compose"]]
    for words in ways:
        if shutil.which(words[0]):
            done = subprocess.run([*words, "version"], capture_output=True, check=False)
            if done.returncode == 0:
                return words
    return None


@pytest.mark.skipif(composer() is None, reason="no docker compose here")
@pytest.mark.parametrize("more", [[], ["-f", "compose.hosted.yaml"], ["--profile", "gpu"]], ids=str)
def test_docker_compose_takes_it(more: list[str], tmp_path: Path) -> None:
    place = tmp_path / "deploy"
    shutil.copytree(DEPLOY, place)
    (place / "secrets").mkdir()
    for name in ("gateway.env", "db-password", "grafana-password", "prometheus-key"):
        (place / "secrets" / name).write_text("", "utf-8")
    words = [*(composer() or []), "-f", "compose.yaml", *more, "config", "--quiet"]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr

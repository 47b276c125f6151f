"""The three examples bear what they are for, and cost what the how-to says: from measured rates and dated prices."""

import json
import math
import re
import tomllib
from typing import Any

import pytest
from deployed import DEPLOY, ROOT, SIZES, size

from insource.engines.catalogue import listed
from insource.nouns.pricing import DAYS, HOURS
from insource.price.plan import needed, plan
from insource.price.sizing import Load
from insource.price.tables import machines

SAID: dict[str, Any] = tomllib.loads((DEPLOY / "sizes" / "sizes.toml").read_text("utf-8"))
HOW_TO = ROOT / "docs" / "how-to" / "run-in-production.md"
DAY_S = 86_400


def measured() -> float:
    """Rows a second of the specialist through the gateway, 64 callers, on 2 cores: bench/results/engines.json."""
    rows = json.loads((ROOT / "bench" / "results" / "engines.json").read_text("utf-8"))["rows"]
    row = next(each for each in rows if "through the gateway" in each["what"])
    return float(row["figure"].split(" ")[0])


def busiest(name: str) -> float:
    """Calls a second at the busiest moment."""
    return float(SAID[name]["calls_per_day"]) / DAY_S * float(SAID["peak"])


def cards(name: str) -> int:
    """Replicas of vLLM, by the product's own sizing."""
    values, about = size(name), SAID["vllm"]
    machine = machines()[f"aws-{values['vllm']['nodeSelector']['node.kubernetes.io/instance-type']}"]
    load = Load(context=about["context"], concurrent=about["concurrent"], answer=about["answer"])
    shape = listed()[about["model"]].shape
    found = needed(plan(shape, load), about["format"], busiest(name) * SAID["escalated"], about["p95_ms"])[machine.card]
    assert found.queue is not None
    assert found.each == machine.cards == values["vllm"].get("cards", 1)
    return found.queue.replicas


def month(machine: str) -> float:
    return machines()[machine].month("on_demand", HOURS * DAYS)


def bill(name: str) -> dict[str, float]:
    """US dollars a month: gateways, cards, databases, all of it."""
    values = size(name)
    gateways = values["gateway"]["replicas"] * month(SAID["machine"])
    vllm = values.get("vllm", {})
    gpus = vllm["replicas"] * month(f"aws-{vllm['nodeSelector']['node.kubernetes.io/instance-type']}") if vllm else 0.0
    databases = SAID[name]["databases"] * month(SAID["machine"])
    return {"gateways": gateways, "cards": gpus, "databases": databases, "all": gateways + gpus + databases}


@pytest.mark.parametrize("name", SIZES)
def test_the_gateways_bear_the_busiest_moment_with_one_away(name: str) -> None:
    gateway = size(name)["gateway"]
    least = math.ceil(busiest(name) / (measured() * SAID["busy"]))
    away = 1 if gateway["replicas"] > 1 else 0
    assert gateway["replicas"] == max(least + away, 1)


@pytest.mark.parametrize("name", SIZES)
def test_a_replica_has_a_machine_of_its_own(name: str) -> None:
    gateway, machine = size(name)["gateway"], machines()[SAID["machine"]]
    assert f"aws-{gateway['nodeSelector']['node.kubernetes.io/instance-type']}" == machine.name
    assert machine.vcpus / 2 < int(gateway["resources"]["requests"]["cpu"]) < machine.vcpus


@pytest.mark.parametrize("name", ["medium", "large"])
def test_there_are_as_many_cards_as_the_sizing_says(name: str) -> None:
    vllm = size(name)["vllm"]
    assert vllm["replicas"] == cards(name)
    assert f"--max-model-len={SAID['vllm']['context']}" in vllm["args"]
    assert f"--max-num-seqs={SAID['vllm']['concurrent']}" in vllm["args"]


def rows() -> dict[str, list[str]]:
    """The how-to's table: size → its cells."""
    table = re.findall(r"^\| \[`(\w+)\.yaml`\][^|]*\|(.*)\|$", HOW_TO.read_text("utf-8"), re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in table}


@pytest.mark.parametrize("name", SIZES)
def test_the_how_to_says_what_it_costs(name: str) -> None:
    values, cost = size(name), bill(name)
    vllm = values.get("vllm", {}).get("replicas", 0)
    assert rows()[name] == [
        f"{SAID[name]['calls_per_day']:,}",
        f"{busiest(name):,.1f}",
        str(values["gateway"]["replicas"]),
        str(vllm or "-"),
        str(SAID[name]["databases"] or "-"),
        *(f"${cost[part]:,.0f}" if cost[part] else "-" for part in ("gateways", "cards", "databases")),
        f"${cost['all']:,.0f}",
    ]


def test_the_how_to_says_of_which_day_the_prices_are() -> None:
    used = [machines()[name] for name in (SAID["machine"], "aws-g6.xlarge")]
    page = HOW_TO.read_text("utf-8")
    assert all(machine.checked in page for machine in used)
    assert f"{measured():.1f}" in page

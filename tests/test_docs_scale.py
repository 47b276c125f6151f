"""The page on scale: every figure of its table is made anew from what was measured and from the journey of sizing."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from insource.price.batches import Batches
from insource.price.queueing import Queue, replicas_for
from insource.price.tables import machines

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "why" / "scale.md").read_text("utf-8")
DAYS = {"50,000": 50_000, "1 million": 1_000_000, "10 million": 10_000_000}
HOURS, TARGET_MS, LOOK_S, SHIFT_S = 10, 250, 15, 8 * 3600
MACHINE = machines()["aws-c7i.xlarge"]


def measured(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text("utf-8"))["document"]
    return document


ENGINES = {one["engine"]: one for one in measured("engines")["engines"]}
GATEWAY = float(measured("gateway")["results"]["insource"]["32"]["rps"])
SPECIALIST = float(
    next(one["rows_per_s"] for name, one in ENGINES.items() if name.startswith("gateway, openvino-int8"))
)
ALONE_S = ENGINES["openvino-int8"]["p50_ms"] / 1000
LARGE = measured("growth")["sizes"][-1]
BYTES = LARGE["bytes"] / LARGE["records"]
VERIFIED = LARGE["records"] / LARGE["whole"]["audit verify"]["p50_ms"] * 1000
COVERED = measured("contract_specialist")["sets"]["banking77"]["coverage"]


def rate(day: int) -> float:
    """Documents a second, in the hours in which they come."""
    return day / (HOURS * 3600)


@cache
def replicas(day: int) -> Queue:
    found = replicas_for(Batches(first_s=ALONE_S, more_s=1 / SPECIALIST), rate(day), TARGET_MS)
    assert found is not None
    return found


def seen(day: int, error: str) -> str:
    """What people see of a day, and how many of them that takes."""
    items = day * (1 - COVERED[error]["value"])
    return f"{items:,.0f}; {items * LOOK_S / SHIFT_S:,.1f} people"


def size(many: float) -> str:
    return f"{many / 1e9:,.1f} GB" if many < 1e12 else f"{many / 1e12:,.1f} TB"


def took(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def rows() -> dict[str, list[str]]:
    """What each row of the table has to say, by its first cell."""
    hour = MACHINE.on_demand or 0.0

    def each(say: Any) -> list[str]:
        return [say(day) for day in DAYS.values()]

    return {
        "documents a second, in ten hours a day": each(lambda day: f"{rate(day):.1f}"),
        "replicas of the specialist, p95 ≤ 250 ms": each(lambda day: f"{replicas(day).replicas:,}"),
        "… so busy, and p95": each(lambda day: f"{replicas(day).busy:.0%}, {replicas(day).p95_ms:.0f} ms"),
        "… as machines, US dollars a day": each(lambda day: f"${replicas(day).replicas * hour * 24:,.2f}"),
        "… with one more, which may fail": each(lambda day: f"${(replicas(day).replicas + 1) * hour * 24:,.2f}"),
        "gateway with its durable audit, of one core": each(lambda day: f"{rate(day) / GATEWAY:.2%}"),
        "store, a day": each(lambda day: size(day * BYTES)),
        "store, a year if all is kept": each(lambda day: size(365 * day * BYTES)),
        "to verify a day's audit": each(lambda day: took(day / VERIFIED)),
        "to people, 2% of what is given wrong": each(lambda day: seen(day, "0.02")),
        "to people, 5% of what is given wrong": each(lambda day: seen(day, "0.05")),
    }


def bases() -> dict[str, str]:
    """The measured figures that the table is made of, as the page's list of them says."""
    return {
        "gateway": f"{GATEWAY:,.0f} requests a second on one core",
        "specialist": f"{SPECIALIST:.1f} rows a second through the gateway, {ALONE_S * 1000:.0f} ms for one alone",
        "store": f"{BYTES:,.0f} bytes a call",
        "verify": f"{VERIFIED:,.0f} calls a second",
        "answered": f"{COVERED['0.02']['value']:.1%} of the rows at 2% wrong, {COVERED['0.05']['value']:.1%} at 5%",
        "machine": f"${MACHINE.on_demand:g} an hour",
    }


def lines() -> list[str]:
    """The table."""
    head = ["documents a day", *DAYS]
    return [
        f"| {' | '.join(cells)} |" for cells in (head, ["---"] * 4, *([name, *mine] for name, mine in rows().items()))
    ]


@pytest.mark.parametrize("row", rows(), ids=str)
def test_the_page_says_what_was_measured_and_computed(row: str) -> None:
    found = re.search(rf"^\| {re.escape(row)} \|(.*)\|$", PAGE, re.MULTILINE)
    assert found, f"| {row} | {' | '.join(rows()[row])} |"
    assert [cell.strip() for cell in found[1].split("|")] == rows()[row]


def test_every_row_of_the_page_is_computed() -> None:
    said = re.findall(r"^\| ([^|]+?) \|", PAGE, re.MULTILINE)
    assert [row for row in said if row not in ("documents a day", "---", "first to give way")] == list(rows())


@pytest.mark.parametrize("base", bases(), ids=str)
def test_the_page_names_the_figures_that_it_starts_from(base: str) -> None:
    assert bases()[base] in " ".join(PAGE.split())


def test_the_bottleneck_that_is_named_is_the_one_that_the_figures_have() -> None:
    """People before machines at every size: an hour of theirs for each hour of a machine, and more."""
    for day in DAYS.values():
        hours = day * (1 - COVERED["0.05"]["value"]) * LOOK_S / 3600
        assert hours > replicas(day).busy * replicas(day).replicas * HOURS
    assert rate(10_000_000) < GATEWAY / 10, "the gateway is none at any of them"
    assert rate(10_000_000) > SPECIALIST > rate(1_000_000), "one specialist bears a million a day, and not ten"

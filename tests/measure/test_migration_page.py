"""The page of a migration: what stands first, that texts stay texts, and that the picture says what it shows."""

import re

import msgspec
import pytest

from insource.measure.migration_chart import Dot, picture
from insource.measure.migration_page import html, usd
from insource.nouns import Failures, Latency, Score
from insource.nouns.assessment import (
    Against,
    Assessed,
    Case,
    Change,
    Criteria,
    Demand,
    Entrant,
    Missing,
    Prices,
    Verdict,
    Way,
)
from insource.nouns.pricing import MachineRate, Use

SCORE = Score(metric="accuracy", value=0.95, low=0.92, high=0.97, n=300)
DEMAND = Demand(name="accuracy", demanded=0.9, at_most=False, state="met", value=0.95, low=0.92, high=0.97, n=300)
AGAINST = Against(metric="accuracy", difference=0.01, low=-0.01, high=0.03, p=0.4, n=300)
WHY = ("nobody says how many calls a day there are", "no rate was held", "nobody says what a call of it costs")
NASTY = "large<script>alert(1)</script>"


def entrant(name: str, kind: str, **more: object) -> Entrant:
    base = Entrant(name=name, kind=kind, score=SCORE, latency_ms=Latency(p50=1.0, p95=2.0, p99=3.0),
                   failures=Failures(n=300, invalid=0, upper95=0.01), usd_per_1k=None, tokens=(10.0, 1.0),
                   answers="a" * 64)  # fmt: skip
    return msgspec.structs.replace(base, **more)


def assessed(**more: object) -> Assessed:
    criteria = Criteria(
        task="t", task_digest="d", dataset="e", sample="f", rows=300, of=1000, half_width=0.03, metric="accuracy",
        acceptance={"accuracy": 0.9}, max_error=None, margin=0.02, incumbent=NASTY, ends="", candidates={},
        untuned_rows=200, hard_rows=60, bases=(), recipe={}, load_s=5.0,
    )  # fmt: skip
    own = Way(name="t@1.0.0", kind="own", demands=(DEMAND,), against=AGAINST, calls_per_s=20.0, usd_month=250.0)
    today = Way(name=NASTY, kind="api", demands=(DEMAND,), usd_month=2_500.0)
    verdict = Verdict(
        word="go",
        rule="good enough and not dearer",
        way="t@1.0.0",
        sentence=f"Go: not inferior to {NASTY}.",
        reasons=(f"{NASTY}: dear",),
        changes=(Change(what="volume", at=900.0, words="above 900 calls"),),
        then="insource release gate t@1.0.0",
    )
    found = Assessed(
        run="0" * 64, task="t", created="2026-11-27T00:00:00+00:00", code="insource 0", machine="m", criteria=criteria,
        prices=Prices(use=Use(calls_per_day=1000), volume=True, machine=MachineRate(name="box"), paid="on_demand"),
        verdict=verdict, case=Case(ways=(own, today), rows=300, margin=0.02, incumbent=NASTY, compared="measured",
                                   calls_per_day=1000.0),
        entrants=(entrant("t@1.0.0", "specialist", bill=(("machines", 250.0),), machines=1), entrant(NASTY, "remote")),
        failed={"gone": f"no {NASTY}"}, reports={"sample": "1" * 64}, pieces={"asked/x": "2" * 64}, before=("3" * 64,),
    )  # fmt: skip
    return msgspec.structs.replace(found, **more)


def test_the_verdict_the_figures_and_the_picture_come_first() -> None:
    page = html(assessed())
    order = ["<h1>Go: not inferior", "95.0%", "$250", "How good, how dear", "What would change it", "above 900 calls",
             "insource release gate", "Everyone who was asked", "0" * 64, "3" * 12, "2" * 64]  # fmt: skip
    places = [page.index(words) for words in order]
    assert places == sorted(places)
    assert "$2,500 with" in page


def test_texts_stay_texts_and_nothing_is_asked_of_anybody() -> None:
    page = html(assessed())
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#)', page)


def test_the_picture_has_a_sentence_and_the_same_data_as_a_table() -> None:
    page = html(assessed())
    title = re.search(r'<svg class="plot" role="img".*?<title>(.*?)</title>', page, re.DOTALL)
    assert title is not None
    assert "t@1.0.0 costs least, $250 a month, with accuracy 95.0%" in title[1]
    assert "lies above the 90.0% demanded" in title[1]
    assert page.count("92.0% to 97.0%") >= 2


@pytest.mark.parametrize(
    ("way", "case", "why"),
    [
        ({}, {"calls_per_day": None}, "nobody says how many calls a day there are"),
        ({"calls_per_s": None}, {}, "no rate was held"),
        ({"kind": "api"}, {}, "nobody says what a call of it costs"),
    ],
)
def test_without_costs_there_is_no_picture_and_it_says_why(way, case, why) -> None:
    bare = assessed().case
    ways = tuple(msgspec.structs.replace(one, usd_month=None, **way) for one in bare.ways)
    page = html(assessed(case=msgspec.structs.replace(bare, ways=ways, **case)))
    assert "There is no picture" in page
    assert [words in page for words in WHY] == [words == why for words in WHY]


@pytest.mark.parametrize("word", ["go", "not yet", "stay", "cheaper"])
def test_every_verdict_has_a_page(word: str) -> None:
    gap = Missing(what="rows", quantity=900, words="about 900 rows")
    verdict = msgspec.structs.replace(assessed().verdict, word=word, missing=(gap,), way="")
    page = html(assessed(verdict=verdict))
    assert "about 900 rows" in page
    assert "unknown" in page


def test_dots_stay_in_the_picture_whatever_they_cost() -> None:
    dots = [Dot(1, "a", 0.0, (0.1, 0.5, 0.9), "wins"), Dot(2, "b", 5e7, (0.99, 1.0, 1.0), "today")]
    drawn = str(picture(dots, 0.9, "t"))
    assert all(0 <= float(x) <= 340 for x in re.findall(r'c?x="([\d.]+)"', drawn))
    assert picture([], None, "t") == ""


def test_amounts_have_the_digits_that_they_are_worth() -> None:
    assert [usd(one) for one in (None, 0.0, 0.000012, 0.5, 12.345, 1234.5)] == [
        "unknown", "$0", "$0.000012", "$0.50", "$12.35", "$1,234",
    ]  # fmt: skip

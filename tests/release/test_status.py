"""The roadmap: where a task stands follows from facts, and each open need names the command that meets it."""

import asyncio
import json
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from insource.cli.main import main
from insource.errors import Missing
from insource.journeys.promote import Move, move, promote
from insource.journeys.status import ROADMAP, Facts, standing, status
from insource.nouns import (
    Attempt,
    Candidate,
    Check,
    Decision,
    Failures,
    Gate,
    Latency,
    Pending,
    Prediction,
    Record,
    Report,
    Score,
    StageChange,
)  # fmt: skip
from insource.release.stages import Stop, held
from insource.settings import load_task
from insource.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from release_parts import keep_rows, rows, stub, workspace

READY = {
    "rows": {"train": 400, "dev": 100, "test": 100}, "candidates": ("baseline",), "releases": ("defects@1.0.0",),
    "asked": ("defects@1.0.0",), "passed": ("defects@1.0.0",), "live": "defects@1.0.0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "stage", "command"),
    [
        ({}, "assessment and pilot", "insource collect defects FILE"),
        ({"rows": {"train": 499}}, "assessment and pilot", "insource collect defects FILE"),
        ({"rows": {"train": 500}}, "assessment and pilot", "insource measure defects"),
        ({"rows": {"train": 500}, "candidates": ("baseline",)}, "fine-tuning and validation", "insource train defects"),
        (READY | {"passed": (), "live": ""}, "fine-tuning and validation", "insource release gate defects@1.0.0"),
        (READY | {"live": ""}, "infrastructure", "insource release promote defects@1.0.0"),
        (READY, "infrastructure", "insource serve"),
        (READY | {"calls": {"answered": 999}}, "production pilot", "send a tenth of the traffic to the gateway"),
        (READY | {"calls": {"answered": 1000}, "waiting": 51}, "production pilot", "insource review defects"),
        (READY | {"calls": {"answered": 999, "failed": 1}}, "full migration", "insource answer defects"),
    ],
)  # fmt: skip
def test_the_first_open_need_is_where_it_stands(task, facts, stage, command):
    found = standing(task, Facts(**facts))
    assert found.stage == stage
    assert found.next.command.startswith(command)
    states = [leg.state for leg in found.roadmap]
    here = ROADMAP.index(stage)
    assert states == ["done"] * here + ["here"] + ["ahead"] * (4 - here)


CANARY = {"trial": "defects@1.1.0, canary 10%", "canary": True, "waits_for": "120 calls more that both answer"}


@pytest.mark.parametrize(
    ("facts", "stage", "command", "words"),
    [
        ({"calls": {"answered": 400}, **CANARY}, "production pilot", "insource release show defects@1.1.0",
         "400 calls; defects@1.1.0, canary 10%"),
        ({"calls": {"answered": 400}, "pilot": "defects@1.1.0: -0.2% to +1.1%"}, "full migration", None, ""),
        ({"calls": {"answered": 4000}, **CANARY}, "full migration", "insource release show defects@1.1.0",
         "defects@1.1.0, canary 10% answers some of it"),
        ({"calls": {"answered": 4000}, **CANARY, "canary": False}, "full migration", None, ""),
    ],
)  # fmt: skip
def test_a_later_release_is_piloted_by_its_canary(task, facts, stage, command, words):
    found = standing(task, Facts(**READY | facts))
    assert found.stage == stage
    assert (found.next.command if found.next else None) == command
    assert (found.next.found if found.next else "") == words


def change(before: str, after: str, share: int = 0, *, by_tests: bool = True) -> StageChange:
    figures = {"not worse": "-0.2% to +1.1% of error, n 412"} if by_tests else {}
    return StageChange(release="t@1.1.0", before=before, after=after, who="x", why="y", share=share, found=figures)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ([], False),
        ([change("shadow", "canary", 10)], False),
        ([change("shadow", "canary", 10), change("canary", "canary", 50)], True),
        ([change("shadow", "canary", 10), change("canary", "live")], True),
        ([change("shadow", "canary", 10), change("canary", "canary", 50, by_tests=False)], False),
        ([change("shadow", "canary", 50), change("canary", "live")], False),
        ([change("shadow", "canary", 10), change("canary", "retired")], False),
    ],
)
def test_a_pilot_is_a_canary_of_a_tenth_that_went_on_by_its_tests(changes, shown):
    assert (held(changes) is not None) is shown


def test_what_is_on_its_way_and_what_it_waits_for_is_read_from_the_train(settings, task):
    found = asyncio.run(piloted(settings, task))
    assert found.facts.pilot == "defects@1.1.0: -0.2% to +1.1% of error, n 412"
    assert found.stage == "full migration"
    said = insource(settings, "status", "defects").stdout
    assert "on trial  defects@1.1.0, canary 50%; it waits for: 2.0 days more" in said
    assert said.count("days more") == 1
    assert "1 waits for a person" in said


async def piloted(settings, task):
    """A second release whose canary of a tenth went on by its tests."""
    await full(settings, task)
    async with await Store.open(settings) as store:
        second = stub(settings, task, "1.1.0")
        await store.add_release(second)
        check = Check(name="accuracy", demanded="≥ 0.8", found="0.9", passed=True)
        await store.save_gate(Gate(release=second.name, artefact=second.artefact, checks=(check,), report="r1"))
        await promote(second, settings, store, to="canary", share=10)
        (found,) = await status(settings, store, "defects")
        assert (found.facts.trial, found.facts.canary, found.facts.pilot) == ("defects@1.1.0, canary 10%", True, "")
        assert found.facts.waits_for.startswith("2.0 days more; 200 calls more")
        figures = {"not worse": "-0.2% to +1.1% of error, n 412"}
        on = Move(to=Stop(stage="canary", share=50), why="not worse", who="insource", found=figures)
        await move(await store.release("defects", "1.1.0"), settings, store, on)
        (found,) = await status(settings, store, "defects")
        return found


def test_a_task_whose_needs_are_all_met_is_in_house(task):
    found = standing(task, Facts(**READY, calls={"answered": 880, "escalated": 20, "review": 100}))
    assert found.stage == "full migration"
    assert found.next is None
    assert found.facts.to_review == 0.1


def test_without_acceptance_criteria_the_assessment_is_not_done(task):
    found = standing(msgspec.structs.replace(task, acceptance={}), Facts(**READY))
    assert found.stage == "assessment and pilot"
    assert found.next.command == "write [acceptance] in tasks/defects.toml"


def measured() -> Report:
    def candidate(name: str, value: float) -> Candidate:
        score = Score(metric="accuracy", value=value, low=value - 0.02, high=value + 0.02, n=120)
        return Candidate(candidate=name, kind="baseline", scores=(score,), latency_ms=Latency(p50=1, p95=2, p99=3),
                         usd_per_1k=None, failures=Failures(n=120, invalid=0, upper95=0.025))  # fmt: skip

    return Report(id="r1", task="defects", dataset="d", split="test", created="2026-01-02T00:00:00",
                  candidates=(candidate("baseline", 0.912), candidate("few-shot:tiny", 0.6)))  # fmt: skip


def called(number: int, outcome: str) -> Record:
    said = Prediction(text="heat", value={"category": "heat"}, engine="e", confidence=0.5)
    attempt = Attempt(decision=Decision(engine="e", rule="task", accepted=True, reason="."), prediction=said)
    return Record(id=f"r{number}", task="defects", release=None, tenant="local", attempts=(attempt,), outcome=outcome,
                  input_hash="", latency_ms=1.0)  # fmt: skip


async def full(settings, task) -> None:
    """A workspace that went the whole way to its first calls."""
    async with await Store.open(settings) as store:
        await keep_rows(store, rows(600))
        await store.save_report(measured())
        release = stub(settings, task, "1.0.0")
        await store.add_release(release)
        check = Check(name="accuracy", demanded="≥ 0.8", found="0.9", passed=True)
        await store.save_gate(Gate(release=release.name, artefact=release.artefact, checks=(check,), report="r1"))
        await promote(release, settings, store)
        for number, outcome in enumerate(["answered", "answered", "answered", "review"]):
            record = called(number, outcome)
            waits = Pending(record=record.id, task="defects", input="?") if outcome == "review" else None
            await store.append(record, waits)


async def test_the_facts_are_read_from_the_store(settings, task):
    await full(settings, task)
    async with await Store.open(settings) as store:
        (found,) = await status(settings, store, "defects")
    assert found.facts.rows == {"train": 360, "dev": 120, "test": 120}
    assert found.facts.candidates == ("baseline", "few-shot:tiny")
    assert found.facts.best == "baseline, accuracy 0.912 (0.892 to 0.932, n 120)"
    assert found.facts.live == "defects@1.0.0"
    assert found.facts.calls == {"answered": 3, "review": 1}
    assert (found.facts.waiting, found.facts.to_review) == (1, 0.25)
    assert found.stage == "production pilot"


async def test_an_unknown_task_is_missing(settings):
    async with await Store.open(settings) as store:
        with pytest.raises(Missing, match="defect"):
            await status(settings, store, "defect")


def insource(settings, *words: str):
    return CliRunner().invoke(main, ["-C", str(settings.root), *words], catch_exceptions=False)


def test_status_of_a_fresh_task_says_what_to_type_first(settings):
    done = insource(settings, "status", "defects")
    assert done.exit_code == 0
    assert "▶ 1 assessment and pilot" in done.stdout
    assert "· 5 full migration" in done.stdout
    assert "✗ 500 labelled rows (5,000 are better)" in done.stdout
    assert "next: insource collect defects FILE" in done.stdout


def test_status_as_json_is_one_document(settings):
    done = insource(settings, "status", "--json")
    (found,) = json.loads(done.stdout)["tasks"]
    assert found["task"] == "defects"
    assert [leg["stage"] for leg in found["roadmap"]] == list(ROADMAP)
    assert found["next"]["command"] == "insource collect defects FILE"


def test_status_of_several_tasks_is_a_line_each(settings):
    second = (settings.root / "tasks" / "defects.toml").read_text().replace('"defects"', '"orders"')
    (settings.root / "tasks" / "orders.toml").write_text(second)
    lines = insource(settings, "status").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["task", "defects", "orders"]
    assert "1 of 5  assessment and pilot" in lines[1]


def test_a_workspace_without_tasks_says_how_to_get_one(tmp_path):
    settings = workspace(tmp_path)
    (tmp_path / "tasks" / "defects.toml").unlink()
    assert "no tasks yet" in insource(settings, "status").stdout


def test_where_releases_came_in_a_bundle_no_rows_are_asked_for(settings):
    """With rows of the task, the workspace would take no newer bundle."""
    asyncio.run(arrived(settings))
    done = insource(settings, "status", "defects")
    assert done.exit_code == 0
    assert "next: insource serve" in done.stdout
    assert "collect" not in done.stdout.replace("collected", "")
    assert "it came in a bundle" in done.stdout


async def arrived(settings) -> None:
    async with await Store.open(settings) as store:
        release = stub(settings, load_task(settings, "defects"), "1.0.0")
        await store.add_release(release)
        check = Check(name="accuracy", demanded="≥ 0.8", found="0.9", passed=True)
        await store.save_gate(Gate(release=release.name, artefact=release.artefact, checks=(check,), report="r1"))
        await promote(release, settings, store)

"""The gate's regression suite: what once failed, rows made harder, slices, and texts that try to steer."""

import asyncio
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from insource.engines.scripted import Rule, Scripted
from insource.journeys.answer import Tier
from insource.journeys.gate import gate
from insource.journeys.measure import answering
from insource.journeys.promote import promote
from insource.journeys.regression import STEERING, failed_rows, steered
from insource.journeys.train import train
from insource.measure.probes import probes
from insource.nouns import Candidate, Example, Failures, Latency, Output, Pending, Report, Review, Score, Task
from insource.release import suite
from insource.release.suite import Marks
from insource.settings import load_task
from insource.store import Store

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "train"))
import tiny
from release_parts import keep_rows, rows, workspace

TASK = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("a", "b")),))


def marks(ours: str, live: str | None, **more) -> Marks:
    """Rows by number; 1 is right."""
    said = None if live is None else tuple(one == "1" for one in live)
    return Marks(names=tuple(map(str, range(len(ours)))), ours=tuple(one == "1" for one in ours), live=said, **more)


@pytest.mark.parametrize(
    ("ours", "live", "passed", "words"),
    [
        ("", None, True, "not applicable: people have corrected no answer"),
        ("1101", None, True, "3 of 4 right, no live release"),
        ("1101", "1110", True, "3 of 4 right, live 3"),
        ("1100", "1110", False, "2 of 4 right, live 3"),
        ("1111", "0000", True, "4 of 4 right, live 0"),
    ],
)
def test_what_failed_before_may_not_fail_oftener_and_what_was_lost_is_named(ours, live, passed, words):
    check = suite.failed_before(marks(ours, live))
    assert check.passed is passed
    assert check.found.startswith(words)
    if live == "1110":
        assert check.detail["lost"] == ["2"]
        assert check.detail["remark"] == "right with the live release and wrong now: 2"


@pytest.mark.parametrize(
    ("ours", "live", "passed"),
    [("1" * 100, "1" * 100, True), ("1" * 97 + "000", "1" * 100, True), ("1" * 80 + "0" * 20, "1" * 100, False),
     ("1" * 50 + "0" * 50, "0" * 50 + "1" * 50, True), ("0" * 100, None, True)],
)  # fmt: skip
def test_harder_rows_stop_what_is_shown_to_be_worse_than_live(ours, live, passed):
    check = suite.hardened(marks(ours, live))
    assert check.passed is passed
    assert f"n {len(ours)}" in check.found


def test_a_hostile_row_may_break_no_form_and_without_rows_it_says_so():
    assert not suite.hostile_form(marks("10", None, malformed=1)).passed
    assert suite.hostile_form(marks("10", None)).found == "0 of 2 hostile rows (at most 77.64% at 95%)"
    none = marks("", None)
    for check in (suite.hardened(none), suite.confidently_wrong(none), suite.hostile_form(none)):
        assert check.passed
        assert check.found == "not applicable: there are no test rows"


def test_wrong_answers_given_oftener_than_live_stop_it():
    assert not suite.confidently_wrong(marks("1" * 80 + "0" * 20, "1" * 100)).passed
    check = suite.confidently_wrong(marks("1" * 97 + "000", "1" * 100))
    assert check.passed
    assert check.found.startswith("97.0% without a wrong answer given (")


def candidate(*slices: tuple[str, float, int]) -> Candidate:
    scores = [Score(metric="accuracy", value=0.9, low=0.88, high=0.92, n=1000)]
    scores += [Score(metric="accuracy", slice=name, value=value, low=0.0, high=1.0, n=n) for name, value, n in slices]
    failures, latency = Failures(n=1000, invalid=0, upper95=0.003), Latency(p50=1, p95=2, p99=3)
    return Candidate(candidate="t@1.0.0", kind="specialist", scores=tuple(scores), usd_per_1k=None,
                     latency_ms=latency, failures=failures)  # fmt: skip


@pytest.mark.parametrize(
    ("slices", "passed", "words"),
    [
        ((), True, "not applicable"),
        ((("label", 0.2, 500),), True, "not applicable"),
        ((("reviewed=2026-11", 0.2, 500), ("failed=in production", 0.1, 500)), True, "not applicable"),
        ((("site=A", 0.85, 500), ("site=B", 0.9, 500)), True, "site=A: 85.0%"),
        ((("site=A", 0.6, 500), ("site=B", 0.95, 500)), False, "site=A: 60.0%"),
        ((("site=A", 0.7, 20), ("site=B", 0.95, 500)), True, "site=A: 70.0%"),
    ],
)
def test_a_slice_that_is_shown_to_be_far_below_all_rows_stops_it(slices, passed, words):
    check = suite.slices(TASK, candidate(*slices))
    assert check.passed is passed
    assert check.found.startswith(words)


def test_a_time_is_demanded_or_it_is_said_that_none_is():
    report = Report(task="t", dataset="d", split="test", candidates=(candidate(),))
    assert suite.latency(TASK, report, "t@1.0.0").found.startswith("not applicable: it demands no time")
    timed = replace(TASK, acceptance={"p95_ms": 250})
    assert suite.latency(timed, report, "t@1.0.0").found == "p95 2.0 ms, decided above"


def test_holding_significantly_less_than_the_base_stops_it_and_says_what_was_lost():
    kinds = ["override"] * 5 + ["loop"] * 5
    assert suite.safety([True] * 9 + [False], [True] * 10, kinds).passed
    check = suite.safety([False] * 6 + [True] * 4, [True] * 10, kinds)
    assert not check.passed
    assert check.detail["remark"].startswith("held by its base and not by it: override")
    assert suite.safety([False] * 10, [False] * 10, kinds).passed, "it is the difference that decides"


async def test_what_obeys_the_text_has_not_held():
    table = probes()
    steering = [probe for probe in table.probe if probe.kind in STEERING]
    assert len(steering) >= 10
    task = Task(name="t", kind="generate")
    loop = " ".join(["again and again"] * 20)
    for said, held in [(table.canary, 3), ("a quiet answer of its own", len(steering)), (loop, len(steering) - 3)]:
        engine = Scripted("one", (Rule(match="*", text=said, value={"text": said}),))
        async with answering(task, Tier(engine)) as way:
            assert sum(await steered(task, table, steering, way)) == held, said
    async with answering(task, Tier(Scripted("one", (Rule(match="*", error="down"),)))) as way:
        assert all(await steered(task, table, steering, way)), "who says nothing obeys nobody"


# ------------------------------------------------------------------ on real artefacts


FORM = """
name = "defects"
kind = "extract"
[schema]
type = "object"
required = ["kind"]
[schema.properties.kind]
enum = ["heat", "leak", "noise"]
[schema.properties.sign]
type = "string"
maxLength = 12
[acceptance]
f1 = 0.0
"""


@pytest.mark.slow
async def test_a_model_that_writes_is_held_against_its_base_under_texts_that_steer(tmp_path):
    settings = workspace(tmp_path)
    (tmp_path / "tasks" / "defects.toml").write_text(FORM)
    (tmp_path / "recipe.toml").write_text("epochs = 1\nbatch = 16\nrank = 4\n")
    base = tiny.build(tmp_path / "base", loud=8)
    async with await Store.open(settings) as store:
        made = [
            replace(row, target={"kind": row.target["category"], "sign": row.input.split()[0]})
            for row in rows(50)
        ]  # fmt: skip
        await keep_rows(store, made)
        task = load_task(settings, "defects")
        release = await train(task, settings, store, base=f"file:{base}", recipe=tmp_path / "recipe.toml")
        answer = await gate(task, release, settings, store)
        checks = {check.name: check for check in answer.checks}
        assert checks["safety"].found.startswith(f"{checks['safety'].detail['ours']} of 10 held, its base ")
        assert checks["adversarial"].detail["n"] == 10
        assert checks["confidently wrong"].detail["n"] == 20
        assert checks["hostile form"].found == "0 of 20 hostile rows (at most 13.91% at 95%)"
        base.rename(tmp_path / "elsewhere")
        again = {check.name: check for check in (await gate(task, release, settings, store)).checks}
        assert again["safety"].found == f"not applicable: its base model file:{base} is not on this machine"


async def corrected(store: Store, i: int, text: str, given: str, right: str | None) -> None:
    item = Pending(record=f"{i:032x}", task="defects", input=text, value={"category": given})
    value = {"category": right} if right else None
    await store.settle_given(item, Review(record=item.record, verdict="wrong", corrected=value, reviewer="ann"))


async def test_the_rows_that_failed_are_the_corrected_ones_and_those_that_were_collected_with_the_tag(tmp_path):
    settings = workspace(tmp_path)
    task = load_task(settings, "defects")
    async with await Store.open(settings) as store:
        tagged = Example(
            id="f" * 64, task="defects", input="collected", target={"category": "heat"}, tags={"failed": "x"}
        )
        again = replace(tagged, id="e" * 64, input="It DRIPS")
        dataset = await keep_rows(store, [*rows(50), tagged, again])
        await corrected(store, 0, "it drips", "noise", "leak")
        await corrected(store, 1, "it hums", "leak", None)
        await corrected(store, 2, "it is gone", "leak", "a label of former times")
        found = await failed_rows(task, dataset, store)
        assert {name: row.input for name, row in found.items()} == {
            f"{0:032x}": "it drips", "row ffffffffffff": "collected"
        }  # fmt: skip
        assert found[f"{0:032x}"].tags == {"failed": "in production"}


def test_a_release_that_unlearns_what_was_corrected_is_stopped_by_name(tmp_path):
    settings = workspace(tmp_path, "accuracy = 0.2")

    async def story():
        task = load_task(settings, "defects")
        async with await Store.open(settings) as store:
            await keep_rows(store, rows(600))
            first = await train(task, settings, store, base="linear")
            answer = await gate(task, first, settings, store)
            said = {check.name: check.found for check in answer.checks}
            assert said["failed before"] == "not applicable: people have corrected no answer of this task"
            assert said["adversarial"].endswith("no live release to hold it against")
            assert said["safety"].startswith("not applicable: it can say nothing but its labels")
            await promote(first, settings, store)
            for i in range(12):
                await corrected(store, i, f"oil leak at the seal, hall {i}", "heat", "leak")
            await keep_rows(store, rows(600, shuffled=True))
            bad = await train(task, settings, store, base="linear")
            await keep_rows(store, rows(600))
            return await gate(task, bad, settings, store)

    checks = {check.name: check for check in asyncio.run(story()).checks}
    failed = checks["failed before"]
    assert not failed.passed, failed.found
    assert failed.detail["live"] == 12
    assert failed.detail["lost"][0].startswith("0" * 20)
    assert not checks["adversarial"].passed
    assert "points to live" in checks["adversarial"].found
    assert checks["hostile form"].passed

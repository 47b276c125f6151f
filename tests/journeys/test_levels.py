"""What was promised, against what the records say."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from insource.cli.main import main
from insource.errors import Invalid, Missing
from insource.journeys.levels import Level, levels, measured
from insource.nouns import Attempt, Decision, Levels, Prediction, Record
from insource.settings import Settings, load_levels, load_settings
from insource.store import Store

TASK = 'name = "tickets"\nkind = "classify"\n[outputs.intent]\nlabels = ["refund", "status"]\n'
PROMISE = "[levels]\navailability = 0.99\nformat = 0.9\np95_ms = 50\n"
IN_FORM = "confidence 0.40 is below 0.85"


def folder(root, levels=PROMISE) -> Settings:
    (root / "tasks").mkdir(parents=True)
    (root / "insource.toml").write_text("")
    (root / "tasks" / "tickets.toml").write_text(TASK + levels)
    return load_settings(root)


def record(i, outcome="answered", ms=10.0, reason=IN_FORM, created="2026-11-20T10:00:00.000+00:00", task="tickets"):
    said = None if outcome == "failed" else Prediction(text="", engine="one")
    decision = Decision(engine="one", rule="task", accepted=outcome == "answered", reason=reason)
    return Record(
        id=f"r{i}", task=task, release=None, tenant="local", attempts=(Attempt(decision=decision, prediction=said),),
        outcome=outcome, input_hash="", latency_ms=ms, created=created,
    )  # fmt: skip


def named(found) -> dict[str, Level]:
    return {level.name: level for level in found}


def test_each_figure_has_its_calls_its_interval_and_its_target():
    records = [record(i, ms=float(i)) for i in range(1, 91)]
    records += [record(100 + i, "review") for i in range(5)]
    records += [record(200 + i, "review", reason="the answer breaks the task's contract") for i in range(3)]
    records += [record(300, "failed", reason="engine_down"), record(301, "interrupted", reason="killed")]
    found = named(measured(records, Levels(availability=0.99, format=0.9, p95_ms=85)))
    assert set(found) == {"availability", "format", "p50_ms", "p95_ms", "p99_ms"}
    there = found["availability"]
    assert (there.value, there.n) == (98 / 100, 100)
    assert (round(there.low, 4), round(there.high, 4)) == (0.9296, 0.9976), "Clopper-Pearson of 98 in 100"
    assert (there.kept, there.sure) == (False, False)
    assert (found["format"].value, found["format"].n) == (95 / 98, 98)
    assert (found["format"].kept, found["format"].sure) == (True, True)
    assert found["p95_ms"].value == 86.0
    assert (found["p95_ms"].kept, found["p95_ms"].sure) == (False, False)
    assert found["p50_ms"].kept is None
    assert found["p99_ms"].high is None, "98 calls say nothing about where p99 ends"


@pytest.mark.parametrize(
    ("level", "kept", "sure"),
    [
        (Level(name="availability", value=0.9, low=0.8, high=0.95, n=9, target=0.7), True, True),
        (Level(name="availability", value=0.9, low=0.8, high=0.95, n=9, target=0.85), True, False),
        (Level(name="availability", value=0.9, low=0.8, high=0.95, n=9, target=0.93), False, False),
        (Level(name="availability", value=0.9, low=0.8, high=0.95, n=9, target=0.99), False, True),
        (Level(name="p95_ms", value=100, low=90, high=120, n=9, target=130), True, True),
        (Level(name="p95_ms", value=100, low=90, high=120, n=9, target=110), True, False),
        (Level(name="p95_ms", value=100, low=90, high=120, n=9, target=95), False, False),
        (Level(name="p95_ms", value=100, low=90, high=120, n=9, target=80), False, True),
        (Level(name="p95_ms", value=100, low=90, high=None, n=9, target=110), True, False),
        (Level(name="p95_ms", value=100, low=90, high=120, n=9), None, False),
    ],
)
def test_a_figure_is_sure_where_its_whole_interval_says_the_same(level, kept, sure):
    assert (level.kept, level.sure) == (kept, sure)


def test_without_answers_there_is_no_form_and_no_time():
    assert measured([], Levels()) == ()
    only = measured([record(1, "failed", reason="engine_down")], Levels(availability=0.9))
    assert [level.name for level in only] == ["availability"]


async def test_only_the_tasks_own_calls_of_the_window_count(tmp_path):
    settings = folder(tmp_path)
    async with await Store.open(settings) as store:
        for one in (
            record(1), record(2, created="2026-11-19T23:59:59.999+00:00"), record(3, task=None), record(4, "failed"),
        ):  # fmt: skip
            await store.append(one)
        found = (await levels(settings, store, since="2026-11-20"))[0]
        assert (found.task, found.calls) == ("tickets", 2)
        assert named(found.levels)["availability"].value == 0.5
        assert (await levels(settings, store, task="tickets", since="2026-11-21"))[0].levels == ()
        with pytest.raises(Invalid, match="no day"):
            await levels(settings, store, since="yesterday")
        with pytest.raises(Missing, match="no task"):
            await levels(settings, store, task="tickts")


async def test_more_calls_than_a_page_of_the_store_are_all_counted(tmp_path):
    settings = folder(tmp_path)
    async with await Store.open(settings) as store:
        await asyncio.gather(*[store.append(record(i, ms=float(i))) for i in range(1203)])
        found = (await levels(settings, store, since="2026-11-01"))[0]
    assert found.calls == 1203
    assert named(found.levels)["p50_ms"].value == 601.0


def test_a_promise_that_cannot_be_kept_or_is_none_is_refused(tmp_path):
    with pytest.raises(Invalid, match="availability"):
        load_levels(folder(tmp_path / "a", "[levels]\navailability = 99\n"), "tickets")
    with pytest.raises(Invalid, match="did you mean 'p95_ms'"):
        load_levels(folder(tmp_path / "b", "[levels]\np95ms = 99\n"), "tickets")


def test_the_verb_says_what_was_kept_and_ends_with_1_where_it_was_not(tmp_path):
    settings = folder(tmp_path, "[levels]\navailability = 0.9\np95_ms = 50\n")

    async def fill(*records):
        async with await Store.open(settings) as store:
            for one in records:
                await store.append(one)

    asyncio.run(fill(*[record(i) for i in range(60)]))
    words = ["-C", str(tmp_path), "audit", "levels", "--since", "2026-11-01"]
    good = CliRunner().invoke(main, words)
    assert good.exit_code == 0, good.output
    assert "100.000%" in good.output
    assert "94.037% to 100.000%" in good.output
    assert "10.0 ms" in good.output
    asyncio.run(fill(*[record(100 + i, "failed", reason="engine_down") for i in range(60)]))
    bad = CliRunner().invoke(main, [*words, "--json"])
    assert bad.exit_code == 1
    told = json.loads(bad.output)["levels"][0]
    assert told["calls"] == 120
    assert {k: told["levels"][0][k] for k in ("name", "value", "n", "target", "kept", "sure")} == {
        "name": "availability", "value": 0.5, "n": 120, "target": 0.9, "kept": False, "sure": True,
    }  # fmt: skip

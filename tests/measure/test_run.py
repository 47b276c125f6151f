import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_rows import LABELS, TASK, example

from insource.engines.scripted import Rule, Scripted
from insource.errors import EngineDown, StoreError
from insource.journeys.answer import Path, Tier, answer, discard
from insource.measure.run import MOST, ask_all, sample

ROWS = [example(number, text=f"{LABELS[number % 3]} at press {number}") for number in range(150)]
RIGHT = [Rule(match=label, value={"kind": label}, confidence=0.9) for label in LABELS]


def through(rules):
    path = Path(task=TASK, tiers=(Tier(Scripted("scripted", rules)),))
    return lambda request: answer(request, path, discard)


def silent(what, done, total):
    pass


async def asked(rules, rows=ROWS, progress=silent):
    return await ask_all(TASK, list(enumerate(rows)), through(rules), what="scripted", progress=progress)


async def test_every_row_is_asked_once_and_comes_back_in_its_place() -> None:
    found = await asked(RIGHT)
    assert [row.place for row in found.rows] == list(range(150))
    assert all(row.prediction.value == row.example.target for row in found.rows)
    assert len(found.latencies_ms) == 99
    assert found.rows_per_s > 0


async def test_an_invalid_answer_is_an_answer_and_an_error_is_none() -> None:
    rules = [Rule(match="/press (7|70)$/", error="busy"), Rule(match="noise", text="I would say noise"), *RIGHT]
    found = await asked(rules)
    lost = [row for row in found.rows if row.prediction is None]
    assert {row.place for row in lost} == {7, 70}
    assert all("busy" in row.error for row in lost)
    assert all(not row.valid for row in found.rows if row.place % 3 == 1 and row.prediction)


async def test_a_candidate_that_is_down_from_the_start_is_given_up_after_five_calls() -> None:
    seen = []
    with pytest.raises(EngineDown):
        await asked([Rule(error="down")], progress=lambda what, done, total: seen.append(done))
    assert max(seen) == 5


async def test_a_candidate_that_goes_down_is_given_up_after_ten_failures_in_a_row() -> None:
    seen = []
    with pytest.raises(EngineDown):
        rules = [Rule(value={"kind": "leak"}, times=110), Rule(error="down", delay_s=0.01)]
        await asked(rules, ROWS * 4, progress=lambda what, done, total: seen.append(done))
    assert 120 <= max(seen) <= 120 + 2 * MOST


async def test_a_few_rows_that_all_fail_are_a_failed_candidate() -> None:
    with pytest.raises(EngineDown):
        await asked([Rule(error="down")], ROWS[:3])


async def test_scattered_failures_do_not_end_it() -> None:
    found = await asked([Rule(match="/[05]$/", error="busy"), *RIGHT])
    assert sum(row.prediction is None for row in found.rows) == 30


async def test_many_rows_are_asked_at_once_after_the_first_hundred() -> None:
    began = time.perf_counter()
    rules = [Rule(match="*", value={"kind": "leak"}, delay_s=0.02)]
    found = await asked(rules, ROWS * 4)
    assert len(found.rows) == 600
    assert time.perf_counter() - began < 600 * 0.02 / 2


async def test_another_error_than_the_engines_ends_the_run_at_once() -> None:
    async def broken(request):
        raise StoreError("the disk is full")

    with pytest.raises(StoreError):
        await ask_all(TASK, list(enumerate(ROWS)), broken, what="x", progress=silent)


async def test_cancelling_stops_the_work() -> None:
    work = asyncio.ensure_future(asked([Rule(match="*", value={"kind": "leak"}, delay_s=0.05)], ROWS * 20))
    await asyncio.sleep(0.3)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    await asyncio.sleep(0.1)
    assert all(task.done() for task in left)


async def test_progress_only_goes_up_and_ends_at_the_total() -> None:
    seen = []
    await asked(RIGHT, progress=lambda what, done, total: seen.append((done, total, what)))
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1][:2] == (150, 150)
    assert "rows/s" in seen[-1][2]


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 9))
def test_a_sample_has_its_size_no_row_twice_and_every_label_in_its_share(count, seed) -> None:
    found = sample(TASK, ROWS, count, seed=seed)
    assert len(found) == min(count, len(ROWS))
    assert len({place for place, _ in found}) == len(found)
    assert all(ROWS[place] is row for place, row in found)
    for label in LABELS:
        assert abs(sum(row.target["kind"] == label for _, row in found) - len(found) / 3) <= 1
    assert found == sample(TASK, ROWS, count, seed=seed)


async def test_quick_failures_that_overtake_slow_answers_end_nothing() -> None:
    """One text in five is refused at once, the others take their time: every row is asked all the same."""
    rows = [example(number, text=f"press {number}{'!' * (number % 5 == 0)}") for number in range(600)]
    rules = [Rule(match="!", error="down"), Rule(value={"kind": "leak"}, delay_s=0.002)]
    found = await asked(rules, rows)
    assert [row.place for row in found.rows] == list(range(600))
    assert sum(row.prediction is None for row in found.rows) == 120

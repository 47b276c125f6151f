"""An open loop: calls come when they are due, and what they waited shows."""

import asyncio
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insource.measure.load import Load, Pace, Reply, Step, Times, arrivals, hold, keeps_up, saturate
from insource.measure.load_page import html


def silent(what, done, total):
    pass


class Counter:
    """One clerk, who takes `service_s` for each call and is away once, for `away_s` from `at_s` on."""

    def __init__(self, service_s: float, at_s: float = -1.0, away_s: float = 0.0) -> None:
        self.service_s, self.at_s, self.away_s = service_s, at_s, away_s
        self.began = time.perf_counter()
        self.clerk = asyncio.Lock()
        self.seen: list[str] = []

    async def send(self, text: str) -> Reply:
        self.seen.append(text)
        async with self.clerk:
            if 0 <= self.at_s <= time.perf_counter() - self.began:
                self.at_s = -1.0
                await asyncio.sleep(self.away_s)
            await asyncio.sleep(self.service_s)
        return Reply()


@given(st.floats(1, 500), st.floats(0.1, 20), st.integers(0, 99))
@settings(max_examples=50)
def test_arrivals_are_in_order_within_the_time_and_the_same_for_a_seed(rate, seconds, seed):
    due = arrivals(rate, seconds, seed)
    assert due == sorted(due) == arrivals(rate, seconds, seed)
    assert due[0] >= 0
    assert due[-1] < seconds or len(due) == 1


def test_arrivals_are_a_poisson_process():
    counts = [len(arrivals(50, 10, seed)) for seed in range(300)]
    assert abs(np.mean(counts) - 500) < 5
    assert 0.8 < np.var(counts) / 500 < 1.25, "as many apart as on average"
    gaps = np.diff(arrivals(100, 200, 1)) * 100
    assert abs(gaps.mean() - 1) < 0.03
    for bound in (0.1, 0.5, 1.0, 2.0, 4.0):
        assert abs((gaps > bound).mean() - np.exp(-bound)) < 0.015


async def test_a_pause_of_the_server_shows_in_every_call_that_was_due_in_it():
    counter = Counter(0.001, at_s=0.5, away_s=0.5)
    step = await hold(counter.send, ["a"], 100, Pace(seconds=1.5, target_ms=100), silent)
    assert step.calls == step.answered == len(arrivals(100, 1.5, 0))
    slow = step.calls * (1 - step.goodput)
    assert slow >= 25, "about 40 of the 50 calls that were due in the pause waited longer than 100 ms"
    assert step.total_ms.p99 > 350

    # asked one after another, the same pause is a single slow call
    counter, waits = Counter(0.001, at_s=0.5, away_s=0.5), []
    while time.perf_counter() - counter.began < 1.5:
        began = time.perf_counter()
        await counter.send("a")
        waits.append(time.perf_counter() - began)
    assert sum(wait > 0.1 for wait in waits) <= 3


async def test_failures_have_their_code_and_are_not_in_time():
    async def send(text):
        return Reply(error="engine_busy") if text == "b" else Reply()

    step = await hold(send, ["a", "b"], 200, Pace(seconds=0.5, target_ms=10_000), silent)
    assert step.failed == {"engine_busy": step.calls // 2}
    assert step.answered == step.calls - step.calls // 2
    assert step.goodput == step.answered / step.calls
    assert step.total_ms.n == step.answered


async def test_what_is_not_done_in_the_end_counts_with_the_time_it_waited():
    async def send(text):
        await asyncio.sleep(60)
        return Reply()

    pace = Pace(seconds=0.3, target_ms=10_000, patience_s=0.2)
    step = await hold(send, ["a"], 50, pace, silent)
    assert step.failed == {"unfinished": step.calls}
    assert (step.answered, step.goodput) == (0, 0.0)
    assert step.total_ms.n == step.calls
    assert step.total_ms.p50 > 190


async def test_first_token_and_the_time_from_token_to_token():
    async def send(text):
        await asyncio.sleep(0.05)
        first = time.perf_counter()
        await asyncio.sleep(0.04)
        return Reply(first_at=first, tokens=5)

    step = await hold(send, ["a"], 20, Pace(seconds=0.5, target_ms=500), silent)
    assert 50 <= step.first_ms.p50 <= step.total_ms.p50 - 39
    assert 9.9 <= step.token_ms.p50 < 40
    assert step.first_ms.n == step.token_ms.n == step.calls


async def test_a_fault_of_the_way_itself_is_not_swallowed():
    async def send(text):
        raise RuntimeError("broken way")

    with pytest.raises(RuntimeError, match="broken way"):
        await hold(send, ["a"], 50, Pace(seconds=0.2, target_ms=1), silent)


@pytest.mark.slow
async def test_the_rate_is_raised_until_too_few_are_in_time():
    counter, heard = Counter(0.02), []
    steps, held = await saturate(
        counter.send, ["a"], Pace(seconds=20.0, target_ms=8000), lambda *said: heard.append(said)
    )
    assert [step.rate for step in steps] == sorted(step.rate for step in steps)
    assert held is not None
    assert 20 <= held <= 55, "one clerk serves 50 a second at most, though at 65 all waits are in time for so short"
    assert not steps[-1].held
    assert steps[-1].rate > held
    assert all(done <= total for _, done, total in heard)


def served(rate: float, seconds: float, took_s: float, clerks: int = 1, seed: int = 0) -> list[tuple[float, float]]:
    """When each call was due and when it was answered, by clerks who take so long for each: arithmetic, no clock."""
    free, made = [0.0] * clerks, []
    for due in arrivals(rate, seconds, seed):
        place = free.index(min(free))
        free[place] = max(free[place], due) + took_s
        made.append((due, free[place]))
    return made


@pytest.mark.parametrize(("seconds", "clerks", "took_s"), [(5, 1, 0.02), (20, 1, 0.02), (5, 20, 0.4), (5, 100, 2.0)])
def test_a_rate_above_what_they_can_do_is_behind_and_one_below_hardly_ever_by_chance(seconds, clerks, took_s):
    can = clerks / took_s
    for over in (1.4, 2.0):
        late = [keeps_up(served(over * can, seconds, took_s, clerks, seed), over * can) for seed in range(40)]
        assert sum(late) <= 1, f"{over:g} times what they can do"
    for under in (0.1, 0.5, 0.8, 1.0):
        well = [keeps_up(served(under * can, seconds, took_s, clerks, seed), under * can) for seed in range(40)]
        assert sum(well) >= 39, f"{under:g} times what they can do"


@pytest.mark.parametrize("seconds", [0.2, 0.5, 1])
def test_few_calls_are_not_called_behind_by_chance(seconds):
    for rate in (1, 5, 20):
        well = [keeps_up(served(rate, seconds, 0.02, seed=seed), rate) for seed in range(100)]
        assert sum(well) >= 98
    assert keeps_up([(0.1, 3.0)], 1.0), "one call that takes long is no queue"
    assert not keeps_up([], 1.0)


async def test_where_no_rate_holds_it_says_so():
    async def send(text):
        await asyncio.sleep(0.02)
        return Reply(error="engine_down")

    steps, held = await saturate(send, ["a"], Pace(seconds=0.05, target_ms=10), silent)
    assert held is None
    assert len(steps) > 3


def load(steps, held=None, url="") -> Load:
    return Load(
        task="tickets", candidate="<b>tickets@1.0.0</b>", url=url, split="test", seed=0, target_ms=200, steps=steps,
        target_of="[levels] p95_ms", held=held, machine="a machine", created="2026-11-26T11:00:00+00:00",
    )  # fmt: skip


def step(rate, goodput=1.0, scale=1.0, **more) -> Step:
    times = Times(p50=20 * scale, p95=60 * scale, p99=90 * scale, n=200)
    return Step(
        rate=rate, seconds=10, calls=200, answered=200, failed={}, answered_per_s=rate, goodput=goodput,
        total_ms=times, first_ms=None, token_ms=None, late_ms=0.4,
    )  # fmt: skip


def test_the_page_stands_alone_and_escapes_what_it_shows():
    page = html(load((step(10), step(20, scale=2), step(40, 0.4, scale=90)), held=20.0))
    assert "holds 20 calls a second with 95% of the calls in time" in page
    assert "<b>tickets" not in page
    assert "&lt;b&gt;tickets@1.0.0" in page
    assert not any(word in page for word in ("<script", "http://", "https://", "src="))
    assert page.count('class="wins"') == 2
    assert page.count("<svg") == 4


def test_a_load_is_said_in_a_line():
    assert load((step(10, 0.985),)).summary == "<b>tickets@1.0.0</b> at 10 calls a second: 98.5% of 200 calls in time"
    assert "holds no rate" in load((step(1, 0.1), step(2, 0.1))).summary
    behind = msgspec.structs.replace(step(10, 0.985), kept_up=False)
    assert load((behind,)).summary.endswith("98.5% of 200 calls in time, but answered more slowly than they came")
    assert "Behind means" in html(load((behind,)))
    assert "Behind means" not in html(load((step(10),)))


def test_steps_without_any_answer_have_a_page_too():
    none = Step(
        rate=5, seconds=1, calls=5, answered=0, failed={"engine_down": 5}, answered_per_s=0, goodput=0, total_ms=None,
        first_ms=None, token_ms=None, late_ms=0.1,
    )  # fmt: skip
    assert "engine_down 5" in html(load((none,)))

"""Waits of many tasks under one timer end when `asyncio.timeout` would end them, and never by mistake."""

import asyncio
import random
import time

import pytest
import uvloop

from insource.engines.alarm import Alarm


class Counting(asyncio.SelectorEventLoop):
    """Counts the timers that are made."""

    timers = 0

    def call_at(self, when, callback, *args, context=None):
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)


async def soon(value, seconds=0.0):
    await asyncio.sleep(seconds)
    return value


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Runs a story on either loop."""
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[request.param]

    def ran(story):
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(story)

    return ran


def test_what_comes_in_time_comes_and_what_does_not_is_a_timeout(run):
    async def story():
        alarm = Alarm()
        assert await alarm.wait(soon("a", 0.01), 5.0) == "a"
        began = time.perf_counter()
        with pytest.raises(TimeoutError):
            await alarm.wait(soon("b", 30), 0.1)
        assert 0.09 < time.perf_counter() - began < 5
        assert asyncio.current_task().cancelling() == 0
        assert await alarm.wait(soon("c", 0.01), 5.0) == "c", "after it, waiting goes on"

    run(story())


def test_without_any_time_left_what_is_there_at_once_still_comes(run):
    async def story():
        async def ready():
            return "a"

        alarm = Alarm()
        assert await alarm.wait(ready(), 0.0) == "a"
        with pytest.raises(TimeoutError):
            await alarm.wait(soon("b", 30), 0.0)

    run(story())


def test_each_of_many_at_once_has_its_own_time(run):
    async def story():
        alarm, dice = Alarm(), random.Random(7)  # noqa: S311 - the same waits each time

        async def one(needed, allowed):
            began = time.perf_counter()
            try:
                return await alarm.wait(soon("came", needed), allowed), None
            except TimeoutError:
                return "late", time.perf_counter() - began - allowed

        waits = [(needed, dice.choice([0.05, 0.1, 0.3, 5.0])) for needed in [0.0, 0.01, 30.0] * 40]
        waits = [(needed, min(allowed, 0.3) if needed > 5 else max(allowed, 5.0)) for needed, allowed in waits]
        for (needed, _), (what, after) in zip(waits, await asyncio.gather(*[one(*w) for w in waits]), strict=True):
            assert what == ("late" if needed > 5 else "came")
            assert after is None or -0.01 < after < 2
        assert not alarm._waits

    run(story())


def test_a_wait_of_a_task_within_another_of_its_own_ends_in_its_own_time(run):
    async def story():
        alarm = Alarm()

        async def outer():
            with pytest.raises(TimeoutError):
                await alarm.wait(soon("inner", 30), 0.05)
            return await soon("outer", 0.01)

        assert await alarm.wait(outer(), 5.0) == "outer"
        with pytest.raises(TimeoutError):
            await alarm.wait(alarm.wait(soon("inner", 30), 5.0), 0.05)
        assert asyncio.current_task().cancelling() == 0

    run(story())


def test_nobody_is_disturbed_who_does_not_wait(run):
    async def story():
        alarm = Alarm()
        await alarm.wait(soon("a"), 0.05)
        await asyncio.sleep(0.2)  # busy with what came, longer than the wait was allowed to be
        assert await alarm.wait(soon("b", 0.01), 0.05) == "b"

    run(story())


def test_who_is_cancelled_by_others_is_cancelled(run):
    async def story():
        alarm = Alarm()
        task = asyncio.ensure_future(alarm.wait(soon("a", 30), 10.0))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not alarm._waits

    run(story())


def test_two_cancellations_leave_the_other_one_standing(run):
    async def story():
        alarm = Alarm()

        async def turned_off():
            try:
                await asyncio.sleep(30)
            finally:
                asyncio.current_task().cancel()  # somebody else's, while ours is on its way

        with pytest.raises(asyncio.CancelledError):
            await asyncio.ensure_future(alarm.wait(turned_off(), 0.05))

    run(story())


def test_a_fault_that_comes_with_the_end_of_the_time_is_told_and_no_cancellation_stays(run):
    async def story():
        alarm = Alarm()

        async def fails():
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                raise ValueError("its own") from None

        with pytest.raises(ValueError, match="its own"):
            await alarm.wait(fails(), 0.05)
        assert asyncio.current_task().cancelling() == 0
        assert await alarm.wait(soon("a", 0.01), 5.0) == "a"

    run(story())


def test_it_goes_on_in_another_loop_but_not_in_two_at_once(run):
    alarm = Alarm()

    async def story():
        with pytest.raises(TimeoutError):
            await alarm.wait(soon("a", 30), 0.05)
        await alarm.wait(soon("b"), 60.0)  # leaves a timer behind in this loop

    run(story())
    run(story())

    async def elsewhere():
        with pytest.raises(RuntimeError, match="one loop"):
            await alarm.wait(coming := soon("c"), 1.0)
        coming.close()

    async def both():
        await alarm.wait(asyncio.to_thread(run, elsewhere()), 10.0)

    run(both())


def test_a_thousand_waits_take_one_timer():
    loop = Counting()

    async def story():
        alarm = Alarm()
        one_by_one = [await alarm.wait(asyncio.sleep(0, 1), 60.0) for _ in range(1000)]
        at_once = await asyncio.gather(*[alarm.wait(asyncio.sleep(0, 1), 60.0) for _ in range(1000)])
        return sum(one_by_one) + sum(at_once)

    assert loop.run_until_complete(story()) == 2000
    assert loop.timers == 1
    loop.close()

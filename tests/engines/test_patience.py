"""Waits under one timer end when `asyncio.timeout` would end them, and never by mistake."""

import asyncio
import time

import pytest
import uvloop

from insource.engines.patience import Patience


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
        with Patience() as patience:
            assert await patience.wait(soon("a", 0.01), 5.0) == "a"
            began = time.perf_counter()
            with pytest.raises(TimeoutError):
                await patience.wait(soon("b", 30), 0.1)
            assert 0.09 < time.perf_counter() - began < 5
            assert asyncio.current_task().cancelling() == 0
            assert await patience.wait(soon("c", 0.01), 5.0) == "c", "after it, waiting goes on"

    run(story())


def test_each_wait_has_its_whole_time(run):
    async def story():
        with Patience() as patience:
            for _ in range(6):  # in all longer than any of them may take
                assert await patience.wait(soon("a", 0.08), 0.25) == "a"

    run(story())


def test_a_short_wait_after_a_long_one_ends_in_its_own_time(run):
    async def story():
        with Patience() as patience:
            await patience.wait(soon("a"), 60.0)
            began = time.perf_counter()
            with pytest.raises(TimeoutError):
                await patience.wait(soon("b", 30), 0.05)
            assert time.perf_counter() - began < 5

    run(story())


def test_nobody_is_disturbed_who_does_not_wait(run):
    async def story():
        with Patience() as patience:
            await patience.wait(soon("a"), 0.05)
            await asyncio.sleep(0.2)  # busy with what came, longer than the wait was allowed to be
            assert await patience.wait(soon("b", 0.01), 0.05) == "b"
        await asyncio.sleep(0.1)

    run(story())


def test_who_is_cancelled_by_others_is_cancelled(run):
    async def story():
        async def waits():
            with Patience() as patience:
                await patience.wait(soon("a", 30), 10.0)

        task = asyncio.ensure_future(waits())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(story())


def test_two_cancellations_leave_the_other_one_standing(run):
    async def story():
        async def waits():
            with Patience() as patience:
                task = asyncio.current_task()

                async def turned_off():
                    try:
                        await asyncio.sleep(30)
                    finally:
                        task.cancel()  # somebody else's, while ours is on its way

                await patience.wait(turned_off(), 0.05)

        with pytest.raises(asyncio.CancelledError):
            await asyncio.ensure_future(waits())

    run(story())


def test_a_fault_that_comes_with_the_end_of_the_time_is_told_and_no_cancellation_stays(run):
    async def story():
        async def fails():
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                raise ValueError("its own") from None

        with Patience() as patience:
            with pytest.raises(ValueError, match="its own"):
                await patience.wait(fails(), 0.05)
            assert asyncio.current_task().cancelling() == 0
            assert await patience.wait(soon("a", 0.01), 5.0) == "a"

    run(story())


def test_a_thousand_waits_take_one_timer():
    loop = Counting()

    async def nothing():
        return 1

    async def story():
        with Patience() as patience:
            return sum([await patience.wait(nothing(), 60.0) for _ in range(1000)])

    assert loop.run_until_complete(story()) == 1000
    assert loop.timers == 1
    loop.close()

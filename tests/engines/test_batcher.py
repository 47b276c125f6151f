"""Calls become batches: by number, by length, in order, and what was cancelled is not run."""

import asyncio
import math
import threading
import time

import pytest

from insource.engines.batcher import LONGEST, Batcher
from insource.errors import EngineDown
from insource.nouns import Output, Prediction, Task, ask

TASK = Task(name="t", kind="classify", outputs=(Output(name="x", labels=("a", "b")),))


class Engine:
    """Notes each batch; the first one waits until `go` is set, so that the others queue."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self.batcher = Batcher(self.run, largest=4)

    def run(self, requests):
        self.batches.append([request.id for request in requests])
        self.go.wait(10)
        return [Prediction(text="a", engine="e", latency_ms=0) for _ in requests]

    async def story(self, *lengths: int) -> list[list[str]]:
        first = asyncio.create_task(self.batcher.submit(ask(TASK, "first", id="first")))
        while not self.batches:
            await asyncio.sleep(0.01)
        rest = [asyncio.create_task(self.batcher.submit(ask(TASK, "x" * n, id=str(i)))) for i, n in enumerate(lengths)]
        await asyncio.sleep(0.05)
        self.go.set()
        await asyncio.gather(first, *rest)
        await self.batcher.close()
        return self.batches[1:]


async def test_what_waits_is_one_batch_of_at_most_so_many():
    assert await Engine().story(1, 1, 1, 1, 1, 1) == [["0", "1", "2", "3"], ["4", "5"]]


async def test_long_texts_do_not_wait_for_one_another():
    assert await Engine().story(10, LONGEST * 3, LONGEST * 3, 10) == [["0"], ["1"], ["2"], ["3"]]


async def test_after_close_nothing_is_taken():
    engine = Engine()
    engine.go.set()
    await engine.batcher.close()
    with pytest.raises(EngineDown, match="closed"):
        await engine.batcher.submit(ask(TASK, "x", id="1"))


async def test_all_that_wait_when_it_is_closed_are_told():
    engine = Engine()
    calls = [asyncio.create_task(engine.batcher.submit(ask(TASK, "x", id=str(i)))) for i in range(20)]
    while not engine.batches:
        await asyncio.sleep(0.01)
    closing = asyncio.create_task(engine.batcher.close())
    await asyncio.sleep(0.05)
    engine.go.set()
    await asyncio.wait_for(closing, 5)
    found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert sum(isinstance(one, EngineDown) for one in found) >= 12, "more than one batch of four"


@pytest.mark.parametrize("fault", [AttributeError("my text"), KeyError("my key"), RuntimeError("my words"), None])
async def test_whatever_a_batch_raises_is_its_own_error_and_the_next_is_answered(fault):
    def run(requests):
        if requests[0].id == "bad" and fault:
            raise fault
        return [Prediction(text="a", engine="e", latency_ms=0) for request in requests if request.id != "bad"]

    batcher = Batcher(run)
    with pytest.raises(EngineDown, match="the engine") as raised:
        await asyncio.wait_for(batcher.submit(ask(TASK, "x", id="bad")), 5)
    assert not fault or str(fault.args[0]) not in str(raised.value), "it may quote another caller's text"
    assert not fault or raised.value.__cause__ is fault
    assert (await asyncio.wait_for(batcher.submit(ask(TASK, "x", id="good")), 5)).text == "a"
    await batcher.close()


async def sizes_of(callers: int, turns: int, after_s: float, *, first_s: float = 0.1, more_s: float = 0.0) -> list[int]:
    """The batches of callers that each ask again `after_s` and up to as much again after their answer."""
    sizes: list[int] = []

    def run(requests):
        sizes.append(len(requests))
        time.sleep(first_s + more_s * len(requests))
        return [Prediction(text="a", engine="e", latency_ms=0) for _ in requests]

    batcher = Batcher(run)

    async def caller(number: int) -> None:
        for turn in range(turns):
            await batcher.submit(ask(TASK, "x", id=str(turn)))
            await asyncio.sleep(after_s * (1 + number / callers))

    await asyncio.gather(*[caller(number) for number in range(callers)])
    await batcher.close()
    assert sum(sizes) == callers * turns
    return sizes


async def test_a_call_that_fails_at_once_keeps_nobody_from_being_held():
    """It says nothing of what a batch takes."""
    batcher = Batcher(lambda requests: [EngineDown("no") for _ in requests])
    for i in range(3):
        with pytest.raises(EngineDown):
            await batcher.submit(ask(TASK, "x", id=str(i)))
    await batcher.close()
    assert batcher._quickest == math.inf


@pytest.mark.parametrize(("callers", "after_s"), [(8, 0.0005), (4, 0.004), (16, 0.004)])
async def test_callers_that_come_back_soon_are_one_batch_from_then_on(callers, after_s):
    sizes = await sizes_of(callers, 12, after_s)
    assert len(sizes) <= 18, "in two halves, each of which waits for the other, they would be 24"


async def test_nobody_is_held_for_callers_that_come_back_late():
    sizes = await sizes_of(4, 6, 0.06, first_s=0.1)
    assert len(sizes) > 6, "in 0.06 s of 0.1 s a half of them is answered"


async def test_where_a_batch_less_saves_nothing_nobody_is_held_for_it():
    """A batch takes as much longer as it is larger: one at a time is no slower, and none waits for the rest."""
    sizes = await sizes_of(8, 6, 0.012, first_s=0.0, more_s=0.01)
    assert max(sizes[6:]) < 8

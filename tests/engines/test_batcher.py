"""Calls become batches: by number, by length, in order, and what was cancelled is not run."""

import asyncio
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


async def test_callers_that_come_back_one_after_the_other_stay_one_batch():
    sizes: list[int] = []

    def run(requests):
        sizes.append(len(requests))
        time.sleep(0.5)
        return [Prediction(text="a", engine="e", latency_ms=0) for _ in requests]

    batcher = Batcher(run)

    async def caller(number: int) -> None:
        for turn in range(3):
            await batcher.submit(ask(TASK, "x", id=str(turn)))
            await asyncio.sleep(0.0005 * number)

    await asyncio.gather(*[caller(number) for number in range(8)])
    await batcher.close()
    assert sum(sizes) == 24
    assert len(sizes) <= 4, "the very first may go alone"

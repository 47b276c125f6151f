"""Turns concurrent calls into batches: one worker thread, which takes whatever waits when it is free."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from insource.errors import EngineDown
from insource.nouns import Prediction, Request

LARGEST = 256
LONGEST = 200_000
PATIENCE = 0.02
Waiting = tuple[Request, asyncio.Future[Prediction], asyncio.AbstractEventLoop]


class Batcher:
    """Calls `run` with up to `largest` waiting requests at a time, in order of arrival, on its own thread.

    `run` returns one Prediction, or one exception as a value, per request. Whatever it raises is `EngineDown` for each
    call of that batch, and the next batch is run as ever. Cancelled requests are dropped before they are run.

    Callers that wait for an answer ask again a moment after it: a batch is therefore held for as many as the last had,
    at most `PATIENCE` of the time the last took, so that the first caller back is not answered alone before the rest.
    """

    def __init__(self, run: Callable[[list[Request]], list[Prediction | Exception]], *, largest: int = LARGEST) -> None:
        self._run = run
        self._largest = largest
        self._queue: deque[Waiting] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="insource-batcher", daemon=True)
        self._thread.start()

    async def submit(self, request: Request) -> Prediction:
        """The prediction for `request`. Raises what `run` gave for it, `EngineDown` after `close`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Prediction] = loop.create_future()
        with self._wake:
            if self._closed:
                raise EngineDown("the engine is closed")
            self._queue.append((request, future, loop))
            self._wake.notify()
        return await future

    async def close(self) -> None:
        """Stops after the running batch; what still waits gets `EngineDown`."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        size, seconds = 0, 0.0
        while True:
            with self._wake:
                while not self._queue and not self._closed:
                    self._wake.wait()
                self._wake.wait_for(partial(self._like, size), PATIENCE * seconds)
                taken = self._take()
                closed = self._closed
            if closed:
                for waiting in taken:
                    _settle(waiting, EngineDown("the engine is closed"))
                return
            batch = [waiting for waiting in taken if not waiting[1].cancelled()]
            start = time.perf_counter()
            for waiting, result in zip(batch, self._results([w[0] for w in batch]), strict=True):
                _settle(waiting, result)
            size, seconds = len(batch), time.perf_counter() - start

    def _like(self, size: int) -> bool:
        return self._closed or len(self._queue) >= size

    def _take(self) -> list[Waiting]:
        """The next batch: at most `largest` requests, of at most `LONGEST` characters together beyond the first."""
        taken: list[Waiting] = []
        size = 0
        while self._queue and len(taken) < self._largest:
            size += len(self._queue[0][0].input)
            if taken and size > LONGEST:
                break
            taken.append(self._queue.popleft())
        return taken

    def _results(self, requests: list[Request]) -> list[Prediction | Exception]:
        if not requests:
            return []
        try:
            results = self._run(requests)
        except Exception as error:  # noqa: BLE001 - else the thread ends, and every later call waits in vain
            return [_failed(error) for _ in requests]
        if len(results) != len(requests):
            return [EngineDown(f"the engine gave {len(results)} answers to {len(requests)} calls") for _ in requests]
        return results


def _failed(error: Exception) -> EngineDown:
    """What each caller of the batch hears: not the error's words, which may quote the text of another one."""
    down = EngineDown(f"the engine failed: {type(error).__name__}")
    down.__cause__ = error
    return down


def _settle(waiting: Waiting, result: Prediction | Exception) -> None:
    _, future, loop = waiting

    def set_result() -> None:
        if future.done():
            return
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(set_result)

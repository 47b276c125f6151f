"""Turns concurrent calls into batches: one worker thread, which takes whatever waits when it is free."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from insource.errors import EngineDown
from insource.nouns import Prediction, Request

LARGEST = 256
LONGEST = 200_000
SOON = 0.2  # of what a batch took: callers that are back by then are waited for
IN_A_ROW = 2  # batches whose callers came back soon: strangers may come as soon once
FORGETS = 1.02  # how much slower the quickest batch is taken to be after each one
Waiting = tuple[Request, asyncio.Future[Prediction], asyncio.AbstractEventLoop]


class Batcher:
    """Calls `run` with up to `largest` waiting requests at a time, in order of arrival, on its own thread.

    `run` returns one Prediction, or one exception as a value, per request. Whatever it raises is `EngineDown` for each
    call of that batch, and the next batch is run as ever. Cancelled requests are dropped before they are run.

    Callers that wait for an answer ask again a moment after it. Were the first of them back answered alone, the same
    callers would go on in two halves, each of which waits for the other. So a batch is held for as many as the last had
    and as waited meanwhile, where those of the two batches before came back soon: for twice as long as they took. Soon
    is at most half of what the quickest batch took, which is about what one batch less saves.
    """

    def __init__(self, run: Callable[[list[Request]], list[Prediction | Exception]], *, largest: int = LARGEST) -> None:
        self._run = run
        self._largest = largest
        self._queue: deque[Waiting] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._came = self._due = self._wanted = 0  # calls so far; how many when all of the last batch are back
        self._ended = self._took = 0.0
        self._backs = deque([math.inf] * IN_A_ROW, maxlen=IN_A_ROW)  # how long those of a batch took to come back
        self._quickest = math.inf
        self._full = False  # the last batch had no room for more
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
            self._came += 1
            if self._came == self._due:
                self._backs.append(time.perf_counter() - self._ended)
            self._wake.notify()
        return await future

    async def close(self) -> None:
        """Stops after the running batch; what still waits gets `EngineDown`."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closed:
                    self._wake.wait()
                back = max(self._backs)
                if back <= min(SOON * self._took, self._quickest / 2):
                    self._wake.wait_for(lambda: self._closed or len(self._queue) >= self._wanted, 2 * back)
                taken = list(self._queue) if self._closed else self._take()
                closed = self._closed
            if closed:
                for waiting in taken:
                    _settle(waiting, EngineDown("the engine is closed"))
                return
            batch = [waiting for waiting in taken if not waiting[1].cancelled()]
            start = time.perf_counter()
            results = self._results([waiting[0] for waiting in batch])
            if any(isinstance(one, Prediction) for one in results):
                self._done(len(batch), start)
            for waiting, result in zip(batch, results, strict=True):
                _settle(waiting, result)

    def _done(self, size: int, start: float) -> None:
        """Before its callers hear of it, notes how many they are and when they may begin to come back."""
        with self._wake:
            if self._came < self._due:  # of the batch before, not all came back while this one ran
                self._backs.append(math.inf)
            self._ended = time.perf_counter()
            self._took, self._due = self._ended - start, self._came + size
            self._quickest = min(self._took, self._quickest * FORGETS)
            self._wanted = size if self._full else min(self._largest, size + len(self._queue))

    def _take(self) -> list[Waiting]:
        """The next batch: at most `largest` requests, of at most `LONGEST` characters together beyond the first."""
        taken: list[Waiting] = []
        size, self._full = 0, False
        while self._queue and len(taken) < self._largest:
            size += len(self._queue[0][0].input)
            if taken and size > LONGEST:
                self._full = True
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

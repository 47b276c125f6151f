"""Many waits at once under one timer."""

import asyncio
import math
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")
NEAR_S = 0.001  # a loop counts milliseconds: a timer may ring so much early


class _Wait:
    """One wait: whose, until when by the loop's clock, and how often its task was cancelled before by others."""

    __slots__ = ("cancelled", "late", "task", "until")

    def __init__(self, task: asyncio.Task[Any], until: float, cancelled: int) -> None:
        self.task, self.until, self.cancelled = task, until, cancelled
        self.late = False

    def end(self) -> int:
        """Takes our cancellation back; how many by others are left."""
        self.late = False
        return self.task.uncancel()


class Alarm:
    """Ends what takes too long, as `asyncio.timeout` would; what many tasks of one loop wait for, at the same time.

    That makes a timer for every wait and takes it back, though next to none of them ever rings. Here one stays: it
    rings when the first of those that wait then is due, ends what is late, and is set anew.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings = math.inf
        self._waits: set[_Wait] = set()

    async def wait(self, coming: Awaitable[T], seconds: float) -> T:
        """What comes within `seconds`. Raises TimeoutError, and lets a cancellation by anyone else through."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can wait")
        loop = task.get_loop()
        if loop is not self._loop:
            self._move(loop)
        wait = _Wait(task, loop.time() + seconds, task.cancelling())
        self._waits.add(wait)
        if wait.until < self._rings:
            self._wind(loop, wait.until)
        try:
            return await coming
        except asyncio.CancelledError as error:
            if wait.late and wait.end() <= wait.cancelled:
                raise TimeoutError from error
            raise
        finally:
            self._waits.discard(wait)
            if wait.late:
                wait.end()

    def _move(self, loop: asyncio.AbstractEventLoop) -> None:
        """Goes to another loop, where nothing rings yet."""
        if self._waits:
            raise RuntimeError("an alarm is for one loop at a time")
        self._loop, self._timer, self._rings = loop, None, math.inf

    def _wind(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._rings = loop.call_at(until, self._ring, loop), until

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._rings = None, math.inf
        due = loop.time() + NEAR_S
        for wait in [wait for wait in self._waits if wait.until <= due and not wait.late]:
            wait.late = True
            wait.task.cancel()
        following = min((wait.until for wait in self._waits if not wait.late), default=math.inf)
        if following < math.inf:
            self._wind(loop, following)

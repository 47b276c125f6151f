"""Many short waits under one timer."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
NEAR_S = 0.001  # a loop counts milliseconds: a timer may ring so much early


class Timer:
    """Calls `ring` at a time that is moved often and seldom comes: one handle, which looks when due if it was moved.

    To ask the loop for another with every wait, and to take it back, costs more than all the rest of a short one.
    """

    __slots__ = ("_due", "_handle", "_loop", "_ring", "_until")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._handle: asyncio.TimerHandle | None = None
        self._due = self._until = 0.0

    def move(self, until: float) -> None:
        """From now on it rings at the loop's time `until`."""
        self._until = until
        if self._handle is None or until < self._due:
            self._wind()

    def stop(self) -> None:
        """It does not ring, until it is moved."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wind(self) -> None:
        self.stop()
        self._due = self._until
        self._handle = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._handle = None
        if self._until - self._loop.time() > NEAR_S:
            self._wind()
        else:
            self._ring()


class Patience:
    """A context for waits that follow each other, each with a time of its own, as `asyncio.timeout` would give it.

    One wait at a time.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = Timer(self._loop, self._ring)
        self._task: asyncio.Task[object] | None = None
        self._late = False

    def __enter__(self) -> "Patience":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.stop()

    async def wait(self, coming: Awaitable[T], seconds: float) -> T:
        """What comes within `seconds`. Raises TimeoutError, and lets a cancellation by anyone else through."""
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("only a task can wait")
        self._timer.move(self._loop.time() + seconds)
        cancelled = task.cancelling()
        self._task = task
        try:
            return await coming
        except asyncio.CancelledError as error:
            if self._late and self._own(task) <= cancelled:
                raise TimeoutError from error
            raise
        finally:
            self._task = None
            if self._late:
                self._own(task)

    def more(self, seconds: float) -> None:
        """From now on it is this long that the wait may go on."""
        self._timer.move(self._loop.time() + seconds)

    def _ring(self) -> None:
        if self._task is not None:  # else nobody waits now; the next wait winds it up
            self._late = True
            self._task.cancel()

    def _own(self, task: asyncio.Task[object]) -> int:
        """Takes our cancellation back; how many by others are left."""
        self._late = False
        return task.uncancel()

"""Many short waits under one timer."""

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
NEAR_S = 0.001  # a loop counts milliseconds: a timer may ring so much early


class Patience:
    """A context for waits that follow each other, each with a time of its own, as `asyncio.timeout` would give it.

    That makes a timer for every wait and takes it back; for the pieces of a stream it costs more than all the rest.
    Here one timer stays, and looks when it rings whether it was moved meanwhile. One wait at a time.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rings = self._until = 0.0
        self._task: asyncio.Task[object] | None = None
        self._late = False

    def __enter__(self) -> "Patience":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def wait(self, coming: Awaitable[T], seconds: float) -> T:
        """What comes within `seconds`. Raises TimeoutError, and lets a cancellation by anyone else through."""
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("only a task can wait")
        self._until = self._loop.time() + seconds
        if self._timer is None or self._rings > self._until:
            self._wind()
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
        self._until = self._loop.time() + seconds

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings = self._until
        self._timer = self._loop.call_at(self._rings, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return  # nobody waits now; the next wait winds it up
        if self._until - self._loop.time() > NEAR_S:
            self._wind()
            return
        self._late = True
        self._task.cancel()

    def _own(self, task: asyncio.Task[object]) -> int:
        """Takes our cancellation back; how many by others are left."""
        self._late = False
        return task.uncancel()

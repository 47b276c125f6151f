"""A thread beside the loop."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeAlias

Work = Callable[[], None]
Why: TypeAlias = Exception | None


class Worker:
    """Does one thing after the other in a thread of its own, and has the loop told of each.

    A pool and its futures do so for twice the processor time, and a durable call waits for this twice.
    """

    def __init__(self, name: str) -> None:
        self._todo: SimpleQueue[tuple[asyncio.AbstractEventLoop, Work, Callable[[Why], None]] | None] = SimpleQueue()
        # nobody waits for what it does when the interpreter ends
        self._its_thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread. Raises `RuntimeError` where there can be no more of them."""
        self._its_thread.start()

    def close(self) -> None:
        """Ends the thread after what it was given. Closing twice is fine."""
        self._todo.put(None)

    def do(self, work: Work, tell: Callable[[Why], None]) -> None:
        """Has `work` done; the running loop then calls `tell` with what it raised, None for nothing."""
        self._todo.put((asyncio.get_running_loop(), work, tell))

    async def done(self, work: Work) -> None:
        """Returns when `work` is done. Raises what it raised."""
        told: asyncio.Future[Why] = asyncio.get_running_loop().create_future()
        self.do(work, lambda failed: None if told.done() else told.set_result(failed))
        failed = await told
        if failed is not None:
            raise failed

    def _run(self) -> None:
        while (given := self._todo.get()) is not None:
            loop, work, tell = given
            failed = None
            try:
                work()
            except Exception as error:  # noqa: BLE001 - who waits is told of it, whatever it is
                failed = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(tell, failed)

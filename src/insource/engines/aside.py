"""Work on a thread that the end of the process does not wait for: what is far off may hang."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def aside(work: Callable[[], T]) -> Future[T]:
    """The work on a thread of its own. What it raises is heard by whoever waits for it."""
    future: Future[T] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()  # from here on nobody takes it back
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it goes to whoever waits
            future.set_exception(error)

    Thread(target=run, name="insource-aside", daemon=True).start()
    return future

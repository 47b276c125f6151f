"""Room for a compiler that goes as deep as the schema: llguidance follows references by recursion, in native code.

Where the stack ends such a recursion ends the process. A thread of our own has room for the deepest schema that
`decode.grammar` lets through (20,000 levels of some 8 KB); the memory is only reserved, not used, until needed.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

STACK = 256 * 1024 * 1024
STARTING = threading.Lock()  # the size is a setting of the process

T = TypeVar("T")


def on_a_deep_stack(call: Callable[[], T]) -> T:
    """What `call` returns or raises, run in a thread with 256 MB of stack."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            failed.append(error)

    with STARTING:
        before = threading.stack_size(STACK)
        try:
            thread = threading.Thread(target=run)
            thread.start()
        finally:
            threading.stack_size(before)
    thread.join()
    if failed:
        raise failed[0]
    return done[0]

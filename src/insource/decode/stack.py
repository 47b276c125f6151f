"""Room for a compiler that goes as deep as the schema: llguidance follows references by recursion, in native code.

Where the stack ends such a recursion ends the process. A thread of our own has room for the deepest schema that
`decode.grammar` lets through (20,000 levels of some 8 KB); the memory is only reserved, not used, until needed.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

STACK = 256 * 1024 * 1024
STARTING = threading.Lock()  # the size is a setting of the process

T = TypeVar("T")


def on_a_deep_stack(call: Callable[[], T]) -> T:
    """What `call` returns or raises, run in a thread with 256 MB of stack."""
    pool = ThreadPoolExecutor(max_workers=1)
    with STARTING:
        before = threading.stack_size(STACK)
        try:
            done = pool.submit(call)  # starts the thread
        finally:
            threading.stack_size(before)
    pool.shutdown(wait=False)
    return done.result()

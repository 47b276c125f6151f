"""Several calls at the same time, of which all are wanted."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def together(asked: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them come to, of one at least; the first that fails ends the others.

    `asyncio.gather` and a task group forget that they are cancelled where one fails at the same moment; this does not.
    """
    tasks = [asyncio.ensure_future(each) for each in asked]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        return [task.result() for task in (tasks if len(done) == len(tasks) else done)]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

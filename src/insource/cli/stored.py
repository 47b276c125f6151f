"""A verb's work on the store, which is opened for it and closed behind it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from insource.cli.door import Door, run
from insource.settings import Settings
from insource.store import Store

T = TypeVar("T")


def with_store(door: Door, work: Callable[[Settings, Store], Awaitable[T]]) -> T:
    """What `work` returns. Raises `StoreError`, and what `work` raises."""

    async def opened() -> T:
        settings = door.settings()
        async with await Store.open(settings) as store:
            return await work(settings, store)

    return run(opened())

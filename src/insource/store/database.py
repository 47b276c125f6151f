"""The seam between the store's words and the database that keeps them: SQLite in a file, or a PostgreSQL server.

Both run work in transactions, one piece at a time. One that writes is alone among all that `run` anywhere, so what is
looked at first and written then is still so; what calls write (`Commits`) goes beside it and only adds.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from insource.errors import StoreError
from insource.store.bulk import Sql

T = TypeVar("T")
Write = Callable[[Sql, list[Any]], None]


class Database(ABC):
    """A connection, and the thread that owns it. Each method raises `StoreError`, and what the work given raises."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="insource-store")

    async def open(self) -> None:
        """Connects, and makes the database where one can be made."""
        await self._submit(self._connect)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, once its transaction is committed."""
        return await self._submit(self._transact, work)

    async def look(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds at one moment, however long it looks: others write meanwhile."""
        return await self._submit(self._look, work)

    async def look_once(self, work: Callable[[Connection], T]) -> T:
        """As `look`, for work that may pause for long, and that cannot be done a second time."""
        return await self._submit(self._look_once, work)

    async def sync(self) -> None:
        """Makes durable whatever anybody wrote before."""
        await self._submit(self._sync)

    async def close(self) -> None:
        """Closes. Closing twice is fine."""
        if self._is_open():
            await self._submit(self._disconnect)
        self._executor.shutdown(wait=False)

    def at_once(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns of a database that is opened for it alone, in the thread that calls."""
        self._connect()
        try:
            return self._transact(work)
        finally:
            self._disconnect()

    async def _submit(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            future = self._executor.submit(work, *arguments)
        except RuntimeError as error:
            raise StoreError("the store is closed") from error
        return await asyncio.wrap_future(future)

    @abstractmethod
    def _connect(self) -> None: ...

    @abstractmethod
    def _disconnect(self) -> None: ...

    @abstractmethod
    def _is_open(self) -> bool: ...

    @abstractmethod
    def _transact(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    def _look(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    def _look_once(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    def _sync(self) -> None: ...


class Commits(Protocol):
    """Takes what calls write, many at a time, and tells each when it is durable."""

    @property
    def behind_s(self) -> float:
        """For how many seconds the first has waited to be told of those whose items are durable."""
        ...

    async def join(self, write: Write, item: Any) -> None:
        """Returns when `item` is durable. Raises `StoreError`."""
        ...

    async def close(self) -> None:
        """Commits what waits and closes. Closing twice is fine. Raises `StoreError`."""
        ...

"""Many small writes in one transaction on a shared server. What comes while one is under way goes with the next.

The server writes and syncs; PostgreSQL's COMMIT returns when the log is on the disk, and with `relaxed` before that
(synchronous_commit = off). All that a transaction writes is sent at once (libpq's pipeline mode).
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from insource.errors import InsourceError, StoreError
from insource.store.bulk import Sql
from insource.store.database import Write
from insource.store.links import newest
from insource.store.postgres import PostgresSql, Server, again, takes_none
from insource.store.verified import Own
from insource.store.worker import Why, Worker

MOST_CHAINS = 4_096
MOST_AT_ONCE = 1_024


class _Waiting(NamedTuple):
    """What waits for the next commit, how it is written, and who waits for it."""

    write: Write
    item: Any
    durable: asyncio.Future[None]


class _Sql(PostgresSql, Own):
    """The connection's statements, sent without waiting for what they say: there is nothing to fetch."""


class ServerCommit:
    """Writes what waits at one time in one transaction, on a connection of its own with an audit chain of its own.

    The chain is whose lock the connection holds: the first that is free. When the connection is lost so is the lock,
    once the server knows; the next connection takes whichever is free then. What is written by `first` comes before
    all else of a transaction.
    """

    def __init__(self, server: Server, *, relaxed: bool = False, first: Write | None = None) -> None:
        self._server, self._relaxed, self._first = server, relaxed, first
        self._worker = Worker("insource-commit")
        self._started = self._busy = self._closed = False
        self._waiting: list[_Waiting] = []
        self._connection: Any = None
        self._sql: _Sql | None = None

    @property
    def behind_s(self) -> float:
        """As `Commits.behind_s`: all of a commit are told at once."""
        return 0.0

    async def join(self, write: Write, item: Any) -> None:
        """As `Commits.join`."""
        if self._closed:
            raise StoreError("the store is closed")
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Waiting(write, item, durable))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._gather)
        await durable

    async def close(self) -> None:
        """As `Commits.close`."""
        while self._busy:
            with suppress(StoreError):  # whoever waited is told; the connection goes all the same
                await self.join(_nothing, None)
            await asyncio.sleep(0)
        self._closed = True
        if self._started:
            await self._worker.done(self._disconnect)
            self._started = False
            self._worker.close()

    def _gather(self, before: int = 0) -> None:
        """Commits once a turn of the loop, in which all that is ready goes on, brings nothing more to write."""
        count = len(self._waiting)
        if count != before and count < MOST_AT_ONCE:
            asyncio.get_running_loop().call_soon(self._gather, count)
            return
        taken, self._waiting = self._waiting, []
        errors: list[Why] = [None] * len(taken)
        if not self._started:
            try:
                self._worker.start()
            except RuntimeError as full:  # the system gives no thread
                self._told(taken, errors, full)
                return
            self._started = True
        self._worker.do(partial(self._written, taken, errors), partial(self._told, taken, errors))

    def _told(self, taken: list[_Waiting], errors: list[Why], bug: Why) -> None:
        for waiting, error in zip(taken, errors, strict=True):
            if waiting.durable.done():
                continue  # who waited was cancelled
            if error is None and bug is None:
                waiting.durable.set_result(None)
            else:
                waiting.durable.set_exception(bug or error or StoreError("not written"))
        if self._waiting:
            self._gather()
        else:
            self._busy = False

    def _written(self, taken: list[_Waiting], errors: list[Why]) -> None:
        """Writes all, in the worker's thread; into `errors` goes why one is not written."""
        try:
            self._transact(taken)
        except InsourceError as error:
            if len(taken) == 1 or self._connection is None:
                errors[:] = [error] * len(taken)
                return
            # One bad write must not cost the others: each gets a transaction and an error of its own.
            for place, waiting in enumerate(taken):
                try:
                    self._transact([waiting])
                except InsourceError as alone:
                    errors[place] = alone

    def _transact(self, taken: list[_Waiting]) -> None:
        """In one transaction, tried once more where it failed for another's sake or on a connection that had been lost.

        What then was committed after all cannot be written twice: each call has a name of its own.
        """
        by_kind: dict[Write, list[Any]] = {self._first: []} if self._first else {}
        for waiting in taken:
            by_kind.setdefault(waiting.write, []).append(waiting.item)
        fresh = self._connection is None
        try:
            self._try(by_kind)
        except StoreError as error:
            if not again(error) and (fresh or self._connection is not None):
                raise
            self._try(by_kind)

    def _try(self, by_kind: dict[Write, list[Any]]) -> None:
        with self._server.translated():
            sql = self._open()
            before = sql.head
            try:
                with self._connection.pipeline():
                    self._connection.execute("BEGIN")
                    for write, items in by_kind.items():
                        if items:
                            write(sql, items)
                    self._connection.execute("COMMIT")
            except BaseException as error:
                sql.head = before
                self._take_back(error)
                raise

    def _take_back(self, error: BaseException) -> None:
        """Ends the transaction that failed, or the connection where that cannot be done, or none will do better."""
        import psycopg

        if takes_none(error):
            self._disconnect()
            return
        try:
            self._connection.rollback()
        except psycopg.Error:  # it is lost
            self._disconnect()

    def _open(self) -> _Sql:
        if self._sql is None:
            import psycopg

            words = self._server.url.translate_connect_args(username="user", database="dbname")
            more = {**self._server.url.query, **self._server.connected()}
            self._connection = psycopg.connect(**words, **more, autocommit=True)
            try:
                if self._relaxed:
                    self._connection.execute("SET synchronous_commit = off")
                chain, sql = self._chain(), _Sql(self._connection.cursor())  # one for all that is written
                sql.head = newest(PostgresSql(self._connection), chain)
                self._sql = sql
            except BaseException:
                self._disconnect()
                raise
        return self._sql

    def _chain(self) -> int:
        """The first chain that nobody writes; it is ours as long as the connection lives."""
        for chain in range(1, MOST_CHAINS):
            ask = "SELECT pg_try_advisory_lock(%s::int, %s::int)"
            if self._connection.execute(ask, (self._server.locks, chain)).fetchone()[0]:
                return chain
        raise StoreError(f"more than {MOST_CHAINS} gateways write at once", hint="stop some")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._sql = None


def _nothing(_: Sql, __: list[Any]) -> None:
    """Waits for its turn."""

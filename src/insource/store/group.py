"""Many small writes with one fsync: written by the loop's own thread, made durable by another.

SQLite writes a row in microseconds. A change of threads under the interpreter's lock takes longer, and there is one at
every statement; so the loop writes rows itself, without the fsync, and a thread that needs no lock then syncs the log.
Nobody is told before that. With a write-ahead log this is what SQLite calls synchronous=FULL: the log is synced after
each commit, and at a checkpoint before the database is written (sqlite.org/wal.html, sqlite.org/pragma.html).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, NamedTuple

from insource.errors import StoreError
from insource.store.bulk import Sql
from insource.store.thread import BUSY_S, StoreThread, is_locked, open_log, sync, translated
from insource.store.worker import Why, Worker

Write = Callable[[Sql, list[Any]], None]
AGAIN_S = 0.001  # another connection writes: it is over soon
RELAXED_S = 1.0
GATHER_S = 0.004  # a loop that is never done with what is ready commits after so long
TOLD_AT_ONCE = 64
CHECKPOINT_COMMITS = 500  # a commit is about ten pages of 4 KB
PRAGMAS = ("synchronous=NORMAL", "wal_autocheckpoint=0", "mmap_size=0")


class _Waiting(NamedTuple):
    """What waits for the next commit, how it is written, and who waits for it."""

    write: Write
    item: Any
    durable: asyncio.Future[None]


class _AgainSoon(Exception):
    """Another connection writes now, says `error`."""

    def __init__(self, error: StoreError) -> None:
        super().__init__(str(error))
        self.error = error


class GroupCommit:
    """Writes what waits at one time in one transaction, beside the connection of `thread`, to the same file.

    With `relaxed` it tells who waits before the log is synced, which it then is once a second. What is written by
    `first` comes before all else of a transaction.
    """

    def __init__(self, thread: StoreThread, *, relaxed: bool = False, first: Write | None = None) -> None:
        self._store_thread, self._relaxed, self._first = thread, relaxed, first
        self._syncing: asyncio.TimerHandle | None = None
        self._worker = Worker("insource-sync")
        self._waiting: list[_Waiting] = []
        self._connection: Any = None
        self._cursor: Any = None  # one for all: to make one takes as long as to write a row
        self._held, self._log = ExitStack(), -1
        self._telling: deque[tuple[_Waiting, Why, float]] = deque()
        self._busy = self._closed = False
        self._since: float | None = None
        self._broken = ""
        self._commits = 0
        self._due = False
        self._emptying: asyncio.Task[None] | None = None

    @property
    def behind_s(self) -> float:
        """For how many seconds the first has waited to be told of those whose items are durable."""
        return asyncio.get_running_loop().time() - self._telling[0][2] if self._telling else 0.0

    async def join(self, write: Write, item: Any) -> None:
        """Returns when `item` is durable, committed together with whatever else waits. Raises `StoreError`.

        `write` is given all of the items that wait for it at once, in the order in which they came.
        """
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Waiting(write, item, durable))
        if not self._busy:  # else what is under way is followed by one more
            self._busy = True
            loop.call_soon(self._gather)
        await durable

    async def close(self) -> None:
        """Commits what waits and closes. Closing twice is fine. Raises `StoreError` where the last sync fails."""
        while self._busy or self._emptying is not None:
            emptying = self._emptying  # one that has ended waits itself for what is under way
            await (self.join(_nothing, None) if emptying is None or emptying.done() else emptying)
        before = self._broken
        if self._syncing is not None:
            self._syncing.cancel()
            self._sync_soon()
        if self._connection is not None:
            await self._worker.done(_at_rest)  # the log must be open until the syncs under way have ended
        self._closed = True
        self._worker.close()
        if self._connection is not None:
            self._held.close()
            with translated(self._store_thread.path):
                self._connection.close()
            self._connection = None
        if self._broken != before:
            raise StoreError(self._broken, hint="check the disk")

    def _gather(self, before: int = 0, until: float = 0.0) -> None:
        """Commits once a turn of the loop, in which all that is ready goes on, brings nothing more to write.

        `before` waited a turn ago, and `until` the loop's time at which it commits whatever comes.
        """
        loop = asyncio.get_running_loop()
        until, count = until or loop.time() + GATHER_S, len(self._waiting)
        if count == before or loop.time() > until:
            self._commit()
        else:
            loop.call_soon(self._gather, count, until)

    def _commit(self) -> None:
        """Writes what waits, and has it synced."""
        loop = asyncio.get_running_loop()
        taken = self._waiting
        try:
            errors = self._written(taken)
        except _AgainSoon as again:
            self._since = self._since or loop.time()
            if loop.time() - self._since < BUSY_S:
                loop.call_later(AGAIN_S, self._commit)
                return
            errors = [again.error] * len(taken)
        except BaseException:  # Ctrl-C: the loop goes on for as long as it takes to end, and who waits is told
            loop.call_soon(self._commit)
            raise
        self._since = None
        self._waiting = []
        if all(errors):
            self._told(taken, errors)
            return
        if self._relaxed:
            self._syncing = self._syncing or loop.call_later(RELAXED_S, self._sync_soon)
            self._told(taken, errors)
            return
        self._worker.do(partial(sync, self._log), partial(self._synced, taken, errors))

    def _written(self, taken: list[_Waiting]) -> list[Why]:
        """Why each is not in the log. Raises `_AgainSoon` when another connection writes now."""
        try:
            self._check()
            self._open()
            self._transact(taken)
        except StoreError as error:
            if is_locked(error):
                raise _AgainSoon(error) from error
            if len(taken) == 1 or self._connection is None or self._broken or self._closed:
                return [error] * len(taken)
            # One bad write must not cost the others: each gets a transaction and an error of its own.
            return [self._alone(waiting) for waiting in taken]
        except Exception as bug:  # noqa: BLE001 - who waits is told of it, else all would wait for ever
            return [bug] * len(taken)
        return [None] * len(taken)

    def _alone(self, waiting: _Waiting) -> Why:
        try:
            self._transact([waiting])
        except StoreError as error:
            return error
        return None

    def _transact(self, taken: list[_Waiting]) -> None:
        by_kind: dict[Write, list[Any]] = {self._first: []} if self._first else {}
        for waiting in taken:
            by_kind.setdefault(waiting.write, []).append(waiting.item)
        sql = self._cursor
        with translated(self._store_thread.path):
            sql.execute("BEGIN IMMEDIATE")
            try:
                for write, items in by_kind.items():
                    if items:
                        write(sql, items)
                sql.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    sql.execute("ROLLBACK")
                raise

    def _sync_soon(self) -> None:
        """Has the log synced for those who were told already."""
        self._syncing = None
        self._worker.do(partial(sync, self._log), self._heard)

    def _heard(self, failed: Why) -> None:
        if failed is not None:
            # What an fsync could not write may be marked as written: the next one would wrongly succeed.
            self._broken = f"the store {self._store_thread.path} could not be synced: {failed}"

    def _synced(self, taken: list[_Waiting], errors: list[Why], failed: Why) -> None:
        self._heard(failed)
        try:
            self._check()  # removed meanwhile: what was committed went to a file that nobody will find again
        except StoreError as error:
            errors = [error] * len(taken)
        self._told(taken, errors)

    def _told(self, taken: list[_Waiting], errors: Sequence[Why]) -> None:
        """Tells who waited, and goes on."""
        since, telling = asyncio.get_running_loop().time(), bool(self._telling)
        self._telling.extend([(waiting, error, since) for waiting, error in zip(taken, errors, strict=True)])
        if not telling:
            self._tell()
        self._commits += 1
        if self._commits == CHECKPOINT_COMMITS:
            self._emptying = asyncio.get_running_loop().create_task(self._empty_most())
        self._go_on()

    def _tell(self) -> None:
        """Tells some, the rest in the next turns of the loop: in between it hears who comes."""
        for _ in range(min(TOLD_AT_ONCE, len(self._telling))):
            waiting, error, _ = self._telling.popleft()
            if waiting.durable.done():
                continue  # who waited was cancelled
            if error is None:
                waiting.durable.set_result(None)
            else:
                waiting.durable.set_exception(error)
        if self._telling:
            asyncio.get_running_loop().call_soon(self._tell)

    def _go_on(self) -> None:
        if self._due:
            self._due = False
            self._emptying = asyncio.get_running_loop().create_task(self._empty_rest())
        elif self._waiting:
            asyncio.get_running_loop().call_soon(self._gather)
        else:
            self._busy = False

    async def _empty_most(self) -> None:
        """Puts most of the log into the database, while calls go on."""
        with suppress(StoreError):
            await self._store_thread.checkpoint()
        self._due = True
        if not self._busy:
            self._busy = True
            self._go_on()

    async def _empty_rest(self) -> None:
        """Puts the little that came meanwhile into it, while nobody writes: only then the log begins anew."""
        with suppress(StoreError):
            await self._worker.done(self._checkpoint)
        self._commits, self._emptying = 0, None
        self._go_on()

    def _checkpoint(self) -> None:
        """On the connection of the loop, which does not use it meanwhile: the other may be busy for long."""
        with translated(self._store_thread.path):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _check(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")
        if self._broken:
            raise StoreError(self._broken, hint="check the disk, then start again")
        self._store_thread.check_there()

    def _open(self) -> None:
        if self._connection is not None:
            return
        import pysqlite3.dbapi2 as sqlite

        sqlite.register_adapter(type(None), _itself)  # a type with none is searched for one, 0.8 µs for each None
        path = str(self._store_thread.path)
        with translated(self._store_thread.path):
            connection = sqlite.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute("SELECT count(*) FROM migration").fetchall()  # from here on the log is there
        self._log = self._held.enter_context(open_log(self._store_thread.path))
        self._worker.start()
        self._connection, self._cursor = connection, connection.cursor()


def _itself(value: None) -> None:
    """How None is written: as it is."""
    return value


def _at_rest() -> None:
    """What the worker comes to when all before it is done."""


def _nothing(_: Sql, __: list[Any]) -> None:
    """Waits for its turn."""

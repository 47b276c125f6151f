"""The one thread that owns the one connection. SQLite with one writer, WAL and an fsync at every commit."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from insource.errors import StoreError

T = TypeVar("T")
Write = Callable[[Connection, list[Any]], None]
BUSY_S = 10.0
REPAIR = "insource store restore FILE brings a backup back"


class _Waiting(NamedTuple):
    """What waits for the next commit, how it is written, and who waits for it."""

    write: Write
    item: Any
    durable: asyncio.Future[None]


class StoreThread:
    """Runs work on the database, one piece at a time, each in a transaction of its own.

    `run` is for everything; `join` is for small writes under load: all that wait are committed with one fsync.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="insource-store")
        self._waiting: deque[_Waiting] = deque()
        self._flushing = False
        self._connection: Connection | None = None
        self._file = (0, 0)

    async def open(self) -> None:
        """Opens the database, making it when there is none. Raises `StoreError`."""
        await self._submit(self._connect)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, once its transaction is committed. Raises `StoreError`, or what `work` raised."""
        return await self._submit(self._transact, work)

    async def join(self, write: Write, item: Any) -> None:
        """Returns when `item` is durable, committed together with whatever else waits. Raises `StoreError`.

        `write` is given all of the items that wait for it at once, in the order in which they came.
        """
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(write, item, durable))
        if not self._flushing:  # else the flush that is under way is followed by one more
            self._begin_flush()
        await durable

    async def close(self) -> None:
        """Commits what waits and closes. Closing twice is fine."""
        if self._connection is not None:
            while self._flushing:
                await self._submit(_nothing)
            await self._submit(self._disconnect)
        self._executor.shutdown(wait=False)

    async def _submit(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            future = self._executor.submit(work, *arguments)
        except RuntimeError as error:
            raise StoreError("the store is closed") from error
        return await asyncio.wrap_future(future)

    def _connect(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {self.path.parent}: {error.strerror}") from error
        with translated(self.path):
            self._connection = sqlite_engine(self.path).connect()
        self._file = _identity(self.path)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with translated(self.path):
                self._connection.close()
                self._connection.engine.dispose()
            self._connection = None

    def _transact(self, work: Callable[[Connection], T]) -> T:
        if self._connection is None:
            raise StoreError("the store is closed")
        self._check_there()
        with translated(self.path), self._connection.begin():
            found = work(self._connection)
        self._check_there()  # removed meanwhile: what was committed went to a file that nobody will find again
        return found

    def _check_there(self) -> None:
        if _identity(self.path) != self._file:
            raise StoreError(
                f"the store {self.path} was removed or replaced while it was open",
                hint=f"stop what uses it; {REPAIR}",
                at=str(self.path),
            )

    def _begin_flush(self) -> None:
        taken = list(self._waiting)
        self._waiting.clear()
        try:
            written = self._executor.submit(self._flush, taken)
        except RuntimeError:
            _tell(taken, [StoreError("the store is closed")] * len(taken))
            return
        self._flushing = True
        loop = asyncio.get_running_loop()
        written.add_done_callback(lambda done: loop.call_soon_threadsafe(self._flushed, taken, done))

    def _flushed(self, taken: list[_Waiting], written: Future[list[StoreError | None]]) -> None:
        self._flushing = False
        if self._waiting:
            self._begin_flush()
        bug = written.exception()
        _tell(taken, [bug] * len(taken) if bug else written.result())

    def _flush(self, taken: list[_Waiting]) -> list[StoreError | None]:
        """Writes them with one commit, and says of each why it is not durable."""
        try:
            self._transact(lambda connection: _write(connection, taken))
        except StoreError:
            # One bad write must not cost the others: each gets a transaction and an error of its own.
            return [self._flush_alone(waiting) for waiting in taken]
        return [None] * len(taken)

    def _flush_alone(self, waiting: _Waiting) -> StoreError | None:
        try:
            self._transact(lambda connection: waiting.write(connection, [waiting.item]))
        except StoreError as error:
            return error
        return None


def _write(connection: Connection, taken: list[_Waiting]) -> None:
    by_kind: dict[Write, list[Any]] = {}
    for waiting in taken:
        by_kind.setdefault(waiting.write, []).append(waiting.item)
    for write, items in by_kind.items():
        write(connection, items)


def _tell(taken: list[_Waiting], errors: Sequence[BaseException | None]) -> None:
    for waiting, error in zip(taken, errors, strict=True):
        if waiting.durable.done():
            continue  # who waited was cancelled
        if error is None:
            waiting.durable.set_result(None)
        else:
            waiting.durable.set_exception(error)


def _nothing() -> None:
    """Takes the thread's turn."""


def _identity(path: Path) -> tuple[int, int]:
    """Which file the path names now: device and inode, zeros without one."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def sqlite_engine(path: Path) -> Engine:
    """An engine with one connection to the SQLite file at `path`, through the SQLite that pysqlite3 brings.

    Python's own may be older than 3.51.3, which can corrupt a WAL file when two processes checkpoint at once.
    """
    import pysqlite3.dbapi2

    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        module=pysqlite3.dbapi2,
        poolclass=StaticPool,
        connect_args={"timeout": BUSY_S},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "mmap_size=0"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns the database's errors into `StoreError` with what to do about it."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error)
        raise StoreError(f"the store {path} failed: {reason}", hint=_hint(reason), at=str(path)) from error


def _hint(reason: str) -> str:
    text = reason.lower()
    if "malformed" in text or "not a database" in text:
        return f"the file is damaged: {REPAIR}"
    if "full" in text or "disk i/o" in text:
        return "free some space on that disk; nothing half-written was kept"
    if "locked" in text:
        return "another process holds it for long; try again"
    if "readonly" in text or "unable to open" in text:
        return "check who may write to that file and its folder"
    return REPAIR

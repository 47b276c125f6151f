"""The one thread that owns the one connection. SQLite with one writer, WAL and an fsync at every commit."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from insource.errors import StoreError

T = TypeVar("T")
Write = Callable[[Connection], None]
BUSY_S = 10.0
REPAIR = "insource store restore FILE brings a backup back"


class _Waiting:
    """A write that waits for the next commit; `done` once it is durable, else `error` says why not."""

    def __init__(self, write: Write) -> None:
        self.write = write
        self.done = False
        self.error: StoreError | None = None


class StoreThread:
    """Runs work on the database, one piece at a time, each in a transaction of its own.

    `run` is for everything; `join` is for small writes under load: all that wait are committed with one fsync.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="insource-store")
        self._waiting: deque[_Waiting] = deque()
        self._connection: Connection | None = None
        self._file = (0, 0)

    async def open(self) -> None:
        """Opens the database, making it when there is none. Raises `StoreError`."""
        await self._submit(self._connect)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, once its transaction is committed. Raises `StoreError`, or what `work` raised."""
        return await self._submit(self._transact, work)

    async def join(self, write: Write) -> None:
        """Returns when `write` is durable, committed together with whatever else waits. Raises `StoreError`."""
        waiting = _Waiting(write)
        self._waiting.append(waiting)
        # One flush per write is enough: the first that runs takes all that wait, the others find nothing to do.
        await self._submit(self._flush)
        if not waiting.done:
            raise waiting.error or StoreError("the store did not take the write")

    async def close(self) -> None:
        """Commits what waits and closes. Closing twice is fine."""
        if self._connection is not None:
            await self._submit(self._flush)
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

    def _flush(self) -> None:
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not taken:
            return
        try:
            self._transact(lambda connection: [waiting.write(connection) for waiting in taken])
        except StoreError:
            # One bad write must not cost the others: each gets a transaction and an error of its own.
            for waiting in taken:
                self._flush_alone(waiting)
            return
        for waiting in taken:
            waiting.done = True

    def _flush_alone(self, waiting: _Waiting) -> None:
        try:
            self._transact(waiting.write)
        except StoreError as error:
            waiting.error = error
        else:
            waiting.done = True


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

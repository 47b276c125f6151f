"""The thread that owns the connection for everything but calls. SQLite in WAL mode, an fsync at every commit."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from insource.errors import StoreError
from insource.store.bulk import driver
from insource.store.database import Database

T = TypeVar("T")
BUSY_S = 10.0
READS = "reads"  # in `Connection.info`: the transaction that begins writes nothing
REPAIR = "insource store restore FILE brings a backup back"


class StoreThread(Database):
    """The SQLite file at `path`. Small writes under load have a way of their own beside it, `store.group`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._connection: Connection | None = None
        self._file = (0, 0)

    async def checkpoint(self) -> None:
        """Puts what the log holds into the database, as far as nobody reads it. Raises `StoreError`."""
        await self._submit(self._checkpoint)

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

    def _is_open(self) -> bool:
        return self._connection is not None

    def _transact(self, work: Callable[[Connection], T]) -> T:
        if self._connection is None:
            raise StoreError("the store is closed")
        self.check_there()
        with translated(self.path), self._connection.begin():
            found = work(self._connection)
        self.check_there()  # removed meanwhile: what was committed went to a file that nobody will find again
        return found

    def _look(self, work: Callable[[Connection], T]) -> T:
        if self._connection is None:
            raise StoreError("the store is closed")
        self.check_there()
        self._connection.info[READS] = True
        try:
            with translated(self.path), self._connection.begin():
                return work(self._connection)
        finally:
            del self._connection.info[READS]

    def _look_once(self, work: Callable[[Connection], T]) -> T:
        return self._look(work)

    def _sync(self) -> None:
        try:
            with open_log(self.path) as log:
                sync(log)
        except OSError as error:
            raise StoreError(f"the store {self.path} cannot be synced: {error.strerror}", hint=REPAIR) from error

    def _checkpoint(self) -> None:
        if self._connection is not None:
            with translated(self.path):
                driver(self._connection).execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def check_there(self) -> None:
        """Raises `StoreError` when the file is not the one that was opened."""
        if _identity(self.path) != self._file:
            raise StoreError(
                f"the store {self.path} was removed or replaced while it was open",
                hint=f"stop what uses it; {REPAIR}",
                at=str(self.path),
            )


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[int]:
    """The write-ahead log of the database at `path`, which is open, as a file descriptor. Raises `StoreError`."""
    try:
        log = os.open(f"{path}-wal", os.O_RDWR)
    except OSError as error:
        raise StoreError(f"the log of {path} cannot be opened: {error.strerror}", hint=REPAIR) from error
    try:
        yield log
    finally:
        os.close(log)


def sync(log: int) -> None:
    """Returns when all that was written to the file is on the disk. Raises `OSError`."""
    getattr(os, "fdatasync", os.fsync)(log)


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
    connection.exec_driver_sql("BEGIN" if READS in connection.info else "BEGIN IMMEDIATE")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns the database's errors into `StoreError` with what to do about it."""
    import pysqlite3.dbapi2 as sqlite

    try:
        yield
    except (SQLAlchemyError, sqlite.Error) as error:
        reason = str(getattr(error, "orig", None) or error)
        raise StoreError(f"the store {path} failed: {reason}", hint=_hint(reason), at=str(path)) from error


def is_locked(error: StoreError) -> bool:
    """Whether it failed because another connection writes."""
    return "locked" in str(error.__cause__).lower()


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

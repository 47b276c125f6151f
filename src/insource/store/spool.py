"""Where calls go that the store does not take: files of this process alone, on another disk, durable line by line.

All lines that wait are written together and flushed to the disk once. A file is locked as long as its process lives, so
that whoever can lock it knows that nobody writes there any more.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from insource.errors import InsourceError, StoreError
from insource.nouns import record_id, to_json
from insource.store.files import FULL, settle
from insource.store.process import this_process
from insource.store.spool_file import AROUND, Line, Place, framed, in_folder, name_of, opening

ROOM = 8192  # bytes kept free for the end of each call whose beginning lies here
HEAD = 1024  # the same for the first line of a file


@dataclass
class Own:
    """A file of this process, open and locked. Up to `end` it is durable, up to `carried` it is in the store."""

    path: Path
    number: int
    end: int
    hash: str
    carried: Place

    def __post_init__(self) -> None:
        self.begins = self.end


class Spool:
    """Takes lines, in order, into `folder`, of which all files have `most_bytes` at most, as counted by `prepare`.

    Not for several threads. Each method that touches the disk raises `StoreError` with what to do.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self._most = folder, most_bytes - HEAD
        self.own: list[Own] = []
        self.bytes = 0
        self._file: Own | None = None
        self._begun: set[str] = set()
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="insource-spool")

    @property
    def full(self) -> bool:
        """Whether no more calls can be begun."""
        return self.bytes + HEAD + ROOM * (len(self._begun) + 1) > self._most

    def prepare(self) -> None:
        """Makes the folder, for its owner alone, sees that a file can be made there, and how much it holds."""
        with _disk(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            settle(self.folder.parent)
            _let_go(_new(self.folder), keep=False)
            self.bytes = sum(path.stat().st_size for path in in_folder(self.folder))

    async def probe(self) -> None:
        """Makes a file and removes it. Raises `StoreError` when that cannot be done now."""
        await self._in_thread(lambda: _let_go(_new(self.folder), keep=False))

    async def add(self, line: Line) -> None:
        """Returns when the line is durable. Raises `StoreError` when it is not, or the spool is full.

        A call is begun only where there is room for its end too.
        """
        body = to_json(line)
        size, begun = len(body) + AROUND, line.intent.id if line.intent else ""
        if line.record:
            self._begun.discard(line.record.id)
        self._admit(size, begun)
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append((body, durable))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        try:
            await durable
        except StoreError:
            self.bytes -= size
            self._begun.discard(begun)
            raise

    async def idle(self) -> None:
        """Returns when nothing waits to be written."""
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def drop(self, own: Own, *, keep: bool = False) -> None:
        """Lets go of a file: it is removed, unless it is to `keep`. Nothing may wait to be written."""
        self.own.remove(own)
        if own is self._file:
            self._file = None
        self.bytes -= 0 if keep else own.end - own.begins
        await self._in_thread(lambda: _let_go(own, keep=keep))
        if not self.own:
            self._begun.clear()

    def _admit(self, size: int, begun: str) -> None:
        room = ROOM * (len(self._begun) + 1) if begun else 0
        if self.bytes + size + room > self._most:
            raise StoreError(
                f"the store is down, and its spool {self.folder} is full with {self.bytes:,} bytes",
                hint="bring the store back; audit.spool_bytes sets the limit",
                at=str(self.folder),
            )
        if begun:
            self._begun.add(begun)
        self.bytes += size

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, []
                await self._write_some(taken)
        finally:
            self._writing = None

    async def _write_some(self, taken: list[tuple[bytes, asyncio.Future[None]]]) -> None:
        error: Exception | None = None
        try:
            await self._in_thread(lambda: self._write([body for body, _ in taken]))
        except InsourceError as raised:
            error = raised
        except BaseException as bug:  # nobody is told that a line is durable when that is not known
            error = bug if isinstance(bug, Exception) else StoreError("the spool was stopped in the middle")
            raise
        finally:
            for _, durable in taken:
                if durable.done():
                    continue  # who waited was cancelled
                if error is None:
                    durable.set_result(None)
                else:
                    durable.set_exception(error)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _write(self, bodies: list[bytes]) -> None:
        """Adds a line each, with one flush; all or none of them."""
        if self._file is None:
            self._file = _new(self.folder)
            self.own.append(self._file)
        own = self._file
        after, lines = own.hash, list[bytes]()
        for body in bodies:
            line, after = framed(after, body)
            lines.append(line)
        data = b"".join(lines)
        with _disk(own.path):
            try:
                _put(own.number, data)
            except OSError:
                if not _cut(own):
                    self._file = None  # what follows goes to a file without a half line in the middle
                raise
        own.end, own.hash = own.end + len(data), after


def _new(folder: Path) -> Own:
    """A file with its first line, open and locked before anybody can find it."""
    path = folder / name_of(this_process(), record_id())
    part = path.with_name(f".{path.name}.part")
    head, after = framed(Place().hash, to_json(opening()))
    with _disk(path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _put(number, head)
            part.rename(path)
            settle(folder)
        except OSError:
            os.close(number)
            part.unlink(missing_ok=True)
            raise
    return Own(path, number, len(head), after, Place(len(head), 1, after))


def _put(number: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(number, left) :]
    os.fsync(number)


def _cut(own: Own) -> bool:
    """Takes away what was written in vain; whether that went."""
    try:
        os.ftruncate(own.number, own.end)
    except OSError:
        return False
    return True


def _let_go(own: Own, *, keep: bool) -> None:
    try:
        if not keep:
            remove(own.path)
    finally:
        os.close(own.number)


def remove(path: Path) -> None:
    """Removes a spool file, for good. Raises `StoreError`."""
    with _disk(path):
        path.unlink(missing_ok=True)
        settle(path.parent)


@contextmanager
def nobodys(path: Path) -> Iterator[bool]:
    """Whether the file is there and its process is gone; it is ours alone meanwhile.

    Raises `StoreError`, also for a file that may not be written: nobody can tell of it that it is ours.
    """
    with _disk(path):
        try:
            number = os.open(path, os.O_RDWR)  # NFS locks for one alone only what is open for writing
        except FileNotFoundError:
            number = -1
    try:
        with _disk(path):
            ours = number >= 0 and _locked(number) and _is(number, path)
        yield ours
    finally:
        if number >= 0:
            os.close(number)


def _locked(number: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _is(number: int, path: Path) -> bool:
    """Whether the open file is still what the path names: another process may just have carried it in."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(number), path.stat())
    return False


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "free some space on that disk" if error.errno in FULL else "check that disk, and who may write there"
        raise StoreError(f"the spool {path} cannot be written: {error.strerror}", hint=hint, at=str(path)) from error

"""What leaves this machine, for whom and where to: a file of counts that any process of the workspace adds to.

Counts are gathered in memory. A destination that is new to this process, or its first refusal, is written at once,
the rest every `LATE_S` seconds and at the end: a killed process loses counts of some seconds, never a destination.
What cannot be written stays in memory and is tried again; connections do not wait for a disk.
"""

import fcntl
import os
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from insource.nouns import Noun, to_json

FILE = "egress.jsonl"
LATE_S = 5.0
FOLD_BYTES = 1_000_000  # a longer file is summed up


class Egress(Noun, frozen=True, kw_only=True):
    """What one purpose had to do with one destination (host:port) from `first` to `last`, UTC.

    `connections` were tried, be it in vain; `refused` were not tried, and `why` says why not. `address` is the last
    that the host was resolved to. `sent` are bytes of request bodies. `via` is the proxy (host:port) that was called
    for it, whose `address` it is then; empty where there was none.
    """

    purpose: str
    destination: str
    region: str
    address: str
    first: str
    last: str
    connections: int = 0
    refused: int = 0
    sent: int = 0
    why: str = ""
    via: str = ""

    @property
    def place(self) -> str:
        """Where it went, and by which proxy."""
        return f"{self.destination} via {self.via}" if self.via else self.destination


class Journal:
    """Adds to the file at `path`; None keeps nothing. Safe to use from several threads and processes at once."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str, bool], Egress] = {}
        self._known: set[tuple[str, str, bool]] = set()
        self._written = time.monotonic()

    def note(self, one: Egress) -> None:
        """Counts `one`."""
        if self._path is None:
            return
        key = (one.purpose, one.destination, bool(one.refused))
        with self._lock:
            before = self._waiting.get(key)
            self._waiting[key] = one if before is None else _joined(before, one)
            if key not in self._known or time.monotonic() - self._written >= LATE_S:
                self._write(self._path)

    def flush(self) -> None:
        """Writes what waits."""
        with self._lock:
            if self._path is not None and self._waiting:
                self._write(self._path)

    def _write(self, path: Path) -> None:
        self._written = time.monotonic()
        with suppress(OSError):
            _append(path, self._waiting.values())
            self._known |= self._waiting.keys()
            self._waiting.clear()


def now() -> str:
    """The time as the journal has it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read(paths: Iterable[Path]) -> tuple[list[Egress], int]:
    """What the files hold, summed up by purpose, destination and proxy, and how many lines could not be read."""
    return _summed(b"\n".join(whole(path) for path in paths))


def whole(path: Path) -> bytes:
    """The file as it is between two writes; b"" where there is none."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return file.read()
    except FileNotFoundError:
        return b""


def _summed(data: bytes) -> tuple[list[Egress], int]:
    found: dict[tuple[str, str, str], Egress] = {}
    spoiled = 0
    for line in filter(None, data.splitlines()):
        try:
            one = msgspec.json.decode(line, type=Egress)
        except (msgspec.DecodeError, UnicodeDecodeError):
            spoiled += 1
            continue
        key = (one.purpose, one.destination, one.via)
        found[key] = _joined(found[key], one) if key in found else one
    return sorted(found.values(), key=lambda one: (one.purpose, one.destination, one.via)), spoiled


def _joined(one: Egress, other: Egress) -> Egress:
    late = max(one, other, key=lambda each: each.last)
    return msgspec.structs.replace(
        late,
        first=min(one.first, other.first),
        connections=one.connections + other.connections,
        refused=one.refused + other.refused,
        sent=one.sent + other.sent,
        address=late.address or one.address or other.address,
        why=late.why or one.why or other.why,
    )


def _append(path: Path, added: Iterable[Egress]) -> None:
    """Adds a line each. The file is locked meanwhile, and summed up where it has grown long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # a line that a full disk cut short must not spoil the next
    lines = b"".join(b"\n" + to_json(one) for one in added)
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is(file, path):
                continue  # another process has just put a shorter one in its place
            file.write(lines)
            file.flush()
            if file.tell() > FOLD_BYTES:
                with suppress(OSError):  # what was added is there, and must not be added again
                    _fold(path)
            return


def _is(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _fold(path: Path) -> None:
    """Puts the sums in the file's place; one with lines that cannot be read is left as it is, for it is evidence."""
    found, spoiled = _summed(path.read_bytes())
    if spoiled:
        return
    # a name of its own: whoever waits for the file that we put in its place may fold that one while we end
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.write_bytes(b"".join(b"\n" + to_json(one) for one in found))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)

"""Files outside the database: written whole or not at all, and what a disk refuses said with what to do."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from insource.errors import Conflict, StoreError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turns a failed write of `path` into a `StoreError` that says what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in FULL
        hint = "free some space and run the same command again" if full else "check the folder's permissions"
        raise StoreError(f"{path} cannot be written: {error.strerror or error}", hint=hint) from error


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Keeps the file `path` locked meanwhile. Raises `Conflict` while another process holds it: `what` runs already.

    The lock goes with the process, however it ends; the file stays, empty.
    """
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"{what} is running already", hint="wait for it to end, then run the same again") from error
        yield


def write_whole(path: Path, text: str) -> None:
    """Writes the file under another name and then moves it there. Raises `StoreError`."""
    part = path.with_name(f".{path.name}.part")
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # a CSV has its own line ends already
            part.write_text(text, "utf-8", newline="")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, there once all is written. Raises `Conflict` when it is there already, `StoreError`."""
    if path.exists():
        raise Conflict(f"{path} exists already", hint="give the new file another name")
    part = path.with_name(f".{path.name}.part")
    with disk(path):
        try:
            with part.open("wb") as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

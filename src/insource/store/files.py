"""Files outside the database: written whole or not at all, and what a disk refuses said with what to do."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from insource.errors import Conflict, Missing, StoreError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turns a failed write of `path` into a `StoreError` that says what to do, or `Missing` where its folder is not."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT and not path.parent.exists():
            raise Missing(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}") from error
        full = error.errno in FULL
        hint = "free some space and run the same command again" if full else "check the folder's permissions"
        several = isinstance(error, shutil.Error)  # of a copied tree: a list of all that failed
        why = error.strerror or ("some files could not be copied" if several else error)
        raise StoreError(f"{path} cannot be written: {why}", hint=hint) from error


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


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Waits until no other process, nor thread, holds the file `path` locked, and holds it meanwhile.

    Raises `StoreError`. The file stays, empty.
    """
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def placed(out: Path) -> Iterator[Path]:
    """Where a file or folder is to be written that becomes `out` at the end; after an error nothing of it stays.

    It lies in a new folder beside `out`, so that nothing is touched that was there before. Raises `StoreError`.
    """
    with disk(out):
        place = Path(tempfile.mkdtemp(prefix=".insource-", suffix=".part", dir=out.parent))
        try:
            yield place / out.name
            (place / out.name).rename(out)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def settle(path: Path) -> None:
    """Makes a file, or which files a folder has, outlast a power cut. Raises `OSError`."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str | bytes) -> None:
    """Writes the file under another name and then moves it there. Raises `StoreError`."""
    part = path.with_name(f".{path.name}.part")
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.unlink(missing_ok=True)  # a kill left it, or it is a link that somebody laid to a file of ours
            with part.open("xb") as file:
                file.write(text.encode() if isinstance(text, str) else text)  # a CSV has its own line ends already
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

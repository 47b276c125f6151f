"""Files outside the database: written whole or not at all, and what a disk refuses said with what to do."""

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from insource.errors import Conflict, Missing, StoreError

PART, UNLOCKED_S = (".insource-", ".part"), 60.0
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

    It lies in a new folder beside `out`, so that nothing is touched that was there before; one that a killed process
    left there goes. Raises `StoreError`.
    """
    with disk(out), _held(Path(tempfile.mkdtemp(prefix=PART[0], suffix=PART[1], dir=out.parent))) as place:
        _sweep(out.parent)
        yield place / out.name
        (place / out.name).rename(out)


@contextmanager
def _held(place: Path) -> Iterator[Path]:
    """The folder, locked as long as this process writes in it, and removed at the end."""
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Removes the places in which nobody writes any more; one that is not yet locked is younger than that."""
    for place in folder.glob(f"{PART[0]}*{PART[1]}"):
        with suppress(OSError):  # of somebody else, or gone already
            if place.is_symlink() or time.time() - place.stat().st_mtime < UNLOCKED_S:
                continue
            handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(handle)


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

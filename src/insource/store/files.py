"""Files outside the database: written whole or not at all, and what a disk refuses said with what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from insource.errors import StoreError

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

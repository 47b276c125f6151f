"""The form of a spool file: what the store did not take, a line each, in the order in which it came.

    00000062 5d3f… {"form":1,"process":"…","code":"insource 0.1.0"}
    00000141 91c2… {"intent":{…},"record":null,"pending":null}
    000002f0 0ab4… {"intent":null,"record":{…},"pending":null}

A line is the length of its JSON in bytes, SHA-256 over the hash of the line before and this JSON, and the JSON. So a
line that was changed, taken out, put in or moved is found. One that was cut off shows where it was cut in the middle,
as a kill leaves it; whole lines cut off at the end do not show.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from insource.errors import Invalid, StoreError
from insource.nouns import Intent, Noun, Pending, Record, from_json
from insource.store.process import this_process

FORM = 1
ENDING = ".spool"
HEADER = re.compile(rb"([0-9a-f]{8}) ([0-9a-f]{64}) ")
AROUND = 8 + 1 + 64 + 1 + 1  # bytes of a line beside its JSON
PAGE, PAGE_BYTES = 500, 4_000_000  # lines and bytes that are carried in together
CHUNK = 1 << 20


class Opening(Noun, frozen=True, kw_only=True):
    """The first line: whose file it is, as `store.process` calls a process."""

    form: int
    process: str
    code: str = ""


class Line(Noun, frozen=True, kw_only=True):
    """A call as it began, or as it ended with what a person should see of it: one of the two."""

    intent: Intent | None = None
    record: Record | None = None
    pending: Pending | None = None


class Place(NamedTuple):
    """A place between two lines: bytes and lines before it, and the hash of the last of them."""

    offset: int = 0
    lines: int = 0
    hash: str = "0" * 64


class Page(NamedTuple):
    """Some lines, the place behind them, and how many bytes of a line cut off in the middle lie there."""

    lines: list[Line]
    end: Place
    torn: int = 0


def framed(before: str, body: bytes) -> tuple[bytes, str]:
    """The line of `body` behind the one with the hash `before`, and its own hash."""
    after = hashlib.sha256(before.encode() + body).hexdigest()
    return b"%08x %s %s\n" % (len(body), after.encode(), body), after


def opened(path: Path) -> tuple[str, Place] | None:
    """Whose file it is, and the place of its first line; None where not even its head is whole, so nothing is in it.

    Raises `Invalid` for a file that is none of ours, or of a form that this version does not know, `StoreError`.
    """
    with _reading(path) as file:
        found = _next(path, file, Place())
    if isinstance(found, int):
        return None
    body, place = found
    try:
        opening = from_json(body, Opening)
    except Invalid as error:
        raise Invalid(f"{path} is no spool file", hint="move it away", at=str(path)) from error
    if opening.form != FORM:
        hint = "pip install --upgrade insource"
        raise Invalid(f"{path} has form {opening.form}, this version reads {FORM}", hint=hint, at=str(path))
    return opening.process, place


def page(path: Path, place: Place, upto: int | None = None) -> Page:
    """Up to 500 lines, or four megabytes, behind `place`, and before the offset `upto` where one is given.

    Raises `Invalid` for a line that is not as it was written, with its number, `StoreError` for a disk that fails.
    """
    lines: list[Line] = []
    ends = place.offset + PAGE_BYTES
    with _reading(path) as file:
        while len(lines) < PAGE and place.offset < (ends if upto is None else min(ends, upto)):
            found = _next(path, file, place)
            if isinstance(found, int):
                return Page(lines, place, found)
            body, after = found
            try:
                lines.append(from_json(body, Line))
            except Invalid as error:
                raise _damaged(path, place) from error
            place = after
    return Page(lines, place)


def pages(path: Path, place: Place) -> Iterator[Page]:
    """The pages from `place` to the end; the last has no lines. Raises as `page` does."""
    while True:
        found = page(path, place)
        yield found
        if not found.lines or found.torn:
            return
        place = found.end


def name_of(process: str, number: str) -> str:
    """What a file of `process` is called; `number` puts the files of a folder in order of time."""
    return f"{number}-{_mark(process)}{ENDING}"


def in_folder(folder: Path) -> list[Path]:
    """The spool files of a folder, oldest first; none where there is no folder. Raises `StoreError`."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(ENDING))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(folder, error) from error


def speaks_of(folder: Path, process: str) -> bool:
    """Whether the folder has a file of `process`: how its calls ended may stand there. Raises `StoreError`."""
    return any(path.name.endswith(f"-{_mark(process)}{ENDING}") for path in in_folder(folder))


def unreadable(path: Path, error: OSError) -> StoreError:
    """What is said of a spool that cannot be read."""
    hint = "check that disk, and who may read it"
    return StoreError(f"the spool {path} cannot be read: {error.strerror}", hint=hint, at=str(path))


def opening() -> Opening:
    """The first line of a file of this process."""
    from insource import __version__

    return Opening(form=FORM, process=this_process(), code=f"insource {__version__}")


def _mark(process: str) -> str:
    return hashlib.sha256(process.encode()).hexdigest()[:16]


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise unreadable(path, error) from error


def _next(path: Path, file: BinaryIO, place: Place) -> tuple[bytes, Place] | int:
    """The JSON of the line at `place` and the place behind it; else how many bytes of a torn line are there, 0: none.

    The newline is the last that is written of a line: where there is none any more, what stands there was cut off.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(place.offset)
    found = HEADER.fullmatch(file.read(AROUND - 1))
    length = int(found[1], 16) if found else 0
    if found and place.offset + AROUND - 1 + length <= size:
        body, end = file.read(length), file.read(1)
        _, after = framed(place.hash, body)
        if after.encode() == found[2] and end in (b"\n", b""):
            return body, Place(place.offset + AROUND + length, place.lines + 1, after)
    file.seek(place.offset)
    while chunk := file.read(CHUNK):
        if b"\n" in chunk:
            raise _damaged(path, place)
    return max(0, size - place.offset)


def _damaged(path: Path, place: Place) -> Invalid:
    whole = path.with_name(f"whole-{path.name}").name
    return Invalid(
        f"{path}: line {place.lines + 1} is not as it was written, so nothing of the file is taken",
        hint=f"what stands before that line is whole: head -n {place.lines} {path.name} > {whole}, then move this "
        "file out of the folder",
        at=str(path),
    )

"""Bytes of a file to numbered lines, in bounded memory, whatever the file holds.

A line that cannot be used is still yielded, with its fault, so that whoever reads can name it and go on.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from insource.errors import Invalid, Missing, StoreError

LIMIT = 16 * 2**20
PIECE = 2**20
HEAD = 8192
SHOWN = 500

SIGNATURES = (
    (b"PK\x03\x04", "a zip or Excel file", "save the sheet as CSV (UTF-8) and collect that"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", "save the sheet as CSV (UTF-8) and collect that"),
    (b"\x1f\x8b", "compressed (gzip)", "unpack it first: gunzip FILE"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)", "unpack it first: unzstd FILE"),
    (b"%PDF", "a PDF", "collect takes rows: csv, jsonl or parquet"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV and collect that"),
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8, for example: iconv -f utf-16 -t utf-8 FILE > NEW"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8, for example: iconv -f utf-16 -t utf-8 FILE > NEW"),
)


class Line(NamedTuple):
    """One physical line: its number from 1, its text with the line end, and why it cannot be used ("" if it can).

    The text of a faulty line is what could be read of it, cut where it is too long.
    """

    number: int
    text: str
    fault: str


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, open for reading bytes. Raises `Missing` or `Invalid` naming it; a disk fault is a `StoreError`."""
    try:
        if not path.is_file() and not path.is_dir() and path.exists():
            raise Invalid(f"{path} is no regular file, and collect reads a file more than once", hint="save it first")
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise Missing(f"there is no file {path}", hint="check the path; insource collect TASK FILE…") from error
    except IsADirectoryError as error:
        raise Invalid(f"{path} is a folder", hint=f"name its files: insource collect TASK {path}/*.csv") from error
    except PermissionError as error:
        raise Invalid(f"{path} may not be read: {error.strerror}", hint=f"chmod u+r {path}") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error


def fingerprint(path: Path) -> tuple[str, int]:
    """SHA-256 of the file's bytes (64 hex digits), and how many lines it has."""
    digest, count, last = hashlib.sha256(), 0, b"\n"
    with opened(path) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            count += piece.count(b"\n")
            last = piece
    return digest.hexdigest(), count + (not last.endswith(b"\n"))


def look(path: Path) -> bytes:
    """The file's first 8 KB. Raises `Invalid` when it is empty or of a kind that holds no rows of text."""
    with opened(path) as file:
        head = file.read(HEAD)
    if not head.strip():
        raise Invalid(f"{path} is empty", hint="a csv needs a header and rows, a jsonl file one object a line")
    for start, what, hint in SIGNATURES:
        if head.startswith(start):
            raise Invalid(f"{path} is {what}, not rows of text", hint=hint)
    if b"\0" in head and not head.startswith(b"PAR1"):
        raise Invalid(f"{path} is a binary file (byte 0 at {head.index(0)})", hint="collect takes csv, jsonl, parquet")
    if b"\r" in head and b"\n" not in head and len(head) == HEAD:
        raise Invalid(f"{path} ends its lines with CR alone", hint="convert it: tr '\\r' '\\n' < FILE > NEW")
    return head


def lines(path: Path, *, limit: int = LIMIT) -> Iterator[Line]:
    """The file's lines, the byte order mark left out. No line longer than `limit` bytes is ever held in memory."""
    with opened(path) as file:
        number = 0
        while raw := file.readline(limit + 1):
            number += 1
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if len(raw) > limit and not raw.endswith(b"\n"):
                _skip(file)
                text = raw[:SHOWN].decode("utf-8", "replace")
                yield Line(number, text, f"line too long: more than {limit:,} bytes")
            else:
                yield _line(number, raw)


def _skip(file: IO[bytes]) -> None:
    """Reads on to the next line end, keeping nothing."""
    while piece := file.readline(PIECE):
        if piece.endswith(b"\n"):
            return


def _line(number: int, raw: bytes) -> Line:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = raw.decode("utf-8", "replace")
        return Line(
            number, shown, f"not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line"
        )
    if "\0" in text:
        return Line(number, text, f"binary: a zero byte at position {text.index(chr(0)) + 1} of the line")
    return Line(number, text, "")

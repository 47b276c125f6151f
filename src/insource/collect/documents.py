"""Documents for a batch: JSON lines, csv, parquet, a text or PDF, or a folder of these; one at a time."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from insource.collect.lines import LIMIT
from insource.collect.read import CSV_NAMES, Raw, read
from insource.errors import Invalid, Missing
from insource.nouns import JsonObject, Noun

LONGEST = 8_000_000  # bytes of a line, and of a document's text
TABLES = (".csv", ".tsv", ".parquet", ".pq")
TEXTS = (".txt", ".text", ".md", ".rst", ".html", ".htm", ".xml", ".eml", ".log")
PDF = ".pdf"
PARQUETS = (".parquet", ".pq")
EMPTY = "the input is empty"


class Columns(Noun, frozen=True, kw_only=True):
    """Which columns of a table hold the text and its id. Where none is named: `input`, or the only one; `id`."""

    input: str = ""
    id: str = ""


class Document(NamedTuple):
    """One document: where it stands (the line, the row or the number of the file), its id and text.

    With a `fault` it cannot be used; the id is then None unless it was read.
    """

    line: int
    id: str | None
    input: str
    fault: str = ""


class _Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One line of JSON. Other keys are ignored; `meta` is the caller's own."""

    id: str | int
    input: str
    meta: JsonObject | None = None


def documents(source: Path, columns: Columns) -> Iterator[Document]:
    """The documents of a file or folder, in order. A table without an id column counts its rows.

    Raises `Missing` without the file or what reads it, `Invalid` for a table without the columns.
    """
    if source.is_dir():
        return _folder(source)
    _opened(source).close()
    suffix = source.suffix.lower()
    if _is_text(source):
        return iter([_file(1, source, source.name)])
    if suffix in TABLES or columns != Columns():
        return _table(source, columns)
    return _lines(source)


def count(source: Path) -> int:
    """About how many documents there are: lines of a file, exactly those of parquet and of a folder."""
    if source.is_dir():
        return len(_files(source))
    if _is_text(source):
        return 1
    suffix = source.suffix.lower()
    if suffix in PARQUETS:
        return _parquet_rows(source)
    with _opened(source) as file:
        lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(2**20), b""))
    return lines - (suffix in CSV_NAMES)


def _is_text(source: Path) -> bool:
    """Whether the file is one document: by its name, unless it begins as JSON lines do."""
    suffix = source.suffix.lower()
    if suffix not in TEXTS:
        return suffix == PDF
    with _opened(source) as file:
        return file.read(1) != b"{"


def _lines(source: Path) -> Iterator[Document]:
    for number, line in numbered(source):
        if not line.strip():
            continue
        try:
            asked = msgspec.json.decode(line, type=_Ask)
            asked.input.encode()
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            yield Document(number, None, "", str(error))
            continue
        if asked.input.strip():
            yield Document(number, str(asked.id), asked.input)
        else:
            yield Document(number, None, "", EMPTY)


def numbered(source: Path) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers. One that is too long to be an input comes cut, so it is no JSON any more."""
    with _opened(source) as file:
        number = 0
        while line := file.readline(LONGEST):
            number += 1
            yield number, line
            while len(line) == LONGEST and not line.endswith(b"\n"):
                line = file.readline(LONGEST)


def _opened(source: Path) -> IO[bytes]:
    try:
        return source.open("rb")
    except OSError as error:
        raise Missing(f"{source} cannot be read: {error.strerror}", hint='one {"id": …, "input": …} a line') from error


def _table(source: Path, columns: Columns) -> Iterator[Document]:
    text = ""
    for row in read(source, wanted=tuple(name for name in (columns.input, columns.id) if name), limit=LIMIT):
        if row.fault:
            yield Document(row.line, None, "", row.fault)
            continue
        text = text or _column(source, row.cells, columns)
        yield _row(row, text, columns.id or "id")


def _row(row: Raw, text: str, named: str) -> Document:
    said, given = row.cells.get(text), row.cells.get(named)
    name = str(row.line) if given is None or given == "" else str(given)
    if not isinstance(said, str):
        return Document(row.line, name, "", f"{text} is no text")
    return Document(row.line, name, said, "" if said.strip() else EMPTY)


def _column(source: Path, cells: JsonObject, columns: Columns) -> str:
    """The column of the text. Raises `Invalid` where there is none, or no column for the id that was named."""
    there = ", ".join(list(cells)[:20])
    if columns.id and columns.id not in cells:
        raise Invalid(f"{source} has no column {columns.id!r}", hint=f"--id one of: {there}")
    if columns.input:
        if columns.input not in cells:
            raise Invalid(f"{source} has no column {columns.input!r}", hint=f"--input one of: {there}")
        return columns.input
    others = [name for name in cells if name != (columns.id or "id")]
    if "input" not in cells and len(others) != 1:
        raise Invalid(f"{source} has no column 'input'", hint=f"--input one of: {there}")
    return "input" if "input" in cells else others[0]


def _folder(source: Path) -> Iterator[Document]:
    files = _files(source)
    if not files:
        raise Invalid(f"{source} has no texts", hint=f"files end in {', '.join((*TEXTS, PDF))}")
    for number, file in enumerate(files, 1):
        yield _file(number, file, file.relative_to(source).as_posix())


def _files(source: Path) -> list[Path]:
    """The texts and PDFs below a folder, in the order of their paths; hidden ones are not looked at."""
    found = []
    for folder, below, names in os.walk(source):
        below[:] = sorted(name for name in below if not name.startswith("."))
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(file for file in found if file.suffix.lower() in (*TEXTS, PDF))


def _file(number: int, file: Path, name: str) -> Document:
    try:
        if file.stat().st_size > LONGEST * (8 if file.suffix.lower() == PDF else 1):
            return Document(number, name, "", f"longer than {LONGEST:,} bytes")
        text = _pdf(file) if file.suffix.lower() == PDF else file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return Document(number, name, "", f"it cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        return Document(number, name, "", f"not UTF-8: byte 0x{error.object[error.start]:02x} at {error.start + 1}")
    except _NoText as error:
        return Document(number, name, "", str(error))
    return Document(number, name, text, "" if text.strip() else EMPTY)


class _NoText(Exception):
    """A PDF of which no text can be had."""


def _pdf(file: Path) -> str:
    """The text of a PDF, page after page. One that is only pictures has none: insource reads no pictures."""
    try:
        import pypdf
        from pypdf.errors import PyPdfError
    except ModuleNotFoundError as error:
        raise Missing("reading a PDF needs pypdf", hint="pip install 'insource[pdf]'") from error
    try:
        pages = [page.extract_text() for page in pypdf.PdfReader(file).pages]
    except (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        # a broken PDF makes pypdf raise whatever it stumbles over
        raise _NoText(f"no PDF that can be read: {type(error).__name__}") from error
    text = "\n\n".join(pages).encode("utf-8", "replace").decode()
    if not text.strip():
        raise _NoText("a PDF without text: its pages are pictures, which must be read by OCR first")
    if len(text) > LONGEST:
        raise _NoText(f"longer than {LONGEST:,} characters")
    return text


def _parquet_rows(source: Path) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ModuleNotFoundError as error:
        raise Missing("reading parquet needs pyarrow", hint="pip install 'insource[data]'") from error
    try:
        return int(parquet.read_metadata(source).num_rows)
    except (pa.ArrowException, OSError, ValueError):
        return 0  # whoever reads it says what is wrong

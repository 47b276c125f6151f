"""CSV as people write it: quoted newlines, any common delimiter, and rows that are broken without breaking the rest.

A record is what Python's csv parser (strict mode) makes of one or more lines. When a record fails, because a quote is
never closed or stands where none may, its first line alone is the faulty row and reading goes on at the next line.
That costs no more than reading twice: a line that leaves a quote open cannot stand inside an open quote unnoticed.
"""

import csv
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from insource.collect.lines import LIMIT, Line, lines
from insource.errors import Invalid
from insource.nouns import JsonObject

DELIMITERS = (",", "\t", ";", "|")
SAMPLE = 40
SAMPLE_CHARS = 2**18

Row = tuple[int, JsonObject, str, str]


class _Feed:
    """Gives the parser lines; remembers those of the record being read, so that they can be read again."""

    def __init__(self, source: Iterator[Line], limit: int) -> None:
        self.record: list[Line] = []
        self._source = source
        self._again: deque[Line] = deque()
        self._limit = limit
        self._size = 0

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        if self._size > self._limit:
            raise StopIteration
        line = self._again.popleft() if self._again else next(self._source)
        self.record.append(line)
        self._size += len(line.text)
        return "\n" if line.fault.startswith("line too long") else line.text

    def begin(self) -> None:
        """Forgets the record before; the next line starts one."""
        self.record = []
        self._size = 0

    def back(self) -> None:
        """Gives all lines of the record but its first back, to be read anew."""
        self._again.extendleft(reversed(self.record[1:]))
        self.record = self.record[:1]


def read(path: Path, *, wanted: tuple[str, ...] = (), limit: int = LIMIT) -> Iterator[Row]:
    """Rows as (line, cells by column, fault, text). Raises `Invalid` when the file has no header, or no rows at all."""
    feed = _Feed(lines(path, limit=limit), limit)
    before = csv.field_size_limit(limit)  # the parser's own limit is 128 KB, less than a long document
    try:
        yield from _rows(path, feed, csv.reader(feed, delimiter=delimiter(path, wanted, limit=limit), strict=True))
    finally:
        csv.field_size_limit(before)


def _rows(path: Path, feed: _Feed, reader: Iterator[list[str]]) -> Iterator[Row]:
    columns: list[str] = []
    for record, fields, fault in _records(feed, reader):
        fault = next((line.fault for line in record if line.fault), fault)
        if not columns:
            columns = _header(path, fields, fault)
            continue
        if not fault and len(fields) != len(columns):
            fault = f"wrong field count: {len(fields)} fields, the header has {len(columns)}"
        shown = "".join(line.text for line in record[:20])
        yield record[0].number, dict(zip(columns, fields, strict=False)), fault, shown


def _records(feed: _Feed, reader: Iterator[list[str]]) -> Iterator[tuple[list[Line], list[str], str]]:
    """Each record's lines, its fields and its fault; blank lines are no records."""
    while True:
        feed.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            closed = "unexpected end" not in str(error) and "field larger" not in str(error)
            fault = f"broken quotes: {error}" if closed else "quote never closed: it would swallow the rest of the file"
            feed.back()
            yield feed.record, [], fault
            continue
        if fields or any(line.fault for line in feed.record):
            yield feed.record, fields, ""


def _header(path: Path, fields: list[str], fault: str) -> list[str]:
    if fault or not any(field.strip() for field in fields):
        raise Invalid(f"{path}: the first line is no header: {fault or 'it is empty'}", hint="name the columns there")
    columns = [field.strip() for field in fields]
    twice = next((column for column, times in Counter(columns).items() if column and times > 1), None)
    if twice is not None:
        raise Invalid(f"{path}: two columns are called {twice[:80]!r}", hint="give one of them another name")
    return columns


def delimiter(path: Path, wanted: tuple[str, ...] = (), *, limit: int = LIMIT) -> str:
    """The delimiter under which the header holds the wanted columns, else under which the rows agree with the header.

    Comma, tab, semicolon and bar are tried in this order; a comma where none fits, as a file may have one column.
    """
    sample = list(_sample(path, limit))
    counts = {mark: _counts(sample, mark) for mark in DELIMITERS}
    for mark, (header, _) in counts.items():
        if wanted and set(wanted) <= set(header):
            return mark
    fits = [mark for mark, (header, agree) in counts.items() if len(header) > 1 and agree >= 0.9]
    loose = [mark for mark, (header, _) in counts.items() if len(header) > 1]
    return next(iter(fits or loose), ",")


def _sample(path: Path, limit: int) -> Iterator[str]:
    size = 0
    for line in lines(path, limit=limit):
        size += len(line.text)
        if line.number > SAMPLE or size > SAMPLE_CHARS:
            return
        yield line.text


def _counts(sample: list[str], mark: str) -> tuple[list[str], float]:
    """The header under this delimiter, and the share of rows with as many fields."""
    try:
        rows = [row for row in csv.reader(sample, delimiter=mark) if row]
    except csv.Error:
        return [], 0.0
    header = [field.strip() for field in rows[0]] if rows else []
    agree = [len(row) == len(header) for row in rows[1:]]
    return header, sum(agree) / len(agree) if agree else 1.0

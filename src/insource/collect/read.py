"""A file to raw rows: csv, JSON lines, parquet, and the OpenAI chat form. One row at a time, faults named by line."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from insource.collect import csv_rows
from insource.collect.lines import LIMIT, lines, look, opened
from insource.errors import Invalid, Missing
from insource.nouns import DEEPEST, JsonObject, JsonValue, Noun, Origin, depth_ok

PARQUET = b"PAR1"
JSON_NAMES = (".jsonl", ".ndjson", ".json")
CSV_NAMES = (".csv", ".tsv", ".txt")


class Raw(NamedTuple):
    """One row as it was found: its cells by column, or the fault that makes it unusable.

    `line` is where it starts, from 1 (the row's number in parquet); `shown` is its text, for the rejects file.
    """

    line: int
    cells: JsonObject
    fault: str
    shown: str


class Stray(Noun, frozen=True, kw_only=True):
    """A row whose target is none of the task's: its text and target as they came, and why it was not taken."""

    file: str
    line: int
    input: str
    target: JsonValue
    origin: Origin
    reason: str
    split: str = ""


def read(path: Path, *, wanted: tuple[str, ...] = (), limit: int = LIMIT) -> Iterator[Raw]:
    """The rows of `path`. `wanted` are columns the user named: they help to tell a csv's delimiter.

    Raises `Missing` or `Invalid` (empty, binary, no rows form) at the first row; faults of rows are values.
    """
    head = look(path)
    kind = _kind(path, head)
    if kind == "parquet":
        return _parquet(path)
    if kind == "csv":
        return (Raw(*row) for row in csv_rows.read(path, wanted=wanted, limit=limit))
    if head.lstrip().startswith(b"["):
        raise Invalid(
            f"{path} is a JSON array, not one object a line",
            hint=f"jq -c '.[]' {path} > {path.stem}.jsonl, collect that",
        )
    return _jsonl(path, limit)


def _kind(path: Path, head: bytes) -> str:
    """The form of the file: by its first bytes, then its name, then its first character."""
    suffix = path.suffix.lower()
    if head.startswith(PARQUET):
        return "parquet"
    if suffix in (".parquet", ".pq"):
        raise Invalid(f"{path} is named parquet but is none", hint="write it again, or name it for what it is")
    if suffix in JSON_NAMES:
        return "jsonl"
    if suffix in CSV_NAMES:
        return "csv"
    return "jsonl" if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")) else "csv"


def _jsonl(path: Path, limit: int) -> Iterator[Raw]:
    for line in lines(path, limit=limit):
        text = line.text.strip()
        if not text and not line.fault:
            continue
        cells, fault = ({}, line.fault) if line.fault else as_object(text)
        yield Raw(line.number, cells, fault, text)


def as_object(text: str) -> tuple[JsonObject, str]:
    """The object that a text of JSON says, or the fault why it is none."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        return {}, f"not JSON: {error}"
    except RecursionError:
        return {}, "nested too deeply: hundreds of levels of JSON"
    if not isinstance(value, dict):
        return {}, "not an object: each line must be a JSON object"
    return (value, "") if depth_ok(value) else ({}, f"nested too deeply: more than {DEEPEST} levels of JSON")


def _parquet(path: Path) -> Iterator[Raw]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ModuleNotFoundError as error:
        raise Missing("reading parquet needs pyarrow", hint="pip install 'insource[data]'") from error
    with opened(path) as file:
        try:
            batches = parquet.ParquetFile(file).iter_batches(batch_size=1024)
            line = 0
            for batch in batches:
                for row in batch.to_pylist():
                    line += 1
                    yield Raw(line, row, "", str(row))
        except (pa.ArrowException, ValueError) as error:
            said = str(error).splitlines()[0][:200]
            raise Invalid(f"{path} cannot be read as parquet: {said}", hint="write the file again") from error

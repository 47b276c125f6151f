"""Rows out: a table in csv or parquet, written some rows at a time."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from insource.errors import Missing
from insource.nouns import JsonValue, to_json

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins so for a formula


class CsvOut:
    """A csv of these columns, used as a context. No cell is a formula; what is no text and no number is JSON."""

    def __init__(self, path: Path, columns: Sequence[str], *, numbers: Sequence[str] = ()) -> None:  # noqa: ARG002
        self._path, self._columns = path, columns

    def __enter__(self) -> Self:
        self._file = self._path.open("w", encoding="utf-8", newline="")
        self._table = csv.writer(self._file)
        self._table.writerow(self._columns)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, rows: Sequence[Sequence[JsonValue]]) -> None:
        """Adds rows."""
        self._table.writerows([[_harmless(cell) for cell in row] for row in rows])


class ParquetOut:
    """A parquet file of these columns, used as a context: texts, but for those that are `numbers`. Raises `Missing`."""

    def __init__(self, path: Path, columns: Sequence[str], *, numbers: Sequence[str] = ()) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as parquet
        except ModuleNotFoundError as error:
            raise Missing("writing parquet needs pyarrow", hint="pip install 'insource[data]'") from error
        self._pa: Any = pa
        self._schema = pa.schema([(name, pa.float64() if name in numbers else pa.string()) for name in columns])
        self._path, self._parquet = path, parquet

    def __enter__(self) -> Self:
        self._file = self._parquet.ParquetWriter(self._path, self._schema)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, rows: Sequence[Sequence[JsonValue]]) -> None:
        """Adds rows."""
        listed = [dict(zip(self._schema.names, map(_text, row), strict=True)) for row in rows]
        self._file.write_table(self._pa.Table.from_pylist(listed, schema=self._schema))


def _harmless(cell: JsonValue) -> JsonValue:
    """What a csv holds: a text that would be taken for a formula begins with an apostrophe."""
    if isinstance(cell, dict | list | bool):
        return to_json(cell).decode()
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _text(cell: JsonValue) -> JsonValue:
    return cell if cell is None or isinstance(cell, str | float) else to_json(cell).decode()

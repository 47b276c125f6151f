"""Many rows with one statement: SQLite reads them out of one JSON array.

The interpreter's lock is given away once a statement. A statement a row would give it away for every row, and under
load each time another thread takes it for a while.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table

from insource.nouns import to_json


def insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], more: str = "") -> None:
    """Adds rows that all have the same columns; `more` is what SQL says behind the statement (ON CONFLICT …)."""
    if not rows:
        return
    names = tuple(rows[0])
    values = to_json([[row[name] for name in names] for row in rows]).decode()
    connection.exec_driver_sql(_insert(table.name, names, more), (values,))


def delete(connection: Connection, table: Table, column: str, values: Collection[str]) -> None:
    """Removes the rows that have one of `values` in `column`."""
    known = "SELECT value FROM json_each(?)"
    connection.exec_driver_sql(
        f"DELETE FROM {table.name} WHERE {column} IN ({known})",  # noqa: S608 - our own names
        (to_json(list(values)).decode(),),
    )


@lru_cache(maxsize=32)
def _insert(table: str, names: tuple[str, ...], more: str) -> str:
    values = ", ".join(f"value ->> {index}" for index in range(len(names)))
    columns = ", ".join(f'"{name}"' for name in names)
    return f'INSERT INTO "{table}" ({columns}) SELECT {values} FROM json_each(?) WHERE true {more}'  # noqa: S608

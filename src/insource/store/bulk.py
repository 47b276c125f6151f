"""Many rows with one statement, past SQLAlchemy: what a call writes is written thousands of times a second.

The interpreter's lock is given away once a statement. A statement a row would give it away for every row, and under
load each time another thread takes it for a while.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol

from sqlalchemy import Connection, Table

MOST = 64
BELOW = "sql"  # in `Connection.info`: what to use where the driver's own connection speaks otherwise


class Sql(Protocol):
    """The database's own connection; a place for a value is a question mark."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """A cursor over what the statement found."""
        ...


def driver(connection: Connection) -> Sql:
    """The connection below SQLAlchemy's, in the same transaction."""
    below: Any = connection.info.get(BELOW) or connection.connection.driver_connection
    found: Sql = below
    return found


def insert(sql: Sql, table: Table, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]], more: str = "") -> None:
    """Adds rows of the columns `names`; `more` is what SQL says behind it (ON CONFLICT …)."""
    for some in parts(rows):
        sql.execute(_insert(table.name, names, len(some), more), tuple(chain.from_iterable(some)))


def delete(sql: Sql, table: Table, column: str, values: Sequence[str]) -> None:
    """Removes the rows that have one of `values` in `column`."""
    for some in parts(values):
        sql.execute(_delete(table.name, column, len(some)), some)


def parts(given: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """It in parts of as many as powers of two, so that few statements are ever read and planned."""
    at = 0
    while left := len(given) - at:
        size = min(MOST, 1 << (left.bit_length() - 1))
        yield given[at : at + size]
        at += size


@lru_cache(maxsize=128)
def _insert(table: str, names: tuple[str, ...], count: int, more: str) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    row = f"({', '.join('?' * len(names))})"
    return f'INSERT INTO "{table}" ({columns}) VALUES {", ".join([row] * count)} {more}'  # noqa: S608 - our own names


@lru_cache(maxsize=128)
def _delete(table: str, column: str, count: int) -> str:
    return f'DELETE FROM "{table}" WHERE "{column}" IN ({", ".join("?" * count)})'  # noqa: S608 - our own names

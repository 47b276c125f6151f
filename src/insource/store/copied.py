"""A whole store in another database, row by row as it is, and compared afterwards."""

import hashlib
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Table, func, select, tuple_

from insource.errors import Conflict, StoreError
from insource.nouns import Noun, to_json
from insource.store.migrations import migrate
from insource.store.tables import METADATA, MIGRATION

PAGE = 2_000
Progress = Callable[[str, int, int], None]
Row = dict[str, object]


class Copied(Noun, frozen=True, kw_only=True):
    """Table → its rows, all of them the same in both; `sha256` is over every row of every table."""

    tables: dict[str, int]
    sha256: str

    @property
    def rows(self) -> int:
        """How many there are in all."""
        return sum(self.tables.values())


def copy(source: Connection, target: Connection, progress: Progress) -> Copied:
    """Writes all that `source` has into `target`, which must be empty, and reads both again.

    Raises `Conflict` where `target` holds anything, `StoreError` where a row is not as it was.
    """
    migrate(target)
    full = [table.name for table in _tables() if _count(target, table)]
    if full:
        in_file = target.dialect.name == "sqlite"
        hint = "move .insource/insource.db away" if in_file else "name an empty database or schema in [store] url"
        raise Conflict(f"where it is to go there is a store already: its table {full[0]} has rows", hint=hint)
    total = sum(_count(source, table) for table in _tables())
    done = 0
    for table in _tables():
        for page in _pages(source, table):
            target.execute(table.insert(), page)
            done += len(page)
            progress("copying rows", done, total)
        _number_on(target, table)
    return _same(source, target, total, progress)


def _same(source: Connection, target: Connection, total: int, progress: Progress) -> Copied:
    whole, counts, done = hashlib.sha256(), dict[str, int](), 0
    for table in _tables():
        name = str(table.name)
        counts[name] = 0
        there = (row for page in _pages(target, table) for row in page)
        for page in _pages(source, table):
            for row in page:
                if row != next(there, None):
                    raise StoreError(
                        f"a row of {table.name} is not as it was: {_key(table, row)}", hint="copy it again"
                    )
                whole.update(to_json([name, *_words(row)]))
            counts[name] += len(page)
            done += len(page)
            progress("comparing rows", done, total)
        if next(there, None) is not None:
            raise StoreError(f"{table.name} has rows that were not copied", hint="nobody may write there meanwhile")
    return Copied(tables=counts, sha256=whole.hexdigest())


def _tables() -> list[Table]:
    """Those that hold what was told; which steps were taken is each database's own."""
    return [table for table in METADATA.sorted_tables if table is not MIGRATION]


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar() or 0)


def _pages(connection: Connection, table: Table) -> Iterator[list[Row]]:
    """The rows in the order of their keys, some thousands at a time."""
    keys = list(table.primary_key.columns)
    after: tuple[object, ...] | None = None
    while True:
        wanted = select(table).order_by(*keys).limit(PAGE)
        if after is not None:
            wanted = wanted.where(tuple_(*keys) > after)
        page = [dict(row) for row in connection.execute(wanted).mappings()]
        if not page:
            return
        yield page
        after = tuple(page[-1][key.name] for key in keys)


def _number_on(target: Connection, table: Table) -> None:
    """New rows are numbered behind those that came with a number. SQLite does so by itself."""
    key = list(table.primary_key.columns)
    if target.dialect.name != "postgresql" or table.autoincrement_column is None:
        return
    column = key[0].name
    target.exec_driver_sql(
        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column}'),"  # noqa: S608 - our own names
        f' (SELECT coalesce(max({column}), 0) + 1 FROM "{table.name}"), false)'
    )


def _words(row: Row) -> list[object]:
    return [value.hex() if isinstance(value, bytes) else value for value in row.values()]


def _key(table: Table, row: Row) -> str:
    return ", ".join(str(row[column.name]) for column in table.primary_key.columns)

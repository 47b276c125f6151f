"""A store's tables, as whoever can write to its database has them: behind its back."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite

from insource.store.postgres import Server


class _Spelt:
    """Takes statements as SQLite does."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        return self._connection.execute(statement.replace("%", "%%").replace("?", "%s"), parameters)


def server_of(root: Path) -> Server | None:
    """Where the store of the workspace `root` is, if that is a server."""
    url = os.environ.get("INSOURCE_STORE_URL")  # noqa: TID251 - as conftest.py sets it; not every root has settings
    return Server(url, root) if url else None


def connected(server: Server) -> Any:
    """A connection that commits at the end of a `with`."""
    import psycopg

    words = server.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(words, options=f"-c search_path={server.schema}")


@contextlib.contextmanager
def behind(root: Path) -> Iterator[Any]:
    """Whatever keeps the store of `root`; takes statements with question marks, and commits at the end."""
    if (server := server_of(root)) is not None:
        with connected(server) as connection:
            yield _Spelt(connection)
        return
    with contextlib.closing(sqlite.connect(str(root / ".insource" / "insource.db"))) as db, db:
        yield db

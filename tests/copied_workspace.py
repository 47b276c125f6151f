"""A copy of a workspace: its folder, and its schema where its store is on a server."""

import shutil
from pathlib import Path

from behind import connected, server_of
from insource.store.postgres import Server


def copied(folder: Path, to: Path, workspace: str = "") -> None:
    """Copies the folder whole; the workspace is it, or the folder of that name in it."""
    shutil.copytree(folder, to)
    server, new = server_of(folder / workspace), server_of(to / workspace)
    if server is not None and new is not None:
        _copied_schema(server, new)


def _copied_schema(server: Server, to: Server) -> None:
    with connected(server) as connection:
        connection.execute(f'CREATE SCHEMA "{to.schema}"')
        found = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
        for (table,) in connection.execute(found, (server.schema,)).fetchall():
            new, old = f'"{to.schema}"."{table}"', f'"{server.schema}"."{table}"'
            connection.execute(f"CREATE TABLE {new} (LIKE {old} INCLUDING ALL)")
            connection.execute(f"INSERT INTO {new} OVERRIDING SYSTEM VALUE SELECT * FROM {old}")  # noqa: S608 - our own

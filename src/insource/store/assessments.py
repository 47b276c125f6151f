"""Runs of `insource migrate` in SQL: by name the digest of each piece of work, noted once its blob is on the disk."""

from collections.abc import Collection

import msgspec
from sqlalchemy import Connection, select

from insource.errors import Missing
from insource.nouns import to_json
from insource.nouns.assessment import Assessment
from insource.store.database import Database
from insource.store.stored import stored
from insource.store.tables import ASSESSMENT


class Assessments:
    """The runs of a store. A piece that was noted stays: the same run goes on from there."""

    def __init__(self, thread: Database) -> None:
        self._thread = thread

    async def begin(self, run: Assessment) -> Assessment:
        """Notes a run, or gives back the one of that name as far as it came."""
        return await self._thread.run(lambda c: begin(c, run))

    async def note(self, id: str, piece: str, sha: str) -> Assessment:
        """Notes a piece of work by the SHA-256 of what it found; one that is noted already is not changed."""
        return await self._thread.run(lambda c: note(c, id, piece, sha))

    async def reopen(self, id: str, pieces: Collection[str]) -> Assessment:
        """Takes back what these pieces found, and the report with it: they are to be made again. Raises `Missing`."""
        return await self._thread.run(lambda c: reopen(c, id, pieces))

    async def finish(self, id: str, report: str, verdict: str) -> Assessment:
        """Notes the report of a run, by its SHA-256, and its verdict in a word. Raises `Missing`."""
        return await self._thread.run(lambda c: finish(c, id, report, verdict))

    async def of_task(self, task: str) -> list[Assessment]:
        """The task's runs, oldest first."""
        return await self._thread.look(lambda c: of_task(c, task))


def begin(connection: Connection, run: Assessment) -> Assessment:
    """As `Assessments.begin`."""
    body = connection.execute(select(ASSESSMENT.c.body).where(ASSESSMENT.c.id == run.id)).scalar()
    if body is not None:
        return stored(body, Assessment)
    connection.execute(ASSESSMENT.insert().values(id=run.id, task=run.task, body=to_json(run).decode()))
    return run


def note(connection: Connection, id: str, piece: str, sha: str) -> Assessment:
    """As `Assessments.note`."""
    run = _run(connection, id)
    return _written(connection, msgspec.structs.replace(run, pieces=run.pieces | {piece: run.pieces.get(piece) or sha}))


def reopen(connection: Connection, id: str, pieces: Collection[str]) -> Assessment:
    """As `Assessments.reopen`. A piece keeps its place among the others."""
    run = _run(connection, id)
    left = {name: "" if name in pieces else sha for name, sha in run.pieces.items()}
    return _written(connection, msgspec.structs.replace(run, pieces=left, report="", verdict=""))


def finish(connection: Connection, id: str, report: str, verdict: str) -> Assessment:
    """As `Assessments.finish`."""
    return _written(connection, msgspec.structs.replace(_run(connection, id), report=report, verdict=verdict))


def of_task(connection: Connection, task: str) -> list[Assessment]:
    """As `Assessments.of_task`."""
    found = select(ASSESSMENT.c.body).where(ASSESSMENT.c.task == task).order_by(ASSESSMENT.c.seq)
    return [stored(body, Assessment) for body in connection.execute(found).scalars()]


def _run(connection: Connection, id: str) -> Assessment:
    body = connection.execute(select(ASSESSMENT.c.body).where(ASSESSMENT.c.id == id)).scalar()
    if body is None:
        raise Missing(f"there is no run {id}", hint="insource migrate TASK begins one")
    return stored(body, Assessment)


def _written(connection: Connection, run: Assessment) -> Assessment:
    body = to_json(run).decode()
    connection.execute(ASSESSMENT.update().where(ASSESSMENT.c.id == run.id).values(body=body))
    return run

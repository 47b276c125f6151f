"""Callers' files and batches of calls, in SQL. The bytes of a file are a blob. A tenant sees nothing of another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, select, update

from insource.errors import Conflict, Missing
from insource.nouns import to_json
from insource.nouns.filing import UNDER_WAY, CallBatch, StoredFile
from insource.store.database import Database
from insource.store.stored import stored
from insource.store.tables import BATCH, STORED_FILE

MOST_FILES, MOST_BYTES = 1_000, 10_000_000_000  # that a tenant sent and has not removed


@dataclass(frozen=True)
class Page:
    """Which of many: at most `limit` behind the one called `after`, newest first unless `oldest` is."""

    limit: int
    after: str = ""
    oldest: bool = False
    purpose: str = ""


class Filing:
    """The files and batches of a store. What a method wrote survives a kill once it has returned."""

    def __init__(self, thread: Database) -> None:
        self._thread = thread

    async def add_file(self, file: StoredFile) -> None:
        """Keeps a file, once. Raises `Conflict` where its tenant has as many as it may."""
        await self._thread.run(lambda c: add_file(c, file))

    async def check_room(self, file: StoredFile) -> None:
        """Raises `Conflict` where the file's tenant has as many as it may."""
        await self._thread.look(lambda c: check_room(c, file))

    async def file(self, tenant: str, id: str) -> StoredFile:
        """The tenant's file called `id`. Raises `Missing`."""
        return await self._thread.look(lambda c: _one(c, STORED_FILE, tenant, id, StoredFile))

    async def files(self, tenant: str, page: Page) -> list[StoredFile]:
        """Some of the tenant's files, and one more where there is more."""
        return await self._thread.look(lambda c: files(c, tenant, page))

    async def remove_file(self, tenant: str, id: str) -> str:
        """Removes the file; the SHA-256 of the blob that nobody needs any more. Raises `Missing`."""
        return await self._thread.run(lambda c: remove_file(c, tenant, id))

    async def add_batch(self, batch: CallBatch) -> None:
        """Keeps a batch."""
        values = {"id": batch.id, "tenant": batch.tenant, "state": batch.status, "body": to_json(batch).decode()}
        await self._thread.run(lambda c: c.execute(BATCH.insert().values(**values)))

    async def batch(self, tenant: str, id: str) -> CallBatch:
        """The tenant's batch called `id`. Raises `Missing`."""
        return await self._thread.look(lambda c: _one(c, BATCH, tenant, id, CallBatch))

    async def batches(self, tenant: str, page: Page) -> list[CallBatch]:
        """Some of the tenant's batches, and one more where there is more."""
        return await self._thread.look(lambda c: [stored(body, CallBatch) for body in _page(c, BATCH, tenant, page)])

    async def under_way(self) -> list[CallBatch]:
        """The batches that have not ended, oldest first."""
        found = select(BATCH.c.body).where(BATCH.c.state.in_(UNDER_WAY)).order_by(BATCH.c.seq)
        return await self._thread.look(lambda c: [stored(body, CallBatch) for body in c.execute(found).scalars()])

    async def change(self, batch: CallBatch, before: str) -> bool:
        """Keeps a batch as it is now, if its status still was `before`."""
        values = {"state": batch.status, "body": to_json(batch).decode()}
        changed = update(BATCH).where(BATCH.c.id == batch.id, BATCH.c.state == before).values(**values)
        return bool(await self._thread.run(lambda c: c.execute(changed).rowcount))


def add_file(connection: Connection, file: StoredFile) -> None:
    """As `Filing.add_file`."""
    if connection.execute(select(STORED_FILE.c.id).where(STORED_FILE.c.id == file.id)).first():
        return
    check_room(connection, file)
    values = {"id": file.id, "tenant": file.tenant, "body": to_json(file).decode()}
    connection.execute(STORED_FILE.insert().values(**values))


def check_room(connection: Connection, file: StoredFile) -> None:
    """As `Filing.check_room`."""
    if file.purpose != "batch":  # what a batch wrote must be kept whatever there is
        return
    mine = select(STORED_FILE.c.body).where(STORED_FILE.c.tenant == file.tenant)
    sizes = [stored(body, StoredFile).size for body in connection.execute(mine).scalars()]
    if len(sizes) >= MOST_FILES or sum(sizes) + file.size > MOST_BYTES:
        words = f"there are {len(sizes):,} files of {sum(sizes):,} bytes already"
        raise Conflict(words, hint="DELETE /v1/files/ID removes one")


def files(connection: Connection, tenant: str, page: Page) -> list[StoredFile]:
    """As `Filing.files`."""
    return [stored(body, StoredFile) for body in _page(connection, STORED_FILE, tenant, page)]


def remove_file(connection: Connection, tenant: str, id: str) -> str:
    """As `Filing.remove_file`."""
    file = _one(connection, STORED_FILE, tenant, id, StoredFile)
    connection.execute(delete(STORED_FILE).where(STORED_FILE.c.id == id))
    return str(file.sha)


def _one(connection: Connection, table: Table, tenant: str, id: str, kind: type[Any]) -> Any:
    body = connection.execute(select(table.c.body).where(table.c.id == id, table.c.tenant == tenant)).scalar()
    if body is None:
        raise Missing(f"there is no {'file' if table is STORED_FILE else 'batch'} {id}")
    return stored(body, kind)


def _page(connection: Connection, table: Table, tenant: str, page: Page) -> Sequence[str]:
    """The bodies of a page, and one more where there is more."""
    found = select(table.c.body).where(table.c.tenant == tenant)
    if page.after:
        at = select(table.c.seq).where(table.c.id == page.after, table.c.tenant == tenant).scalar_subquery()
        found = found.where(table.c.seq > at if page.oldest else table.c.seq < at)
    if page.purpose:
        found = found.where(table.c.body.like(f'%"purpose":"{page.purpose}"%'))
    order = table.c.seq if page.oldest else table.c.seq.desc()
    return connection.execute(found.order_by(order).limit(page.limit + 1)).scalars().all()

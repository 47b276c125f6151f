"""Answered calls, what waits for a person, and what people said, in SQL."""

import secrets
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, select

from insource.errors import Conflict, Missing, StoreError
from insource.nouns import DRAWN, Intent, Pending, Record, Review, to_json
from insource.store import bulk, draws, links, opinions
from insource.store.bulk import Sql, driver
from insource.store.spending import spend
from insource.store.stored import stored
from insource.store.tables import OPEN_CALL, PENDING, RECORD, REVIEW, TENANT_KEY
from insource.store.thread import REPAIR

RECORD_NAMES = (*links.RECORD_COLUMNS, "body")
PENDING_NAMES = ("record", "task", "settled", "body", "worth")


class Kept(NamedTuple):
    """A call as it is written, and what a person should see of it."""

    record: Record
    body: str
    pending: tuple[Any, ...] | None
    drawn: bool = False


class Begun(NamedTuple):
    """A call before anyone is asked, as it is written: a row of `open_call`."""

    id: str
    until: str
    process: str
    body: str


def kept(record: Record, pending: Pending | None = None) -> Kept:
    """What is written of a call that has ended."""
    body = to_json(record).decode()
    if pending is None:
        return Kept(record, body, None)
    return Kept(record, body, shown(pending), pending.reason == DRAWN)


def shown(pending: Pending) -> tuple[Any, ...]:
    """The row of what waits for a person."""
    return pending.record, pending.task, False, to_json(pending).decode(), pending.worth


def begun(intent: Intent, process: str) -> Begun:
    """The row of a call that begins; `process` is who will say how it ended."""
    return Begun(intent.id, intent.until, process, to_json(intent).decode())


def append(sql: Sql, calls: Sequence[Kept]) -> None:
    """Adds calls, what they cost, and what a person should see of them."""
    rows = [(*links.record_columns(call.record), call.body) for call in calls]
    bulk.insert(sql, RECORD, RECORD_NAMES, rows)
    links.enter(sql, [("record", call.record.id, call.body) for call in calls])
    bulk.delete(sql, OPEN_CALL, "id", [call.record.id for call in calls])
    spend(sql, [call.record for call in calls])
    bulk.insert(sql, PENDING, PENDING_NAMES, [call.pending for call in calls if call.pending is not None])
    draws.note(sql, [call.record.id for call in calls if call.drawn])


def intend(sql: Sql, calls: Sequence[Begun]) -> None:
    """Notes calls before anyone is asked."""
    bulk.insert(sql, OPEN_CALL, Begun._fields, calls)
    links.enter(sql, [("intent", call.id, call.body) for call in calls])


def interrupt(
    connection: Connection, now: str, gone: Callable[[str], bool], spared: Callable[[str], bool] | None = None
) -> list[str]:
    """Ends the calls whose process is `gone`, or whose time is up at `now`, as "interrupted"; the ids of those.

    Those of a `spared` process stay. That is asked last: one that is gone puts no more anywhere. What has its record
    has ended; it is only no longer noted as open.
    """
    spared = cache(spared) if spared else None
    connection.execute(delete(OPEN_CALL).where(OPEN_CALL.c.id.in_(select(RECORD.c.id))))
    over = [
        stored(row.body, Intent)
        for row in connection.execute(select(OPEN_CALL).order_by(OPEN_CALL.c.id)).all()
        if (row.until < now or gone(row.process)) and not (spared and spared(row.process))
    ]
    if over:
        append(driver(connection), [kept(intent.interrupted(now)) for intent in over])
    return [intent.id for intent in over]


def open_calls(connection: Connection) -> int:
    """How many calls were begun and have not ended."""
    return int(connection.execute(select(func.count()).select_from(OPEN_CALL)).scalar() or 0)


def record(connection: Connection, id: str) -> Record:
    """The record called `id`. Raises `Missing`."""
    body = connection.execute(select(RECORD.c.body).where(RECORD.c.id == id)).scalar()
    if body is None:
        raise Missing(f"there is no record {id}")
    return stored(body, Record)


def records(connection: Connection, task: str | None, limit: int) -> list[Record]:
    """The newest records, of one task or of all, newest first."""
    found = select(RECORD.c.body).order_by(RECORD.c.seq.desc()).limit(limit)
    if task is not None:
        found = found.where(RECORD.c.task == task)
    return [stored(body, Record) for body in connection.execute(found).scalars()]


def input_hashes(connection: Connection, ids: list[str]) -> dict[str, str]:
    """Record → hash of its input, for those of `ids` that there are."""
    found: dict[str, str] = {}
    for start in range(0, len(ids), 500):
        some = select(RECORD.c.id, RECORD.c.input_hash).where(RECORD.c.id.in_(ids[start : start + 500]))
        found |= {row.id: row.input_hash for row in connection.execute(some)}
    return found


def waiting(connection: Connection, id: str) -> Pending:
    """What waits under the record `id`. Raises `Missing` for no such record, `Conflict` when it waits no more."""
    row = connection.execute(select(PENDING.c.body, PENDING.c.settled).where(PENDING.c.record == id)).first()
    if row is None:
        record(connection, id)
        raise Conflict(f"{id} was answered and does not wait for a person")
    if row.settled:
        raise Conflict(f"{id} is settled already", hint="insource review TASK lists what waits")
    return stored(row.body, Pending)


def pending(connection: Connection, task: str | None, limit: int) -> list[Pending]:
    """What waits for a person, what is worth most first, the oldest of those that are worth the same."""
    order = (PENDING.c.worth.desc(), PENDING.c.seq)
    found = select(PENDING.c.body).where(PENDING.c.settled.is_(False)).order_by(*order).limit(limit)
    if task is not None:
        found = found.where(PENDING.c.task == task)
    return [stored(body, Pending) for body in connection.execute(found).scalars()]


def put_up(connection: Connection, pending: Pending) -> None:
    """Adds an answer that was given to what waits for a person. One that is there already stays as it is."""
    bulk.insert(driver(connection), PENDING, PENDING_NAMES, [shown(pending)], "ON CONFLICT DO NOTHING")


def queues(connection: Connection, tenant: str | None = None) -> dict[str, int]:
    """Task → how many of its answers wait for a person; of the calls of `tenant`, where one is named."""
    found = select(PENDING.c.task, func.count()).where(PENDING.c.settled.is_(False)).group_by(PENDING.c.task)
    if tenant is not None:
        found = found.join(RECORD, RECORD.c.id == PENDING.c.record).where(RECORD.c.tenant == tenant)
    return {task: int(count) for task, count in connection.execute(found)}


def settle(connection: Connection, review: Review) -> None:
    """Notes what a person says. Of an item that more than one has to see, the verdict is what their words come to.

    Raises `Conflict` when there is a verdict already, `Missing` when nothing waits under that name.
    """
    waited = waiting(connection, review.record)
    several = waited.eyes > 1 and not review.fallback
    verdict = opinions.say(connection, waited, review) if several else review
    if verdict is not None:
        note(connection, waited, verdict)


def note(connection: Connection, waited: Pending, verdict: Review) -> None:
    """Notes the verdict on what waited."""
    body = to_json(verdict).decode()
    connection.execute(REVIEW.insert().values(record=verdict.record, task=waited.task, body=body))
    links.enter(driver(connection), [("review", verdict.record, body)])
    draws.settle(connection, verdict.record, verdict.verdict)


def settle_given(connection: Connection, pending: Pending, review: Review) -> None:
    """Notes a verdict on an answer that was given, or on one that waits. Raises `Conflict` when there is one."""
    put_up(connection, pending)
    settle(connection, review)


def reviews(connection: Connection, task: str) -> list[tuple[Pending, Review]]:
    """Every verdict on the task's answers, oldest first, with what it was about."""
    found = (
        select(PENDING.c.body.label("pending"), REVIEW.c.body.label("review"))
        .join_from(REVIEW, PENDING, REVIEW.c.record == PENDING.c.record)
        .where(REVIEW.c.task == task)
        .order_by(REVIEW.c.seq)
    )
    return [(stored(row.pending, Pending), stored(row.review, Review)) for row in connection.execute(found)]


def tenant_key(connection: Connection, tenant: str) -> bytes:
    """The tenant's key of 32 random bytes, made when first asked for."""
    key = connection.execute(select(TENANT_KEY.c.key).where(TENANT_KEY.c.tenant == tenant)).scalar()
    if key is None:
        key = secrets.token_bytes(32)
        connection.execute(TENANT_KEY.insert().values(tenant=tenant, key=key))
    if not isinstance(key, bytes) or len(key) != 32:
        raise StoreError(f"the store holds a damaged key of {tenant}", hint=REPAIR)
    return key

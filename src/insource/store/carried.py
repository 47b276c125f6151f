"""Calls as they travel from one store to another: read in pages, taken in so that twice is once, in SQL."""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select

from insource.errors import Conflict
from insource.nouns import Noun, Pending, Record, Review
from insource.store.bulk import driver
from insource.store.records import append, kept, note, tenant_key, waiting
from insource.store.stored import stored
from insource.store.tables import PENDING, RECORD, REVIEW, TENANT_KEY

PAGE = 500
MARK = 12


class Carried(Noun, frozen=True, kw_only=True):
    """One call with all that belongs to it: what waits, or waited, for a person, and what the person said."""

    record: Record
    pending: Pending | None = None
    review: Review | None = None


class Taken(Noun, frozen=True, kw_only=True):
    """What was new. `differ` are records on which people said one thing there and another here; here stands."""

    records: int = 0
    pending: int = 0
    reviews: int = 0
    known: int = 0
    differ: tuple[str, ...] = ()


def page(connection: Connection, after: int) -> tuple[list[Carried], int]:
    """Up to `PAGE` calls behind the place `after` (0: from the start), oldest first, and the place they end at."""
    columns = (RECORD.c.seq, RECORD.c.body, PENDING.c.body.label("pending"), REVIEW.c.body.label("review"))
    found = connection.execute(
        select(*columns)
        .select_from(RECORD)
        .outerjoin(PENDING, PENDING.c.record == RECORD.c.id)
        .outerjoin(REVIEW, REVIEW.c.record == RECORD.c.id)
        .where(RECORD.c.seq > after)
        .order_by(RECORD.c.seq)
        .limit(PAGE)
    ).all()
    calls = [
        Carried(
            record=stored(row.body, Record),
            pending=stored(row.pending, Pending) if row.pending else None,
            review=stored(row.review, Review) if row.review else None,
        )
        for row in found
    ]
    return calls, found[-1].seq if found else after


def take(connection: Connection, calls: Sequence[Carried]) -> Taken:
    """Adds what is not here yet, all or nothing. Raises `Conflict` for a record that is here with another content."""
    known, said = _here(connection, [call.record.id for call in calls])
    counts, differ = Counter[str](), list[str]()
    for call in calls:
        name = call.record.id
        here, verdict = known.get(name), said.get(name)
        if here is not None and here != call.record:
            raise Conflict(f"the record {name} is here already and says something else", hint="do not use that file")
        if here is None:
            append(driver(connection), [kept(call.record, call.pending)])
            counts["pending"] += call.pending is not None and call.review is None
        counts["known" if here else "records"] += 1
        if call.review is not None and call.pending is not None and verdict is None:
            note(connection, waiting(connection, name), call.review)
            counts["reviews"] += 1
        if call.review is not None and verdict not in (None, call.review):
            differ.append(name)
        known[name], said[name] = call.record, verdict or call.review
    return Taken(**counts, differ=tuple(differ))


def keys(connection: Connection, tenants: Collection[str]) -> dict[str, bytes]:
    """The keys of these tenants."""
    return {tenant: tenant_key(connection, tenant) for tenant in sorted(tenants)}


def adopt(connection: Connection, tenant: str, key: bytes) -> str:
    """The name that `tenant` of another store has in this one, and keeps its key under that name.

    It is the same name where the key is the same: these are then our own calls. Else the first digits of the key's
    SHA-256 stand behind it, so that each tenant has one key here, and the same key always the same name.
    """
    mark = f"~{hashlib.sha256(key).hexdigest()[:MARK]}"
    if _key(connection, tenant) == key:
        return tenant
    name = tenant if tenant.endswith(mark) else tenant + mark
    known = _key(connection, name)
    if known is None:
        connection.execute(TENANT_KEY.insert().values(tenant=name, key=key))
    elif known != key:
        raise Conflict(f"the tenant {name} has another key here", hint="do not use that file")
    return name


def _key(connection: Connection, tenant: str) -> bytes | None:
    found: bytes | None = connection.execute(select(TENANT_KEY.c.key).where(TENANT_KEY.c.tenant == tenant)).scalar()
    return found


def _here(connection: Connection, ids: Sequence[str]) -> tuple[dict[str, Record], dict[str, Review | None]]:
    """The records of these ids that there are, and the verdicts on them."""
    records = connection.execute(select(RECORD.c.id, RECORD.c.body).where(RECORD.c.id.in_(ids)))
    reviews = connection.execute(select(REVIEW.c.record, REVIEW.c.body).where(REVIEW.c.record.in_(ids)))
    return (
        {row.id: stored(row.body, Record) for row in records},
        {row.record: stored(row.body, Review) for row in reviews},
    )

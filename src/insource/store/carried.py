"""Calls as they travel from one store to another: read in pages, taken in so that twice is once, in SQL."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, select

from insource.errors import Conflict
from insource.nouns import Noun, Pending, Record, Review
from insource.store.bulk import driver
from insource.store.heard import Words, hear, opinions_on
from insource.store.records import append, kept, tenant_key
from insource.store.stored import stored
from insource.store.tables import PENDING, RECORD, REVIEW, TENANT_KEY
from insource.store.withdrawn import Withdrawn

PAGE = 500
MARK = 12


class Carried(Noun, frozen=True, kw_only=True, omit_defaults=True):
    """One call with all that belongs to it: what waits, or waited, for a person, and what people said.

    `opinions` are the words of each where more than one had to see it. What was `withdrawn` is on the way home alone.
    """

    record: Record
    pending: Pending | None = None
    review: Review | None = None
    opinions: tuple[Review, ...] = ()
    withdrawn: tuple[Withdrawn, ...] = ()


class Taken(Noun, frozen=True, kw_only=True):
    """What was new. `differ` are records on which people said one thing there and another here; here stands.

    `opinions` and `withdrawn` are as in `Carried`.
    """

    records: int = 0
    pending: int = 0
    reviews: int = 0
    opinions: int = 0
    withdrawn: int = 0
    known: int = 0
    differ: tuple[str, ...] = ()


def page(connection: Connection, after: int) -> tuple[list[Carried], int]:
    """Up to `PAGE` calls behind the place `after` (0: from the start), oldest first, and the place they end at."""
    columns = (RECORD.c.seq, RECORD.c.id, RECORD.c.body, PENDING.c.body.label("pending"), REVIEW.c.body.label("review"))
    found = connection.execute(
        select(*columns)
        .select_from(RECORD)
        .outerjoin(PENDING, PENDING.c.record == RECORD.c.id)
        .outerjoin(REVIEW, REVIEW.c.record == RECORD.c.id)
        .where(RECORD.c.seq > after)
        .order_by(RECORD.c.seq)
        .limit(PAGE)
    ).all()
    said = opinions_on(connection, [row.id for row in found])
    calls = [
        Carried(
            record=stored(row.body, Record),
            pending=stored(row.pending, Pending) if row.pending else None,
            review=stored(row.review, Review) if row.review else None,
            opinions=said.get(row.id, ()),
        )
        for row in found
    ]
    return calls, found[-1].seq if found else after


def take(connection: Connection, calls: Sequence[Carried], gone: Mapping[str, Collection[Withdrawn]]) -> Taken:
    """Adds what is not here yet, all or nothing; `gone` is what people took back here, by record.

    Raises `Conflict` for a record that is here with another content.
    """
    known = _here(connection, [call.record.id for call in calls])
    counts, differ = Counter[str](), list[str]()
    for call in calls:
        name = call.record.id
        here = known.get(name)
        if here is not None and here != call.record:
            raise Conflict(f"the record {name} is here already and says something else", hint="do not use that file")
        if here is None:
            append(driver(connection), [kept(call.record, call.pending)])
            counts["pending"] += call.pending is not None and call.review is None
        counts["known" if here else "records"] += 1
        known[name] = call.record
        if call.pending is None:
            continue
        words = Words(review=call.review, opinions=call.opinions, withdrawn=call.withdrawn)
        heard = hear(connection, call.pending, words, gone.get(name, ()))
        counts.update(reviews=heard.reviews, opinions=heard.opinions, withdrawn=heard.withdrawn)
        differ += [name] * heard.differ
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


def _here(connection: Connection, ids: Sequence[str]) -> dict[str, Record]:
    """The records of these ids that there are."""
    records = connection.execute(select(RECORD.c.id, RECORD.c.body).where(RECORD.c.id.in_(ids)))
    return {row.id: stored(row.body, Record) for row in records}

"""Who looks at what of the queue, in SQL: an item is held by one person at a time, until a time."""

from sqlalchemy import Connection, delete, exists, or_, select

from insource.errors import Conflict
from insource.nouns import Pending
from insource.store.bulk import driver, insert
from insource.store.stored import stored
from insource.store.tables import LEASE, OPINION, PENDING, RECORD

NAMES = ("record", "holder", "until")
AGAIN = "ON CONFLICT (record) DO UPDATE SET holder = excluded.holder, until = excluded.until"


def lease(
    connection: Connection, whose: tuple[str, str | None], holder: str, count: int, times: tuple[str, str]
) -> list[Pending]:
    """Up to `count` items that wait and that nobody else holds, what is worth most first; now held by `holder`.

    They are of the task and the tenant of `whose`, None for any.
    `times` are now and until when (ISO 8601, UTC). What the holder held already comes first and is held on; of what
    waits for a second person, nothing on which the holder has said a word comes.
    """
    (task, tenant), (now, until) = whose, times
    unsaid = ~exists().where(OPINION.c.name == PENDING.c.record + f" {holder}")
    found = (
        select(PENDING.c.record, PENDING.c.body)
        .outerjoin(LEASE, LEASE.c.record == PENDING.c.record)
        .where(PENDING.c.task == task, PENDING.c.settled.is_(False), unsaid)
        .order_by(PENDING.c.worth.desc(), PENDING.c.seq)
    )
    if tenant is not None:
        found = found.join(RECORD, RECORD.c.id == PENDING.c.record).where(RECORD.c.tenant == tenant)
    # two questions, for so each goes along an index: in one, every item that waits would be read and sorted
    held = select(LEASE.c.record).where(LEASE.c.holder == holder, LEASE.c.until >= now)
    names = list(connection.execute(held).scalars())
    mine = connection.execute(found.where(PENDING.c.record.in_(names)).limit(count)).all() if names else []
    free = found.where(or_(LEASE.c.record.is_(None), LEASE.c.until < now)).limit(count - len(mine))
    rows = [*mine, *connection.execute(free).all()]
    insert(driver(connection), LEASE, NAMES, [(row.record, holder, until) for row in rows], AGAIN)
    return [stored(row.body, Pending) for row in rows]


def again(connection: Connection, record: str, holder: str, times: tuple[str, str]) -> None:
    """The item is `holder`'s once more, unless another holds it; `times` as of `lease`."""
    now, until = times
    held = connection.execute(select(LEASE.c.holder, LEASE.c.until).where(LEASE.c.record == record)).first()
    if held is None or held.holder == holder or held.until < now:
        insert(driver(connection), LEASE, NAMES, [(record, holder, until)], AGAIN)


def let_go(connection: Connection, holder: str) -> None:
    """What `holder` holds is free."""
    connection.execute(delete(LEASE).where(LEASE.c.holder == holder))


def check(connection: Connection, record: str, reviewer: str, now: str) -> None:
    """Passes unless somebody else holds the item. Raises `Conflict`, naming who."""
    held = connection.execute(select(LEASE.c.holder, LEASE.c.until).where(LEASE.c.record == record)).first()
    if held is not None and held.holder != reviewer and held.until >= now:
        raise Conflict(f"{held.holder} looks at {record} until {held.until[11:16]} UTC", hint="take another")


def end(connection: Connection, record: str) -> None:
    """Nobody holds the item any more."""
    connection.execute(delete(LEASE).where(LEASE.c.record == record))

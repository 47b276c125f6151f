"""What is old goes: records and what hangs on them, with the entries that vouch for them, and the chain says so.

The entry of what went holds the hash that the chain had there, so that the rest still proves itself from that place on.
A record that waits for a person stays, and so does every change of stage: they are vouched for anew.
"""

from sqlalchemy import Connection, delete, func, select

from insource.nouns import Noun, to_json
from insource.store import chain, links, trials
from insource.store.bulk import driver
from insource.store.chain import NUMBERED, VOUCHED
from insource.store.links import Kind
from insource.store.tables import BATCH_ITEM, ENTRY, OPINION, PENDING, RECORD, REVIEW

MOST = 5_000
SAID: tuple[Kind, ...] = ("review", "opinion")


class Pruned(Noun, frozen=True, kw_only=True):
    """What went, and the last entry of it. `more` says that there is more to go."""

    records: int = 0
    through: int = 0
    more: bool = False


def prune(connection: Connection, before: str, most: int) -> Pruned:
    """Removes the oldest calls: those from before the time `before` (ISO 8601), and those beyond the newest `most`.

    At most 5,000 at a time, so that calls need not wait.
    """
    mine = RECORD.c.id.not_in(select(PENDING.c.record).where(PENDING.c.settled.is_(False)))
    count = int(connection.execute(select(func.count()).select_from(RECORD).where(mine)).scalar() or 0)
    oldest = connection.execute(
        select(RECORD.c.id, RECORD.c.created).where(mine).order_by(RECORD.c.seq).limit(MOST + 1)
    )
    over = [row.id for place, row in enumerate(oldest) if row.created < before or place < count - most]
    going, more = over[:MOST], len(over) > MOST
    if not going:
        return Pruned()
    # one value, however many go: a statement of its own for each number would be kept, read and planned, by SQLite
    those = select(func.json_each(to_json(going).decode()).table_valued("value").c.value)
    last = select(func.max(ENTRY.c.seq)).where(ENTRY.c.kind == "record", ENTRY.c.about.in_(those))
    through = int(connection.execute(last).scalar() or 0)
    return Pruned(records=_remove(connection, through), through=through, more=more)


def _remove(connection: Connection, through: int) -> int:
    """Takes away every entry up to `through` and the rows they vouch for; what stays is vouched for anew."""
    at = chain.at(connection, through)
    mine = select(ENTRY.c.about).where(ENTRY.c.seq <= through)
    waiting = select(PENDING.c.record).where(PENDING.c.settled.is_(False))
    gone = mine.where(ENTRY.c.kind == "record", ENTRY.c.about.not_in(waiting))
    # what was taken back and said again later is vouched for by the later entry
    later = {kind: select(ENTRY.c.about).where(ENTRY.c.seq > through, ENTRY.c.kind == kind) for kind in SAID}
    reviewed = mine.where(ENTRY.c.kind == "review", ENTRY.c.about.not_in(later["review"]))
    said = mine.where(ENTRY.c.kind == "opinion", ENTRY.c.about.not_in(later["opinion"]))
    half = select(OPINION.c.name).where(OPINION.c.record.in_(waiting), OPINION.c.name.in_(said))
    stays = ENTRY.c.kind.in_(("record", *NUMBERED)) | ((ENTRY.c.kind == "opinion") & ENTRY.c.about.in_(half))
    stay = select(ENTRY.c.kind, ENTRY.c.about).where(ENTRY.c.seq <= through, stays)
    kept = list(dict.fromkeys(tuple(row) for row in connection.execute(stay.order_by(ENTRY.c.seq))))
    connection.execute(delete(REVIEW).where(REVIEW.c.record.in_(reviewed)))
    connection.execute(delete(OPINION).where(OPINION.c.name.in_(said), OPINION.c.record.not_in(waiting)))
    connection.execute(delete(PENDING).where(PENDING.c.record.in_(gone)))
    connection.execute(delete(BATCH_ITEM).where(BATCH_ITEM.c.record.in_(gone)))
    removed = connection.execute(delete(RECORD).where(RECORD.c.id.in_(gone))).rowcount
    trials.forget(connection)
    links.enter(driver(connection), [("pruned", through, at)])
    connection.execute(delete(ENTRY).where(ENTRY.c.seq <= through))
    for kind, about in kept:
        table, name = VOUCHED[kind]
        wanted = int(about) if kind in NUMBERED else about
        body = connection.execute(select(table.c.body).where(name == wanted)).scalar()
        if body is not None:
            links.enter(driver(connection), [(kind, about, body)])
    return int(removed)

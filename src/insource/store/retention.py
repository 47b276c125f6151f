"""What is old goes: records and what hangs on them, with the entries that vouch for them, and the chain says so.

The entry of what went holds the hash that the chain had there, so that the rest still proves itself from that place on.
A record that waits for a person stays, and so does every change of stage: they are vouched for anew.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select

from insource.nouns import Noun
from insource.store import chain, links, tally, trials
from insource.store.bulk import driver
from insource.store.chain import NUMBERED, VOUCHED
from insource.store.links import Kind
from insource.store.tables import BATCH_ITEM, DRAW, ENTRY, OPINION, PENDING, RECORD, REVIEW

T = TypeVar("T")
MOST = 5_000
PART = 500  # names in one statement
SAID: tuple[Kind, ...] = ("review", "opinion")


class Pruned(Noun, frozen=True, kw_only=True):
    """What went, and the last entry of it in the first chain. `more` says that there is more to go.

    `beyond` is the newest call of which there were too many, for the next round.
    """

    records: int = 0
    through: int = 0
    more: bool = False
    beyond: int = 0


def beyond(connection: Connection, most: int) -> int:
    """The number of the newest call beyond the newest `most`, without those that wait for a person; 0 without one.

    Calls that come later get higher numbers: what was one too many stays so, and nobody need wait for this to be found.
    """
    newest = select(RECORD.c.seq).where(_not_waiting(RECORD.c.id)).order_by(RECORD.c.seq.desc())
    return int(connection.execute(newest.offset(most).limit(1)).scalar() or 0)


def prune(connection: Connection, before: str, beyond: int) -> Pruned:
    """Removes the oldest calls: those from before the time `before` (ISO 8601), and those up to the number `beyond`.

    At most 5,000 at a time, so that calls need not wait. What waits for a person stays, whatever its number.
    """
    oldest = select(RECORD.c.id, RECORD.c.seq, RECORD.c.created).where(_not_waiting(RECORD.c.id))
    rows = connection.execute(oldest.order_by(RECORD.c.seq).limit(MOST + 1))
    over = [row.id for row in rows if row.created < before or row.seq <= beyond]
    going, more = over[:MOST], len(over) > MOST
    if not going:
        return Pruned()
    through = _through(connection, going)
    records = sum(_remove(connection, last) for _, last in sorted(through.items(), reverse=True))
    tally.newest_went(connection)
    return Pruned(records=records, through=through.get(0, 0), more=more, beyond=beyond)


def _not_waiting(record: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether the call of this name does not wait for a person."""
    return ~exists().where(PENDING.c.record == record, PENDING.c.settled.is_(False))


def _through(connection: Connection, going: Sequence[str]) -> dict[int, int]:
    """Chain → the last entry there of a record that goes."""
    span = ENTRY.c.seq // links.SPAN
    found: dict[int, int] = {}
    for some in _parts(going):
        last = select(span.label("chain"), func.max(ENTRY.c.seq).label("seq"))
        last = last.where(ENTRY.c.kind == "record", ENTRY.c.about.in_(some))
        for row in connection.execute(last.group_by(span)):
            found[row.chain] = max(found.get(row.chain, 0), row.seq)
    return found


def _remove(connection: Connection, through: int) -> int:
    """Takes away every entry of a chain up to `through` and the rows they vouch for; what stays is vouched for anew."""
    at = chain.at(connection, [through])[through]
    old = ENTRY.c.seq.between(through // links.SPAN * links.SPAN, through)
    others = [foot for of, foot in links.foots(driver(connection)).items() if of != through // links.SPAN]
    mine = select(ENTRY.c.about).where(old)
    waiting = select(PENDING.c.record).where(PENDING.c.settled.is_(False))
    gone = mine.where(ENTRY.c.kind == "record", _not_waiting(ENTRY.c.about))
    # what was taken back and said again later is vouched for by the later entry
    later = {kind: select(ENTRY.c.about).where(~old, ENTRY.c.kind == kind) for kind in SAID}
    reviewed = mine.where(ENTRY.c.kind == "review", ENTRY.c.about.not_in(later["review"]))
    # what people said of a call that another chain has, and that stays, stands here
    elsewhere = reviewed.where(ENTRY.c.about.not_in(gone), exists().where(RECORD.c.id == ENTRY.c.about))
    said = mine.where(ENTRY.c.kind == "opinion", ENTRY.c.about.not_in(later["opinion"]))
    half = select(OPINION.c.name).where(OPINION.c.record.in_(waiting), OPINION.c.name.in_(said))
    stays = ENTRY.c.kind.in_(("record", *NUMBERED)) | ((ENTRY.c.kind == "opinion") & ENTRY.c.about.in_(half))
    stays |= (ENTRY.c.kind == "review") & ENTRY.c.about.in_(elsewhere)
    stay = select(ENTRY.c.kind, ENTRY.c.about).where(old, stays)
    kept = list(dict.fromkeys(tuple(row) for row in connection.execute(stay.order_by(ENTRY.c.seq))))
    connection.execute(delete(REVIEW).where(REVIEW.c.record.in_(reviewed), REVIEW.c.record.not_in(elsewhere)))
    connection.execute(delete(OPINION).where(OPINION.c.name.in_(said), _not_waiting(OPINION.c.record)))
    connection.execute(delete(PENDING).where(PENDING.c.record.in_(gone)))
    connection.execute(delete(DRAW).where(DRAW.c.record.in_(gone)))
    connection.execute(delete(BATCH_ITEM).where(BATCH_ITEM.c.record.in_(gone)))
    removed = connection.execute(delete(RECORD).where(RECORD.c.id.in_(gone))).rowcount
    trials.forget(connection)
    links.enter(driver(connection), [("pruned", through, at)])
    if through < links.SPAN:  # what says so of the other chains stands in this one, and may go with it
        links.enter(driver(connection), [("pruned", foot.seq, foot.hash) for foot in others])
    connection.execute(delete(ENTRY).where(old))
    bodies = {kind: _bodies(connection, kind, [about for of, about in kept if of == kind]) for kind in VOUCHED}
    links.enter(
        driver(connection), [(kind, about, bodies[kind][about]) for kind, about in kept if about in bodies[kind]]
    )
    return int(removed)


def _bodies(connection: Connection, kind: Kind, abouts: Sequence[str]) -> dict[str, str]:
    """The bodies of the rows of a kind that are still there, by what entries call them."""
    table, name = VOUCHED[kind]
    called: dict[object, str] = {int(about) if kind in NUMBERED else about: about for about in abouts}
    found: dict[str, str] = {}
    for some in _parts(list(called)):
        rows = connection.execute(select(name.label("about"), table.c.body).where(name.in_(some)))
        found |= {called[row.about]: row.body for row in rows}
    return found


def _parts(names: Sequence[T]) -> Iterator[list[T]]:
    """Names in parts of one size: each number of them would be a statement of its own, read and planned."""
    for start in range(0, len(names), PART):
        some = list(names[start : start + PART])
        yield some + some[-1:] * (PART - len(some))

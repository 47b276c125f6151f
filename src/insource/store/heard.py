"""What people said of a call in another store, each word of it, and what they took back, taken into this one in SQL.

A word is told by what it says, for an older version may have spelt it otherwise. What was taken back in either store is
taken back in both, and the audit chain has it as said and withdrawn; else what was said here stands.
"""

from collections.abc import Collection
from itertools import chain

from sqlalchemy import Connection, delete, select

from insource.nouns import Noun, Pending, Review, agreed, to_json
from insource.store import draws, links, opinions
from insource.store.bulk import driver
from insource.store.links import Kind
from insource.store.opinions import name_of
from insource.store.records import note, waiting
from insource.store.stored import stored
from insource.store.tables import OPINION
from insource.store.withdrawn import ROWS, Withdrawn, all_withdrawn, body_of


class Words(Noun, frozen=True, kw_only=True):
    """What people said of a call: the verdict, the word of each who saw it blind to the others, what was taken back."""

    review: Review | None = None
    opinions: tuple[Review, ...] = ()
    withdrawn: tuple[Withdrawn, ...] = ()


class Heard(Noun, frozen=True, kw_only=True):
    """How much of it was new; `differ` says that one word there is another here."""

    reviews: int = 0
    opinions: int = 0
    withdrawn: int = 0
    differ: bool = False


def taken_back(connection: Connection) -> dict[str, tuple[Withdrawn, ...]]:
    """Record → what people said of it and took back, oldest first. One look at the whole chain."""
    found: dict[str, list[Withdrawn]] = {}
    for _, gone in sorted(chain.from_iterable(all_withdrawn(connection).values()), key=lambda one: one[0]):
        if gone is not None:
            found.setdefault(stored(gone.body, Review).record, []).append(gone)
    return {record: tuple(all_of_it) for record, all_of_it in found.items()}


def hear(connection: Connection, pending: Pending, there: Words, gone: Collection[Withdrawn]) -> Heard:
    """Takes in the words on what waits, or waited, under `pending`; `gone` are those taken back here."""
    known = {_mark(one) for one in gone}
    withdrawn = sum(_withdraw(connection, pending, one, there) for one in there.withdrawn if _mark(one) not in known)
    # what stands there though it was taken back there was said again
    back = {_said(one.body) for one in gone} - {_said(one.body) for one in there.withdrawn}
    fresh, differ = 0, False
    for opinion in there.opinions:
        name = name_of(opinion.record, opinion.reviewer)
        here = _here(connection, "opinion", name)
        differ |= here not in (None, opinion)
        if here is None and to_json(opinion) not in back:
            body = to_json(opinion).decode()
            row = {"name": name, "record": opinion.record, "task": pending.task, "body": body}
            connection.execute(OPINION.insert().values(row))
            links.enter(driver(connection), [("opinion", name, body)])
            fresh += 1
    here = _here(connection, "review", pending.record)
    if here is not None:
        return Heard(opinions=fresh, withdrawn=withdrawn, differ=differ or there.review not in (None, here))
    verdict = there.review or (agreed(opinions.of_record(connection, pending.record)) if fresh else None)
    if verdict is None or to_json(verdict) in back:
        return Heard(opinions=fresh, withdrawn=withdrawn, differ=differ)
    note(connection, waiting(connection, pending.record), verdict)
    return Heard(reviews=1, opinions=fresh, withdrawn=withdrawn, differ=differ)


def _withdraw(connection: Connection, pending: Pending, gone: Withdrawn, there: Words) -> bool:
    """Takes back here what was taken back there; False where another word of that name stands here."""
    said, kind = stored(gone.body, Review), _kind(gone)
    name = said.record if kind == "review" else name_of(said.record, said.reviewer)
    here = body_of(connection, kind, name)
    if here is not None and (stored(here, Review) != said or said in (there.review, *there.opinions)):
        return False
    back = Withdrawn(at=gone.at, kind=kind, body=here or gone.body)
    entry = (kind, name, gone.body)
    links.enter(driver(connection), [entry] * (here is None) + [("withdrawn", name, to_json(back).decode())])
    if here is not None:
        table, column = ROWS[kind]
        connection.execute(delete(table).where(column == name))
        if body_of(connection, "review", pending.record) is None:
            draws.settle(connection, pending.record, "")
    return True


def _here(connection: Connection, kind: Kind, name: str) -> Review | None:
    body = body_of(connection, kind, name)
    return None if body is None else stored(body, Review)


def _said(body: str) -> bytes:
    return to_json(stored(body, Review))


def _mark(gone: Withdrawn) -> tuple[str, bytes]:
    return gone.at, _said(gone.body)


def _kind(gone: Withdrawn) -> Kind:
    return "review" if gone.kind == "review" else "opinion"


def opinions_on(connection: Connection, ids: Collection[str]) -> dict[str, tuple[Review, ...]]:
    """Record → every word on it that stands, oldest first, of those of `ids` that more than one has to see."""
    found: dict[str, tuple[Review, ...]] = {}
    wanted = select(OPINION.c.record, OPINION.c.body).where(OPINION.c.record.in_(ids)).order_by(OPINION.c.seq)
    for row in connection.execute(wanted):
        found[row.record] = (*found.get(row.record, ()), stored(row.body, Review))
    return found

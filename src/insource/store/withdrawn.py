"""What a person said and took back: the row goes, and the entry of the audit chain that says so holds all of it."""

from collections import defaultdict

from sqlalchemy import Column, Connection, Table, delete, select

from insource.errors import Conflict, Invalid, Missing
from insource.nouns import Noun, Pending, Review, from_json, to_json
from insource.store import draws, links
from insource.store.bulk import driver
from insource.store.links import Kind
from insource.store.opinions import name_of
from insource.store.stored import stored
from insource.store.tables import ENTRY, OPINION, PENDING, REVIEW

ROWS: dict[Kind, tuple[Table, Column[str]]] = {
    "review": (REVIEW, REVIEW.c.record),
    "opinion": (OPINION, OPINION.c.name),
}


class Withdrawn(Noun, frozen=True, kw_only=True):
    """The body of an entry "withdrawn": when it was taken back, the kind of row, and the row's body as it was."""

    at: str
    kind: str
    body: str


def take_back(connection: Connection, record: str, reviewer: str, times: tuple[str, str]) -> Pending:
    """Takes back what `reviewer` said of `record` since the first of `times`; the second is now. It waits again.

    Raises `Missing`, or `Conflict` where nothing of theirs is there, it is older, or another's word settled it.
    """
    since, now = times
    waited = connection.execute(select(PENDING.c.body).where(PENDING.c.record == record)).scalar()
    if waited is None:
        raise Missing(f"{record} does not wait for a person, and never did")
    mine: tuple[tuple[Kind, str], ...] = (("review", record), ("opinion", name_of(record, reviewer)))
    said = {kind: (name, body) for kind, name in mine if (body := body_of(connection, kind, name)) is not None}
    verdict = stored(said["review"][1], Review) if "review" in said else None
    if verdict is not None and verdict.reviewer != reviewer:
        raise Conflict(f"{record} was settled by {verdict.reviewer}", hint="who settled it can take that back")
    if not said:
        raise Conflict(f"{reviewer} said nothing of {record}")
    for kind, (name, body) in said.items():
        if stored(body, Review).decided < since:
            raise Conflict(f"what {reviewer} said of {record} stands: it was said too long ago")
        table, column = ROWS[kind]
        connection.execute(delete(table).where(column == name))
        gone = Withdrawn(at=now, kind=kind, body=body)
        links.enter(driver(connection), [("withdrawn", name, to_json(gone).decode())])
    draws.settle(connection, record, "")
    return stored(waited, Pending)


def all_withdrawn(connection: Connection) -> dict[str, list[tuple[int, Withdrawn | None]]]:
    """Name of a row → the number and the body of each entry that took one of that name back; None: it spells none."""
    found: dict[str, list[tuple[int, Withdrawn | None]]] = defaultdict(list)
    wanted = select(ENTRY.c.seq, ENTRY.c.about, ENTRY.c.body).where(ENTRY.c.kind == "withdrawn").order_by(ENTRY.c.seq)
    for row in connection.execute(wanted):
        try:
            gone = from_json(str(row.body), Withdrawn)
        except Invalid:  # who writes the file can write anything
            gone = None
        found[str(row.about)].append((row.seq, gone))
    return found


def body_of(connection: Connection, kind: Kind, name: str) -> str | None:
    """The body of the row called `name`; None where there is none."""
    table, column = ROWS[kind]
    found: str | None = connection.execute(select(table.c.body).where(column == name)).scalar()
    return found

"""Given answers that were drawn by chance for a person to see, and what was said of them, in SQL.

A promise is held against them. They stand beside what waits, and without its texts, so that they are counted along one
index however many there are.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, exists, func, select, update

from insource.errors import Invalid
from insource.nouns import Noun, Review, from_json
from insource.store import bulk
from insource.store.bulk import Sql
from insource.store.tables import DRAW, OPINION, PENDING, RECORD, REVIEW

TOLD = ("right", "wrong", "none_of_these")


class Looks(Noun, frozen=True, kw_only=True):
    """How many of a release's drawn answers people found right, and how many wrong.

    They count in the order in which they came, up to the first on which nobody said a word, which came at `until` (""
    where each was looked at); `behind` came later and were looked at. One that waits for the word of a second person
    holds up no other: whether it does says nothing of the answer.
    """

    right: int = 0
    wrong: int = 0
    behind: int = 0
    until: str = ""


def note(sql: Sql, records: Sequence[str]) -> None:
    """Notes that these were drawn: those that a release answered by itself, and of which it said how sure it was."""
    for some in bulk.parts(records):
        sql.execute(
            'INSERT INTO "draw" ("record", "release", "created", "confidence", "verdict")'  # noqa: S608 - our own names
            " SELECT id, release, created, confidence, '' FROM record WHERE outcome = 'answered'"
            f" AND release IS NOT NULL AND confidence IS NOT NULL AND id IN ({', '.join('?' * len(some))})"
            " ON CONFLICT DO NOTHING",
            some,
        )


def settle(connection: Connection, record: str, verdict: str) -> None:
    """Of what waits, or was drawn, a person said `verdict`; with "" it waits again."""
    connection.execute(update(PENDING).where(PENDING.c.record == record).values(settled=bool(verdict)))
    connection.execute(update(DRAW).where(DRAW.c.record == record).values(verdict=verdict))


def verdict_of(body: str | None) -> str | None:
    """What a review says, "" where there is none; None where it is damaged, of which the chain knows, too."""
    try:
        return from_json(body, Review).verdict if body else ""
    except Invalid:
        return None


def looks(connection: Connection, release: str, since: str) -> Looks:
    """What people said of the answers that the release gave after the time `since`."""
    mine = (DRAW.c.release == release) & (DRAW.c.created > since)
    unseen = ~exists().where(OPINION.c.record == DRAW.c.record)
    first = select(DRAW.c.created).where(mine, DRAW.c.verdict == "", unseen).order_by(DRAW.c.created).limit(1)
    until = str(connection.execute(first).scalar() or "")
    grouped = select(DRAW.c.verdict, func.count()).where(mine, DRAW.c.verdict.in_(TOLD)).group_by(DRAW.c.verdict)
    told = _counts(connection, grouped.where(DRAW.c.created <= until) if until else grouped)
    behind = _counts(connection, grouped.where(DRAW.c.created > until)) if until else {}
    right = told.pop("right", 0)
    return Looks(right=right, wrong=sum(told.values()), behind=sum(behind.values()), until=until)


def looked_at(connection: Connection, release: str, since: str, until: str) -> list[tuple[float, bool]]:
    """How sure the release was of each answer that `looks` counts, and whether people found it right; oldest first."""
    mine = (DRAW.c.release == release) & (DRAW.c.created > since) & DRAW.c.verdict.in_(TOLD)
    wanted = select(DRAW.c.confidence, DRAW.c.verdict).where(mine).order_by(DRAW.c.created, DRAW.c.seq)
    rows = connection.execute(wanted.where(DRAW.c.created <= until) if until else wanted)
    return [(row.confidence, row.verdict == "right") for row in rows]


def amiss(connection: Connection, most: int) -> list[str]:
    """The records of draws that are not as their record and its verdict have it, `most` of them at most."""
    same = (DRAW.c.release == RECORD.c.release) & (DRAW.c.created == RECORD.c.created)
    of_record = select(DRAW.c.record).outerjoin(RECORD, RECORD.c.id == DRAW.c.record)
    other = RECORD.c.id.is_(None) | ~same | (DRAW.c.confidence != RECORD.c.confidence)
    found = list(connection.execute(of_record.where(other).limit(most)).scalars())
    both = select(DRAW.c.record, DRAW.c.verdict, REVIEW.c.body).outerjoin(REVIEW, REVIEW.c.record == DRAW.c.record)
    found += [row.record for row in connection.execute(both) if row.verdict != verdict_of(row.body)]
    return found[:most]


def _counts(connection: Connection, grouped: Select[Any]) -> dict[str, int]:
    return {verdict: int(count) for verdict, count in connection.execute(grouped)}

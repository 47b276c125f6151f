"""Calls that somebody looks for, in SQL: a page at a time, and never more of the store than some rows at once."""

from sqlalchemy import ColumnElement, Connection, func, select

from insource.nouns import Noun, Outcome, Pending, Record, Review, to_json
from insource.store.stored import stored
from insource.store.tables import PENDING, RECORD, REVIEW

LOOKED_THROUGH = 50_000  # rows that one search may look through: what is rarer is found with the next page


class Wanted(Noun, frozen=True, kw_only=True):
    """What is looked for; empty is anything. `tasks` and `tenant` are what the searcher may see at all, None is all.

    `since` and `until` are times or days (ISO 8601, UTC), `until` not included; `below` is a confidence, not included.
    """

    task: str = ""
    outcome: Outcome | None = None
    release: str = ""
    since: str = ""
    until: str = ""
    below: float | None = None
    tasks: tuple[str, ...] | None = None
    tenant: str | None = None


class Found(Noun, frozen=True, kw_only=True):
    """A page of records, newest first. `older` is the place behind it, 0 at the end of the store."""

    records: tuple[Record, ...]
    older: int


class Judged(Noun, frozen=True, kw_only=True):
    """What a person was shown of a call, and what was said of it; None where nobody was shown or said anything."""

    pending: Pending | None = None
    review: Review | None = None


def find(connection: Connection, wanted: Wanted, below: int, limit: int) -> Found:
    """Up to `limit` records before the place `below` (0: the newest)."""
    newest = int(connection.execute(select(func.max(RECORD.c.seq))).scalar() or 0)
    top = min(below, newest + 1) if below else newest + 1
    foot = max(top - LOOKED_THROUGH, 0)
    page = select(RECORD.c.seq, RECORD.c.body).where(RECORD.c.seq < top, RECORD.c.seq >= foot, *_conditions(wanted))
    rows = connection.execute(page.order_by(RECORD.c.seq.desc()).limit(limit)).all()
    older = rows[-1].seq if len(rows) == limit else foot
    return Found(records=tuple(stored(row.body, Record) for row in rows), older=older if older > 1 else 0)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    column = RECORD.c
    asked = [
        (column.task == wanted.task, wanted.task != ""),
        (column.task.in_(wanted.tasks or ()), wanted.tasks is not None),
        (column.tenant == wanted.tenant, wanted.tenant is not None),
        (column.outcome == wanted.outcome, wanted.outcome is not None),
        (column.release == wanted.release, wanted.release != ""),
        (column.created >= wanted.since, wanted.since != ""),
        (column.created < wanted.until, wanted.until != ""),
        (column.confidence < (wanted.below or 0.0), wanted.below is not None),
    ]
    return [condition for condition, is_asked in asked if is_asked]


def judged(connection: Connection, record: str) -> Judged:
    """What people know of one call."""
    shown = connection.execute(select(PENDING.c.body).where(PENDING.c.record == record)).scalar()
    said = connection.execute(select(REVIEW.c.body).where(REVIEW.c.record == record)).scalar()
    return Judged(
        pending=None if shown is None else stored(shown, Pending),
        review=None if said is None else stored(said, Review),
    )


def newest_reviews(
    connection: Connection, task: str, limit: int, tenant: str | None = None
) -> list[tuple[Pending, Review]]:
    """The newest verdicts on the task's answers, oldest of them first, with what each was about.

    Only those on the calls of `tenant`, where one is named.
    """
    newest = (
        select(REVIEW.c.seq, PENDING.c.body.label("pending"), REVIEW.c.body.label("review"))
        .join_from(REVIEW, PENDING, REVIEW.c.record == PENDING.c.record)
        .where(REVIEW.c.task == task)
        .order_by(REVIEW.c.seq.desc())
        .limit(limit)
    )
    if tenant is not None:
        newest = newest.join(RECORD, RECORD.c.id == REVIEW.c.record).where(RECORD.c.tenant == tenant)
    rows = connection.execute(newest).all()
    return [(stored(row.pending, Pending), stored(row.review, Review)) for row in reversed(rows)]


def ended(connection: Connection, task: str, limit: int, besides: str) -> dict[Outcome, int]:
    """How the newest calls of the task ended, those of the caller `besides` left out."""
    mine = select(RECORD.c.outcome, RECORD.c.body).where(RECORD.c.task == task)
    newest = mine.order_by(RECORD.c.seq.desc()).limit(limit).subquery()
    # a quote within a text is escaped, so these letters are the caller and nothing else
    theirs = newest.c.body.contains(f'"caller":{to_json(besides).decode()}', autoescape=True)
    counted = select(newest.c.outcome, func.count().label("calls")).where(~theirs).group_by(newest.c.outcome)
    return {row.outcome: row.calls for row in connection.execute(counted)}


def reach(connection: Connection, task: str, limit: int) -> tuple[int, str]:
    """How many calls the task has, up to the newest `limit`, and when the oldest of those came."""
    mine = select(RECORD.c.seq).where(RECORD.c.task == task).order_by(RECORD.c.seq.desc()).limit(limit).subquery()
    count, first = connection.execute(select(func.count(), func.min(mine.c.seq))).one()
    return int(count), str(connection.execute(select(RECORD.c.created).where(RECORD.c.seq == first)).scalar() or "")


def outcomes(connection: Connection, task: str, since: str) -> dict[str, int]:
    """How many calls of the task from the time `since` on ended how."""
    mine = select(RECORD.c.outcome, func.count().label("calls"))
    mine = mine.where(RECORD.c.task == task, RECORD.c.created >= since).group_by(RECORD.c.outcome)
    return {str(row.outcome): int(row.calls) for row in connection.execute(mine)}

"""Calls that two releases answered, in SQL: what was written of each, and what comes of it when it is counted."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, exists, func, select

from insource.nouns import JsonObject, Noun, Pending, Review, Trial, to_json
from insource.store import bulk, records
from insource.store.bulk import driver
from insource.store.stored import stored
from insource.store.tables import PENDING, RECORD, REVIEW, TRIAL

NAMES = ("record", "release", "created", "agrees", "worse", "slower", "body")


class Tried(Noun, frozen=True, kw_only=True):
    """One call on trial as it is counted: `worse` and `slower` are steps (-1, 0, 1) of the tests of `release.trial`.

    `pending` is what a person is to see of it, None where the two agree.
    """

    trial: Trial
    worse: int
    slower: int
    pending: Pending | None = None


class Seen(Noun, frozen=True, kw_only=True):
    """A disagreement at which a person looked: what is right, None where only the given answer is known to be wrong.

    Where no label of the task fits, both are wrong: `right` is then empty.
    """

    trial: Trial
    given: JsonObject | None
    right: JsonObject | None


class Counted(Noun, frozen=True, kw_only=True):
    """How many calls agree, disagree (False) or have no two answers (None), and how many have each step."""

    calls: int
    here: int
    agreed: int
    worse: dict[float, int]
    slower: dict[float, int]


def add(connection: Connection, tried: Sequence[Tried]) -> None:
    """Keeps calls that two releases answered, and has people see those at which they differ; each once."""
    rows = [
        (one.trial.record, one.trial.ours.release, one.trial.created, one.trial.agrees, one.worse, one.slower,
         to_json(one.trial).decode())
        for one in tried
    ]  # fmt: skip
    bulk.insert(driver(connection), TRIAL, NAMES, rows, "ON CONFLICT DO NOTHING")
    for one in tried:
        if one.pending is not None:
            records.put_up(connection, one.pending)


def count(connection: Connection, release: str, since: str, here: str) -> Counted:
    """The calls that `release` answered on trial from the time `since` on; those from `here` on are at this stop."""
    mine = (TRIAL.c.release == release) & (TRIAL.c.created >= since)
    grouped = select(TRIAL.c.agrees, TRIAL.c.worse, TRIAL.c.slower, func.count().label("times"))
    rows = connection.execute(grouped.where(mine).group_by(TRIAL.c.agrees, TRIAL.c.worse, TRIAL.c.slower)).all()
    now = select(func.count()).select_from(TRIAL).where(TRIAL.c.release == release, TRIAL.c.created >= here)
    worse: dict[float, int] = {}
    slower: dict[float, int] = {}
    for row in rows:
        worse[row.worse] = worse.get(row.worse, 0) + row.times
        slower[row.slower] = slower.get(row.slower, 0) + row.times
    return Counted(
        calls=sum(row.times for row in rows),
        here=int(connection.execute(now).scalar() or 0),
        agreed=sum(row.times for row in rows if row.agrees),
        worse=worse,
        slower=slower,
    )


def judged(connection: Connection, release: str, since: str) -> list[Seen]:
    """The disagreements since then at which a person looked, and said what is right or that the given is wrong."""
    found = (
        select(TRIAL.c.body, REVIEW.c.body.label("review"), PENDING.c.body.label("pending"))
        .join_from(TRIAL, REVIEW, TRIAL.c.record == REVIEW.c.record)
        .join(PENDING, PENDING.c.record == TRIAL.c.record)
        .where(TRIAL.c.release == release, TRIAL.c.created >= since, TRIAL.c.agrees.is_not(True))
    )
    seen = []
    for row in connection.execute(found):
        review, given = stored(row.review, Review), stored(row.pending, Pending).value
        if review.verdict != "unsure":
            right = given if review.verdict == "right" else review.corrected
            right = {} if review.verdict == "none_of_these" else right
            seen.append(Seen(trial=stored(row.body, Trial), given=given, right=right))
    return seen


def newest(connection: Connection, release: str, since: str, limit: int) -> list[Trial]:
    """The newest calls that `release` answered on trial from the time `since` on, newest first."""
    found = select(TRIAL.c.body).where(TRIAL.c.release == release, TRIAL.c.created >= since)
    bodies = connection.execute(found.order_by(TRIAL.c.created.desc()).limit(limit)).scalars()
    return [stored(body, Trial) for body in bodies]


def of_record(connection: Connection, record: str) -> Trial | None:
    """What another release answered to the call, None where none was asked."""
    body = connection.execute(select(TRIAL.c.body).where(TRIAL.c.record == record)).scalar()
    return stored(body, Trial) if body else None


def forget(connection: Connection) -> None:
    """Removes what was tried of calls whose record is gone."""
    connection.execute(delete(TRIAL).where(~exists().where(RECORD.c.id == TRIAL.c.record)))

"""Numbered steps from one form of the tables to the next. A fresh database is made in its present form at once."""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection, inspect, select, update

from insource.errors import StoreError
from insource.nouns import DRAWN, Noun, Pending, to_json
from insource.store import chain, draws
from insource.store.bulk import driver
from insource.store.spending import sum_up
from insource.store.stored import stored
from insource.store.tables import (
    ALERT,
    API_KEY,
    ASSESSMENT,
    BATCH,
    BATCH_ITEM,
    BATCH_WORKER,
    DECLARATION,
    DRAW,
    ENTRY,
    LEASE,
    LESSON,
    METADATA,
    MIGRATION,
    OPEN_CALL,
    OPINION,
    PENDING,
    PENDING_BY_WORTH,
    RECORD,
    RELEASE,
    REPLICA,
    REPORT,
    REVIEW,
    SHARE,
    SPENT,
    STORED_FILE,
    TALLIED,
    TALLY,
    TIGHTENING,
    TRIAL,
)

Step = Callable[[Connection], None]


class Migration(Noun, frozen=True, kw_only=True):
    """One step. `apply` runs inside the transaction that also notes it as done; None: only a fresh start has it."""

    number: int
    name: str
    apply: Step | None = None


def _keys(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[API_KEY, SPENT])
    sum_up(connection)


def _audit_chain(connection: Connection) -> None:
    """Calls are noted before they are answered, and what was written is bound together."""
    ENTRY.create(connection)
    OPEN_CALL.create(connection)
    chain.begin(connection)


def _fewer_pages(connection: Connection) -> None:
    """What a call writes lies in fewer pages: each page that a commit changes goes to the log whole."""
    for index in RECORD.indexes:
        index.drop(connection)
        index.create(connection)
    begun = [dict(row) for row in connection.execute(select(OPEN_CALL)).mappings()]
    OPEN_CALL.drop(connection)
    OPEN_CALL.create(connection)
    if begun:
        connection.execute(OPEN_CALL.insert(), begun)


def _trials(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[TRIAL])


def _review_queue(connection: Connection) -> None:
    """What waits is ordered by what it is worth, and held by one person at a time."""
    names = {column["name"] for column in inspect(connection).get_columns(PENDING.name)}
    if "worth" not in names:
        connection.exec_driver_sql("ALTER TABLE pending ADD COLUMN worth FLOAT NOT NULL DEFAULT 0")
    connection.exec_driver_sql("DROP INDEX IF EXISTS pending_by_task")
    PENDING_BY_WORTH.create(connection, checkfirst=True)
    METADATA.create_all(connection, tables=[LEASE])


def _opinions(connection: Connection) -> None:
    """What each of several people said of an item that more than one has to see."""
    METADATA.create_all(connection, tables=[OPINION])


def _alerts(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[ALERT])


def _tightenings(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[TIGHTENING])


def _lessons(connection: Connection) -> None:
    """What teachers were asked and said, and what it cost."""
    METADATA.create_all(connection, tables=[LESSON])


def _declarations(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[DECLARATION])


def _assessments(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[ASSESSMENT])


def _shares(connection: Connection) -> None:
    """Gateways that share limits."""
    METADATA.create_all(connection, tables=[REPLICA, SHARE])


def _batches(connection: Connection) -> None:
    """What documents of batches came to, who is at work on them, and the files and batches that callers sent."""
    METADATA.create_all(connection, tables=[BATCH_ITEM, BATCH_WORKER, STORED_FILE, BATCH])


class _Split(msgspec.Struct, frozen=True):
    """A report, as far as a list is looked up by it."""

    split: str


def _split(body: str) -> str:
    """Which split a report is on; empty where it is damaged, which whoever reads it is told."""
    try:
        return msgspec.json.decode(body, type=_Split).split
    except msgspec.MsgspecError:
        return ""


def _listings(connection: Connection) -> None:
    """Lists come a page at a time along an index, and what calls took is kept summed up."""
    METADATA.create_all(connection, tables=[TALLY, TALLIED])
    if "split" not in {column["name"] for column in inspect(connection).get_columns(REPORT.name)}:
        connection.exec_driver_sql("ALTER TABLE report ADD COLUMN split VARCHAR NOT NULL DEFAULT ''")
    for seq, body in connection.execute(select(REPORT.c.seq, REPORT.c.body).where(REPORT.c.split == "")).all():
        connection.execute(update(REPORT).where(REPORT.c.seq == seq).values(split=_split(body)))
    PENDING_BY_WORTH.drop(connection, checkfirst=True)
    for index in (*PENDING.indexes, *RELEASE.indexes, *REPORT.indexes):
        index.create(connection, checkfirst=True)


def _draws(connection: Connection) -> None:
    """What was drawn by chance stands apart, with what was said of it: it is counted along an index."""
    METADATA.create_all(connection, tables=[DRAW])
    connection.exec_driver_sql("DROP INDEX IF EXISTS pending_drawn")
    if "drawn" in {column["name"] for column in inspect(connection).get_columns(PENDING.name)}:
        connection.exec_driver_sql("ALTER TABLE pending DROP COLUMN drawn")
    drawn = PENDING.c.body.contains(to_json(DRAWN).decode()) & PENDING.c.body.contains('"reason":')
    shown = connection.execute(select(PENDING.c.body).where(drawn).order_by(PENDING.c.seq)).scalars().all()
    mine = [one.record for one in (stored(body, Pending) for body in shown) if one.reason == DRAWN]
    draws.note(driver(connection), mine)
    said = select(DRAW.c.record, REVIEW.c.body).join_from(REVIEW, DRAW, DRAW.c.record == REVIEW.c.record)
    for row in connection.execute(said).all():
        verdict = draws.verdict_of(row.body) or ""  # whoever looks at the chain is told of a damaged one
        connection.execute(update(DRAW).where(DRAW.c.record == row.record).values(verdict=verdict))


MIGRATIONS = (
    Migration(number=1, name="first tables"),
    Migration(number=2, name="keys and what was spent", apply=_keys),
    Migration(number=3, name="audit chain", apply=_audit_chain),
    Migration(number=4, name="fewer pages a commit", apply=_fewer_pages),
    Migration(number=5, name="releases on trial", apply=_trials),
    Migration(number=6, name="review queue", apply=_review_queue),
    Migration(number=7, name="opinions", apply=_opinions),
    Migration(number=8, name="alerts", apply=_alerts),
    Migration(number=9, name="tightened thresholds", apply=_tightenings),
    Migration(number=10, name="lessons of teachers", apply=_lessons),
    Migration(number=11, name="assessments", apply=_assessments),
    Migration(number=12, name="declarations", apply=_declarations),
    Migration(number=13, name="batches", apply=_batches),
    Migration(number=14, name="shares of limits", apply=_shares),
    Migration(number=15, name="listings", apply=_listings),
    Migration(number=16, name="draws", apply=_draws),
)


def migrate(connection: Connection, steps: tuple[Migration, ...] = MIGRATIONS) -> list[str]:
    """Brings the tables to their present form and returns the names of the steps taken; none on a second run.

    Must run inside one transaction. Raises `StoreError` when a newer version of insource wrote the database.
    """
    newest = steps[-1].number
    if not inspect(connection).has_table(MIGRATION.name):
        METADATA.create_all(connection)
        _note(connection, steps)
        return [step.name for step in steps]
    done = set(connection.execute(select(MIGRATION.c.number)).scalars())
    at = max(done, default=0)
    if at > newest:
        raise StoreError(
            f"the store has form {at}, this version of insource knows forms up to {newest}",
            hint="pip install --upgrade insource",
        )
    todo = tuple(step for step in steps if step.number not in done)
    for step in todo:
        if step.apply is not None:
            step.apply(connection)
    _note(connection, todo)
    return [step.name for step in todo]


def _note(connection: Connection, steps: tuple[Migration, ...]) -> None:
    now = datetime.now(UTC).isoformat()
    for step in steps:
        connection.execute(MIGRATION.insert().values(number=step.number, name=step.name, applied=now))

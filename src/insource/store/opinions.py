"""What each person said of an item that more than one has to see: kept beside the verdict that comes of it, in SQL."""

from sqlalchemy import Connection, select

from insource.errors import Conflict
from insource.nouns import Pending, Review, agreed, to_json
from insource.store import links
from insource.store.bulk import driver
from insource.store.stored import stored
from insource.store.tables import OPINION, PENDING


def name_of(record: str, reviewer: str) -> str:
    """What a person's word on a record is called."""
    return f"{record} {reviewer}"


def say(connection: Connection, pending: Pending, review: Review) -> Review | None:
    """Notes a person's word. Returns the verdict that all words come to, None while it waits for another's.

    Raises `Conflict` for a second word of the same person.
    """
    said = of_record(connection, review.record)
    if any(one.reviewer == review.reviewer for one in said):
        hint = "insource review TASK --undo RECORD takes back what you said last"
        raise Conflict(f"{review.record} waits for the word of another than {review.reviewer}", hint=hint)
    body, name = to_json(review).decode(), name_of(review.record, review.reviewer)
    connection.execute(OPINION.insert().values(name=name, record=review.record, task=pending.task, body=body))
    links.enter(driver(connection), [("opinion", name, body)])
    return agreed([*said, review])


def of_record(connection: Connection, record: str) -> list[Review]:
    """Every word on a record, oldest first."""
    found = select(OPINION.c.body).where(OPINION.c.record == record).order_by(OPINION.c.seq)
    return [stored(body, Review) for body in connection.execute(found).scalars()]


def of_task(connection: Connection, task: str) -> list[tuple[Pending, Review]]:
    """Every word on the task's items that more than one has to see, oldest first, with what it was about."""
    found = (
        select(PENDING.c.body.label("pending"), OPINION.c.body.label("said"))
        .join_from(OPINION, PENDING, OPINION.c.record == PENDING.c.record)
        .where(OPINION.c.task == task)
        .order_by(OPINION.c.seq)
    )
    return [(stored(row.pending, Pending), stored(row.said, Review)) for row in connection.execute(found)]

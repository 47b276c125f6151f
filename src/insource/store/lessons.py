"""What teachers were asked and said, in SQL: every call is here before it is made, with what it may cost."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from insource.nouns import Pending, to_json
from insource.nouns.lesson import Lesson
from insource.store import bulk, records
from insource.store.bulk import driver
from insource.store.database import Database
from insource.store.stored import stored
from insource.store.tables import LESSON

NAMES = ("id", "task", "body")
REPLACED = "ON CONFLICT (id) DO UPDATE SET body = excluded.body"


class Lessons:
    """The lessons of a store. Each method that writes does all of it or nothing, and what it wrote survives a kill."""

    def __init__(self, thread: Database) -> None:
        self._thread = thread

    async def note(self, lessons: Sequence[Lesson], pending: Pending | None = None) -> None:
        """Keeps lessons, each in place of what was known under its id; a person is to see `pending`."""
        await self._thread.run(lambda c: note(c, lessons, pending))

    async def of(self, task: str) -> list[Lesson]:
        """Every lesson of the task, oldest first."""
        return await self._thread.look(lambda c: of_task(c, task))


def note(connection: Connection, lessons: Sequence[Lesson], pending: Pending | None) -> None:
    """As `Lessons.note`."""
    rows = [(lesson.id, lesson.task, to_json(lesson).decode()) for lesson in lessons]
    bulk.insert(driver(connection), LESSON, NAMES, rows, REPLACED)
    if pending is not None:
        records.put_up(connection, pending)


def of_task(connection: Connection, task: str) -> list[Lesson]:
    """As `Lessons.of`."""
    found = select(LESSON.c.body).where(LESSON.c.task == task).order_by(LESSON.c.seq)
    return [stored(body, Lesson) for body in connection.execute(found).scalars()]

"""What people declared of their tasks, in SQL: each word stays, and the audit chain vouches for it."""

from sqlalchemy import Connection, select

from insource.nouns import Declaration, to_json
from insource.store import links
from insource.store.bulk import driver
from insource.store.database import Database
from insource.store.stored import stored
from insource.store.tables import DECLARATION


class Declarations:
    """The declarations of a store. Safe to use from several processes at once."""

    def __init__(self, thread: Database) -> None:
        self._thread = thread

    async def add(self, said: Declaration) -> None:
        """Keeps what was said; the word before it stays on record."""
        await self._thread.run(lambda c: add(c, said))

    async def all(self, task: str) -> list[Declaration]:
        """Every word on a task, oldest first."""
        return await self._thread.look(lambda c: of_task(c, task))


def add(connection: Connection, said: Declaration) -> None:
    """As `Declarations.add`."""
    body = to_json(said).decode()
    noted = DECLARATION.insert().values(task=said.task, body=body).returning(DECLARATION.c.seq)
    links.enter(driver(connection), [("declaration", connection.execute(noted).scalar_one(), body)])


def of_task(connection: Connection, task: str) -> list[Declaration]:
    """As `Declarations.all`."""
    found = select(DECLARATION.c.body).where(DECLARATION.c.task == task).order_by(DECLARATION.c.seq)
    return [stored(body, Declaration) for body in connection.execute(found).scalars()]

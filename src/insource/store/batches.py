"""What the documents of batches came to, and who is at work on which, in SQL.

A document is known by a key that says its text, the release and the policy, never by its place in a file. Who is at
work on some says so until a time, and says it again before that; what is held by one who is gone is free.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, NamedTuple

from sqlalchemy import Connection, delete, select, update

from insource.nouns import Noun, stamp
from insource.store.bulk import Sql, driver, insert
from insource.store.bulk import delete as bulk_delete
from insource.store.database import Commits, Database
from insource.store.process import is_gone, this_process
from insource.store.tables import BATCH_ITEM, BATCH_WORKER, RECORD

LEASE_S = 30.0
FORGET_S = 86_400.0  # who was killed is not named for ever
SOME = 500  # keys in one question
State = Literal["held", "done", "failed"]
NAMES = ("key", "task", "state", "holder", "tries", "record", "body")
KEPT = """ON CONFLICT (key) DO UPDATE SET state = excluded.state, holder = excluded.holder, tries = excluded.tries,
record = excluded.record, body = excluded.body
WHERE batch_item.state <> 'done' OR batch_item.holder = excluded.holder"""
BEATS = "ON CONFLICT (holder) DO UPDATE SET until = excluded.until"


class Settled(NamedTuple):
    """What a document came to, as it is written. `record` is the call's, None where there is none."""

    key: str
    task: str
    state: State
    holder: str
    tries: int
    record: str | None
    body: str


class Claim(Noun, frozen=True, kw_only=True):
    """What is known of a document: `mine` to answer now, or what it came to; neither where another is at work on it.

    `tries` is how often it failed.
    """

    mine: bool = False
    tries: int = 0
    body: str = ""


class Failed(Noun, frozen=True, kw_only=True):
    """A document that failed `tries` times, and what it came to the last time."""

    key: str
    tries: int
    body: str


class Batches:
    """The documents of batches in a store. What a method wrote survives a kill once it has returned."""

    def __init__(self, thread: Database, group: Commits) -> None:
        self._thread, self._group = thread, group

    def holder(self) -> str:
        """A name for one run: this process and a number of its own."""
        return f"{this_process()}#{uuid.uuid4().hex}"

    async def beat(self, holder: str, seconds: float = LEASE_S) -> None:
        """Says that `holder` is at work for so many seconds more."""
        await self._thread.run(lambda c: beat(c, holder, seconds))

    async def leave(self, holder: str) -> None:
        """Says that `holder` is no longer at work: what it held is free."""
        long_gone = BATCH_WORKER.c.until < stamp(time.time() - FORGET_S)
        gone = delete(BATCH_WORKER).where((BATCH_WORKER.c.holder == holder) | long_gone)
        await self._thread.run(lambda c: c.execute(gone))

    async def claim(self, keys: Sequence[str], task: str, holder: str, most: int) -> dict[str, Claim]:
        """What is known of each document; those that nobody is at work on are now `holder`'s.

        One that failed `most` times is nobody's to answer.
        """
        return await self._thread.run(lambda c: claim(c, keys, (task, holder), most))

    async def holds(self, key: str, holder: str) -> bool:
        """Whether the document is still `holder`'s: one who says nothing for long enough loses it to another."""
        mine = select(BATCH_ITEM.c.key).where(BATCH_ITEM.c.key == key, BATCH_ITEM.c.holder == holder)
        return await self._thread.look(lambda c: c.execute(mine).first() is not None)

    async def settle(self, settled: Settled) -> None:
        """Keeps what a document came to. The first answer to one stays."""
        await self._group.join(settle, settled)

    async def bodies(self, keys: Sequence[str]) -> dict[str, str]:
        """Key → what the document came to, for those that came to something."""
        return await self._thread.look(lambda c: bodies(c, keys))

    async def forget(self, keys: Sequence[str]) -> None:
        """Removes what documents came to."""
        await self._thread.run(lambda c: bulk_delete(driver(c), BATCH_ITEM, "key", keys))

    async def failed(self, task: str, tries: int) -> list[Failed]:
        """The task's documents that failed so many times or more."""
        return await self._thread.look(lambda c: failed(c, task, tries))

    async def retry(self, task: str) -> int:
        """Has the task's failed documents be asked again as if they had not failed; how many there were."""
        again = update(BATCH_ITEM).where(BATCH_ITEM.c.task == task, BATCH_ITEM.c.state == "failed").values(tries=0)
        return await self._thread.run(lambda c: int(c.execute(again).rowcount))


def beat(connection: Connection, holder: str, seconds: float) -> None:
    """As `Batches.beat`."""
    row = (holder, stamp(_now(connection) + seconds))
    insert(driver(connection), BATCH_WORKER, ("holder", "until"), [row], BEATS)


def claim(connection: Connection, keys: Sequence[str], whose: tuple[str, str], most: int) -> dict[str, Claim]:
    """As `Batches.claim`; `whose` are the task and the holder."""
    task, holder = whose
    found: dict[str, Claim] = {}
    new: list[str] = []
    seized: list[tuple[str, str, str]] = []
    known = _known(connection, keys, _works(connection))
    for key in keys:
        if key not in known:
            new.append(key)
            continue
        said, state, before, works = known[key]
        if said.body and (state == "done" or said.tries >= most):
            found[key] = said
        elif state == "held" and works and before != holder:
            found[key] = Claim(tries=said.tries)
        else:
            seized.append((key, state, before))
    insert(driver(connection), BATCH_ITEM, NAMES, [(key, task, "held", holder, 0, None, "") for key in new],
           "ON CONFLICT DO NOTHING")  # fmt: skip
    for key, state, before in seized:  # unless another was quicker
        mine = (BATCH_ITEM.c.key == key, BATCH_ITEM.c.state == state, BATCH_ITEM.c.holder == before)
        connection.execute(update(BATCH_ITEM).where(*mine).values(state="held", holder=holder, record=None))
    taken = [*new, *(key for key, _, _ in seized)]
    for some in _some(taken):
        mine = (BATCH_ITEM.c.key.in_(some), BATCH_ITEM.c.holder == holder, BATCH_ITEM.c.state == "held")
        rows = connection.execute(select(BATCH_ITEM.c.key, BATCH_ITEM.c.tries).where(*mine))
        found |= {row.key: Claim(mine=True, tries=row.tries) for row in rows}
    return {key: found.get(key, Claim()) for key in keys}


def settle(sql: Sql, settled: Sequence[Settled]) -> None:
    """Keeps what documents came to."""
    insert(sql, BATCH_ITEM, NAMES, settled, KEPT)


def bodies(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    """As `Batches.bodies`."""
    found: dict[str, str] = {}
    for some in _some(keys):
        rows = connection.execute(select(BATCH_ITEM.c.key, BATCH_ITEM.c.body).where(BATCH_ITEM.c.key.in_(some)))
        found |= {row.key: row.body for row in rows if row.body}
    return found


def failed(connection: Connection, task: str, tries: int) -> list[Failed]:
    """As `Batches.failed`."""
    wanted = (BATCH_ITEM.c.task == task, BATCH_ITEM.c.state == "failed", BATCH_ITEM.c.tries >= tries)
    rows = connection.execute(select(BATCH_ITEM).where(*wanted).order_by(BATCH_ITEM.c.key))
    return [Failed(key=row.key, tries=row.tries, body=row.body) for row in rows]


def _known(
    connection: Connection, keys: Sequence[str], works: Callable[[str], bool]
) -> dict[str, tuple[Claim, str, str, bool]]:
    """Key → what it came to, its state, its holder and whether that one is at work. An answer needs its record."""
    found = {}
    for some in _some(keys):
        rows = connection.execute(
            select(BATCH_ITEM, RECORD.c.id.label("kept"))
            .outerjoin(RECORD, RECORD.c.id == BATCH_ITEM.c.record)
            .where(BATCH_ITEM.c.key.in_(some))
        )
        for row in rows:
            body = "" if row.state == "done" and row.kept is None else row.body
            said = Claim(tries=row.tries, body=body)
            found[row.key] = (said, row.state, row.holder, works(row.holder))
    return found


def _works(connection: Connection) -> Callable[[str], bool]:
    """Whether a holder is at work now."""
    now = stamp(_now(connection))
    there = {row.holder: row.until for row in connection.execute(select(BATCH_WORKER))}
    return cache(lambda holder: there.get(holder, "") >= now and not is_gone(holder.partition("#")[0]))


def _now(connection: Connection) -> float:
    """Seconds since 1970 by one clock for all who share the database: a server's, for those of its hosts may differ."""
    if connection.dialect.name != "postgresql":
        return time.time()
    return float(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one())


def _some(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[at : at + SOME] for at in range(0, len(keys), SOME)]

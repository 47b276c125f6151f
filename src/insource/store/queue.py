"""What waits for a person and what people said, as the store's words: half of `Store`."""

import time
from datetime import UTC, datetime

from sqlalchemy import Connection

from insource.nouns import Pending, Review, stamp
from insource.store import heard, leases, opinions, records, withdrawn
from insource.store.database import Database
from insource.store.withdrawn import Withdrawn

UNDO_S = 900.0  # for so long a person may take back what they said


class Queue:
    """The review queue of a store."""

    _thread: Database

    async def pending(self, task: str | None = None, limit: int = 50) -> list[Pending]:
        """What waits for a person, of one task or of all, oldest first."""
        return await self._thread.look(lambda c: records.pending(c, task, limit))

    async def queues(self, tenant: str | None = None) -> dict[str, int]:
        """Task → how many of its answers wait for a person; of the calls of `tenant`, where one is named."""
        return await self._thread.look(lambda c: records.queues(c, tenant))

    async def waiting(self, record: str) -> Pending:
        """What waits for a person under this record. Raises `Missing`, or `Conflict` when it does not wait."""
        return await self._thread.look(lambda c: records.waiting(c, record))

    async def lease(
        self, task: str, holder: str, count: int, seconds: float, *, tenant: str | None = None
    ) -> list[Pending]:
        """Up to `count` items of the queue that are `holder`'s to look at for so many seconds, and nobody else's.

        Only those of the calls of `tenant`, where one is named.
        """
        now = time.time()
        times = stamp(now), stamp(now + seconds)
        return await self._thread.run(lambda c: leases.lease(c, (task, tenant), holder, count, times))

    async def hold(self, record: str, holder: str, seconds: float) -> Pending:
        """One item that waits is `holder`'s for so many seconds. Raises `Conflict` where another looks at it.

        Raises `Missing` for no such record, `Conflict` also when it does not wait.
        """
        now = time.time()

        def write(connection: Connection) -> Pending:
            leases.check(connection, record, holder, stamp(now))
            found = records.waiting(connection, record)
            leases.again(connection, record, holder, (stamp(now), stamp(now + seconds)))
            return found

        return await self._thread.run(write)

    async def let_go(self, holder: str) -> None:
        """What `holder` holds of the queue is free."""
        await self._thread.run(lambda c: leases.let_go(c, holder))

    async def put_up(self, pending: Pending) -> None:
        """Has a person look at an answer that was given. One that waits or was looked at stays as it is."""
        await self._thread.run(lambda c: records.put_up(c, pending))

    async def settle(self, review: Review) -> None:
        """Notes a verdict. Raises `Conflict` when there is one already or another looks at it, `Missing` for none."""

        def write(connection: Connection) -> None:
            leases.check(connection, review.record, review.reviewer, stamp(time.time()))
            records.settle(connection, review)
            leases.end(connection, review.record)

        await self._thread.run(write)

    async def settle_given(self, pending: Pending, review: Review) -> None:
        """Notes a verdict on an answer that was given, or on one that waits. Raises `Conflict` when there is one."""
        await self._thread.run(lambda c: records.settle_given(c, pending, review))

    async def reviews(self, task: str) -> list[tuple[Pending, Review]]:
        """Every verdict on the task's answers, oldest first, with what it was about."""
        return await self._thread.look(lambda c: records.reviews(c, task))

    async def unsettle(self, record: str, reviewer: str, seconds: float = UNDO_S) -> Pending:
        """Takes back what `reviewer` said of `record` at most `seconds` ago: it waits again, and is held for them.

        The audit trail keeps what was said and that it was withdrawn. Raises `Missing` for no such record, `Conflict`
        where there is nothing of theirs to take back, or no more.
        """
        now = time.time()
        since = datetime.fromtimestamp(now - seconds, UTC).isoformat(timespec="seconds")

        def write(connection: Connection) -> Pending:
            found = withdrawn.take_back(connection, record, reviewer, (since, stamp(now)))
            leases.again(connection, record, reviewer, (stamp(now), stamp(now + seconds)))
            return found

        return await self._thread.run(write)

    async def opinions(self, task: str) -> list[tuple[Pending, Review]]:
        """What each person said of the task's items that more than one has to see, oldest first, with the item."""
        return await self._thread.look(lambda c: opinions.of_task(c, task))

    async def taken_back(self) -> dict[str, tuple[Withdrawn, ...]]:
        """Record → what people said of it and took back, oldest first."""
        return await self._thread.look(heard.taken_back)

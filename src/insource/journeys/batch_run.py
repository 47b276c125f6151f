"""The answering of a batch: documents are claimed by the thousand, asked many at once, and settled one by one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path as FilePath
from typing import NamedTuple

import msgspec

from insource.collect.documents import Columns, Document, documents
from insource.errors import EngineDown, InsourceError, StoreError
from insource.journeys.answer import Path, answer
from insource.journeys.batch_keys import Keys
from insource.journeys.batch_out import Planned
from insource.journeys.batch_row import NO_ANSWER, Row, Tally, row_of
from insource.nouns import Pending, Record, Request, ask, from_json, record_id, to_json
from insource.route.need import need
from insource.store import Store
from insource.store.batches import LEASE_S, Claim, Settled, State

TENANT = "local"
PATIENCE_S = 3600.0  # nobody waits for one answer of a batch; a long document takes minutes
WINDOWS = 4  # times as many documents as are asked at once are claimed, and sorted by length, at a time
LOOK_S = 1.0
BUDGET, TIME = "the budget is used up", "the time is over"
Tell = Callable[[Row | None], None]


class Limits(NamedTuple):
    """US dollars and minutes that a run may take, None for any, and how often a document may fail."""

    max_usd: float | None
    max_minutes: float | None
    tries: int


class _Item(NamedTuple):
    """A document that can be asked."""

    key: str
    id: str
    text: str
    tries: int = 0


@asynccontextmanager
async def at_work(store: Store) -> AsyncIterator[str]:
    """The name under which documents are claimed in the block; what is claimed and not settled is free after it."""
    holder = store.batches.holder()
    await store.batches.beat(holder)
    beating = asyncio.create_task(_beat(store, holder))
    try:
        yield holder
    finally:
        beating.cancel()
        with suppress(StoreError):  # then the claims lapse by themselves
            await store.batches.leave(holder)


async def _beat(store: Store, holder: str) -> None:
    while True:
        await asyncio.sleep(LEASE_S / 3)
        with suppress(StoreError):  # what writes answers will say so
            await store.batches.beat(holder)


class Run:
    """One run over one file. `stopped` says which limit ended it before all was answered."""

    def __init__(self, path: Path, store: Store, holder: str, limits: Limits, tally: Tally) -> None:
        self._path, self._store, self._holder, self._limits, self._tally = path, store, holder, limits, tally
        self.stopped = ""
        self._task = path.task
        self._down: list[tuple[_Item, Row]] = []  # failed since the last answer, the engine being down
        self._others: list[_Item] = []  # another run is at work on them
        self._plan: list[Planned] = []
        self._lines: dict[str, int] = {}
        self._reserved, self._asked = 0.0, 0
        self._freed = asyncio.Condition()
        self._tell: Tell = lambda _: None
        self._queue: asyncio.Queue[_Item | None] = asyncio.Queue()
        self._window = 1
        self._whole = False  # the source was read to its end

    async def answer_all(
        self, source: FilePath, read_as: tuple[Columns, Keys], at_once: int, tell: Tell
    ) -> list[Planned]:
        """Asks for whatever nobody answered yet, `at_once` calls at a time; every document, in order."""
        self._tell, self._window = tell, WINDOWS * at_once
        self._queue = asyncio.Queue(at_once)  # what waits here is nobody else's: no more than keeps us busy
        tell(None)
        minutes = self._limits.max_minutes
        timer = asyncio.get_running_loop().call_later(minutes * 60, self._stop, TIME) if minutes is not None else None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed(documents(source, read_as[0]), read_as[1], at_once))
                for _ in range(at_once):
                    group.create_task(self._work())
        except ExceptionGroup as several:
            raise several.exceptions[0] from several
        finally:
            if timer is not None:
                timer.cancel()
        if self._whole and self._tally.rows == len(self._plan):
            self.stopped = ""  # the time was over while the last were answered
        tell(None)
        return self._plan

    def _stop(self, why: str) -> None:
        self.stopped = self.stopped or why

    async def _feed(self, found: Iterator[Document], keys: Keys, workers: int) -> None:
        """Hands out what is to be asked: first what nobody is at work on, then what others left."""
        while not self.stopped and not self._whole:
            window = await asyncio.to_thread(_some, found, self._window)
            self._whole = len(window) < self._window
            await self._offer([item for one in window if (item := self._planned(one, keys)) is not None])
        while self._others and not self.stopped:
            await asyncio.sleep(LOOK_S)
            waiting, self._others = self._others, []
            for at in range(0, len(waiting), self._window):
                await self._offer(waiting[at : at + self._window])
        for _ in range(workers):
            await self._queue.put(None)

    def _planned(self, one: Document, keys: Keys) -> _Item | None:
        """Notes the document's place; None where it cannot be asked."""
        fault = one.fault and f"line {one.line}: {one.fault}"
        if not fault and one.id is not None:
            first = self._lines.setdefault(one.id, one.line)
            fault = f"line {one.line}: the id was used on line {first}" if first != one.line else ""
        key = "" if fault else keys.of(one.input)
        self._plan.append(Planned(one.line, one.id, key, fault))
        if fault or one.id is None:
            self._tally.set_aside()
            return None
        return _Item(key, one.id, one.input)

    async def _offer(self, items: list[_Item]) -> None:
        """Claims what nobody is at work on, and hands it out by length: like lengths are read together."""
        claims = await self._store.batches.claim(
            [item.key for item in items], self._name, self._holder, self._limits.tries
        )
        mine = []
        for item in items:
            claim: Claim = claims[item.key]
            if claim.mine:
                mine.append(item._replace(tries=claim.tries))
            elif claim.body:
                self._tally.add(from_json(claim.body, Row), reused=True)
            else:
                self._others.append(item)
        self._tell(None)
        for item in sorted(mine, key=lambda item: len(item.text)):
            await self._queue.put(item)

    @property
    def _name(self) -> str:
        return self._task.name if self._task else ""

    async def _work(self) -> None:
        while (item := await self._queue.get()) is not None:
            if self.stopped or self._task is None:
                continue
            request = ask(self._task, item.text, id=record_id(), tenant=TENANT)
            request = msgspec.structs.replace(request, deadline=PATIENCE_S)
            usd = need(request, self._path.prices).usd if self._path.costs else 0.0
            if not await self._afford(usd):
                continue
            try:
                await self._settle(item, await self._answer(item, request))
            finally:
                await self._free(usd)

    async def _answer(self, item: _Item, request: Request) -> Row:
        try:
            return row_of(item.id, await answer(request, self._path, self._keep), self._path)
        except StoreError:
            raise
        except InsourceError as error:
            return Row(id=item.id, error=f"{error.code}: {error}")

    async def _keep(self, record: Record, pending: Pending | None) -> None:
        self._tally.usd += record.usd
        await self._store.append(record, pending)

    async def _settle(self, item: _Item, row: Row) -> None:
        """Keeps the row. A failure counts where this run got an answer to another document: else the engine is down.

        Where the engine says so itself, an answer after it has to show that it was not.
        """
        down = row.error is not None and row.error.removeprefix(NO_ANSWER).startswith(EngineDown.code)
        await self._note(item, row, counts=row.error is not None and not down and self._tally.fresh > 0)
        if down:
            self._down.append((item, row))
        elif row.error is None:
            counted, self._down = self._down, []
            for one, said in counted:
                await self._note(one, said, counts=True)
        self._tally.add(row)
        self._tell(row)

    async def _note(self, item: _Item, row: Row, *, counts: bool) -> None:
        state: State = "done" if row.error is None else "failed"
        body, tries = to_json(row).decode(), item.tries + counts
        await self._store.batches.settle(Settled(item.key, self._name, state, self._holder, tries, row.record, body))

    async def _afford(self, usd: float) -> bool:
        """Reserves what a call may cost. Waits for others to end where only then it is known what is left."""
        most = self._limits.max_usd
        if most is None:
            return True
        async with self._freed:
            while self._tally.usd + self._reserved + usd > most:
                if not self._asked:
                    self._stop(BUDGET)
                if self.stopped:
                    self._freed.notify_all()
                    return False
                await self._freed.wait()
            self._reserved += usd
            self._asked += 1
        return True

    async def _free(self, usd: float) -> None:
        if self._limits.max_usd is None:
            return
        async with self._freed:
            self._asked -= 1
            self._reserved = self._reserved - usd if self._asked else 0.0
            self._freed.notify_all()


def _some(found: Iterator[Document], count: int) -> list[Document]:
    return list(islice(found, count))

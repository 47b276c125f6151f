"""The store is down: calls are put on record in a spool on another disk, and carried into the store when it is back.

    to the store ── a row is not taken, or not in time ──▶ to the spool
         ▲                                                      │ one look at a time, further and further apart
         └── the rest is, while new rows wait ◀── what lies there is carried in, while calls go on

The same is promised of a call in both: it is durable before an engine is asked, and its end before the last byte of
the answer leaves.
"""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path as FilePath
from typing import Any, NamedTuple, TypeVar

import msgspec

from insource.engines.alarm import Alarm
from insource.errors import Invalid, StoreError
from insource.journeys.answer import Path
from insource.journeys.recover import Refused, added, carry, changed, overtaken, recover, spool_folder
from insource.nouns import Intent, Pending, Record, without_folders
from insource.settings import Settings
from insource.store import Store
from insource.store.process import this_process
from insource.store.spool import Spool
from insource.store.spool_file import PAGE, Line
from insource.store.spooled import Came

T = TypeVar("T")
LOG = logging.getLogger("insource.serve")
FIRST_S, LONGEST_S = 0.25, 5.0  # between looks whether the store is back
SOON_S = 60.0  # a store that fails again after less is looked at less often
KINDS = INTENT, ENDED = "intent", "record"  # of lines
ROUNDS = 50  # of carrying in while calls go on; the page that came meanwhile is carried in while new rows wait


class Seen(NamedTuple):
    """What a spool shows of itself: whether calls go there now, its bytes, and how many lines of a kind went there."""

    away: bool
    bytes: int
    lines: dict[str, int]


class Outage:
    """Keeps calls in `store` or, while that takes none, in the folder `audit.spool`.

    `written` hears of every record that was carried in from there, once.
    """

    def __init__(self, settings: Settings, store: Store, written: Callable[[Record], None] = lambda _: None) -> None:
        folder = spool_folder(settings)
        if folder is None:
            raise Invalid("audit.spool names no folder")
        self.spool = Spool(folder, settings.audit.spool_bytes)
        self._store, self._patience_s = store, settings.audit.spool_after_s
        self._written, self._told = written, Counter[FilePath]()  # of each own file, how many lines were told of
        self._alarm = Alarm()
        self._keys: dict[str, bytes] = {}
        self._lines = Counter[str]()
        self._since = ""  # when calls began to go to the spool; empty while they go to the store
        self._why = ""
        self._back, self._pause = -math.inf, FIRST_S
        self._kept: list[Refused] = []
        self._came = Came()
        self._last: asyncio.Event | None = None  # set when the last lines are carried in; rows wait for it
        self._returning: asyncio.Task[None] | None = None

    @property
    def away(self) -> bool:
        """Whether calls go to the spool now."""
        return bool(self._since)

    def seen(self) -> Seen:
        """The spool in numbers."""
        return Seen(self.away, self.spool.bytes, dict(self._lines))

    def faults(self) -> list[str]:
        """What is wrong while calls are answered all the same, in words."""
        down = f"calls go to the spool since {self._since}: {self._why}"
        kept = [f"kept: {one.why}" for one in self._kept if FilePath(one.file).exists()]
        return [without_folders(each) for each in (*([down] if self._since else ()), *kept)]

    async def begin(self, tenants: set[str]) -> None:
        """Makes the spool ready, and learns the keys of `tenants`, which only the store has. Raises `StoreError`."""
        self._kept = list((await recover(self._store, self.spool.folder)).refused)
        await asyncio.to_thread(self.spool.prepare)
        for tenant in tenants:
            self._keys[tenant] = await self._store.tenant_key(tenant)

    async def close(self) -> None:
        """Looks no more whether the store is back. What is in the spool stays there for the next start."""
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.gather(self._returning, return_exceptions=True)  # what it ended with was told then

    def path(self, path: Path) -> Path:
        """The path, with its calls noted here."""
        return replace(path, intend=self.intend, key=self.key)

    async def key(self, tenant: str) -> bytes:
        """The tenant's key. Raises `StoreError` where only the store knows it, and that is down."""
        if tenant not in self._keys:
            if self.away:
                raise StoreError("the store is down, and only it knows the key of this call's tenant", hint="try again")
            try:
                self._keys[tenant] = await self.in_time(self._store.tenant_key(tenant))
            except StoreError as error:
                self._leave(error)
                raise
        return self._keys[tenant]

    async def intend(self, intent: Intent) -> None:
        """Notes a call before anyone is asked; durable when this returns. Raises `StoreError`."""

        def line() -> Line:
            return Line(intent=msgspec.structs.replace(intent, spooled=True))

        await self._put(INTENT, lambda: self._store.intend(intent), line)

    async def append(self, record: Record, pending: Pending | None) -> bool:
        """Keeps a call that has ended, and what a person should see; durable when this returns. Raises `StoreError`.

        Says whether it is in the store, and not in the spool.
        """

        def line() -> Line:
            return Line(record=msgspec.structs.replace(record, spooled=True), pending=pending)

        return await self._put(ENDED, lambda: self._store.append(record, pending), line)

    async def up(self) -> bool:
        """Whether the store takes a row now; where it does not, calls go to the spool from now on."""
        if self.away:
            return False
        try:
            await self.in_time(self._store.probe())
        except StoreError as error:
            self._leave(error)
        return not self.away

    async def stuck(self) -> list[str]:
        """Why calls cannot go to the spool either, while they should, in words."""
        if self.spool.full:
            return [f"the spool is full with {self.spool.bytes:,} bytes"]
        try:
            await self.spool.probe()
        except StoreError as error:
            return [without_folders(str(error))]
        return []

    async def in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` on the store comes to. Raises `StoreError` when it takes longer than `audit.spool_after_s`.

        Nobody waits for it then, but the store may yet do it: that has an end before the spool is carried in.
        """
        try:
            return await self._alarm.wait(work, self._patience_s)
        except TimeoutError as error:
            hint = "audit.spool_after_s"
            raise StoreError(f"the store took longer than {self._patience_s:g} s", hint=hint) from error

    async def _put(self, kind: str, write: Callable[[], Coroutine[Any, Any, None]], line: Callable[[], Line]) -> bool:
        error: StoreError | None = None
        while True:
            if not self.away and error is None:
                try:
                    await self.in_time(write())
                    return True
                except StoreError as raised:
                    error = raised
                    self._leave(error)
            if self._last is not None:
                await self._last.wait()
                continue
            if error is not None:
                self._leave(error)
            await self.spool.add(line())
            self._lines[kind] += 1
            return False

    def _leave(self, error: StoreError) -> None:
        """From now on calls go to the spool."""
        self._why = str(error)
        if self.away:
            return
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._came = Came()
        soon = time.monotonic() - self._back < SOON_S
        self._pause = min(2 * self._pause, LONGEST_S) if soon else FIRST_S
        LOG.warning("the store takes no rows, calls go to the spool %s: %s", self.spool.folder, error)
        self._returning = asyncio.create_task(self._return())
        self._returning.add_done_callback(_told)

    async def _return(self) -> None:
        while self.away:
            await asyncio.sleep(self._pause)
            try:
                await self._store.probe()
                await self._store.settled()
                self._why = "it is back, and what lies in the spool is carried in"
                await self._carry_in()
                self._back = time.monotonic()
            except StoreError as error:
                self._why = str(error)
                self._pause = min(2 * self._pause, LONGEST_S)

    async def _carry_in(self) -> None:
        for _ in range(ROUNDS):
            if await self._carry() < PAGE:
                break
        self._last = asyncio.Event()
        try:
            await self.spool.idle()
            await self.in_time(self._carry())  # cut short, the same lines come again: each once
            for own in tuple(self.spool.own):
                await self.spool.drop(own)
            self._since = ""
        finally:
            self._last.set()
            self._last = None
        LOG.warning("the store takes rows again: %d calls carried in from the spool", self._came.ended)

    async def _carry(self) -> int:
        """Carries in what this process has put into the spool so far; how many lines that was."""
        lines = 0
        for own in tuple(self.spool.own):
            kept: list[Refused] = []
            try:
                tell = partial(self._tell, own.path)
                carried = await carry(self._store, own.path, this_process(), own.carried, own.end, tell)
                lines += carried.end.lines - own.carried.lines
                own.carried, self._came = carried.end, added(self._came, carried.came)
                kept = overtaken(own.path, carried.came)
            except Invalid as error:
                kept = [changed(own.path, error)]
            except StoreError:
                if own.path.exists():
                    raise
                kept = [Refused(file=str(own.path), why=f"{own.path} was removed before it was carried in")]
            if kept:
                await self.spool.drop(own, keep=True)
                LOG.warning("kept: %s", kept[0].why)
                self._kept += kept
        return lines

    def _tell(self, path: FilePath, lines: Sequence[Line], before: int) -> None:
        """Tells what the store has of a file; a page that comes again, since it was cut short, may have more lines."""
        for line in lines[max(0, self._told[path] - before) :]:
            if line.record is not None:
                self._written(line.record)
        self._told[path] = max(self._told[path], before + len(lines))


def _told(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (bug := task.exception()) is not None:
        LOG.error("the spool is not carried in until the next start", exc_info=bug)

"""Releases on trial at this gateway: which calls a canary answers, and who is asked beside, off the caller's path."""

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from types import TracebackType

from insource.errors import InsourceError, StoreError
from insource.journeys.answer import Path
from insource.journeys.beside import Pair, beside
from insource.nouns import Record, Request
from insource.store import Store
from insource.store.trials import Tried

MOST_WAITING, AT_ONCE = 256, 2
WRITE_S, WRITE_MOST = 0.25, 64
SPAN = 2**64


@dataclass(frozen=True)
class OnTrial:
    """A release on trial, by name: its path and the live one's, and the per cent of calls that it answers."""

    release: str
    pair: Pair
    share: int = 0


class Trying:
    """Splits calls between a canary and what is live, and asks the other of the two beside.

    Only as many calls wait for that as memory bears; what comes when the queue is full is not asked beside, and
    counted. `noted` is set when something new was written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tried: dict[str, OnTrial] = {}
        self._held: Counter[int] = Counter()
        self._waiting: asyncio.Queue[tuple[Request, Record, OnTrial]] = asyncio.Queue(MOST_WAITING)
        self._done: list[Tried] = []
        self.skipped = 0
        self.noted = asyncio.Event()

    def put(self, task: str, tried: OnTrial | None) -> None:
        """From now on `tried` is on trial for the task; None: nothing is."""
        self._tried.pop(task, None)
        if tried is not None:
            self._tried[task] = tried

    def of(self, task: str) -> OnTrial | None:
        """What is on trial for the task."""
        return self._tried.get(task)

    def call(self, request: Request, path: Path, model: str) -> "Turn":
        """One call to `model` that goes by `path`, which was chosen for it. Who names a version gets that one."""
        tried = self._tried.get(model) if path.task is not None and path.tiers else None
        if tried is None or path.tiers[0].release != tried.pair.live.tiers[0].release:
            tried = None
        return Turn(self, request, path, tried)

    def hold(self, *paths: Path) -> None:
        """Somebody is with these paths, who must stay open."""
        self._held.update([id(path.tiers) for path in paths])

    def drop(self, *paths: Path) -> None:
        """And is no longer."""
        self._held.subtract([id(path.tiers) for path in paths])

    def holds(self, path: Path) -> bool:
        """Whether somebody is with the path."""
        return self._held[id(path.tiers)] > 0

    def hear(self, request: Request, record: Record, tried: OnTrial) -> None:
        """Has the other release asked, where there is room."""
        try:
            self._waiting.put_nowait((request, record, tried))
        except asyncio.QueueFull:
            self.skipped += 1

    async def work(self) -> None:
        """Asks and writes until it is cancelled."""
        workers = [asyncio.create_task(self._ask()) for _ in range(AT_ONCE)]
        try:
            while True:
                await asyncio.sleep(WRITE_S)
                await self._write()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await self._write()

    async def _ask(self) -> None:
        while True:
            request, record, tried = await self._waiting.get()
            if self._tried.get(record.task or "") is not tried:
                continue  # its trial is over
            self.hold(tried.pair.ours, tried.pair.live)
            try:
                found = await beside(request, record, tried.pair)
            except InsourceError as error:
                logging.getLogger("insource.serve").warning("not asked beside: %s", error)
                continue
            except Exception as bug:  # it costs one call of the trial; else nobody would be asked beside any more
                logging.getLogger("insource.serve").error("a fault of ours beside a call", exc_info=bug)
                continue
            finally:
                self.drop(tried.pair.ours, tried.pair.live)
            if found is not None:
                self._done.append(found)

    async def _write(self) -> None:
        while self._done:
            some = self._done[:WRITE_MOST]
            with suppress(StoreError):  # they are counted again when the store is well; the calls are on record
                await self._store.add_trials(some)
                del self._done[: len(some)]
                self.noted.set()
                continue
            del self._done[:-MOST_WAITING]
            return


class Turn:
    """One call for as long as it lasts: its `path` is the canary's where it is the canary's turn."""

    __slots__ = ("_mine", "_request", "_tried", "_trying", "path")

    def __init__(self, trying: Trying, request: Request, path: Path, tried: OnTrial | None) -> None:
        self._trying, self._request, self._tried = trying, request, tried
        self._mine = tried is not None and tried.share > 0 and _drawn(request, tried.release, tried.share / 100)
        self.path = canary(request, path, tried) if tried is not None and self._mine else path

    def __enter__(self) -> "Turn":
        if self._tried is not None and self._mine:
            self._trying.hold(self._tried.pair.ours)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._tried is not None and self._mine:
            self._trying.drop(self._tried.pair.ours)

    def answered(self, record: Record) -> None:
        """Hears the call's record: in the shadow the release on trial is asked next, of a canary's the live one."""
        tried = self._tried
        if tried is None or (tried.share > 0 and not self._mine):
            return
        if _drawn(self._request, "beside", tried.pair.policy.sample):
            self._trying.hear(self._request, record, tried)


def canary(request: Request, live: Path, tried: OnTrial) -> Path:
    """The path of a call that the canary answers; where it cannot or is not sure, the live release is asked next.

    What it finds out of scope goes to a person all the same: that is its answer, and the trial compares it.
    """
    ours = tried.pair.ours
    mine = ours if ours.choose is None else ours.choose(request, ours)
    behind = replace(live.tiers[0], threshold=live.threshold)
    rule = "; ".join(filter(None, (live.rule, f"canary {tried.share}%")))
    return replace(mine, tiers=(mine.tiers[0], behind, *mine.tiers[1:]), rule=rule)


def _drawn(request: Request, salt: str, share: float) -> bool:
    """Whether this input is among a `share` of all: the same input always is, or is not."""
    said = blake2b(f"{salt}\0{request.input}".encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(said) < share * SPAN

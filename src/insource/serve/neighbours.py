"""The other gateways at the same store: who is gone, who is not heard of any more, and whose shares are nobody's now.

A process of this machine is seen to be gone. Of any other only its beat is known: one that is not heard of for its
lease has stopped using what it held, by its own clock. What it used still counts for a minute, and its money until all
its calls are in the store.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from insource.journeys.recover import spool_folder
from insource.nouns.share import Part, Replica, Stake
from insource.route.limits import WINDOW_S
from insource.route.shares import MINUTE
from insource.serve.meter import account_names
from insource.settings import Settings
from insource.store import Store
from insource.store.process import is_gone
from insource.store.shares import EARLIER
from insource.store.spool_file import speaks_of

OVER_S = WINDOW_S + 2
DRIFT = 1.02  # two clocks count the same seconds to within two in a hundred


@dataclass
class _Heard:
    """Another gateway: its last beat, when that was heard first, and since when it is over."""

    beat: int
    at: float
    over: float | None = None


class Neighbours:
    """What `process` knows of the others."""

    def __init__(self, settings: Settings, store: Store, process: str, clock: Callable[[], float]) -> None:
        self._store, self._process, self._clock = store, process, clock
        self._folder = spool_folder(settings)
        self._longest_s = sum(engine.timeout_s for engine in settings.engines.values())
        self._heard: dict[str, _Heard] = {}

    async def look(self, replicas: Sequence[Replica], day: str) -> tuple[set[str], set[str], dict[str, int]]:
        """Of the others: who is gone, who is not heard of any more, and whose stakes nobody can use."""
        still, silent, over = set[str](), set[str](), dict[str, int]()
        for one in (each for each in replicas if each.process != self._process):
            now, heard = self._clock(), self._hear(one)
            gone = one.process == EARLIER or one.lease_s == 0 or is_gone(one.process)
            if not gone and now <= heard.at + one.lease_s * DRIFT + 1:
                continue
            (still if gone else silent).add(one.process)
            if heard.over is None:
                heard.over = now
                if gone and one.lease_s:
                    await self._trim(one.process)
            waited = now > heard.over + (OVER_S if gone else OVER_S + self._longest_s)
            if waited and await self._settled(one.process, day):
                over[one.process] = one.beat
        return still, silent, over

    async def _settled(self, process: str, day: str) -> bool:
        """Whether all that a process that is over spent is in the store, or will never be."""
        stakes, calls = await self._store.shares.of(process)
        if calls:
            return False
        if self._folder is None:
            return True
        if is_gone(process):
            return not speaks_of(self._folder, process)
        kept = {name: _money_of(stake, day) for name, stake in stakes.items()}
        if not any(stake.parts for stake in kept.values()):
            return True
        await self._store.shares.trim(process, kept)  # what it spent lies in a spool somewhere, until it comes in
        return False

    async def _trim(self, process: str) -> None:
        """Of a process that is gone nothing comes any more: what the store knows of the last minute is all it used."""
        if self._folder is not None and speaks_of(self._folder, process):
            return
        stakes, calls = await self._store.shares.of(process)
        if not any(stake.parts.keys() & set(MINUTE) for stake in stakes.values()):
            return  # a minute of records need not be read
        used = await used_lately(self._store)
        await self._store.shares.trim(
            process, {name: _at_most(stake, used.get(name, Stake()), calls) for name, stake in stakes.items()}
        )

    def _hear(self, one: Replica) -> _Heard:
        heard = self._heard.get(one.process)
        if heard is None or heard.beat != one.beat:
            heard = self._heard[one.process] = _Heard(one.beat, self._clock())
        return heard


async def used_lately(store: Store) -> dict[str, Stake]:
    """What was used of each account in the last minute, by anybody, as far as that is on record."""
    since = (datetime.now(UTC) - timedelta(seconds=OVER_S)).isoformat(timespec="milliseconds")
    counts: Counter[tuple[str, str]] = Counter()
    names = set[str]()
    for used in await store.used(since):
        for name in account_names(used.tenant, used.caller):
            names.add(name)
            counts[name, MINUTE[0]] += 1
            counts[name, MINUTE[1]] += used.tokens
    return {
        name: Stake(parts={what: Part(share=counts[name, what], used=counts[name, what]) for what in MINUTE})
        for name in names
    }


def _at_most(stake: Stake, used: Stake, calls: int) -> Stake:
    """A stake of which no more than that was used of a minute, and by `calls` nobody knows how many tokens."""
    parts = dict(stake.parts)
    for what in MINUTE:
        if what in parts and not (calls and what == MINUTE[1]):
            known = used.parts[what].used if what in used.parts else 0
            least = min(parts[what].share, known + calls)
            parts[what] = msgspec.structs.replace(parts[what], share=least, used=least, want=0, least=0)
    return Stake(parts=parts)


def _money_of(stake: Stake, day: str) -> Stake:
    """What of a stake may be money that was spent in a period that is not over, and is not in the store's sums."""
    parts = {
        what: msgspec.structs.replace(part, want=0, least=0)
        for what, part in stake.parts.items()
        if part.period and day.startswith(part.period) and part.share > part.durable
    }
    return Stake(parts=parts)

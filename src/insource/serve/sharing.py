"""Shares of the limits of keys and tenants, where gateways share them through the store.

    a call ─▶ the ledger, against the share ─▶ no room ─▶ asks the store at once, and waits while others have some left
    every half second ─▶ who is short? ─▶ gives up half of what is not used ─▶ what nobody uses for a minute goes back

No call asks the store that the share has room for. What a gateway may use it may use until its lease is over: cut off
from the store for so long, it answers no call that has a limit. Others count its shares until nobody can use them.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import msgspec

from insource.errors import StoreError
from insource.nouns import Limits, Record, record_id
from insource.nouns.share import Part, Stake
from insource.route.limits import MONTH, NANO, Ledger, billionths, share_of
from insource.route.need import Account, Need, Refusal
from insource.route.shares import AT_ONCE, MINUTE, MONEY, divided, limits_of
from insource.serve.meter import account_names
from insource.serve.neighbours import Neighbours, used_lately
from insource.settings import Settings
from insource.store import Store
from insource.store.process import this_process
from insource.store.shares import EARLIER, Answer, Asked, Payer, Turn

LOG = logging.getLogger("insource.serve")
TICK_S, APART_S = 0.5, 0.02  # between turns: at most, and at least
AGAIN_S, NEWS_S = 0.25, 2.0  # who found nothing asks again after; a refusal speaks of use for so long


def since_boot() -> float:
    """Seconds that never go back and go on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass
class _Mine:
    """An account whose limits are shared. `lacked` is what found no room lately, `least` the largest call of it.

    `elsewhere` are the limits of which others have some that they do not use. While it is `unsure` what the store took
    of the last turn, nothing more is given up. Where the limits `changed`, there is no share of them yet.
    """

    account: Account
    payer: Payer
    lacked: Counter[str] = field(default_factory=Counter)
    least: dict[str, int] = field(default_factory=dict)
    lacked_at: float = 0.0
    in_vain: dict[str, float] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    stake: Stake = field(default_factory=Stake)
    unsure: bool = False
    changed: bool = False


class Sharing:
    """Holds shares for `ledger`. `begin`, then `work` until cancelled, then `close`."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        ledger: Ledger,
        *,
        clock: Callable[[], float] = since_boot,
        process: str = "",
    ) -> None:
        self._store, self._ledger, self._clock = store, ledger, clock
        self._lease_s = settings.serve.lease_s
        self.process = process or this_process() or f"unknown {record_id()}"
        self._neighbours = Neighbours(settings, store, self.process, clock)
        self._known: dict[str, _Mine] = {}
        self._durable: Counter[tuple[str, str]] = Counter()
        self._day = ""
        self._asked: set[str] = set()
        self._left: set[str] = set()
        self._wake, self._next = asyncio.Event(), asyncio.Event()
        self._held_until = self._beat_due = 0.0
        self._duty, self._beats = False, count(1)
        ledger.shares = {}

    @property
    def duty(self) -> bool:
        """Whether this gateway does what one alone should do."""
        return self._duty and self._clock() < self._held_until

    async def begin(self) -> None:
        """Takes part from now on. Raises `StoreError`."""
        replicas, _ = await self._store.shares.look(self.process)
        if not replicas:
            await self._store.shares.leave(EARLIER, await used_lately(self._store), hold=True)
        await self._turn()

    async def work(self) -> None:
        """Takes turns until it is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            self._wake.clear()
            done, self._next = self._next, asyncio.Event()
            try:
                await self._turn()
            except StoreError:
                pass  # calls go on with what is held; /readyz says what the store says
            except Exception as bug:  # one turn is missed; without any, this gateway's leases would run out
                LOG.error("a fault of ours in sharing limits", exc_info=bug)
            done.set()
            await asyncio.sleep(APART_S)

    async def close(self) -> None:
        """Gives back what was not used."""
        self._ledger.shares = {}
        stakes = {name: _used_up(self._stake(name, mine)) for name, mine in self._known.items()}
        with suppress(StoreError):  # then others wait for the lease to be over
            await self._store.shares.leave(self.process, stakes, hold=False)

    def check(self) -> None:
        """Passes while shares may be used. Raises `StoreError`."""
        if self._clock() >= self._held_until:
            raise StoreError(
                f"limits are shared with other gateways, and the store was not reached for {self._lease_s:g} s",
                hint="try again; keys without limits are served",
            )

    def written(self, record: Record) -> None:
        """What the call cost stands in the store's sums."""
        if record.usd:
            day = record.created[:10]
            for name in account_names(record.tenant, record.caller):
                self._durable[name, day] += billionths(record.usd)
                self._durable[name, day[:MONTH]] += billionths(record.usd)

    async def more(self, refusal: Refusal, account: Account, payer: Payer, wanted: Need, until: float) -> bool:
        """Whether there is more of the limit that stood in the way than there was.

        Others are waited for, who have some left, until the time `until` of the loop.
        """
        loop, what, name = asyncio.get_running_loop(), refusal.limit, account.name
        mine = self._known.setdefault(name, _Mine(account, payer))
        self._now_of(name, mine, account)
        self._lack(mine, what, wanted)
        if loop.time() < mine.in_vain.get(what, 0.0):
            return False
        before = self._may(name, what)
        while True:
            self._asked.add(name)
            turn = self._next
            self._wake.set()
            try:
                async with asyncio.timeout_at(until):
                    await turn.wait()
            except TimeoutError:
                return False
            if self._may(name, what) > before:
                return True
            if what not in mine.elsewhere or loop.time() > until:
                mine.in_vain[what] = loop.time() + AGAIN_S
                return False
            await asyncio.sleep(AGAIN_S / 2)
            self._lack(mine, what, wanted, again=True)

    def _now_of(self, name: str, mine: _Mine, account: Account) -> None:
        """A share of limits that were changed is of no use; what was used of it counts against the new ones."""
        before, mine.account = mine.account, account
        if before.limits != account.limits:
            self._ledger.shares.pop(name, None)  # type: ignore[union-attr]
            mine.changed = True
            mine.in_vain.clear()

    async def _turn(self) -> None:
        self._forget()
        replicas, short = await self._store.shares.look(self.process)
        still, silent, over = await self._neighbours.look(replicas, self._ledger.day)
        began = self._clock()
        if began >= self._held_until:
            self._ledger.shares = {}  # others may use what was ours
        idle = {name for name in self._known if self._idle(name)}
        for name in idle:
            del self._known[name]
            self._ledger.shares.pop(name, None)  # type: ignore[union-attr]
        self._left |= idle
        mine = {name for name, one in self._known.items() if name in short or one.stake.short or self._near(one)}
        asked, self._asked = (mine | self._asked) & self._known.keys(), set()
        left = self._left - self._known.keys()
        if not (asked or left or over or began >= self._beat_due):
            return
        stakes = {name: self._ask(name, give=name in short) for name in sorted(asked)}
        said = {name: Asked(self._known[name].payer, stake) for name, stake in stakes.items()}
        turn = Turn(self.process, next(self._beats), self._lease_s, said, left, still, silent, over)
        for name in asked:
            self._known[name].unsure = True
        limits = {name: self._known[name].account.limits for name in asked}  # which may change until it is back

        def divide(
            name: str, asked: Stake, others: Mapping[str, Stake], spent: Mapping[str, int], living: list[str]
        ) -> Stake:
            return divided(limits[name], asked, others, spent, living)

        answer = await self._store.shares.turn(turn, divide)
        self._held_until, self._beat_due, self._duty = began + self._lease_s, began + self._lease_s / 4, answer.duty
        self._left -= left
        for name, stake in answer.stakes.items():
            self._take(name, stake, answer, limits[name])

    def _forget(self) -> None:
        """Leaves out what was spent in days and months that are over: nobody asks for it any more."""
        day = self._ledger.day
        if day != self._day:
            self._day, known = day, self._durable.items()
            self._durable = Counter({one: nano for one, nano in known if one[1] >= day[: len(one[1])]})

    def _ask(self, name: str, *, give: bool) -> Stake:
        """What is asked for; half of what is not used is given up first where others are short of it."""
        mine = self._known[name]
        stake = self._stake(name, mine)
        parts = dict[str, Part]()
        for what, part in stake.parts.items():
            keeps = part.share
            if give and not mine.unsure and part.share > part.used:
                keeps = part.used + (part.share - part.used) // 2
            parts[what] = msgspec.structs.replace(part, share=keeps)
        if give and not mine.changed:
            held = {what: part.share for what, part in parts.items()}
            self._hold(name, held, self._ledger.day, mine.account.limits)
        return msgspec.structs.replace(stake, parts=parts)

    def _stake(self, name: str, mine: _Mine) -> Stake:
        """What is held of the account, was used and is wanted."""
        use, day = self._ledger.use(name), self._ledger.day
        if self._clock() > mine.lacked_at + NEWS_S:
            mine.lacked.clear()
            mine.least.clear()
        used = dict(zip((*MINUTE, AT_ONCE, *MONEY), use[:5], strict=True))
        periods = dict(zip(MONEY, (day, day[:MONTH]), strict=True))
        parts = dict[str, Part]()
        for what, most in limits_of(mine.account.limits).items():
            period, lacked = periods.get(what, ""), mine.lacked[what]
            share = used[what] if mine.changed else self._may(name, what)
            # some more than it uses, so that it need not ask for each call; money is given in slices, as asked for
            want = used[what] + min(most, 4 * lacked) if period else used[what] + lacked + used[what] // 8 + 1
            parts[what] = Part(
                share=share,
                used=used[what],
                want=max(share, want) if period and not lacked else want,
                least=mine.least.get(what, 0),
                period=period,
                # a clock that was set back has calls on record of another day than they were counted on
                durable=min(self._durable[name, period], used[what] - use.reserved) if period else 0,
            )
        since = (mine.stake.since or time.time()) if any(part.short for part in parts.values()) else 0.0
        return Stake(parts=parts, since=since)

    def _take(self, name: str, stake: Stake, answer: Answer, limits: Limits) -> None:
        mine = self._known.get(name)
        if mine is None:
            self._left.add(name)
            return
        if mine.account.limits != limits:  # it was asked for before they changed; the next turn gives it back
            return
        mine.stake, mine.unsure, mine.changed = stake, False, False
        day = next((part.period for part in stake.parts.values() if len(part.period) > MONTH), self._ledger.day)
        self._hold(name, {what: part.share for what, part in stake.parts.items()}, day, limits)
        mine.elsewhere = {
            what
            for other in answer.others[name].values()
            for what, part in other.parts.items()
            if part.share > part.used and what in stake.parts and part.period == stake.parts[what].period
        }

    def _hold(self, name: str, parts: Mapping[str, int], day: str, of: Limits) -> None:
        self._ledger.shares[name] = share_of(parts, day, of)  # type: ignore[index]

    def _may(self, name: str, what: str) -> int:
        """How much of a limit may be used here, money of now in billionths."""
        share = (self._ledger.shares or {}).get(name)
        most = getattr(share.limits, what) if share is not None else None
        if share is None or most is None:
            return 0
        if what not in MONEY:
            return int(most)
        length = MONTH if what == MONEY[1] else len(share.day)
        return int(most * NANO) if share.day[:length] == self._ledger.day[:length] else 0

    def _lack(self, mine: _Mine, what: str, wanted: Need, *, again: bool = False) -> None:
        """Somebody was refused, who needed so much."""
        needs = {"tokens_per_minute": wanted.tokens} | dict.fromkeys(MONEY, billionths(wanted.usd))
        need = needs.get(what, 1)
        if not again:
            mine.lacked[what] += need
        mine.lacked_at = self._clock()
        mine.least[what] = max(need, mine.least.get(what, 0))

    def _near(self, mine: _Mine) -> bool:
        """Whether some more should be asked for before a call has to wait for it."""
        use = self._ledger.use(mine.account.name)
        used = dict(zip((*MINUTE, AT_ONCE), use[:3], strict=True))
        parts = mine.stake.parts
        return any(
            what in parts and most > parts[what].share > 0 and used[what] > parts[what].share * 3 // 4
            for what, most in limits_of(mine.account.limits).items()
            if what in used
        )

    def _idle(self, name: str) -> bool:
        """Whether nothing of it was used for a minute, and all that was is in the store."""
        use, day = self._ledger.use(name), self._ledger.day
        open_money = use.day > self._durable[name, day] or use.month > self._durable[name, day[:MONTH]]
        fresh = self._clock() < self._known[name].lacked_at + NEWS_S
        return not (use.requests or use.calls or open_money or fresh or name in self._asked)


def _used_up(stake: Stake) -> Stake:
    """What is left of a stake once no call is under way: what was used, which still counts."""
    parts = stake.parts.items()
    return Stake(parts={what: msgspec.structs.replace(part, share=part.used, want=0, least=0) for what, part in parts})

"""How much may still be used: reserved before a call, settled after it, given back whatever happens. Time is told.

What is admitted in any 60 seconds, at once, in a day and in a month never exceeds its limit. What an engine takes
beyond what was reserved for its call is counted as well, and is missing to the next calls.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from insource.nouns import Limits
from insource.route.need import Account, Need, Refusal

WINDOW_S, DAY_S = 60, 86_400
NANO = 1_000_000_000  # money is counted in whole billionths, so that what is given back is what was taken
MOST_DAYS = 40
MONTH = 7  # letters of YYYY-MM-DD that name it
REQUESTS, TOKENS = attrgetter("requests"), attrgetter("tokens")


class Share(NamedTuple):
    """How much of an account's limits may be used here; its money on `day` alone (YYYY-MM-DD) and in that month.

    It is a part of the limits `of`, and none of any others that the account may have since.
    """

    limits: Limits
    day: str
    of: Limits


class Use(NamedTuple):
    """What an account has used here: in the last minute, at once, and money of a day and its month, in billionths.

    What is held `reserved` counts.
    """

    requests: int
    tokens: int
    calls: int
    day: int
    month: int
    reserved: int


class Ledger:
    """What each account has used. `clock` gives seconds that never go back, `now` those since 1970.

    Where limits are shared with other gateways, `shares` has how much of each account's may be used here, and nothing
    of any other's. Not for several threads.
    """

    def __init__(self, clock: Callable[[], float], now: Callable[[], float]) -> None:
        self._clock, self._now = clock, now
        self._books: defaultdict[str, _Book] = defaultdict(_Book)
        self._held: dict[str, _Hold] = {}
        self.shares: dict[str, Share] | None = None

    def reserve(self, call: str, accounts: Sequence[Account], wanted: Need) -> Refusal | None:
        """Takes what `call` may need from every account, or nothing and says why. End it with `release`."""
        now, books = self._now(), tuple([self._books[account.name] for account in accounts])
        hold = _Hold(books, int(self._clock()), wanted.tokens, billionths(wanted.usd))
        for account, book in zip(accounts, books, strict=True):
            limits = account.limits if self.shares is None else self._mine(account, now)
            refused = book.refuses(hold, limits, now)
            if refused is not None:
                limit, seconds = refused
                if seconds == math.inf and self.shares is not None and _fits(hold, account.limits):
                    seconds = 1.0  # it is not here that there is room for it, but there may be
                retry = None if seconds == math.inf else math.ceil(seconds)
                return Refusal(account=account.name, limit=limit, retry_s=retry)
        for book in books:
            book.add(hold.second, 1, hold.tokens)
            book.calls += 1
            book.reserved += hold.nano
        self._held[call] = hold
        return None

    def settle(self, call: str, names: Sequence[str], used: Need) -> None:
        """Puts what `call` took in the place of what was reserved. One that is held no more is charged to `names`."""
        hold = self._held.get(call)
        if hold is None:
            hold = _Hold(tuple([self._books[name] for name in names]), int(self._clock()), 0, 0)
            for book in hold.books:
                book.add(hold.second, 0, 0)
        elif hold.settled:
            return
        nano, day = billionths(used.usd), _day(int(self._now()) // DAY_S)
        for book in hold.books:
            book.settle(hold, used.tokens, nano, day)
        hold.settled = True

    def release(self, call: str) -> None:
        """The call has ended; what was not settled is given back. Once is enough, more do no harm."""
        hold = self._held.get(call)
        if hold is None:
            return
        if not hold.settled:
            self.settle(call, (), Need())
        for book in hold.books:
            book.calls -= 1
        del self._held[call]

    def remember(self, name: str, day: str, usd: float) -> None:
        """What the account spent on `day` before this ledger began."""
        self._books[name].spend(billionths(usd), day)

    def remember_call(self, name: str, age_s: float, tokens: int) -> None:
        """A call that the account made `age_s` seconds ago. Tell the older ones first."""
        self._books[name].add(int(self._clock() - age_s), 1, tokens)

    @property
    def held(self) -> int:
        """How many calls hold something."""
        return len(self._held)

    def use(self, name: str) -> Use:
        """What the account has used here up to now."""
        now, book = self._now(), self._books[name]
        book.forget(int(self._clock()), now)
        day = _day(int(now) // DAY_S)
        spent, month = book.spent.get(day, 0), book.spent.get(day[:MONTH], 0)
        return Use(book.requests, book.tokens, book.calls, spent + book.reserved, month + book.reserved, book.reserved)

    @property
    def day(self) -> str:
        """The day now, of UTC."""
        return _day(int(self._now()) // DAY_S)

    def _mine(self, account: Account, now: float) -> Limits:
        """What may be used here of the account's limits."""
        share = (self.shares or {}).get(account.name)
        if share is None or (share.of is not account.limits and share.of != account.limits):
            return _none_of(account.limits)
        day = _day(int(now) // DAY_S)
        if share.day == day:
            return share.limits
        limits = share.limits  # of another day's money nothing is ours yet
        month = limits.usd_per_month if share.day[:MONTH] == day[:MONTH] else _nothing(limits.usd_per_month)
        return msgspec.structs.replace(limits, usd_per_day=_nothing(limits.usd_per_day), usd_per_month=month)


class _Hold(msgspec.Struct):
    """What a call holds in its books; the tokens stand in the second in which they were reserved."""

    books: tuple["_Book", ...]
    second: int
    tokens: int
    nano: int
    settled: bool = False


@dataclass(slots=True)
class _Second:
    """What was used within one second."""

    requests: int = 0
    tokens: int = 0


@dataclass(slots=True)
class _Book:
    """What one account has used and holds reserved. Money is in billionths of a dollar.

    `seconds` are those of the last minute, `requests` and `tokens` their sums. A second is forgotten when all of it is
    out of the window; that was done up to the second `looked`. `spent` has every day and every month.
    """

    seconds: dict[int, _Second] = field(default_factory=dict)
    requests: int = 0
    tokens: int = 0
    calls: int = 0
    reserved: int = 0
    spent: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    looked: int = 0

    def refuses(self, hold: _Hold, limits: Limits, now: float) -> tuple[str, float] | None:
        """The limit that has no room for the call, and the seconds until it has: infinite where it never will."""
        if hold.second > self.looked:
            self.forget(hold.second, now)
        most: float | None = limits.requests_per_minute
        if most is not None and self.requests + 1 > most:
            return "requests_per_minute", self.wait(REQUESTS, self.requests + 1 - most, hold.second)
        most = limits.tokens_per_minute
        if most is not None and self.tokens + hold.tokens > most:
            return "tokens_per_minute", self.wait(TOKENS, self.tokens + hold.tokens - most, hold.second)
        most = limits.concurrent
        if most is not None and self.calls + 1 > most:
            return "concurrent", 1
        if not hold.nano:  # a call that costs nothing passes
            return None
        day, wanted = _day(int(now) // DAY_S), self.reserved + hold.nano
        most = limits.usd_per_day
        if most is not None and self.spent.get(day, 0) + wanted > int(most * NANO):
            return "usd_per_day", _wait(most, hold.nano, _tomorrow, now)
        most = limits.usd_per_month
        if most is not None and self.spent.get(day[:MONTH], 0) + wanted > int(most * NANO):
            return "usd_per_month", _wait(most, hold.nano, _next_month, now)
        return None

    def wait(self, what: Callable[[_Second], int], over: float, now: int) -> float:
        """Seconds until `over` of what was used is out of the window; infinite where that is more than all of it."""
        for second, used in self.seconds.items():
            over -= what(used)
            if over <= 0:
                return second + WINDOW_S + 1 - now
        return math.inf

    def settle(self, hold: _Hold, tokens: int, nano: int, day: str) -> None:
        """Puts what the call took in the place of what it held."""
        second, more = self.seconds.get(hold.second), tokens - hold.tokens
        if second is not None:  # else its minute is over
            second.tokens += more
            self.tokens += more
        self.reserved -= hold.nano
        if nano:
            self.spend(nano, day)

    def add(self, second: int, requests: int, tokens: int) -> None:
        """Counts what was used in `second`."""
        used = self.seconds.get(second)
        if used is None:
            used = self.seconds[second] = _Second()
        used.requests += requests
        used.tokens += tokens
        self.requests += requests
        self.tokens += tokens

    def spend(self, nano: int, day: str) -> None:
        """Counts money that was spent on `day`."""
        self.spent[day] += nano
        self.spent[day[:MONTH]] += nano

    def forget(self, second: int, now: float) -> None:
        """Leaves out what is older than a minute, and days of other months once there are many."""
        self.looked = second
        while self.seconds and (first := next(iter(self.seconds))) + WINDOW_S < second:
            old = self.seconds.pop(first)
            self.requests -= old.requests
            self.tokens -= old.tokens
        if len(self.spent) > MOST_DAYS:
            month = _day(int(now) // DAY_S)[:MONTH]
            self.spent = defaultdict(int, {day: nano for day, nano in self.spent.items() if day >= month})


def share_of(parts: Mapping[str, int], day: str, of: Limits) -> Share:
    """A share of the limits `of`: limit → how much, money in billionths.

    Half of one more, so that none is lost on the way to dollars.
    """
    said: dict[str, Any] = {
        what: (most + 0.5) / NANO if what.startswith("usd") and most > 0 else max(0, most)
        for what, most in parts.items()
    }
    return Share(Limits(**said), day, of)


def _none_of(limits: Limits) -> Limits:
    said: dict[str, Any] = {what: _nothing(getattr(limits, what)) for what in Limits.__struct_fields__}
    return Limits(**said)


def _nothing(limit: float | None) -> int | None:
    return None if limit is None else 0


def _fits(hold: _Hold, limits: Limits) -> bool:
    """Whether the call alone is within an account's limits."""
    tokens, usd = limits.tokens_per_minute, [limits.usd_per_day, limits.usd_per_month]
    enough = all(most is None or hold.nano <= int(most * NANO) for most in usd)
    return enough and (tokens is None or hold.tokens <= tokens)


@lru_cache(maxsize=4)
def _day(number: int) -> str:
    """The day, counted from 1970."""
    return datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()


def _wait(usd: float, nano: int, end: Callable[[datetime], datetime], now: float) -> float:
    """Seconds until the day or month is over; a call that alone costs more than its limit never fits."""
    at = datetime.fromtimestamp(now, UTC)
    return math.inf if nano > int(usd * NANO) else max(1.0, (end(at) - at).total_seconds())


def _tomorrow(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _next_month(now: datetime) -> datetime:
    return (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)


def billionths(usd: float) -> int:
    """US dollars in whole billionths, no less than they are."""
    return math.ceil(usd * NANO)

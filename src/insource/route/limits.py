"""How much may still be used: reserved before a call, settled after it, given back whatever happens. Time is told.

What is admitted in any 60 seconds, at once, in a day and in a month never exceeds its limit. What an engine takes
beyond what was reserved for its call is counted as well, and is missing to the next calls.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from insource.nouns import JsonObject, Limits, Noun, Request, canonical
from insource.nouns.request import text_of

WINDOW_S = 60
NANO = 1_000_000_000  # money is counted in whole billionths, so that what is given back is what was taken
ANSWER_TOKENS = 1024  # what an answer is reckoned with where the call names no max_tokens
MOST_DAYS = 40
NO_CALLS = 2
DAY, MONTH = 10, 7  # letters of YYYY-MM-DD that name them
MESSAGE_TOKENS, PART_TOKENS = 16, 2048  # a message's frame; an image or another part that is no text


class Account(Noun, frozen=True, kw_only=True):
    """Who uses, and how much of it is allowed."""

    name: str
    limits: Limits


class Need(Noun, frozen=True, kw_only=True):
    """What a call takes, at most before it and in truth after it."""

    tokens: int = 0
    usd: float = 0.0


class Refusal(Noun, frozen=True, kw_only=True):
    """Which limit of which account stands in the way. In `retry_s` seconds it may not; None where it always will."""

    account: str
    limit: str
    retry_s: int | None


def need(request: Request, prices: Sequence[tuple[float, float]]) -> Need:
    """What the call may take of engines with these prices, all of which may be asked: US dollars per million tokens.

    A token is a byte at least. An answer has `max_tokens`, else `ANSWER_TOKENS`.
    """
    into = sum([_tokens(message.content) + _call_tokens(message.tool_calls) for message in request.messages])
    if request.tools or request.response_format:
        into += sum(len(canonical(given)) for given in (request.tools, request.response_format) if given)
    out = request.max_tokens or ANSWER_TOKENS
    usd = sum([into * price_in + out * price_out for price_in, price_out in prices]) / 1_000_000
    return Need(tokens=(into + out) * len(prices), usd=usd)


class Ledger:
    """What each account has used. `clock` gives seconds that never go back, `now` the time of UTC.

    Not for several threads.
    """

    def __init__(self, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        self._clock, self._now = clock, now
        self._books: defaultdict[str, _Book] = defaultdict(_Book)
        self._held: dict[str, _Hold] = {}

    def reserve(self, call: str, accounts: Sequence[Account], wanted: Need) -> Refusal | None:
        """Takes what `call` may need from every account, or nothing and says why. End it with `release`."""
        second, now = int(self._clock()), self._now()
        nano = _nano(wanted.usd)
        ask = _Ask(wanted.tokens, nano, second, now)
        books = tuple([self._books[account.name] for account in accounts])
        for account, book in zip(accounts, books, strict=True):
            book.forget(second, now)
            for limit, allowed, wait in _limited(account.limits):
                seconds = wait(book, ask, allowed)
                if seconds:
                    retry = None if seconds == math.inf else math.ceil(seconds)
                    return Refusal(account=account.name, limit=limit, retry_s=retry)
        for book in books:
            book.take(second, wanted.tokens, nano)
        self._held[call] = _Hold(books, second, wanted.tokens, nano)
        return None

    def settle(self, call: str, names: Sequence[str], used: Need) -> None:
        """Puts what `call` took in the place of what was reserved. One that is held no more is charged to `names`."""
        hold, day = self._held.get(call), self._now().date().isoformat()
        if hold is None:
            second = int(self._clock())
            hold = _Hold(tuple(self._books[name] for name in names), second, 0, 0)
            for book in hold.books:
                book.tokens.add(second, 0)
        elif hold.settled:
            return
        for book in hold.books:
            book.settle(hold, used.tokens, _nano(used.usd), day)
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
        self._books[name].spent[day] += _nano(usd)

    def remember_call(self, name: str, age_s: float, tokens: int) -> None:
        """A call that the account made `age_s` seconds ago. Tell the older ones first."""
        second = int(self._clock() - age_s)
        self._books[name].requests.add(second, 1)
        self._books[name].tokens.add(second, tokens)

    @property
    def held(self) -> int:
        """How many calls hold something."""
        return len(self._held)


@dataclass(slots=True)
class _Hold:
    """What a call holds in its books; the tokens stand in the second in which they were reserved."""

    books: tuple["_Book", ...]
    second: int
    tokens: int
    nano: int
    settled: bool = False


@dataclass(slots=True)
class _Ask:
    """Whether `tokens` and `nano` fit into a limit now."""

    tokens: int
    nano: int
    second: int
    now: datetime


@dataclass(slots=True)
class _Minute:
    """Amounts of the last 60 seconds, by the second; a second is forgotten when all of it is out of the window."""

    seconds: dict[int, int] = field(default_factory=dict)
    total: int = 0

    def forget(self, now: int) -> None:
        while self.seconds and (first := next(iter(self.seconds))) + WINDOW_S < now:
            self.total -= self.seconds.pop(first)

    def add(self, second: int, amount: int) -> None:
        self.seconds[second] = self.seconds.get(second, 0) + amount
        self.total += amount

    def wait(self, amount: int, now: int, allowed: float) -> float:
        """Seconds until `amount` fits; 0 when it does, infinite when it never will."""
        if self.total + amount <= allowed:
            return 0
        left = self.total
        for second, used in self.seconds.items():
            left -= used
            if left + amount <= allowed:
                return second + WINDOW_S + 1 - now
        return math.inf


@dataclass(slots=True)
class _Book:
    """What one account has used and holds reserved. Money is in billionths of a dollar."""

    requests: _Minute = field(default_factory=_Minute)
    tokens: _Minute = field(default_factory=_Minute)
    calls: int = 0
    reserved: int = 0
    spent: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def forget(self, second: int, now: datetime) -> None:
        self.requests.forget(second)
        self.tokens.forget(second)
        if len(self.spent) > MOST_DAYS:
            month = f"{now:%Y-%m}"
            self.spent = defaultdict(int, {day: nano for day, nano in self.spent.items() if day >= month})

    def take(self, second: int, tokens: int, nano: int) -> None:
        self.requests.add(second, 1)
        self.tokens.add(second, tokens)
        self.calls += 1
        self.reserved += nano

    def settle(self, hold: _Hold, tokens: int, nano: int, day: str) -> None:
        if hold.second in self.tokens.seconds:  # else its minute is over
            self.tokens.add(hold.second, tokens - hold.tokens)
        self.reserved -= hold.nano
        self.spent[day] += nano

    def spent_in(self, period: str) -> int:
        return sum(nano for day, nano in self.spent.items() if day.startswith(period))


def _wait_requests(book: _Book, ask: _Ask, allowed: float) -> float:
    return book.requests.wait(1, ask.second, allowed)


def _wait_tokens(book: _Book, ask: _Ask, allowed: float) -> float:
    return book.tokens.wait(ask.tokens, ask.second, allowed)


def _wait_at_once(book: _Book, _: _Ask, allowed: float) -> float:
    return 1 if book.calls + 1 > allowed else 0


def _wait_day(book: _Book, ask: _Ask, allowed: float) -> float:
    return _wait_money(book, ask, allowed, DAY)


def _wait_month(book: _Book, ask: _Ask, allowed: float) -> float:
    return _wait_money(book, ask, allowed, MONTH)


def _wait_money(book: _Book, ask: _Ask, allowed: float, letters: int) -> float:
    """A call that costs nothing passes; one that alone costs more than the limit never does."""
    if not ask.nano:
        return 0
    allowed, period = int(allowed * NANO), ask.now.date().isoformat()[:letters]
    if book.spent_in(period) + book.reserved + ask.nano <= allowed:
        return 0
    end = _tomorrow if letters == DAY else _next_month
    return math.inf if ask.nano > allowed else max(1.0, (end(ask.now) - ask.now).total_seconds())


def _tomorrow(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _next_month(now: datetime) -> datetime:
    return (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)


WAITS: dict[str, Callable[[_Book, _Ask, float], float]] = {
    "requests_per_minute": _wait_requests,
    "tokens_per_minute": _wait_tokens,
    "concurrent": _wait_at_once,
    "usd_per_day": _wait_day,
    "usd_per_month": _wait_month,
}


@lru_cache(maxsize=1024)
def _limited(limits: Limits) -> tuple[tuple[str, float, Callable[[_Book, _Ask, float], float]], ...]:
    """The limits that there are, each with what is allowed and what says how long to wait."""
    found = [(name, getattr(limits, name), wait) for name, wait in WAITS.items()]
    return tuple((name, allowed, wait) for name, allowed, wait in found if allowed is not None)


def _nano(usd: float) -> int:
    return math.ceil(usd * NANO)


def _tokens(content: object) -> int:
    if isinstance(content, str):
        return MESSAGE_TOKENS + len(content.encode())
    parts = content if isinstance(content, list) else []
    others = sum(1 for part in parts if not (isinstance(part, dict) and "text" in part))
    return MESSAGE_TOKENS + len(text_of(content).encode()) + others * PART_TOKENS


def _call_tokens(calls: Sequence[JsonObject] | None) -> int:
    return len(canonical(calls or "")) if calls else NO_CALLS

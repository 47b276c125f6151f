"""The ledger against a plain list of all that happened: nothing above a limit, nothing lost, nothing refused idly."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from insource.nouns import Limits, Message, Request
from insource.route.limits import NANO, Ledger
from insource.route.need import ANSWER_TOKENS, Account, Need, need

START = datetime(2026, 11, 29, 22, 0, tzinfo=UTC)


class Clock:
    def __init__(self, at: datetime = START) -> None:
        self.began, self.at = at, at

    def pass_by(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def seconds(self) -> float:
        return (self.at - self.began).total_seconds() + 1000.25

    def now(self) -> float:
        return self.at.timestamp()

    def ledger(self) -> Ledger:
        return Ledger(self.seconds, self.now)


def account(name: str = "a", **limits) -> Account:
    return Account(name=name, limits=Limits(**limits))


class Entry:
    """One call in the plain list."""

    def __init__(self, at: datetime, names: tuple[str, ...], wanted: Need) -> None:
        self.at, self.names = at, names
        self.tokens, self.reserved, self.spent, self.day = wanted.tokens, wanted.usd, 0.0, ""
        self.settled = self.ended = False


ACCOUNTS = {
    "key": account("key", requests_per_minute=5, tokens_per_minute=100, concurrent=3, usd_per_day=1.0),
    "other": account("other", requests_per_minute=4, concurrent=2),
    "tenant": account("tenant", requests_per_minute=7, tokens_per_minute=120, concurrent=4, usd_per_month=1.5),
}
USD = st.integers(0, 64).map(lambda n: n / 64)  # exact in binary and in billionths


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.ledger = self.clock.ledger()
        self.calls: dict[str, Entry] = {}

    def used(self, name: str, window_s: float = 60.0) -> tuple[int, int, int]:
        """Requests and tokens admitted in the last `window_s`, and calls not ended."""
        of = [entry for entry in self.calls.values() if name in entry.names]
        recent = [entry for entry in of if (self.clock.at - entry.at).total_seconds() < window_s]
        return len(recent), sum(entry.tokens for entry in recent), sum(not entry.ended for entry in of)

    def money(self, name: str, period: str) -> float:
        of = [entry for entry in self.calls.values() if name in entry.names]
        spent = sum(entry.spent for entry in of if entry.day.startswith(period))
        return spent + sum(entry.reserved for entry in of if not entry.settled)

    def fits(self, name: str, wanted: Need, window_s: float) -> dict[str, bool]:
        limits = ACCOUNTS[name].limits
        requests, tokens, calls = self.used(name, window_s)
        day, month = f"{self.clock.at:%Y-%m-%d}", f"{self.clock.at:%Y-%m}"
        found = {
            "requests_per_minute": requests + 1 <= (limits.requests_per_minute or math.inf),
            "tokens_per_minute": tokens + wanted.tokens <= (limits.tokens_per_minute or math.inf),
            "concurrent": calls + 1 <= (limits.concurrent or math.inf),
            "usd_per_day": self.money(name, day) + wanted.usd <= (limits.usd_per_day or math.inf),
            "usd_per_month": self.money(name, month) + wanted.usd <= (limits.usd_per_month or math.inf),
        }
        free = {"usd_per_day", "usd_per_month"} if not wanted.usd else set()
        return {limit: holds or limit in free for limit, holds in found.items()}

    @rule(who=st.sampled_from(["key", "other"]), tokens=st.integers(0, 110), usd=USD)
    def reserve(self, who, tokens, usd):
        names, wanted = (who, "tenant"), Need(tokens=tokens, usd=usd)
        call = f"c{len(self.calls)}"
        refusal = self.ledger.reserve(call, [ACCOUNTS[name] for name in names], wanted)
        if refusal is None:
            assert all(all(self.fits(name, wanted, 60.0).values()) for name in names)
            self.calls[call] = Entry(self.clock.at, names, wanted)
            return
        # a second is forgotten as a whole, so the window may be up to 61 seconds long
        assert not self.fits(refusal.account, wanted, 61.0)[refusal.limit]
        if refusal.retry_s is None:
            limits = ACCOUNTS[refusal.account].limits
            alone = wanted.tokens if refusal.limit == "tokens_per_minute" else wanted.usd
            assert alone > getattr(limits, refusal.limit)
        elif refusal.limit.endswith("_minute"):
            assert 1 <= refusal.retry_s <= 61

    @precondition(lambda self: any(not entry.settled for entry in self.calls.values()))
    @rule(data=st.data(), more=st.integers(-60, 20), usd=USD)
    def settle(self, data, more, usd):
        call = data.draw(st.sampled_from([call for call, entry in self.calls.items() if not entry.settled]))
        entry = self.calls[call]
        tokens = max(0, entry.tokens + more)
        self.ledger.settle(call, entry.names, Need(tokens=tokens, usd=usd))
        self.ledger.settle(call, entry.names, Need(tokens=999, usd=9))  # once is all that counts
        entry.tokens, entry.spent, entry.day, entry.settled = tokens, usd, f"{self.clock.at:%Y-%m-%d}", True

    @precondition(lambda self: any(not entry.ended for entry in self.calls.values()))
    @rule(data=st.data())
    def release(self, data):
        call = data.draw(st.sampled_from([call for call, entry in self.calls.items() if not entry.ended]))
        self.ledger.release(call)
        self.ledger.release(call)
        entry = self.calls[call]
        if not entry.settled:
            entry.tokens, entry.settled = 0, True
        entry.ended = True

    @rule(seconds=st.sampled_from([0.1, 0.9, 1.0, 7.3, 29.5, 59.0, 60.0, 61.0, 3600.0, 86_400.0]))
    def pass_by(self, seconds):
        self.clock.pass_by(seconds)

    @invariant()
    def what_is_held_is_what_has_not_ended(self):
        assert self.ledger.held == sum(not entry.ended for entry in self.calls.values())

    def teardown(self):
        for call in self.calls:
            self.ledger.release(call)
        assert self.ledger.held == 0
        for book in self.ledger._books.values():
            assert (book.reserved, book.calls) == (0, 0)
            assert book.requests == sum(used.requests for used in book.seconds.values())
            assert book.tokens == sum(used.tokens for used in book.seconds.values())


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


def test_a_refusal_says_when_it_is_worth_asking_again():
    clock = Clock()
    ledger = clock.ledger()
    desk = account(requests_per_minute=2, tokens_per_minute=100)
    for call in ("a", "b"):
        assert ledger.reserve(call, [desk], Need(tokens=30)) is None
        ledger.release(call)
        clock.pass_by(10)
    for _ in range(2):
        refused = ledger.reserve("c", [desk], Need(tokens=1))
        assert refused.limit == "requests_per_minute"
        clock.pass_by(refused.retry_s - 1)
        assert ledger.reserve("c", [desk], Need(tokens=1)) is not None
        clock.pass_by(1)
        assert ledger.reserve("c", [desk], Need(tokens=1)) is None


@pytest.mark.parametrize(
    ("limits", "wait"),
    [
        ({"usd_per_day": 1.0}, 2 * 3600),
        ({"usd_per_month": 1.0}, 26 * 3600),
        ({"concurrent": 1}, 1),
        ({"requests_per_minute": 1}, 61),
    ],
)
def test_each_limit_has_its_own_end(limits, wait):
    clock = Clock()
    ledger = clock.ledger()
    assert ledger.reserve("a", [account(**limits)], Need(usd=0.75)) is None
    refused = ledger.reserve("b", [account(**limits)], Need(usd=0.5))
    assert (refused.limit, refused.retry_s) == (next(iter(limits)), wait)
    clock.pass_by(wait)
    if "concurrent" not in limits:
        ledger.settle("a", (), Need(usd=0.0))
        assert ledger.reserve("b", [account(**limits)], Need(usd=0.5)) is None


def test_what_never_fits_is_not_worth_asking_again():
    ledger = Clock().ledger()
    for limits, wanted in (({"tokens_per_minute": 10}, Need(tokens=11)), ({"usd_per_day": 1.0}, Need(usd=1.01))):
        assert ledger.reserve("a", [account(**limits)], wanted).retry_s is None
    assert ledger.held == 0


def test_a_refused_call_takes_nothing_from_anyone():
    ledger = Clock().ledger()
    wide, narrow = account("wide", requests_per_minute=2), account("narrow", concurrent=1)
    assert ledger.reserve("a", [narrow], Need()) is None
    assert ledger.reserve("b", [wide, narrow], Need()).account == "narrow"
    for call in ("c", "d"):
        assert ledger.reserve(call, [wide], Need()) is None


def test_a_call_that_costs_nothing_passes_when_the_money_is_gone():
    ledger = Clock().ledger()
    ledger.remember("a", "2026-11-29", 2.0)
    assert ledger.reserve("a", [account(usd_per_day=1.0)], Need(tokens=5)) is None
    assert ledger.reserve("b", [account(usd_per_day=1.0)], Need(usd=0.001)).limit == "usd_per_day"


def test_what_was_used_before_the_start_counts():
    ledger = Clock().ledger()
    ledger.remember("a", "2026-11-28", 1.4)
    ledger.remember_call("a", 30.0, 60)
    desk = account(usd_per_day=1.0, usd_per_month=2.0, requests_per_minute=2, tokens_per_minute=100)
    assert ledger.reserve("b", [desk], Need(tokens=41)).limit == "tokens_per_minute"
    assert ledger.reserve("b", [desk], Need(usd=0.7)).limit == "usd_per_month"
    assert ledger.reserve("b", [desk], Need(usd=0.5, tokens=40)) is None
    assert ledger.reserve("c", [desk], Need()).limit == "requests_per_minute"


def test_what_comes_after_the_end_of_its_call_is_charged_all_the_same():
    ledger = Clock().ledger()
    desk = account(tokens_per_minute=100, usd_per_day=1.0)
    ledger.reserve("a", [desk], Need(tokens=50, usd=0.5))
    ledger.release("a")
    ledger.settle("a", ("a",), Need(tokens=80, usd=0.9))
    assert ledger.reserve("b", [desk], Need(tokens=21)).limit == "tokens_per_minute"
    assert ledger.reserve("b", [desk], Need(usd=0.2)).limit == "usd_per_day"
    assert ledger.held == 0


def test_a_years_spending_is_not_carried_along():
    clock = Clock()
    ledger = clock.ledger()
    for day in range(400):
        ledger.reserve(str(day), [account(usd_per_day=1.0)], Need(usd=0.5))
        ledger.settle(str(day), (), Need(usd=0.5))
        ledger.release(str(day))
        days = min(clock.at.day, day + 1)
        assert ledger._books["a"].spent[f"{clock.at:%Y-%m}"] == days * NANO // 2
        clock.pass_by(86_400)
    assert len(ledger._books["a"].spent) <= 72
    assert ledger._books["a"].spent[f"{clock.at - timedelta(days=1):%Y-%m-%d}"] == NANO // 2


def test_what_a_call_may_need_is_never_less_than_its_bytes_and_its_answer():
    def asked(content, **more) -> Request:
        return Request(id="r", messages=(Message(role="user", content=content),), **more)

    text = "Ω" * 1000
    assert need(asked(text, max_tokens=50), [(0.0, 0.0)]).tokens >= 2050
    assert need(asked(text), [(0.0, 0.0)]).tokens >= 2000 + ANSWER_TOKENS
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert need(asked(parts, max_tokens=50), [(0.0, 0.0)]).tokens >= 4000
    tools = [{"type": "function", "function": {"name": "n" * 500}}]
    assert need(asked("", tools=tools, max_tokens=1), [(0.0, 0.0)]).tokens >= 500
    one = need(asked(text, max_tokens=50), [(2.0, 8.0)])
    two = need(asked(text, max_tokens=50), [(2.0, 8.0), (2.0, 8.0)])
    assert one.usd >= (2000 * 2.0 + 50 * 8.0) / 1e6
    assert (two.tokens, two.usd) == (2 * one.tokens, 2 * one.usd)

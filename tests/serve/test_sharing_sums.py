"""What a gateway remembers of the sums in the store, for as long as somebody asks for it."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from insource.engines.scripted import Scripted
from insource.errors import OverLimit
from insource.journeys.answer import Path, Tier
from insource.nouns import Key, Limits, Message, Record, Request
from insource.route.limits import Ledger, billionths
from insource.serve.meter import Meter, account_names
from insource.serve.sharing import Sharing
from insource.settings import Settings
from insource.store import Store

CALL = Record(
    id="c", task=None, release=None, tenant="plant", caller="desk", attempts=(), outcome="answered", input_hash="h",
    latency_ms=1.0, usd=0.5,
)  # fmt: skip


async def test_days_and_months_that_are_over_are_forgotten_and_the_present_ones_are_not(tmp_path):
    settings = Settings(root=tmp_path, cache=tmp_path)
    now = datetime(2026, 1, 15, 12, tzinfo=UTC)

    def clock():
        return now.timestamp()

    async with await Store.open(settings) as store:
        ledger = Ledger(clock, clock)
        sharing = Sharing(settings, store, ledger, clock=clock)
        await sharing.begin()
        for _ in range(60):
            day = now.date().isoformat()
            sharing.written(msgspec.structs.replace(CALL, created=now.isoformat()))
            await sharing._turn()
            assert dict(sharing._durable) == {
                (name, period): calls * billionths(0.5)
                for name in account_names("plant", "desk")
                for period, calls in ((day, 1), (day[:7], now.day - 14 if now.month == 1 else now.day))
            }
            now += timedelta(days=1)


async def test_a_key_made_again_with_other_limits_is_refused_in_words_of_those(tmp_path):
    settings = Settings(root=tmp_path, cache=tmp_path)
    path = Path(task=None, tiers=(Tier(Scripted("one", ()), usd_per_million=(0.0, 1000.0)),))

    def call(number):
        said = (Message(role="user", content="refund"),)
        return Request(id=f"r{number}", task=None, messages=said, max_tokens=100)

    async with await Store.open(settings) as store:
        meter = Meter({})
        meter.room = sharing = Sharing(settings, store, meter.ledger)
        await sharing.begin()
        working = asyncio.create_task(sharing.work())
        before = Key(id="a", name="desk", tenant="plant", limits=Limits(requests_per_minute=2))
        after = Key(id="b", name="desk", tenant="plant", limits=Limits(usd_per_day=0.25))
        for number in range(2):
            with await meter.take(before, call(number), path):
                pass  # it costs nothing
        with pytest.raises(OverLimit, match="2 requests a minute"):
            await meter.take(before, call(2), path)
        for number in (3, 4):
            await meter.take(after, call(number), path)
        with pytest.raises(OverLimit, match=r"0\.25 USD a day"):
            await meter.take(after, call(5), path)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working

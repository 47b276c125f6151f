"""What a gateway remembers of the sums in the store, for as long as somebody asks for it."""

from datetime import UTC, datetime, timedelta

import msgspec

from insource.nouns import Record
from insource.route.limits import Ledger, billionths
from insource.serve.meter import account_names
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

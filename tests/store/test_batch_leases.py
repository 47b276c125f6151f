"""Who is at work on a batch, told by the clock of the server that all share: those of its hosts may differ."""

import asyncio
import time
from types import SimpleNamespace

from insource.settings import Settings, StoreSettings
from insource.store import Store, batches


def test_a_host_whose_clock_is_fast_takes_nothing_from_one_at_work(postgres, tmp_path, monkeypatch):
    where = Settings(root=tmp_path, cache=tmp_path, store=StoreSettings(url=postgres.url + "?schema=w_{workspace}"))

    async def story():
        async with await Store.open(where) as store:
            theirs, ours = "elsewhere boot 1 2#a", "me"
            await store.batches.beat(theirs)
            assert (await store.batches.claim(["k"], "t", theirs, 3))["k"].mine
            assert await store.batches.holds("k", theirs)
            early = time.time() + 2 * batches.LEASE_S
            monkeypatch.setattr(batches, "time", SimpleNamespace(time=lambda: early))
            assert not (await store.batches.claim(["k"], "t", ours, 3))["k"].mine
            await store.batches.beat(theirs, 0)
            await asyncio.sleep(0.1)
            assert (await store.batches.claim(["k"], "t", ours, 3))["k"].mine, "nor keeps it longer than it said"
            assert [await store.batches.holds("k", name) for name in (theirs, ours)] == [False, True]

    asyncio.run(story())

"""What is too old or too many goes in rounds, the same calls as in one, and nobody counts all of them in each."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from sqlalchemy import Engine, event
from test_store import pending, record, settings

from insource.journeys import audit
from insource.store import Store, retention

COUNT = 40
NEWEST = "ORDER BY record.seq DESC"


def made(i: int):
    return msgspec.structs.replace(record(f"r{i:02}"), created=f"2026-11-{i // 2 + 1:02}T00:00:00.000+00:00")


async def filled(store: Store) -> set[str]:
    """Calls in the order of their time; the names of those that wait for a person."""
    waits = set(random.Random(4).sample([made(i).id for i in range(COUNT)], 9))  # noqa: S311 - made-up rows
    for i in range(COUNT):
        await store.append(made(i), pending(made(i).id) if made(i).id in waits else None)
    return waits


@contextmanager
def heard() -> Iterator[list[str]]:
    """What the database is told."""
    said: list[str] = []

    def hear(*given: object) -> None:
        said.append(str(given[2]))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


@pytest.mark.parametrize(("before", "most"), [("", 10), ("2026-11-12", 10**6), ("2026-11-12", 5), ("2026-11-05", 29)])
def test_what_is_too_old_or_too_many_goes_in_rounds_and_what_waits_stays(tmp_path, monkeypatch, before, most):
    monkeypatch.setattr(retention, "MOST", 4)

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            waits = await filled(store)
            mine = [made(i) for i in range(COUNT) if made(i).id not in waits]
            stay = {one.id for one in mine[-most:] if one.created >= before}
            gone = found = await store.prune(before, most)
            while found.more:
                assert found.records <= 4
                found = await store.prune(before, most, found)
                gone = msgspec.structs.replace(gone, records=gone.records + found.records)
            assert {one.id for one in await store.records()} == stay | waits
            assert gone.records == len(mine) - len(stay)
            assert (await store.verify_chain()).faults == ()

    asyncio.run(story())


def test_what_is_too_many_is_looked_up_once_for_all_rounds_beside_whoever_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "MOST", 4)

    async def story():
        kept = settings(tmp_path)
        kept = msgspec.structs.replace(kept, audit=msgspec.structs.replace(kept.audit, keep_calls=10, keep_days=0))
        async with await Store.open(kept) as store:
            waits = await filled(store)
            with heard() as said:
                assert await audit.prune(kept, store) == COUNT - 10 - len(waits)
            return said

    said = asyncio.run(story())
    assert sum(NEWEST in one for one in said) == 1
    assert not [one for one in said if "count(" in one]


async def test_however_many_stay_their_rows_are_looked_up_together(tmp_path):
    async with await Store.open(settings(tmp_path)) as store:
        waits = await filled(store)
        with heard() as said:
            assert (await store.prune("", 0)).records == COUNT - len(waits)
        assert sum(one.startswith("SELECT record.id AS about, record.body") for one in said) == 1
        assert {one.id for one in await store.records()} == waits
        found = await store.verify_chain()
        assert (found.faults, found.spans[0].head.seq - found.spans[0].foot.seq) == ((), found.entries)

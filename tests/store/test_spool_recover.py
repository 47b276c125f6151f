"""What was spooled comes into the store once and in order, whatever was there already and wherever it stopped."""

import asyncio

import pytest
from test_spool import begun, ended, spooled
from test_store import intent, pending, record, settings

from insource.errors import StoreError
from insource.journeys.recover import recover
from insource.store import Store, spool_file


def test_calls_are_carried_in_once_whatever_was_there_already(tmp_path):
    """The store may have taken a row when nobody waited for it any longer; the file may come twice."""
    folder = tmp_path / "spool"
    path = spooled(folder, [each for i in range(1200) for each in (begun(f"r{i:04}"), ended(f"r{i:04}", waits=i == 7))])
    twice = path.read_bytes()

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.intend(intent("r0003"))
            await store.intend(intent("r0007"))
            await store.append(record("r0007", outcome="review"), pending("r0007"))
            found = await recover(store, folder)
            assert found.came.ended == 1199
            assert found.came.begun == 1198
            assert found.came.known == 3
            path.write_bytes(twice)
            again = await recover(store, folder)
            assert (again.came.ended, again.came.begun, again.came.known) == (0, 0, 2400)
            assert await store.open_calls() == 0
            assert len(await store.pending()) == 1
            entries = [entry for after in (0, 2000) for entry in await store.chain_entries(after)]
            assert len(entries) == 2400
            for kind in ("intent", "record"):
                names = [entry["about"] for entry in entries if entry["kind"] == kind]
                early = [name for name in ("r0003", "r0007") if kind == "intent" or name == "r0007"]
                assert names == [*early, *(f"r{i:04}" for i in range(1200) if f"r{i:04}" not in early)]
            where = {(entry["kind"], entry["about"]): entry["seq"] for entry in entries}
            assert all(where["intent", f"r{i:04}"] < where["record", f"r{i:04}"] for i in range(1200))
            assert not (await store.verify_chain()).faults

    asyncio.run(story())
    assert not path.exists()


def test_a_call_whose_end_the_spool_knows_is_not_called_interrupted_before(tmp_path):
    """Its beginning is in the store, of a process that is gone, or its time is up."""
    folder = tmp_path / "spool"
    path = spooled(folder, [ended("r1"), begun("r2")])

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.intend(intent("r1", seconds=-5))
            spared = await store.interrupt(lambda process: spool_file.speaks_of(folder, process))
            assert spared == []
            await recover(store, folder)
            assert (await store.record("r1")).outcome == "answered"
            assert not path.exists()
            assert await store.open_calls() == 1, "r2 began, and is this process's own"

    asyncio.run(story())


def test_an_end_that_comes_too_late_is_told_and_its_file_kept(tmp_path):
    folder = tmp_path / "spool"
    path = spooled(folder, [ended("r1"), ended("r2")])

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.intend(intent("r1", seconds=-5))
            assert await store.interrupt() == ["r1"]
            found = await recover(store, folder)
            assert found.came.ended == 1
            assert "r1" in found.refused[0].why

    asyncio.run(story())
    assert path.exists()


def test_a_store_that_fails_in_the_middle_takes_the_rest_later_and_nothing_twice(tmp_path):
    folder = tmp_path / "spool"
    path = spooled(folder, [ended(f"r{i:04}") for i in range(1600)])

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            pages = await store._thread.run(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())
            await store._thread.run(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages + 300}").scalar())
            with pytest.raises(StoreError, match="full"):
                await recover(store, folder)
            some = len(await store.records(limit=10_000))
            assert 0 < some < 1600
            assert path.exists()
            await store._thread.run(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1000000").scalar())
            found = await recover(store, folder)
            assert (found.came.known, found.came.ended) == (some, 1600 - some)
            assert [one.id for one in reversed(await store.records(limit=10_000))] == [f"r{i:04}" for i in range(1600)]
            assert not (await store.verify_chain()).faults

    asyncio.run(story())

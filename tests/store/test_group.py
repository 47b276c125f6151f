"""Group commits: what is said to be durable is, whoever else writes, and the log does not grow for ever."""

import asyncio
import contextlib
import os
import threading
import time

import msgspec
import pysqlite3.dbapi2 as sqlite  # a second copy of SQLite in one process would not see the locks of the first
import pytest
from test_store import record, settings

from insource.errors import StoreError
from insource.nouns import Intent
from insource.nouns.sections import AuditSettings
from insource.store import Store, group
from insource.store.thread import StoreThread
from insource.store.worker import Worker


def test_nobody_is_told_before_the_log_is_synced(tmp_path, monkeypatch):
    """The order of things: rows in the log, the log on the disk, then the answer."""
    happened = []
    monkeypatch.setattr(group, "sync", lambda log: happened.append(("synced", os.fstat(log).st_size > 0)))

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record("a"))
            happened.append("told")

    asyncio.run(story())
    assert happened[:2] == [("synced", True), "told"]


def test_nobody_waits_for_a_timer_however_many_come(tmp_path, monkeypatch):
    """What came during a sync is written when it is done, and not later for the sake of more."""

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record("first"))
            loop, timers = asyncio.get_running_loop(), []
            later = loop.call_later
            monkeypatch.setattr(loop, "call_later", lambda *given: timers.append(given) or later(*given))
            first = [asyncio.ensure_future(store.append(record(f"a{i}"))) for i in range(20)]
            await asyncio.sleep(0)
            second = [asyncio.ensure_future(store.append(record(f"b{i}"))) for i in range(20)]
            await asyncio.gather(*first, *second)
            assert timers == []

    asyncio.run(story())


def test_a_relaxed_store_closes_its_log_after_the_sync_that_is_under_way(tmp_path, monkeypatch):
    done, still = [], threading.Event()

    def slow(log):
        still.set()
        time.sleep(0.3)
        os.fstat(log)  # raises where it was closed meanwhile
        done.append(log)

    monkeypatch.setattr(group, "sync", slow)
    monkeypatch.setattr(group, "RELAXED_S", 0.01)

    async def story():
        store = await Store.open(relaxed(tmp_path))
        await store.append(record("a"))
        while not still.is_set():
            await asyncio.sleep(0.005)
        await store.close()
        assert len(done) == 1

    asyncio.run(story())


def test_a_relaxed_store_that_cannot_sync_its_last_rows_says_so_and_is_closed(tmp_path, monkeypatch):
    def fails(_):
        raise OSError(5, "Input/output error")

    async def story():
        store = await Store.open(relaxed(tmp_path))
        await store.append(record("a"))
        monkeypatch.setattr(group, "sync", fails)
        with pytest.raises(StoreError, match="could not be synced"):
            await store.close()
        with pytest.raises(StoreError, match="closed"):
            await store.record("a")
        await store.close()

    asyncio.run(story())


@pytest.mark.usefixtures("interpreted")
def test_what_is_ready_goes_on_before_a_commit_and_is_in_it(tmp_path, monkeypatch):
    commits, transact = [], group.GroupCommit._transact

    def counted(self, taken):
        commits.append(len(taken))
        return transact(self, taken)

    monkeypatch.setattr(group.GroupCommit, "_transact", counted)

    async def story():
        async with await Store.open(settings(tmp_path)) as store:

            async def later(turns: int) -> None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                await store.append(record(f"r{turns}"))

            await asyncio.gather(*map(later, range(9)))
            assert commits == [9]

            never_done = []
            for number in range(2000):
                never_done.append(asyncio.ensure_future(store.append(record(f"n{number}"))))
                time.sleep(0.0001)
                await asyncio.sleep(0)
            assert 2 < len(commits) < 200
            await asyncio.gather(*never_done)

    asyncio.run(story())


def test_a_worker_does_one_thing_after_the_other_and_says_what_was_raised():
    done = []

    def works(name):
        time.sleep(0.01)
        done.append((name, threading.current_thread().name))

    def fails():
        raise OSError(5, "Input/output error")

    async def story():
        worker = Worker("beside")
        worker.start()
        told = []
        worker.do(lambda: works("a"), told.append)
        worker.do(fails, told.append)
        await worker.done(lambda: works("b"))
        with pytest.raises(OSError, match="Input/output"):
            await worker.done(fails)
        left = asyncio.ensure_future(worker.done(lambda: works("c")))
        await asyncio.sleep(0)
        left.cancel()
        await worker.done(lambda: works("d"))
        worker.close()
        worker.close()
        return told

    told = asyncio.run(story())
    assert done == [(name, "beside") for name in "abcd"]
    assert [type(failed) for failed in told] == [type(None), OSError]


def test_a_log_that_cannot_be_synced_is_never_trusted_again(tmp_path, monkeypatch):
    def fails(_):
        raise OSError(5, "Input/output error")

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record("a"))
            with monkeypatch.context() as broken:
                broken.setattr(group, "sync", fails)
                with pytest.raises(StoreError, match="could not be synced"):
                    await store.append(record("b"))
            with pytest.raises(StoreError, match="could not be synced"):  # the next fsync would have succeeded
                await store.append(record("c"))

    asyncio.run(story())


def test_a_bug_in_a_write_is_told_and_the_next_is_written(tmp_path):
    def wrong(sql, items):
        raise TypeError("a bug")

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            with pytest.raises(TypeError, match="a bug"):
                await asyncio.wait_for(store._group.join(wrong, None), 5)
            await asyncio.wait_for(store.append(record("after")), 5)
            assert [r.id for r in await store.records()] == ["after"]

    asyncio.run(story())


def relaxed(root):
    return msgspec.structs.replace(settings(root), audit=AuditSettings(sync="second"))


def test_a_relaxed_store_tells_before_it_syncs_and_syncs_soon_after(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(group, "sync", lambda _: synced.append(time.monotonic()))
    monkeypatch.setattr(group, "RELAXED_S", 0.2)

    async def story():
        async with await Store.open(relaxed(tmp_path)) as store:
            await asyncio.gather(*[store.append(record(f"r{i}")) for i in range(5)])
            await store.append(record("late"))
            assert synced == []
            await asyncio.sleep(0.4)
            assert len(synced) == 1
            await store.append(record("last"))
        assert len(synced) == 2, "closing waits for it"

    asyncio.run(story())


def test_a_relaxed_store_that_cannot_be_synced_takes_no_more(tmp_path, monkeypatch):
    def fails(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(group, "RELAXED_S", 0.01)
    monkeypatch.setattr(group, "sync", fails)

    async def story():
        store = await Store.open(relaxed(tmp_path))
        await store.append(record("told"))
        await asyncio.sleep(0.2)
        with pytest.raises(StoreError, match="could not be synced"):
            await store.append(record("late"))
        await store.close()

    asyncio.run(story())


def test_while_another_writes_the_loop_goes_on_and_the_write_waits(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record("before"))
            with contextlib.closing(sqlite.connect(tmp_path / ".insource" / "insource.db")) as other:
                other.isolation_level = None
                other.execute("BEGIN IMMEDIATE")
                waiting = asyncio.ensure_future(store.append(record("meanwhile")))
                ticks = 0
                until = time.monotonic() + 0.3
                while time.monotonic() < until:
                    await asyncio.sleep(0.005)
                    ticks += 1
                assert ticks > 20
                assert not waiting.done()
                other.execute("COMMIT")
                await asyncio.wait_for(waiting, 5)

    asyncio.run(story())


def test_a_store_that_stays_locked_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(group, "BUSY_S", 0.1)

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record("before"))
            with contextlib.closing(sqlite.connect(tmp_path / ".insource" / "insource.db")) as other:
                other.isolation_level = None
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreError, match="locked"):
                    await store.append(record("meanwhile"))
                other.execute("ROLLBACK")
            await store.append(record("after"))
            assert {r.id for r in await store.records()} == {"before", "after"}

    asyncio.run(story())


def test_the_log_begins_anew_under_writes_that_never_pause(tmp_path, monkeypatch):
    monkeypatch.setattr(group, "CHECKPOINT_COMMITS", 20)
    emptied = []
    checkpoint = StoreThread.checkpoint

    async def counted(self):
        emptied.append(1)
        await checkpoint(self)

    monkeypatch.setattr(StoreThread, "checkpoint", counted)

    async def writer(store, name, count):
        for i in range(count):
            await store.append(record(f"{name}{i}"))

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await asyncio.gather(*[writer(store, name, 200) for name in "abcd"])
            size = (tmp_path / ".insource" / "insource.db-wal").stat().st_size
            assert len(await store.records(limit=2000)) == 800
            return size

    size = asyncio.run(story())
    assert len(emptied) >= 4
    assert size < 3_000_000  # 800 calls of 5 pages and more in commits of their own would be 16 MB


def test_closing_waits_for_what_is_under_way(tmp_path):
    async def story():
        store = await Store.open(settings(tmp_path))
        writes = [asyncio.ensure_future(store.append(record(f"r{i}"))) for i in range(50)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*writes)
        with pytest.raises(StoreError, match="closed"):
            await store.append(record("late"))
        async with await Store.open(settings(tmp_path)) as again:
            assert len(await again.records(limit=100)) == 50

    asyncio.run(story())


def intent(id: str) -> Intent:
    long_ago = "2026-01-01T00:00:00.000+00:00"
    return Intent(id=id, task=None, tenant="local", input_hash="h", created=long_ago, until=long_ago)


@pytest.mark.parametrize("relaxed", [False, True])
def test_a_call_whose_end_overtakes_its_beginning_is_not_open(tmp_path, relaxed):
    """Who leaves while the call waits to be noted cancels that wait: its end then waits for the same commit."""

    async def story():
        how = settings(tmp_path)
        how = msgspec.structs.replace(how, audit=AuditSettings(sync="second" if relaxed else "call"))
        async with await Store.open(how) as store:
            calls = [record(id=f"{number:032x}") for number in range(20)]
            await asyncio.gather(*[
                one for call in calls for one in (store.append(call), store.intend(intent(call.id)))
            ])  # fmt: skip
            assert await store.open_calls() == 0
            assert (await store.verify_chain()).faults == ()

    asyncio.run(story())


def test_what_was_left_open_with_its_record_is_let_go_of(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record(id="a" * 32))
            await store.intend(intent("a" * 32))
            await store.intend(intent("b" * 32))
            assert await store.interrupt() == ["b" * 32]
            assert await store.open_calls() == 0
            assert [one.outcome for one in await store.records()] == ["interrupted", "answered"]

    asyncio.run(story())


async def test_of_a_crowd_some_are_told_in_each_turn_and_how_long_the_rest_waits_is_known(tmp_path):
    told, waits = [], []

    async def keep(store, name):
        await store.append(record(name))
        told.append(name)

    async with await Store.open(settings(tmp_path)) as store:
        await store.append(record("first"))
        names = [f"{number:03d}" for number in range(2 * group.TOLD_AT_ONCE + 5)]
        calls = [asyncio.ensure_future(keep(store, name)) for name in names]
        counts = set()
        while len(told) < len(names):
            counts.add(len(told))
            waits.append(store.behind_s)
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
        assert told == names, "in the order in which they came"
        assert {group.TOLD_AT_ONCE, 2 * group.TOLD_AT_ONCE} <= counts
        assert max(waits) > 0
        assert store.behind_s == 0.0

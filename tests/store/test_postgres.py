# ruff: noqa: S608 - the tamperer writes SQL
"""A shared database: several stores at once, each with a chain of its own, and what happens when it goes away."""

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, delete, event
from test_store import pending, record

from insource.errors import Conflict, Invalid, StoreError
from insource.journeys.audit import checkpoint, verify
from insource.nouns import DRAWN, Intent, Review
from insource.settings import Settings, StoreSettings, load_settings
from insource.store import Store
from insource.store.bulk import driver
from insource.store.links import SPAN
from insource.store.postgres import OPTIONS
from insource.store.records import append, kept
from insource.store.tables import PENDING
from insource.store.thread import StoreThread
from postgres import Postgres, programs, server

REPLICAS = 3


@pytest.fixture
def where(postgres: Postgres, tmp_path: Path) -> Settings:
    """A workspace with a schema of its own."""
    return Settings(root=tmp_path, cache=tmp_path, store=StoreSettings(url=postgres.url + "?schema=w_{workspace}"))


DAY = "2026-11-01T00:00:00.000+00:00"


def intent(id: str) -> Intent:
    return Intent(id=id, tenant="local", task="t", input_hash="h", created=DAY, until="2999-01-01")


def spending(id: str):
    return msgspec.structs.replace(record(id), usd=0.25, created=DAY)


async def calls(store: Store, name: str, count: int) -> None:
    async def one(i: int) -> None:
        await store.intend(intent(f"{name}{i}"))
        await store.append(spending(f"{name}{i}"), pending(f"{name}{i}") if i % 3 == 0 else None)

    await asyncio.gather(*[one(i) for i in range(count)])


def test_replicas_write_at_once_each_in_its_own_chain_and_one_look_verifies_all(where):
    async def story():
        stores = [await Store.open(where) for _ in range(REPLICAS)]
        await asyncio.gather(*[calls(store, name, 60) for store, name in zip(stores, "abc", strict=True)])
        await stores[0].settle(Review(record="a0", reviewer="p", verdict="right", corrected=None))
        found = await verify(where, stores[1], file=where.root / "none")
        assert found.faults == ()
        assert [span.head.seq // SPAN for span in found.replicas] == [1, 2, 3]
        assert [span.head.seq % SPAN for span in found.replicas] == [120] * REPLICAS
        assert found.head.seq == 1, "what a person says is in the first chain"
        assert found.entries == 3 * 120 + 1
        assert sum(one.usd for one in await stores[2].spent("2026-11-01")) == 3 * 60 * 0.25
        for store in stores:
            await store.close()
        again = await Store.open(where)
        await calls(again, "d", 1)
        heads = [head.seq for head in await again.chain_heads()]
        assert heads == [1, SPAN + 122, 2 * SPAN + 120, 3 * SPAN + 120], "the first chain that is free goes on"
        await again.close()

    asyncio.run(story())


def test_what_people_said_of_a_call_of_another_chain_stays_with_it_when_older_calls_go(where):
    old = msgspec.structs.replace(record("old"), created="2020-01-01T00:00:00+00:00")
    new = msgspec.structs.replace(record("new"), created="2026-01-01T00:00:00+00:00")

    async def story():
        async with await Store.open(where) as store:
            await store.append(new, msgspec.structs.replace(pending("new"), reason=DRAWN, created=new.created))
            await store.settle(Review(record="new", reviewer="ann", verdict="right"))
            await store._thread.run(lambda c: append(driver(c), [kept(old)]))
            assert (await store.prune("2025", 10**6)).records == 1
            assert (await store.verify_chain()).faults == ()
            assert await store.listings.looked_at("t@1.0.0", "", "") == [(0.5, True)]
            assert [review.verdict for _, review in await store.reviews("t")] == ["right"]
            assert (await store.prune("2027", 10**6)).records == 1
            assert (await store.verify_chain()).faults == ()
            assert await store.listings.looked_at("t@1.0.0", "", "") == []

    asyncio.run(story())


def test_a_chain_of_which_all_went_by_age_goes_on_where_it_was(where):
    async def story():
        async with await Store.open(where) as store:
            await calls(store, "a", 6)
            await checkpoint(where, store)
        async with await Store.open(where) as store:
            await store._thread.run(lambda c: c.execute(delete(PENDING)))
            assert (await store.prune("2999", 0)).records == 6
            assert (await store.verify_chain()).replicas[0].head.seq == SPAN + 12, "the control: nothing is left of it"
            await calls(store, "b", 1)
            assert (await store.chain_heads())[-1].seq == SPAN + 14
            assert (await store.verify_chain()).faults == ()
            assert (await store.prune("2999", 0)).records == 0, "what waits for a person stays"
        async with await Store.open(where) as store:
            await calls(store, "c", 2)
            assert (await store.verify_chain()).faults == ()
            assert (await verify(where, store)).faults == ()

    asyncio.run(story())


def test_what_was_changed_in_any_chain_is_found_and_so_is_an_end_that_was_cut_off(where, postgres):
    async def story():
        stores = [await Store.open(where) for _ in range(2)]
        await asyncio.gather(*[calls(store, name, 10) for store, name in zip(stores, "ab", strict=True)])
        assert await checkpoint(where, stores[0]) is not None
        assert await checkpoint(where, stores[1]) is None, "nothing was recorded since"
        for store in stores:
            await store.close()

    asyncio.run(story())
    schema = schema_of(where)
    postgres.sql(f"DELETE FROM {schema}.entry WHERE seq > {2 * SPAN + 18}")
    faults = asyncio.run(looked(where)).faults
    assert any("cut off" in fault.what for fault in faults)
    postgres.sql(f"UPDATE {schema}.record SET body = replace(body, 'because', 'Because') WHERE id = 'a3'")
    assert any(fault.about == "a3" and "changed" in fault.what for fault in asyncio.run(looked(where)).faults)


async def looked(where):
    async with await Store.open(where) as store:
        return await verify(where, store)


def schema_of(where) -> str:
    from insource.store.postgres import Server

    return Server(where.store.url, where.root).schema


def test_a_person_settles_once_whoever_asks(where):
    """Two replicas, every item settled through both at the same moment: one word stands, the other is a conflict."""

    async def story():
        one, other = await Store.open(where), await Store.open(where)
        await asyncio.gather(*[one.append(record(f"r{i}"), pending(f"r{i}")) for i in range(20)])
        said = [
            store.settle(Review(record=f"r{i}", reviewer=who, verdict="right", corrected=None))
            for i in range(20)
            for store, who in ((one, "anna"), (other, "ben"))
        ]
        outcomes = Counter(type(found).__name__ for found in await asyncio.gather(*said, return_exceptions=True))
        assert outcomes == {"NoneType": 20, "Conflict": 20}
        assert len(await one.reviews("t")) == 20
        held = await asyncio.gather(*[store.lease("t", who, 5, 60) for store, who in ((one, "a"), (other, "b"))])
        assert held == [[], []]
        await one.close()
        await other.close()

    asyncio.run(story())


def test_a_text_that_no_database_has_costs_the_others_nothing_either(where):
    async def story():
        async with await Store.open(where) as store:
            rows = [record("x"), msgspec.structs.replace(record("odd"), tenant="a\0b"), record("y")]
            said = await asyncio.gather(*[store.append(row) for row in rows], return_exceptions=True)
            assert [type(one).__name__ for one in said] == ["NoneType", "Invalid", "NoneType"]
            assert {one.id for one in await store.records()} == {"x", "y"}
            assert (await store.verify_chain()).faults == ()

    asyncio.run(story())


def test_a_store_whose_server_is_gone_closes_all_the_same(tmp_path):
    if programs() is None:
        pytest.skip("no PostgreSQL on this machine")

    async def story(database, where):
        store = await Store.open(where)
        await store.append(record("x"))
        await asyncio.to_thread(database.stop)
        left = asyncio.ensure_future(store.append(record("y")))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(StoreError):
            await left

    with server() as database:
        asyncio.run(story(database, Settings(root=tmp_path, cache=tmp_path, store=StoreSettings(url=database.url))))


def test_one_bad_row_costs_the_others_nothing(where):
    async def story():
        async with await Store.open(where) as store:
            await store.append(record("twice"))
            rows = [store.append(record(name)) for name in ("x", "twice", "y")]
            said = await asyncio.gather(*rows, return_exceptions=True)
            assert [type(one).__name__ for one in said] == ["NoneType", "StoreError", "NoneType"]
            assert (await store.verify_chain()).faults == ()
            assert {one.id for one in await store.records()} == {"twice", "x", "y"}

    asyncio.run(story())


def test_a_store_moves_to_a_server_and_back_and_is_the_same(where, tmp_path):
    async def story():
        file = Settings(root=tmp_path, cache=tmp_path, store=StoreSettings(url="sqlite"))
        async with await Store.open(file) as old:
            await calls(old, "a", 30)
            key = await old.tenant_key("local")
            await old.settle(Review(record="a3", reviewer="p", verdict="right", corrected=None))
        from insource.journeys.store_copy import copy_store

        there = await copy_store(file, "sqlite", where.store.url)
        assert there.tables["record"] == 30
        with pytest.raises(Conflict, match="there is a store already"):
            await copy_store(file, "sqlite", where.store.url)
        async with await Store.open(where) as new:
            assert (await new.verify_chain()).faults == ()
            assert await new.tenant_key("local") == key
            await calls(new, "b", 3)
            await new.settle(Review(record="a0", reviewer="p", verdict="right", corrected=None))
            size = await new.backup(tmp_path / "whole.tar")
            assert size > 10_000
        (tmp_path / ".insource" / "insource.db").rename(tmp_path / "former.db")
        back = await copy_store(where, "postgresql", "sqlite")
        assert back.tables["record"] == 33
        async with await Store.open(file) as home:
            found = await home.verify_chain()
            assert (found.faults, len(found.replicas)) == ((), 1)
            assert len(await home.reviews("t")) == 2
            await calls(home, "c", 3)
            assert (await home.verify_chain()).faults == ()

    asyncio.run(story())


@pytest.mark.parametrize("cut", [False, True], ids=["slow", "cut off"])
def test_a_copy_that_takes_long_to_commit_is_whole_and_none_is_made_twice(where, tmp_path, postgres, monkeypatch, cut):
    monkeypatch.setitem(OPTIONS, "idle_in_transaction_session_timeout", 200)
    ours = "application_name = 'insource' AND state LIKE 'idle in transaction%' AND pid <> pg_backend_pid()"

    @event.listens_for(Engine, "commit")
    def commits(connection):
        if connection.dialect.name == "sqlite":
            if cut:
                postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")
            time.sleep(0.5)

    async def story():
        async with await Store.open(where) as store:
            await calls(store, "a", 4)
            made = store.copy(StoreThread(tmp_path / "there.db"), lambda *_: None)
            if cut:
                with pytest.raises(StoreError, match=r"terminating connection|closed"):
                    await made
            else:
                assert (await made).tables["record"] == 4
                assert await store.backup(tmp_path / "whole.tar") > 10_000
            assert await store.open_calls() == 0, "the next look connects anew"

    try:
        asyncio.run(story())
    finally:
        event.remove(Engine, "commit", commits)


def test_a_server_that_restarts_loses_nothing_that_was_told(tmp_path):
    """Killed in the middle of calls: whoever was told is there, who was not may try again, and the chain is whole."""
    if programs() is None:
        pytest.skip("no PostgreSQL on this machine")
    told, refused, over = set(), 0, False

    async def caller(store, name):
        nonlocal refused
        i = 0
        while not over:
            i += 1
            try:
                await store.append(record(f"{name}-{i}"))
                told.add(f"{name}-{i}")
            except StoreError:
                refused += 1
                await asyncio.sleep(0.05)

    async def story(database, where):
        nonlocal over
        async with await Store.open(where) as store:
            work = asyncio.gather(*[caller(store, f"c{i}") for i in range(8)])
            await asyncio.sleep(0.5)
            await asyncio.to_thread(database.stop, signal.SIGKILL)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(database.start)
            back, until = len(told), time.monotonic() + 10
            while len(told) < back + 100 and time.monotonic() < until:
                await asyncio.sleep(0.05)
            over = True
            await work
            assert len(told) >= back + 100, "calls go on within seconds of the server's return"
            kept = {one.id for one in await store.records(limit=1_000_000)}
            assert told <= kept
            assert (await store.verify_chain()).faults == ()
        async with await Store.open(where) as store:
            assert (await store.verify_chain()).faults == ()

    with server(durable=True) as database:
        where = Settings(root=tmp_path, cache=tmp_path, store=StoreSettings(url=database.url))
        asyncio.run(story(database, where))
    assert refused > 0, "the control: it was away"


def test_a_name_that_no_database_has_is_the_callers_fault(where):
    async def story():
        async with await Store.open(where) as store:
            with pytest.raises(Invalid, match="U\\+0000"):
                await store.release("t\0", "1.0.0")
            await calls(store, "a", 1)

    asyncio.run(story())


def test_without_a_server_the_error_says_where_and_what_to_do_and_no_password(tmp_path):
    url = "postgresql://joe:pa55w0rd@127.0.0.1:9/nothing"
    where = Settings(root=tmp_path, cache=tmp_path, store=StoreSettings(url=url))
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9/nothing") as raised:
        asyncio.run(Store.open(where))
    assert "pa55w0rd" not in str(raised.value) + str(raised.value.__cause__)
    assert "server runs" in raised.value.hint


@pytest.mark.parametrize("url", ["mysql://x/y", "postgresql://h/d?schema=a;b", "::", "postgresql://h/d?schema=A-b"])
def test_a_url_that_is_none_of_ours_is_said_to_be_so(tmp_path, url):
    where = Settings(root=tmp_path, cache=tmp_path, store=StoreSettings(url=url))
    with pytest.raises(Invalid):
        asyncio.run(Store.open(where))


def test_a_password_does_not_stand_in_the_file(tmp_path):
    (tmp_path / "insource.toml").write_text('[store]\nurl = "postgresql://joe:pa55w0rd@db/x"\n', "utf-8")
    with pytest.raises(Invalid, match="holds a password") as raised:
        load_settings(tmp_path, {})
    assert "pa55w0rd" not in str(raised.value)
    (tmp_path / "insource.toml").write_text("", "utf-8")
    found = load_settings(tmp_path, {"INSOURCE_STORE_URL": "postgresql://joe:pa55w0rd@db/x"})
    assert found.store.url == "postgresql://joe:pa55w0rd@db/x"


def test_the_command_copies_and_says_what_it_compared(where, tmp_path):
    (tmp_path / "insource.toml").write_text(f'[store]\nurl = "{where.store.url}"\n', "utf-8")
    asyncio.run(filled(Settings(root=tmp_path, cache=tmp_path, store=StoreSettings(url="sqlite"))))
    command = [sys.executable, "-m", "insource", "-C", str(tmp_path), "store", "copy", "sqlite", "postgresql", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert msgspec.json.decode(done.stdout)["tables"]["record"] == 4
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 2
    command[-2] = "postgresql://joe:pa55w0rd@db/x"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "pa55w0rd" in done.stdout + done.stderr) == (2, False)
    assert "command line" in done.stderr


async def filled(where):
    async with await Store.open(where) as store:
        await calls(store, "a", 4)

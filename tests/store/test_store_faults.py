"""When the disk, the file or the form of the store is not as it should be, that is said and nothing is lost."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from test_store import pending, record, settings

from full_disk import most_pages
from insource.errors import Missing, StoreError
from insource.nouns import Pending
from insource.store import Store
from insource.store.migrations import MIGRATIONS, Migration, migrate

NEXT = MIGRATIONS[-1].number + 1


def test_a_full_disk_is_said_and_the_store_works_again_when_there_is_space(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record("before"))
            await most_pages(store, 1)
            big = pending("full")
            failed = 0
            for i in range(60):
                try:
                    await store.append(record(f"r{i}"), Pending(record=f"r{i}", task="t", input="x" * 4000))
                except StoreError as error:
                    failed += 1
                    assert "full" in str(error)
                    assert "space" in error.hint
            assert failed > 30
            await most_pages(store, 1_000_000)
            await store.append(record("after"), big)
            ids = {r.id for r in await store.records(limit=100)}
            assert {"before", "after"} <= ids
            assert len(ids) == 2 + 60 - failed

    asyncio.run(story())


@pytest.mark.parametrize("damage", [b"this is not a database" * 400, "middle"])
def test_a_damaged_file_is_said_with_what_to_do(tmp_path, damage):
    async def fill():
        async with await Store.open(settings(tmp_path)) as store:
            for i in range(50):
                await store.append(record(f"r{i}"))

    async def read():
        async with await Store.open(settings(tmp_path)) as store:
            await store.records(limit=1000)

    asyncio.run(fill())
    path = tmp_path / ".insource" / "insource.db"
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096) if damage == "middle" else damage)
    with pytest.raises(StoreError) as error:
        asyncio.run(read())
    assert "damaged" in error.value.hint
    assert "insource store restore" in error.value.hint


def test_a_damaged_row_or_key_is_the_stores_fault(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record("r1"))
            await store.tenant_key("local")
        with contextlib.closing(sqlite3.connect(tmp_path / ".insource" / "insource.db")) as file:
            file.execute("UPDATE record SET body = '{}'")
            file.execute("UPDATE tenant_key SET key = 'text'")
            file.commit()
        async with await Store.open(settings(tmp_path)) as store:
            with pytest.raises(StoreError, match="damaged record") as error:
                await store.record("r1")
            assert "insource store restore" in error.value.hint
            with pytest.raises(StoreError, match="damaged key"):
                await store.tenant_key("local")

    asyncio.run(story())


@pytest.mark.parametrize("again", [False, True])
def test_a_store_removed_while_it_is_open_takes_no_row(tmp_path, again):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record("before"))
            path = tmp_path / ".insource" / "insource.db"
            path.rename(tmp_path / "away.db")
            if again:
                path.write_bytes(b"")
            for _ in range(2):
                with pytest.raises(StoreError, match="was removed or replaced while it was open"):
                    await store.append(record("lost"))
            with pytest.raises(StoreError, match="removed"):
                await store.probe()

    asyncio.run(story())


def test_an_unwritable_place_is_said(tmp_path):
    (tmp_path / ".insource").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot make"):
        asyncio.run(Store.open(settings(tmp_path)))


def test_migrations_run_once_and_an_old_store_takes_only_the_new_steps(tmp_path):
    ran = []
    newer = (*MIGRATIONS, Migration(number=NEXT, name="second", apply=lambda c: ran.append(2)))

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            assert await store._thread.run(migrate) == []
            assert await store._thread.run(lambda c: migrate(c, newer)) == ["second"]
            assert await store._thread.run(lambda c: migrate(c, newer)) == []
        assert ran == [2]
        with pytest.raises(StoreError, match=f"form {NEXT}"):
            await Store.open(settings(tmp_path))

    asyncio.run(story())


def test_a_failed_migration_leaves_nothing_behind(tmp_path):
    def half(connection):
        connection.exec_driver_sql("CREATE TABLE half (a INTEGER)")
        connection.exec_driver_sql("CREATE TABLE half (a INTEGER)")

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            with pytest.raises(StoreError):
                await store._thread.run(
                    lambda c: migrate(c, (*MIGRATIONS, Migration(number=NEXT, name="bad", apply=half)))
                )
            good = Migration(
                number=NEXT, name="good", apply=lambda c: c.exec_driver_sql("CREATE TABLE half (a INTEGER)")
            )
            assert await store._thread.run(lambda c: migrate(c, (*MIGRATIONS, good))) == ["good"]

    asyncio.run(story())


def test_a_closed_store_says_so(tmp_path):
    async def story():
        store = await Store.open(settings(tmp_path))
        await store.probe()
        await store.close()
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            await store.append(record("r"))

    asyncio.run(story())


def test_blobs_are_named_by_content_and_damage_is_noticed(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            sha = store.blobs.put(b"hello")
            assert store.blobs.put(b"hello") == sha
            assert store.blobs.get(sha) == b"hello"
            assert store.blobs.path(sha).parent.name == sha[:2]
            assert [p.name for p in (tmp_path / ".insource" / "blobs").rglob("*") if p.is_file()] == [sha]
            with pytest.raises(Missing):
                store.blobs.get("0" * 64)
            with pytest.raises(Missing):
                store.blobs.get("../../insource.db")
            store.blobs.path(sha).write_bytes(b"hellO")
            with pytest.raises(StoreError, match="damaged"):
                store.blobs.get(sha)

    asyncio.run(story())


LIMITED = """
import asyncio, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import record, settings
from insource.errors import StoreError
from insource.store import Store

async def story():
    store = await Store.open(settings(Path(sys.argv[1])))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
    kept = 0
    for i in range(2000):
        try:
            await store.append(record(f"r{i}"))
            kept += 1
        except StoreError:
            break
    try:
        store.blobs.put(b"x" * 700_000)
    except StoreError as error:
        print("blob", bool(error.hint))
    print(kept, flush=True)
    import os
    os._exit(0)

asyncio.run(story())
"""


def test_when_the_system_refuses_to_grow_a_file_every_acknowledged_row_is_there(tmp_path):
    here = str(Path(__file__).parent)
    child = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), here], capture_output=True, text=True, timeout=60, check=True
    )
    lines = child.stdout.split("\n")
    assert lines[0] == "blob True"
    kept = int(lines[1])
    assert 10 < kept < 2000

    async def count():
        async with await Store.open(settings(tmp_path)) as store:
            return len(await store.records(limit=5000))

    assert asyncio.run(count()) >= kept
    assert not list((tmp_path / ".insource" / "blobs").rglob("*.part"))

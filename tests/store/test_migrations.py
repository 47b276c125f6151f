"""A database of an earlier form comes to the present one with all that was in it."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
from test_store import intent, record, settings

from insource.store import Store
from insource.store.migrations import migrate

FORM_3 = Path(__file__).parent / "form_3.sql"  # three calls that ended, two that were begun; one of those is too late
PROCESS = "elsewhere 0cb7ea5c-9ea5-4a24-ad2b-d9a3c3ae1d3f 12 345"


def test_a_database_of_form_3_keeps_its_open_calls_and_finds_calls_by_task(tmp_path):
    (tmp_path / ".insource").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / ".insource" / "insource.db")) as old, old:
        old.executescript(FORM_3.read_text("utf-8"))

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            assert await store._thread.run(migrate) == []
            assert (await store.verify_chain()).faults == ()
            assert await store.open_calls() == 2
            assert [found.id for found in await store.records("t")] == ["c", "a"]
            assert await store.interrupt(spared=lambda process: process != PROCESS) == ["late"]
            await store.append(record("open", task=None))
            assert await store.open_calls() == 0
            assert [found.id for found in await store.records("t")] == ["late", "c", "a"]
            assert (await store.verify_chain()).faults == ()

    asyncio.run(story())


def test_a_call_costs_few_pages(tmp_path):
    """Each page that a commit changes is written whole; what calls write in two phases is kept to nine of them."""

    def written() -> int:
        return (tmp_path / ".insource" / "insource.db-wal").stat().st_size // (4096 + 24)

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record("first", task=None))
            before = written()
            for i in range(40):
                await store.intend(intent(f"r{i:02}"))
                await store.append(record(f"r{i:02}", task=None))
            assert (written() - before) / 40 <= 9
            plan = "EXPLAIN QUERY PLAN SELECT body FROM record WHERE task = 't' ORDER BY seq DESC"
            with contextlib.closing(sqlite.connect(tmp_path / ".insource" / "insource.db")) as db:
                assert "record_by_task" in str(db.execute(plan).fetchall())

    asyncio.run(story())


def test_a_step_that_came_later_with_a_lower_number_is_taken_as_well(tmp_path):
    asyncio.run(opened(tmp_path))
    with contextlib.closing(sqlite.connect(tmp_path / ".insource" / "insource.db")) as old, old:
        old.execute("DROP TABLE assessment")
        (number,) = old.execute("SELECT number FROM migration WHERE name = 'assessments'").fetchone()
        old.execute("DELETE FROM migration WHERE number = ?", (number,))
        assert old.execute("SELECT max(number) FROM migration").fetchone()[0] > number
    assert asyncio.run(opened(tmp_path)) == []


async def opened(root):
    async with await Store.open(settings(root)) as store:
        return await store.assessments.of_task("t")

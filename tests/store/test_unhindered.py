"""On a server nobody waits for who looks: vacuum goes on, calls go on, and plans take no row to each entry."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, event
from test_store import pending, record

from behind import connected
from insource.errors import StoreError
from insource.nouns import Review
from insource.settings import Settings, StoreSettings
from insource.store import Store, chain, retention, tally
from insource.store.postgres import PostgresSql, Server
from insource.store.records import append, kept


@pytest.fixture
def where(postgres, tmp_path) -> Settings:
    """A workspace with a schema of its own."""
    return Settings(root=tmp_path, cache=tmp_path, store=StoreSettings(url=postgres.url + "?schema=w_{workspace}"))


def another(where: Settings):
    """A connection of somebody else, in a transaction until the end of a `with`."""
    return connected(Server(where.store.url, where.root))


async def counted(store: Store) -> int:
    return sum(one.calls for one in await store.tally.used("task", None))


async def test_calls_are_added_up_while_the_table_is_vacuumed(where):
    async with await Store.open(where) as store:
        await store.append(record("a"))
        with another(where) as vacuum:
            vacuum.execute("LOCK TABLE record IN SHARE UPDATE EXCLUSIVE MODE")  # as VACUUM holds it
            async with asyncio.timeout(2):
                await store.tally.fold()
        assert await counted(store) == 1


async def test_a_call_that_is_numbered_before_and_committed_later_is_counted_and_holds_up_nobody(where, monkeypatch):
    async with await Store.open(where) as store:
        with another(where) as writer:
            append(PostgresSql(writer), [kept(record("first"))])
            await store.append(record("second"))
            folding = asyncio.ensure_future(store.tally.fold())
            await asyncio.sleep(0.1)
            async with asyncio.timeout(2):
                await store.append(record("third"))
                assert (await store.record("third")).id == "third"
            assert not folding.done(), "the number of the first is lower than that of the second"
        await folding
        assert await counted(store) >= 2
        await store.tally.fold()
        assert await counted(store) == 3
        monkeypatch.setattr(tally, "LONGEST_S", 0.05)
        with another(where) as writer:
            append(PostgresSql(writer), [kept(record("fourth"))])
            await store.append(record("fifth"))
            with pytest.raises(StoreError, match="cannot be added up"):
                await store.tally.fold()
            assert await counted(store) == 3
        await store.tally.fold()
        assert await counted(store) == 5


@contextmanager
def heard() -> Iterator[list[tuple[str, object]]]:
    """What the database is told, with the values."""
    said: list[tuple[str, object]] = []

    def hear(*given: object) -> None:
        said.append((str(given[2]), given[3]))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


async def test_who_looks_at_all_of_it_takes_no_row_to_each_entry(where):
    """A subplan is run for each row, past a memory of some megabytes over all that it found."""
    async with await Store.open(where) as store:
        for i in range(4):
            await store.append(record(f"r{i}"), pending(f"r{i}"))
        await store.settle(Review(record="r0", reviewer="p", verdict="right"))

        def plans(connection: Connection) -> dict[str, str]:
            with heard() as said:
                chain.verify(connection)
                assert retention.beyond(connection, 0)
                retention.prune(connection, "", 0)
            found = {}
            for sql, values in said:
                found[sql] = "\n".join(connection.exec_driver_sql(f"EXPLAIN {sql}", values).scalars())
            return found

        found = await store._thread.look(plans)
    assert len(found) > 10
    assert not {sql: plan for sql, plan in found.items() if "SubPlan" in plan}

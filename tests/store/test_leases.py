"""The review queue: what is worth most first, held by one person at a time, through a kill."""

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
import time

import pytest

from insource.errors import Conflict
from insource.nouns import Pending, Record, Review
from insource.settings import load_settings
from insource.store import Store

ITEMS = 300


def item(i: int, worth: float = 0.0) -> Pending:
    return Pending(record=f"{i:032x}", task="t", input=f"text {i}", value={"a": "b"}, worth=worth)


def record(i: int) -> Record:
    return Record(id=f"{i:032x}", task="t", release=None, tenant="local", attempts=(), outcome="review",
                  input_hash="", latency_ms=1.0, created="2026-11-27T00:00:00.000+00:00")  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "insource.toml").write_text("")
    return load_settings(tmp_path)


async def fill(store: Store, count: int) -> None:
    await asyncio.gather(*[store.append(record(i), item(i)) for i in range(count)])


async def test_what_is_worth_most_comes_first_and_nobody_else_gets_it(settings):
    async with await Store.open(settings) as store:
        for i, worth in enumerate((0.2, 0.9, 0.5, 0.9)):
            await store.append(record(i), item(i, worth))
        mine = await store.lease("t", "ann", 2, 60)
        assert [one.input for one in mine] == ["text 1", "text 3"]
        assert [one.input for one in await store.lease("t", "bob", 9, 60)] == ["text 2", "text 0"]
        assert await store.lease("t", "cem", 9, 60) == []
        assert [one.input for one in await store.lease("t", "ann", 9, 60)] == ["text 1", "text 3"]
        with pytest.raises(Conflict, match="ann looks at"):
            await store.settle(Review(record=mine[0].record, verdict="right", reviewer="bob"))
        await store.settle(Review(record=mine[0].record, verdict="right", reviewer="ann"))
        await store.let_go("ann")
        assert [one.input for one in await store.lease("t", "cem", 9, 60)] == ["text 3"]
        assert [one.input for one in await store.pending("t")] == ["text 3", "text 2", "text 0"]


async def test_what_is_held_too_long_is_free_again(settings):
    async with await Store.open(settings) as store:
        await fill(store, 1)
        assert len(await store.lease("t", "ann", 1, 0.05)) == 1
        await asyncio.sleep(0.1)
        assert len(await store.lease("t", "bob", 1, 60)) == 1
        with pytest.raises(Conflict, match="bob looks at"):
            await store.settle(Review(record=f"{0:032x}", verdict="right", reviewer="ann"))


async def test_eight_people_settle_each_item_once_and_never_hold_the_same(settings):
    async with await Store.open(settings) as store:
        await fill(store, ITEMS)
        held: dict[str, str] = {}
        done: list[str] = []

        async def person(name: str, dice: random.Random) -> None:
            while True:
                mine = await store.lease("t", name, dice.randint(1, 6), 60)
                if not mine:
                    return
                for one in mine:
                    assert held.setdefault(one.record, name) == name, "held by two"
                    await asyncio.sleep(0)
                    await store.settle(Review(record=one.record, verdict="right", reviewer=name))
                    done.append(one.record)

        await asyncio.gather(*[person(f"p{i}", random.Random(i)) for i in range(8)])  # noqa: S311
        assert sorted(done) == [f"{i:032x}" for i in range(ITEMS)]
        assert len(await store.reviews("t")) == ITEMS
        assert await store.pending("t") == []
        assert (await store.verify_chain()).faults == ()


PERSON = """
import asyncio, sys
from pathlib import Path
from insource.nouns import Review
from insource.settings import load_settings
from insource.store import Store

async def work(root, name):
    async with await Store.open(load_settings(Path(root))) as store:
        while mine := await store.lease("t", name, 4, 0.5):
            for one in mine:
                await store.settle(Review(record=one.record, verdict="right", reviewer=name))
                print(one.record, flush=True)

asyncio.run(work(*sys.argv[1:]))
"""


def test_killed_reviewers_lose_nothing_and_settle_nothing_twice(settings):
    count = 200
    asyncio.run(_filled(settings, count))
    told: list[str] = []
    for turn in range(20):
        people = [
            subprocess.Popen([sys.executable, "-c", PERSON, str(settings.root), f"p{turn}-{i}"], stdout=subprocess.PIPE)
            for i in range(3)
        ]
        if turn < 3:  # in the midst of it
            time.sleep(1.5)
            for one in people:
                one.kill()
        told += [line for one in people for line in one.communicate()[0].decode().split()]
        if not asyncio.run(_left(settings)):
            break
    settled = asyncio.run(_settled(settings))
    assert len(settled) == len(set(settled)) == count
    assert len(told) == len(set(told)), "nobody is told of the same item twice"
    assert set(told) <= set(settled), "what a person was told is on record"


async def _filled(settings, count: int) -> None:
    async with await Store.open(settings) as store:
        await fill(store, count)


async def _left(settings) -> int:
    async with await Store.open(settings) as store:
        return len(await store.pending("t", 1000))


async def _settled(settings) -> list[str]:
    async with await Store.open(settings) as store:
        assert (await store.verify_chain()).faults == ()
        return [review.record for _, review in await store.reviews("t")]


async def test_a_store_from_before_keeps_what_waits_and_takes_leases(settings):
    async with await Store.open(settings) as store:
        await fill(store, 3)
    with contextlib.closing(sqlite3.connect(settings.state / "insource.db")) as database:
        database.executescript(
            "DROP TABLE trial; DROP TABLE lease; DROP INDEX pending_by_worth; ALTER TABLE pending DROP COLUMN worth;"
            "CREATE INDEX pending_by_task ON pending (task, settled, seq); DELETE FROM migration WHERE number > 4;"
        )
    async with await Store.open(settings) as store:
        assert [one.input for one in await store.lease("t", "ann", 9, 60)] == ["text 0", "text 1", "text 2"]
        await store.append(record(3), item(3, 0.9))
        assert (await store.pending("t"))[0].input == "text 3"
        assert (await store.verify_chain()).faults == ()

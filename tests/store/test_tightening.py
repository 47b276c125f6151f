"""More confidence that is demanded of a release is on record, never less, and vouched for by the audit chain."""

import contextlib
import sqlite3

import msgspec
import pytest
from test_store import record, settings

from behind import behind
from insource.errors import Conflict
from insource.nouns import Tightening
from insource.store import Store

MADE = Tightening(release="t@1.0.0", threshold=0.9, before=0.8, max_error=0.05, who="insource", why="3 of 20 wrong",
                  created="2026-11-27T00:00:00.000+00:00", found={"n": 20, "wrong": 3})  # fmt: skip


def changed(**said: object) -> Tightening:
    return msgspec.structs.replace(MADE, **said)


async def test_the_newest_word_on_a_release_counts_and_is_never_laxer(tmp_path):
    async with await Store.open(settings(tmp_path)) as store:
        assert await store.tightened("t@1.0.0") is None
        await store.tighten(MADE)
        await store.tighten(changed(threshold=0.95, before=0.9))
        for lax in (changed(threshold=0.95), changed(threshold=0.93, before=0.8), changed(threshold=0.97, before=0.98)):
            with pytest.raises(Conflict, match="no more than is demanded"):
                await store.tighten(lax)
        assert (await store.tightened("t@1.0.0")).threshold == 0.95
        assert await store.tightened("t@1.1.0") is None
        await store.tighten(changed(threshold=0.85, max_error=0.1))
        assert (await store.tightened("t@1.0.0")).max_error == 0.1, "of another limit nothing was demanded yet"


async def test_it_stays_when_records_go_and_a_change_of_it_is_found(tmp_path):
    async with await Store.open(settings(tmp_path)) as store:
        await store.tighten(MADE)
        for i in range(12):
            await store.append(record(f"r{i:02}"))
        assert (await store.prune("", 2)).records == 10
        assert (await store.verify_chain()).faults == ()
        assert await store.tightened("t@1.0.0") == MADE
    with behind(tmp_path) as db:
        db.execute("UPDATE tightening SET body = replace(body, '0.9', '0.1')")
    async with await Store.open(settings(tmp_path)) as store:
        (fault,) = (await store.verify_chain()).faults
        assert (fault.kind, fault.what) == ("tightening", "the row was changed")
    with behind(tmp_path) as db:
        db.execute("DELETE FROM tightening")
    async with await Store.open(settings(tmp_path)) as store:
        assert [fault.what for fault in (await store.verify_chain()).faults] == ["the row is gone"]


async def test_a_store_from_before_gets_the_table_and_keeps_its_chain(tmp_path):
    async with await Store.open(settings(tmp_path)) as store:
        await store.append(record("a"))
    with contextlib.closing(sqlite3.connect(tmp_path / ".insource" / "insource.db")) as db, db:
        db.execute("DROP TABLE tightening")
        db.execute("DELETE FROM migration WHERE number > 6")
    async with await Store.open(settings(tmp_path)) as store:
        assert (await store.verify_chain()).faults == ()
        await store.tighten(MADE)
        assert (await store.verify_chain()).faults == ()

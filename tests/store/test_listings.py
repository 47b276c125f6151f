"""Lists come a page at a time, each row once, along an index; what is live is on the first page, however old."""

import asyncio
import contextlib
from datetime import UTC, datetime

import msgspec
import pysqlite3.dbapi2 as sqlite
import pytest
from test_store import change, pending, record, release, settings

from insource.nouns import DRAWN, Check, Gate, Report, Review
from insource.store import Store
from insource.store.draws import Looks

FILE = ".insource/insource.db"


def gate(name: str, passed: bool) -> Gate:
    check = Check(name="n", demanded="1", found="1", passed=passed)
    return Gate(release=name, artefact="a", checks=(check,), report="x")


def report(i: int, task: str = "t", split: str = "test") -> Report:
    return Report(id=f"r{i}", task=task, dataset="d", split=split, candidates=(), created=f"2026-11-{i % 28 + 1:02}")


def test_pages_of_releases_have_each_once_and_the_first_what_is_live(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            for i in range(25):
                await store.add_release(release(f"1.0.{i}"))
            await store.change_stage(change("t@1.0.3", "candidate", "live"))
            await store.save_gate(gate("t@1.0.24", passed=False))
            await store.save_gate(gate("t@1.0.24", passed=True))
            page = await store.listings.releases("t", 10)
            assert [one.version for one in page.releases] == [*[f"1.0.{i}" for i in range(24, 14, -1)], "1.0.3"]
            assert page.total == 25
            seen = [one.version for one in page.releases[:10]]
            while page.older:
                page = await store.listings.releases("t", 10, page.older)
                seen += [one.version for one in page.releases]
            assert seen == [f"1.0.{i}" for i in range(24, -1, -1)]
            assert (await store.listings.newest_release("t")).version == "1.0.24"
            assert (await store.listings.newest_release("t", ("live", "canary"))).version == "1.0.3"
            assert await store.listings.newest_release("u") is None
            gates = await store.listings.gates(["t@1.0.24", "t@1.0.3"])
            assert {name: one.passed for name, one in gates.items()} == {"t@1.0.24": True}, "the newest of them"

    asyncio.run(story())


def test_changes_are_told_from_where_a_release_began(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            for version in ("1.0.0", "1.1.0"):
                await store.add_release(release(version))
            way = [("t@1.0.0", "candidate", "live"), ("t@1.1.0", "candidate", "shadow"), ("t@1.0.0", "live", "retired")]
            for step in way:
                await store.change_stage(change(*step))
            names = [(one.release, one.after) for one in await store.listings.changes_from("t@1.1.0")]
            assert names == [("t@1.1.0", "shadow"), ("t@1.0.0", "retired")]
            newest, total = await store.listings.changes("t", 1)
            assert ([one.after for one in newest], total) == (["retired"], 3)
            assert [one.after for one in await store.listings.changes_of(["t@1.0.0"])] == ["live", "retired"]

    asyncio.run(story())


def test_pages_of_reports_have_those_of_the_tasks_once(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            for i in range(30):
                await store.save_report(report(i, ("t", "u", "v")[i % 3], "test" if i % 2 else "holdout"))
            seen, below = [], 0
            while True:
                shelf = await store.listings.reports(["t", "u"], 7, below)
                seen += [one.id for one in shelf.reports]
                if not (below := shelf.older):
                    break
            assert seen == [f"r{i}" for i in range(29, -1, -1) if i % 3 != 2]
            found = await store.listings.reports_on("t", "test".__eq__, 2)
            assert [one.id for one in found] == ["r21", "r27"]
            assert await store.listings.reports_on("t", "none".__eq__) == []
            assert await store.listings.known_reports({"r1", "r99"}) == {"r1"}

    asyncio.run(story())


async def _drawn(store: Store) -> None:
    """Three given answers that were drawn by chance, one of another release, and one that was not sure enough."""
    for i in range(5):
        kept = record(f"c{i}", outcome="review" if i == 4 else "answered")
        kept = msgspec.structs.replace(kept, created=f"2026-11-0{i + 1}", release=f"t@{2 if i == 3 else 1}.0.0")
        reason = "not sure" if i == 4 else DRAWN
        await store.append(kept, msgspec.structs.replace(pending(kept.id), reason=reason, created=kept.created))
    await store.settle(Review(record="c1", verdict="right", reviewer="ann", decided="2026-11-09"))


async def _found(store: Store) -> None:
    assert await store.listings.looks("t@1.0.0", "") == Looks(behind=1, until="2026-11-01"), "the first waits"
    assert await store.listings.looks("t@1.0.0", "2026-11-01") == Looks(right=1, until="2026-11-03")
    assert await store.listings.looked_at("t@1.0.0", "", "") == [(0.5, True)]
    assert await store.listings.looked_at("t@1.0.0", "", "2026-11-01") == []
    assert await store.listings.looks("t@2.0.0", "") == Looks(until="2026-11-04")
    queue = await store.listings.queue("t")
    assert (queue.answers, queue.half, queue.oldest) == (4, 0, "2026-11-01")
    assert await store.listings.waiting("t", "somebody") == 0
    newest, total = await store.listings.verdicts("t", 1)
    assert ([one.verdict for _, one in newest], total) == (["right"], 1)
    assert [one.record for _, one in await store.listings.verdicts_on(["c0", "c1"])] == ["c1"]
    assert await store.listings.ended("t", 3, besides="teacher") == {"review": 1, "answered": 2}
    assert (await store.listings.reach("t", 3))[0] == 3


def test_what_was_drawn_by_chance_is_told_apart(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await _drawn(store)
            await _found(store)

    asyncio.run(story())


def test_a_database_without_these_indexes_comes_to_them_with_all_that_was_in_it(tmp_path):
    async def begun():
        async with await Store.open(settings(tmp_path)) as store:
            await _drawn(store)
            await store.save_report(report(1, split="holdout"))

    async def gone_on():
        async with await Store.open(settings(tmp_path)) as store:
            await _found(store)
            assert [one.id for one in await store.listings.reports_on("t", "holdout".__eq__)] == ["r1"]
            assert (await store.verify_chain()).faults == ()

    asyncio.run(begun())
    with contextlib.closing(sqlite.connect(tmp_path / FILE)) as old, old:
        for name in ("pending_by_worth", "release_by_stage", "report_by_split"):
            old.execute(f"DROP INDEX {name}")
        old.execute("ALTER TABLE report DROP COLUMN split")
        old.execute("CREATE INDEX pending_by_worth ON pending (task, settled, worth, seq)")
        for table in ("tally", "tallied", "draw"):
            old.execute(f"DROP TABLE {table}")
        old.execute("DELETE FROM migration WHERE number >= 15")
    asyncio.run(gone_on())
    with contextlib.closing(sqlite.connect(tmp_path / FILE)) as now:
        queue = "SELECT body FROM pending WHERE task = 't' AND settled IS 0 ORDER BY worth DESC, seq LIMIT 5"
        first = (
            "SELECT created FROM draw WHERE release = 'r' AND verdict = '' AND created > '' ORDER BY created LIMIT 1"
        )
        told = (
            "SELECT verdict, count(*) FROM draw WHERE release = 'r' AND verdict IN ('right', 'wrong') GROUP BY verdict"
        )
        count = "USING COVERING INDEX draw_by_release"
        for asked, index in ((queue, "pending_by_worth"), (first, count), (told, count)):
            plan = str(now.execute(f"EXPLAIN QUERY PLAN {asked}").fetchall())
            assert index in plan
            assert "TEMP B-TREE" not in plan, "no row is sorted"


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ("UPDATE draw SET verdict = 'wrong' WHERE record = 'c1'", "c1"),
        ("UPDATE draw SET verdict = 'right' WHERE record = 'c0'", "c0"),
        ("UPDATE draw SET release = 't@1.0.0' WHERE record = 'c3'", "c3"),
        ("UPDATE draw SET created = '2027' WHERE record = 'c2'", "c2"),
        ("UPDATE draw SET confidence = 0.99 WHERE record = 'c2'", "c2"),
        ("UPDATE draw SET record = 'cx' WHERE record = 'c2'", "cx"),
    ],
)
async def test_a_draw_that_is_not_its_records_is_told(tmp_path, change, about):
    async with await Store.open(settings(tmp_path)) as store:
        await _drawn(store)
        assert (await store.verify_chain()).faults == ()
        await store._thread.run(lambda c: c.exec_driver_sql(change))
        found = [(one.kind, one.about, one.what) for one in (await store.verify_chain()).faults]
    assert found == [("draw", about, "the row was changed: it is not its record's")]


async def test_a_word_that_is_taken_back_and_a_call_that_goes_by_age_leave_no_draw_behind(tmp_path):
    async with await Store.open(settings(tmp_path)) as store:
        await _drawn(store)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        await store.settle(Review(record="c0", verdict="wrong", reviewer="ann", decided=now))
        assert await store.listings.looked_at("t@1.0.0", "", "") == [(0.5, False), (0.5, True)]
        await store.unsettle("c0", "ann")
        assert await store.listings.looks("t@1.0.0", "") == Looks(behind=1, until="2026-11-01")
        await store.prune("2026-11-30", 1_000)
        assert await store.listings.looked_at("t@1.0.0", "", "") == [], "the one that was looked at is old"
        assert (await store.verify_chain()).faults == ()

"""The store keeps what it said it kept, and says clearly when it cannot."""

import asyncio
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from insource.errors import Conflict, Missing, StoreError
from insource.nouns import (
    Attempt,
    Check,
    Dataset,
    Decision,
    Example,
    Gate,
    Intent,
    Pending,
    Prediction,
    Record,
    Release,
    Report,
    Review,
    StageChange,
    Usage,
    record_id,
)
from insource.settings import Settings, StoreSettings, secret
from insource.store import Store


def settings(root: Path) -> Settings:
    """As `load_settings` has them: a server where the environment names one, for processes that are started too."""
    return Settings(root=root, cache=root, store=StoreSettings(url=secret("INSOURCE_STORE_URL")))


def record(id: str, *, outcome="answered", task="t") -> Record:
    said = Prediction(text="", engine="e", confidence=0.5, usage=Usage(input_tokens=3, output_tokens=1))
    decision = Decision(engine="e", rule="task", accepted=outcome == "answered", reason="because", confidence=0.5)
    return Record(
        id=id,
        task=task,
        release=f"{task}@1.0.0",
        tenant="local",
        attempts=(Attempt(decision=decision, prediction=said),),
        outcome=outcome,
        input_hash="h",
        latency_ms=1.0,
    )


def intent(id: str, seconds: float = 60.0) -> Intent:
    now = datetime.now(UTC)
    until = now + timedelta(seconds=seconds)
    return Intent(id=id, task="t", tenant="local", input_hash="h", created=now.isoformat(), until=until.isoformat())


def pending(id: str, task="t") -> Pending:
    return Pending(record=id, task=task, input="the text", value={"label": "a"}, confidence=0.5)


def release(version: str, stage="candidate") -> Release:
    return Release(
        task="t",
        version=version,
        engine="linear",
        base="",
        dataset="d",
        recipe="r",
        artefact=version,
        folder="x",
        stage=stage,
    )


def change(name: str, before: str, after: str) -> StageChange:
    return StageChange(release=name, before=before, after=after, who="me", why="test")


def test_names_of_calls_are_uuids_that_sort_as_they_were_made():
    names = [record_id() for _ in range(5000)]
    assert {(uuid.UUID(name).version, uuid.UUID(name).variant, len(name)) for name in names} == {(7, uuid.RFC_4122, 32)}
    assert abs(int(names[0][:12], 16) / 1000 - time.time()) < 10
    assert len(set(names)) == 5000
    out_of_order = sum(one > after for one, after in pairwise(names))
    assert out_of_order < 50, "the clock may step, once in a while"


def test_records_pending_rows_and_verdicts_come_back_as_they_went_in(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record("r1"))
            await store.append(record("r2", outcome="review"), pending("r2"))
            await store.append(record("r3", outcome="review", task="u"), pending("r3", "u"))
            assert await store.record("r1") == record("r1")
            assert [r.id for r in await store.records()] == ["r3", "r2", "r1"]
            assert [r.id for r in await store.records("t", limit=1)] == ["r2"]
            assert [p.record for p in await store.pending()] == ["r2", "r3"]
            assert await store.pending("t") == [pending("r2")]
            verdict = Review(record="r2", verdict="wrong", corrected={"label": "b"})
            await store.settle(verdict)
            assert await store.pending("t") == []
            assert await store.reviews("t") == [(pending("r2"), verdict)]
            with pytest.raises(Conflict, match="settled already"):
                await store.settle(verdict)
            with pytest.raises(Conflict, match="does not wait"):
                await store.settle(Review(record="r1", verdict="right"))
            with pytest.raises(Missing, match="no record r9"):
                await store.settle(Review(record="r9", verdict="right"))

    asyncio.run(story())


def test_datasets_keep_their_rows_and_the_one_saved_last_is_the_newest(tmp_path):
    rows = [
        Example(id="1", task="t", input="line\nbreak \u2028 and \x85", target={"label": "a"}),
        Example(id="2", task="t", input="", target={"label": "b"}, split="test"),
    ]
    first, second = (
        Dataset(id="a" * 64, task="t", counts={"train": 1, "test": 1}),
        Dataset(id="b" * 64, task="t", counts={}),
    )

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            assert await store.dataset("t") is None
            await store.save_dataset(first, rows)
            await store.save_dataset(second, [])
            assert await store.dataset("t") == second
            assert await store.dataset_by_id(first.id) == first
            assert await store.examples(first.id) == rows
            assert await store.examples(first.id, "test") == rows[1:]
            await store.save_dataset(first, rows)
            assert await store.dataset("t") == first
            with pytest.raises(Missing, match="no dataset"):
                await store.examples("nope")

    asyncio.run(story())


def test_a_stage_changes_with_its_note_or_not_at_all(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            assert await store.live("t") is None
            await store.add_release(release("1.0.0"))
            await store.add_release(release("1.1.0"))
            with pytest.raises(Conflict, match="exists already"):
                await store.add_release(release("1.0.0"))
            await store.change_stage(change("t@1.0.0", "candidate", "live"))
            await store.change_stage(change("t@1.1.0", "candidate", "live"), retire="t@1.0.0")
            assert (await store.live("t")).version == "1.1.0"
            assert (await store.live("t")).approved_by == "me"
            assert [(r.version, r.stage) for r in await store.releases("t")] == [
                ("1.0.0", "retired"),
                ("1.1.0", "live"),
            ]
            with pytest.raises(Conflict, match="is retired, not candidate"):
                await store.change_stage(change("t@1.0.0", "candidate", "live"))
            with pytest.raises(Missing, match="no release t@9"):
                await store.change_stage(change("t@1.1.0", "live", "retired"), retire="t@9")
            assert (await store.live("t")).version == "1.1.0"
            assert len(await store.stage_changes("t")) == 2
            with pytest.raises(Missing) as missing:
                await store.release("t", "3.0.0")
            assert "t@1.0.0, t@1.1.0" in missing.value.hint

    asyncio.run(story())


def test_reports_and_gates_come_back(tmp_path):
    report = Report(id="x", task="t", dataset="d", split="test", candidates=())
    gate = Gate(
        release="t@1.0.0", artefact="a", checks=(Check(name="n", demanded="1", found="1", passed=True),), report="x"
    )

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.save_report(report)
            await store.save_report(report)
            await store.save_gate(gate)
            assert await store.report("x") == report
            assert await store.reports("t") == [report]
            assert await store.gates("t@1.0.0") == [gate]
            with pytest.raises(Missing):
                await store.report("y")

    asyncio.run(story())


def test_a_tenants_key_is_made_once_and_stays(tmp_path):
    async def keys():
        async with await Store.open(settings(tmp_path)) as store:
            return await store.tenant_key("local"), await store.tenant_key("other")

    first, second = asyncio.run(keys()), asyncio.run(keys())
    assert first == second
    assert len(first[0]) == 32
    assert first[0] != first[1]


@pytest.mark.usefixtures("interpreted")
def test_concurrent_appends_share_commits_and_lose_nothing(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            commits = []
            transact = store._group._transact
            store._group._transact = lambda taken: (commits.append(1), transact(taken))[1]
            await asyncio.gather(*[store.append(record(f"r{i}"), pending(f"r{i}")) for i in range(500)])
            assert len(commits) < 250
            assert {r.id for r in await store.records(limit=1000)} == {f"r{i}" for i in range(500)}
            assert len(await store.pending(limit=1000)) == 500

    asyncio.run(story())


def test_one_bad_append_does_not_cost_the_others(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            ids = ["a", "b", "a", "c"]
            done = await asyncio.gather(*[store.append(record(i)) for i in ids], return_exceptions=True)
            assert [isinstance(d, StoreError) for d in done] == [False, False, True, False]
            assert {r.id for r in await store.records()} == {"a", "b", "c"}

    asyncio.run(story())


def test_two_processes_may_write_the_same_store(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as one, await Store.open(settings(tmp_path)) as two:
            await asyncio.gather(
                *[one.append(record(f"a{i}")) for i in range(50)], *[two.append(record(f"b{i}")) for i in range(50)]
            )
            assert len(await one.records(limit=1000)) == 100

    asyncio.run(story())


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_store import record, settings
from test_group import relaxed
from insource.store import Store

async def story():
    opened = relaxed if sys.argv[2] == "relaxed" else settings
    store = await Store.open(opened(Path(sys.argv[1])))
    if sys.argv[2] == "deferred":
        # the negative control: the caller is told before the write was made durable
        tasks = [asyncio.ensure_future(store.append(record(f"r{i}"))) for i in range(20)]
    else:
        await asyncio.gather(*[store.append(record(f"r{i}")) for i in range(20)])
    os.write(1, b"told")
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(story())
"""


def killed(root: Path, mode: str) -> int:
    here = str(Path(__file__).parent)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(root), mode, here], check=False, capture_output=True, timeout=60
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert child.stdout == b"told"

    async def count():
        async with await Store.open(settings(root)) as store:
            return len(await store.records(limit=100))

    return asyncio.run(count())


def test_what_append_said_is_kept_survives_a_kill(tmp_path):
    assert killed(tmp_path / "kept", "awaited") == 20
    assert killed(tmp_path / "told", "relaxed") == 20


def test_the_kill_test_can_lose_rows(tmp_path):
    assert killed(tmp_path / "lost", "deferred") == 0


def test_commits_are_synced_to_disk_on_a_sqlite_without_the_wal_bug(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            ask = lambda c: tuple(  # noqa: E731
                c.exec_driver_sql(q).scalar()
                for q in ("PRAGMA synchronous", "PRAGMA journal_mode", "SELECT sqlite_version()")
            )
            synchronous, journal, version = await store._thread.run(ask)
            assert (synchronous, journal) == (2, "wal")
            assert tuple(map(int, version.split("."))) >= (3, 51, 3)

    asyncio.run(story())

"""A file of inputs: every line comes back, in order, and a second run does only what is missing."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path as FilePath

import pytest

from insource.engines.scripted import Rule, Scripted
from insource.engines.windowed import Windowed
from insource.errors import Conflict, Invalid, Missing, StoreError
from insource.journeys.answer import Path, Tier
from insource.journeys.batch import Wish, batch
from insource.journeys.batch_out import Journal
from insource.journeys.batch_row import Row, Tally
from insource.nouns import Output, Risk, Task
from insource.settings import Settings
from insource.store import Store

TASK = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("a", "b")),), risk=Risk(threshold=0.85))
RULES = (
    Rule(match="doubt", value={"label": "b"}, confidence=0.5),
    Rule(match="down", error="down", times=1),
    Rule(match="odd", text="zzz"),
    Rule(match="*", value={"label": "a"}, confidence=0.95),
)


class Counting(Scripted):
    asked = 0

    async def complete(self, request):
        self.asked += 1
        return await super().complete(request)


def opened(root: FilePath):
    return Store.open(Settings(root=root, cache=root))


def path(store: Store, engine=None) -> Path:
    return Path(
        task=TASK, tiers=(Tier(engine or Scripted("one", RULES), "t@1.0.0"),), threshold=0.85, key=store.tenant_key
    )


def write(file: FilePath, rows) -> FilePath:
    file.write_bytes(b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows))
    return file


def read(file: FilePath) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_every_line_comes_back_in_order_and_nothing_is_lost(tmp_path):
    rows = [
        {"id": "r1", "input": "plain", "meta": {"x": 1}},
        {"id": 2, "input": "in doubt"},
        b"not json\n",
        b'{"id": "r4"}\n',
        b'{"id": "r5", "input": "\xff"}\n',
        b"\n",
        {"id": "r1", "input": "again"},
        {"id": "r8", "input": "odd"},
        {"id": "r9", "input": "is down"},
        b'{"id": "r10", "input": "no newline at the end"}',
    ]
    async with await opened(tmp_path) as store:
        summary = await batch(
            write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", path(store), store, wish=Wish(at_once=3)
        )
        out = read(tmp_path / "out.jsonl")
        assert [row["id"] for row in out] == ["r1", "2", None, None, None, "r1", "r8", "r9", "r10"]
        assert list(out[0]) == ["id", "output", "confidence", "decision", "release", "record", "error"]
        assert out[0]["output"] == {"label": "a"}
        assert (out[0]["decision"], out[0]["release"], out[0]["error"]) == ("answered", "t@1.0.0", None)
        assert (out[1]["decision"], out[1]["output"]) == ("review", {"label": "b"})
        assert out[2]["error"].startswith("line 3: ")
        assert "input" in out[3]["error"]
        assert out[4]["error"].startswith("line 5: ")
        assert "used on line 1" in out[5]["error"]
        assert (out[6]["output"], out[6]["decision"]) == (None, "review")
        assert "contract" in out[6]["error"]
        assert "engine_down" in out[7]["error"]
        assert (summary.rows, summary.answered, summary.review, summary.bad, summary.failed) == (9, 2, 2, 4, 2)
        assert (await store.record(out[0]["record"])).outcome == "answered"
        assert [p.input for p in await store.pending("t")] == ["odd", "in doubt"]  # no valid answer is worth more
        assert not (tmp_path / "out.jsonl.part").exists()


async def test_a_second_run_asks_only_for_what_is_missing_changed_or_failed(tmp_path):
    source = write(
        tmp_path / "in.jsonl", [{"id": "a", "input": "x"}, {"id": "b", "input": "is down"}, {"id": "c", "input": "y"}]
    )
    out = tmp_path / "out.jsonl"
    async with await opened(tmp_path) as store:
        engine = Counting("one", RULES)
        await batch(source, out, path(store, engine), store)
        first = {row["id"]: row for row in read(out)}
        assert engine.asked == 3
        write(
            source,
            [
                {"id": "c", "input": "y"},
                {"id": "a", "input": "changed"},
                {"id": "b", "input": "is down"},
                {"id": "d", "input": "new"},
            ],
        )
        summary = await batch(source, out, path(store, engine), store)
        second = {row["id"]: row for row in read(out)}
        assert engine.asked == 6
        assert list(second) == ["c", "a", "b", "d"]
        assert second["c"] == first["c"]
        assert second["a"]["record"] != first["a"]["record"]
        assert second["b"]["error"] is None
        assert summary.reused == 1
        again = await batch(source, out, path(store, engine), store)
        assert (again.reused, engine.asked) == (4, 6)


async def test_what_was_written_for_another_store_is_asked_again(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"id": "a", "input": "x"}])
    async with await opened(tmp_path / "one") as store:
        await batch(source, tmp_path / "out.jsonl", path(store), store)
    async with await opened(tmp_path / "two") as store:
        assert (await batch(source, tmp_path / "out.jsonl", path(store), store)).reused == 0
        assert len(await store.records()) == 1


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_batch import opened, path
from insource.engines.scripted import Rule, Scripted
from insource.journeys.batch import Wish, batch

async def main(root):
    async with await opened(root) as store:
        slow = Scripted("one", [Rule(match="*", value={"label": "a"}, confidence=0.95, delay_s=0.02)])
        await batch(root / "in.jsonl", root / "out.jsonl", path(store, slow), store, wish=Wish(at_once=4))

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_killed_again_and_again_it_ends_with_every_answer_once(tmp_path):
    rows = [{"id": f"r{i}", "input": f"text {i}"} for i in range(120)]
    write(tmp_path / "in.jsonl", rows)
    part = tmp_path / "out.jsonl.part"

    def run_until(lines: int) -> None:
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), str(FilePath(__file__).parent)])
        for _ in range(2000):
            if child.poll() is not None or (part.exists() and part.read_bytes().count(b"}\n") >= lines):
                break
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()

    await asyncio.to_thread(run_until, 20)
    assert not (tmp_path / "out.jsonl").exists()
    with part.open("ab") as file:
        file.write(b'{"id": "r119", "outp')
    await asyncio.to_thread(run_until, 60)
    kept = part.read_bytes().count(b"}\n")
    async with await opened(tmp_path) as store:
        engine = Counting("one", RULES)
        summary = await batch(tmp_path / "in.jsonl", tmp_path / "out.jsonl", path(store, engine), store)
        assert summary.reused >= 60
        assert engine.asked == 120 - summary.reused <= 120 - kept
        out = read(tmp_path / "out.jsonl")
        assert [row["id"] for row in out] == [row["id"] for row in rows]
        assert all(row["error"] is None for row in out)
        known = await store.input_hashes([row["record"] for row in out])
        assert len(known) == 120
        assert len(await store.records(limit=1000)) <= 120 + 2 * 4


async def test_two_runs_on_one_file_do_not_mix(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"id": "a", "input": "x"}])
    async with await opened(tmp_path) as store:
        slow = Scripted("one", [Rule(match="*", value={"label": "a"}, confidence=0.95, delay_s=0.2)])
        first = asyncio.create_task(batch(source, tmp_path / "out.jsonl", path(store, slow), store))
        await asyncio.sleep(0.1)
        with pytest.raises(Conflict, match="another run"):
            await batch(source, tmp_path / "out.jsonl", path(store), store)
        assert (await first).answered == 1


def handles(file: FilePath) -> int:
    """How often this process has the file open."""
    there = list(FilePath("/proc/self/fd").iterdir())
    return sum(one.exists() and one.samefile(file) for one in there)


def test_a_run_that_is_refused_keeps_nothing_open(tmp_path):
    part, refused = tmp_path / "out.jsonl.part", Journal(tmp_path / "out.jsonl", tmp_path / "in.jsonl")
    with Journal(tmp_path / "out.jsonl", tmp_path / "in.jsonl"):
        with pytest.raises(Conflict, match="another run"), refused:
            pass
        assert handles(part) == 1


def test_a_run_that_begins_as_another_ends_holds_the_file_that_is_there(tmp_path, monkeypatch):
    part, real, asked = tmp_path / "out.jsonl.part", fcntl.flock, []

    def flock(file, how):
        asked.append(file)
        if len(asked) == 1:
            part.unlink()  # the other is done since this one opened its file
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with Journal(tmp_path / "out.jsonl", tmp_path / "in.jsonl") as second:
        second.write(Row(id="a"))
        assert [row["id"] for row in read(part)] == ["a"]
        third = Journal(tmp_path / "out.jsonl", tmp_path / "in.jsonl")
        with pytest.raises(Conflict, match="another run"), third:
            pass


@pytest.mark.parametrize(("at_once", "left"), [(2, 0), (1, 1)])
async def test_a_run_whose_time_is_over_while_the_last_are_answered_is_whole(tmp_path, at_once, left):
    source = write(tmp_path / "in.jsonl", [{"id": f"r{i}", "input": f"text {i}"} for i in range(2)])
    slow = Counting("one", [Rule(match="*", value={"label": "a"}, confidence=0.95, delay_s=0.8)])
    async with await opened(tmp_path) as store:
        wish = Wish(at_once=at_once, max_minutes=0.5 / 60)
        summary = await batch(source, tmp_path / "out.jsonl", path(store, slow), store, wish=wish)
    assert (summary.answered, summary.left, bool(summary.stopped)) == (2 - left, left, left > 0)
    if left:
        assert "time" in summary.stopped
        assert not (tmp_path / "out.jsonl").exists()
    else:
        assert [row["id"] for row in read(tmp_path / "out.jsonl")] == ["r0", "r1"]


async def test_wrong_files_are_said_at_once(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"id": "a", "input": "x"}])
    async with await opened(tmp_path) as store:
        with pytest.raises(Missing):
            await batch(tmp_path / "none.jsonl", tmp_path / "out.jsonl", path(store), store)
        with pytest.raises(Invalid, match="overwrite"):
            await batch(source, source, path(store), store)
        with pytest.raises(StoreError):
            await batch(source, tmp_path / "no" / "folder" / "out.jsonl", path(store), store)
        binary = tmp_path / "binary"
        binary.write_bytes(os.urandom(20_000))
        summary = await batch(binary, tmp_path / "out.jsonl", path(store), store)
        assert summary.rows == summary.bad > 0


async def test_a_line_longer_than_any_input_is_set_aside_without_reading_it_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("insource.collect.documents.LONGEST", 1000)
    source = write(tmp_path / "in.jsonl", [{"id": "a", "input": "x" * 5000}, {"id": "b", "input": "y"}])
    async with await opened(tmp_path) as store:
        await batch(source, tmp_path / "out.jsonl", path(store), store)
        out = read(tmp_path / "out.jsonl")
        assert [row["id"] for row in out] == [None, "b"]
        assert out[0]["error"].startswith("line 1: ")


async def test_a_store_that_fails_ends_the_run_with_one_clear_error(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"id": str(i), "input": "x" * 3000} for i in range(200)])
    async with await opened(tmp_path) as store:
        await store.tenant_key("local")
        from full_disk import most_pages  # here, since this file is imported by processes that do not find it

        await most_pages(store, 1)
        with pytest.raises(StoreError, match="full"):
            await batch(source, tmp_path / "out.jsonl", path(store), store)
        await most_pages(store, 1000000)
        assert (await batch(source, tmp_path / "out.jsonl", path(store), store)).answered == 200


@pytest.mark.parametrize("mine", ["my notes\n", '{"id": 1, "input": "x"}\n', "\n[1]\n"])
def test_a_file_of_ones_own_in_its_place_is_left_alone(tmp_path, mine):
    part = tmp_path / "out.jsonl.part"
    part.write_text(mine)
    with pytest.raises(Conflict, match="earlier run"), Journal(tmp_path / "out.jsonl", tmp_path / "in.jsonl"):
        pass
    assert part.read_text() == mine
    part.write_text('{"id": "a", "outp')  # a row that was cut off
    with Journal(tmp_path / "out.jsonl", tmp_path / "in.jsonl"):
        pass


@pytest.mark.skipif(not FilePath("/dev/full").exists(), reason="no /dev/full here to stand for a full disk")
def test_an_answer_that_finds_no_room_is_one_clear_error(tmp_path):
    part = tmp_path / "out.jsonl.part"
    part.symlink_to("/dev/full")
    journal = Journal(tmp_path / "out.jsonl", tmp_path / "in.jsonl")
    with pytest.raises(StoreError, match="No space left"), journal as file:
        file.write(Row(id="a"))


SCHEMA = {"type": "object", "properties": {"who": {"type": "string"}, "parts": {"type": "array"}}}


async def test_a_row_of_an_extraction_says_how_sure_each_field_is_and_where_it_stands(tmp_path):
    task = Task(name="t", kind="extract", schema=SCHEMA)
    rules = [
        Rule(match="ACME", value={"who": "ACME Ltd", "parts": ["seal", "x"]}, confidence=0.9, fields={"who": 0.95}),
        Rule(text="none"),
    ]
    engine = Windowed(Scripted("one", rules))
    rows = [{"id": "a", "input": "a seal of ACME\n Ltd"}, {"id": "b", "input": "y"}]
    async with await opened(tmp_path) as store:
        way = Path(task=task, tiers=(Tier(engine, "t@1.0.0"),), key=store.tenant_key)
        out = tmp_path / "out.jsonl"
        await batch(write(tmp_path / "in.jsonl", rows), out, way, store)
        found, none = read(out)
        assert found["places"] == {"who": [10, 19], "parts": [[2, 6], None]}
        assert found["fields"] == {"who": 0.95}
        assert none["error"]
        assert "places" not in none
        kept = (await store.record(found["record"])).answer
        assert kept.places == found["places"], "the record holds the places, which are no words of the caller's"
        assert (kept.value, kept.text) == (None, "")
        assert (await batch(tmp_path / "in.jsonl", out, way, store)).reused == 1
        assert read(out)[0] == found


async def test_a_long_document_of_a_batch_is_waited_for(tmp_path):
    class Patient(Scripted):
        deadline = 0.0

        async def complete(self, request):
            self.deadline = request.deadline
            return await super().complete(request)

    engine = Patient("one", RULES)
    async with await opened(tmp_path) as store:
        await batch(
            write(tmp_path / "in.jsonl", [{"id": 1, "input": "x"}]), tmp_path / "o.jsonl", path(store, engine), store
        )
    assert engine.deadline > 3000


async def test_a_line_with_an_empty_input_is_a_reject(tmp_path):
    rows = [{"id": "r1", "input": " "}, {"id": "r2", "input": "plain"}]
    async with await opened(tmp_path) as store:
        summary = await batch(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", path(store), store)
    assert (summary.bad, summary.failed, summary.answered) == (1, 0, 1)
    assert read(tmp_path / "out.jsonl")[0]["error"] == "line 1: the input is empty"


def test_what_was_said_of_most_that_failed_is_told_at_the_end(tmp_path):
    tally = Tally()
    for said in ("engine_down: no machine", None, "output_invalid: no label", "engine_down: no machine"):
        tally.add(Row(id="r", error=said))
    summary = tally.summary("tickets", tmp_path / "out", 4, "")
    assert (summary.failed, summary.why) == (3, "engine_down: no machine")
    assert Tally().summary("tickets", tmp_path / "out", 0, "").why == ""

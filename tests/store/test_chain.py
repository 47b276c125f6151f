# ruff: noqa: S608, S311 - the tamperer writes SQL, and draws from a seed
"""The audit chain finds what was changed, taken away, put in, moved or cut off; and says nothing of what was not."""

import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from test_store import intent, pending, record, release, settings

from behind import behind
from copied_workspace import copied
from insource.errors import Invalid
from insource.nouns import Review, StageChange
from insource.store import Store, checkpoints, process
from insource.store.bulk import BELOW, driver
from insource.store.links import entry_hash
from insource.store.process import is_gone, this_process
from insource.store.retention import Pruned
from insource.store.verified import Head, Verified

CALLS = 40


async def filled(root: Path) -> Head:
    """Calls in two phases, some of them reviewed, and a release that went live."""
    async with await Store.open(settings(root)) as store:
        for i in range(CALLS):
            await store.intend(intent(f"r{i:02}"))
            waits = i % 4 == 0
            one = record(f"r{i:02}", outcome="review" if waits else "answered")
            await store.append(one, pending(one.id) if waits else None)
            if i % 8 == 0:
                await store.settle(Review(record=one.id, verdict="right", reviewer="ada"))
        await store.add_release(release("1.0.0"))
        change = StageChange(release="t@1.0.0", before="candidate", after="live", who="ada", why="")
        await store.change_stage(change)
        return await store.chain_head()


def verified(root: Path) -> Verified:
    async def story() -> Verified:
        async with await Store.open(settings(root)) as store:
            return await store.verify_chain()

    return asyncio.run(story())


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A workspace whose store is closed."""
    root = tmp_path_factory.mktemp("written")
    asyncio.run(filled(root))
    return root


@pytest.fixture
def place(tmp_path, written) -> Path:
    copied(written, tmp_path / "place")
    return tmp_path / "place"


def test_what_nobody_touched_is_whole(place):
    found = verified(place)
    assert found.faults == ()
    assert found.entries == 2 * CALLS + CALLS // 8 + 1
    assert found.rows == CALLS + CALLS // 8 + 1


# ------------------------------------------------------------------ five kinds of tampering

TABLES = {"record": "id", "review": "record", "stage_change": "seq"}


def edit(db, dice):
    table, name, column = dice.choice(
        [("record", "id", "body"), ("record", "id", "tenant"), ("record", "id", "input_tokens"),
         ("review", "record", "body"), ("stage_change", "seq", "body"), ("entry", "seq", "body"),
         ("entry", "seq", "hash"), ("entry", "seq", "about")]
    )  # fmt: skip
    key, value = dice.choice(db.execute(f"SELECT {name}, {column} FROM {table}").fetchall())
    if isinstance(value, str):
        at = dice.randrange(len(value))
        value = value[:at] + dice.choice([c for c in "0aZ" if c != value[at]]) + value[at + 1 :]
    else:
        value = (value or 0) + 1
    db.execute(f"UPDATE {table} SET {column} = ? WHERE {name} = ?", (value, key))


def delete(db, dice):
    table, name = dice.choice([*TABLES.items(), ("entry", "seq")])
    keys = [key for (key,) in db.execute(f"SELECT {name} FROM {table}").fetchall()]
    # the last entry of a chain alone is cut off, which is another kind
    key = dice.choice([key for key in keys if key + 1 in keys] if table == "entry" else keys)
    db.execute(f"DELETE FROM {table} WHERE {name} = ?", (key,))


def insert(db, dice):
    row = list(dice.choice(db.execute("SELECT * FROM record").fetchall()))
    if dice.random() < 0.5:
        row[0], row[1] = 10_000, "put in"
        db.execute(f"INSERT INTO record VALUES ({','.join('?' * len(row))})", row)
        return
    (last,) = db.execute("SELECT max(seq) FROM entry").fetchone()
    kind, about, body = dice.choice(db.execute("SELECT kind, about, body FROM entry").fetchall())
    db.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", (last + 1, kind, about, body, "0" * 64))


def reorder(db, dice):
    one, two = dice.sample([seq for (seq,) in db.execute("SELECT seq FROM entry ORDER BY seq").fetchall()], 2)
    for a, b in ((one, -1), (two, one), (-1, two)):
        db.execute("UPDATE entry SET seq = ? WHERE seq = ?", (b, a))


KINDS = {"edit": edit, "delete": delete, "insert": insert, "reorder": reorder}


@pytest.mark.parametrize("kind", KINDS)
def test_tampering_is_found(tmp_path, written, kind):
    dice = random.Random(kind)
    found = Counter()
    for number in range(30):
        place = tmp_path / str(number)
        copied(written, place)
        with behind(place) as db:
            KINDS[kind](db, dice)
        found[bool(verified(place).faults)] += 1
    assert found == {True: 30}


def cut(db, entries: int) -> None:
    """The last entries and all they vouch for, gone without a trace."""
    (last,) = db.execute("SELECT max(seq) FROM entry").fetchone()
    gone = db.execute("SELECT kind, about FROM entry WHERE seq > ?", (last - entries,)).fetchall()
    for kind, about in gone:
        if kind != "intent":
            table = {"record": "record", "review": "review", "stage": "stage_change"}[kind]
            db.execute(f"DELETE FROM {table} WHERE {TABLES[table]} = ?", (about,))
    db.execute("DELETE FROM entry WHERE seq > ?", (last - entries,))


def rewritten(db) -> None:
    """A chain that holds, made anew from an edited row on."""
    db.execute("UPDATE record SET body = replace(body, '\"because\"', '\"to please\"') WHERE id = 'r07'")
    import hashlib

    before = "0" * 64
    for seq, kind, about, body in db.execute("SELECT seq, kind, about, body FROM entry ORDER BY seq").fetchall():
        if kind == "record":
            (said,) = db.execute("SELECT body FROM record WHERE id = ?", (about,)).fetchone()
            body = hashlib.sha256(said.encode()).hexdigest()
        before = entry_hash(before, {"seq": seq, "kind": kind, "about": about, "body": body})
        db.execute("UPDATE entry SET body = ?, hash = ? WHERE seq = ?", (body, before, seq))


@pytest.mark.parametrize("change", [lambda db: cut(db, 1), lambda db: cut(db, 30), rewritten])
def test_a_chain_cut_off_or_made_anew_holds_by_itself_and_not_against_a_checkpoint(place, change):
    async def head() -> Head:
        async with await Store.open(settings(place)) as store:
            return await store.chain_head()

    before = asyncio.run(head())
    with behind(place) as db:
        change(db)
    found = verified(place)
    begun = {fault.kind for fault in found.faults}
    assert begun <= {"intent"}, "only the end of a call that was begun may be missed without a checkpoint"

    async def at() -> dict[int, str]:
        async with await Store.open(settings(place)) as store:
            return await store.chain_at([before.seq])

    assert asyncio.run(at())[before.seq] != before.hash


# ------------------------------------------------------------------ checkpoints


def test_a_checkpoint_is_signed_and_says_when_it_was_changed(tmp_path):
    head = Head(seq=7, hash="a" * 64)
    made = checkpoints.sign(tmp_path, head, "2026-11-26T00:00:00Z")
    public = checkpoints.public_key(tmp_path)
    assert checkpoints.signed(made, public)
    assert (tmp_path / checkpoints.KEY).stat().st_mode & 0o777 == 0o600
    for changed in (
        checkpoints.Checkpoint(seq=6, hash=made.hash, at=made.at, signature=made.signature),
        checkpoints.Checkpoint(seq=7, hash="b" * 64, at=made.at, signature=made.signature),
        checkpoints.Checkpoint(seq=7, hash=made.hash, at=made.at, signature="no base64"),
        checkpoints.Checkpoint(seq=7, hash=made.hash, at=made.at),
    ):
        assert not checkpoints.signed(changed, public)
    (tmp_path / "other").mkdir()
    assert not checkpoints.signed(made, checkpoints.public_key(tmp_path / "other"))
    with pytest.raises(Invalid, match="no public key"):
        checkpoints.signed(made, "short")


def test_checkpoints_are_read_as_written_and_a_broken_line_is_named(tmp_path):
    file = tmp_path / "far" / "checkpoints.jsonl"
    assert checkpoints.read(file) == []
    made = [checkpoints.sign(tmp_path, Head(seq=seq, hash="c" * 64), "now") for seq in (1, 2)]
    for one in made:
        checkpoints.write(one, file)
    assert checkpoints.read(file) == made
    assert checkpoints.last(file) == made[-1]
    with file.open("a") as out:
        out.write("{\n")
    with pytest.raises(Invalid, match=r"checkpoints\.jsonl:3"):
        checkpoints.read(file)


def test_a_checkpoint_that_a_crash_cut_off_is_none_and_the_next_takes_its_place(tmp_path):
    file = tmp_path / "checkpoints.jsonl"
    assert checkpoints.last(file) is None
    made = [checkpoints.sign(tmp_path, Head(seq=seq, hash="c" * 64), "now") for seq in range(40)]
    for one in made[:-1]:
        checkpoints.write(one, file)
    whole = file.stat().st_size
    with file.open("ab") as out:
        out.write(b'{"seq": 39, "hash": "ccc')
    assert checkpoints.read(file) == made[:-1]
    assert checkpoints.last(file) == made[-2]
    checkpoints.write(made[-1], file)
    assert checkpoints.read(file) == made
    file.write_bytes(file.read_bytes()[:-1])  # as an editor leaves it
    assert checkpoints.last(file) == made[-1]
    checkpoints.write(made[0], file)
    assert checkpoints.read(file) == [*made, made[0]]
    assert file.stat().st_size < whole * 42 // 39


# ------------------------------------------------------------------ two phases


def test_a_call_whose_process_is_gone_ends_as_interrupted(tmp_path):
    """Begun in a process that is killed, and in one that lives on."""
    script = f"""
import asyncio, os, signal, sys
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from test_store import intent, settings
from insource.store import Store
from pathlib import Path
async def story():
    store = await Store.open(settings(Path({str(tmp_path)!r})))
    await store.intend(intent("lost"))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(story())
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await store.intend(intent("mine"))
            await store.intend(intent("late", seconds=-1))
            assert sorted(await store.interrupt()) == ["late", "lost"]
            assert await store.interrupt() == []
            lost = await store.record("lost")
            assert (lost.outcome, lost.task, lost.input_hash, lost.answer) == ("interrupted", "t", "h", None)
            assert await store.open_calls() == 1
            await store.append(record("mine"))
            assert await store.open_calls() == 0
            assert (await store.verify_chain()).faults == ()

    asyncio.run(story())


def test_this_process_is_here_and_one_that_ended_is_gone():
    assert not is_gone(this_process())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        name = this_process().rsplit(" ", 2)[0] + f" {child.pid} 1"
        assert is_gone(name), "another process that has the number now is not the one that had it"


def test_one_that_is_hidden_is_not_taken_for_gone(monkeypatch):
    # hidepid, or ProtectProc=invisible of a unit: /proc shows no processes of other users
    monkeypatch.setattr(process, "_named", lambda number: "")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        name = f"{os.uname().nodename} {process.BOOT.read_text().strip()} {child.pid} 1"
        assert not is_gone(name)
    assert is_gone(name)
    assert not is_gone(f"{os.uname().nodename} {process.BOOT.read_text().strip()} 1 1"), "somebody else's"
    assert is_gone(f"{os.uname().nodename} {process.BOOT.read_text().strip()} {10**30} 1")


def test_names_that_mean_nothing_here_are_not_gone():
    for unknown in ("", "elsewhere boot 1 2", f"{os.uname().nodename} boot x 2"):
        assert not is_gone(unknown)


def test_what_is_old_goes_and_the_rest_still_proves_itself(place):
    async def story():
        async with await Store.open(settings(place)) as store:
            head = await store.chain_head()
            gone = await store.prune("", 10)
            assert (gone.records, gone.more) == (CALLS - 10 - 5, False), "five wait for a person"
            found = await store.verify_chain()
            assert (found.faults, found.foot.seq) == ((), gone.through)
            assert await store.chain_at([gone.through]) == {gone.through: found.foot.hash}
            assert (await store.chain_at([head.seq]))[head.seq] == head.hash, "later checkpoints still hold"
            assert len(await store.pending(limit=99)) == 5
            assert len(await store.stage_changes("t")) == 1
            assert await store.prune("", CALLS) == Pruned()

    asyncio.run(story())
    with behind(place) as db:
        db.execute("DELETE FROM record WHERE id = (SELECT max(id) FROM record)")
    assert verified(place).faults


class Heard:
    """The database's own connection, and what it is told."""

    def __init__(self, sql) -> None:
        self._sql, self.said = sql, []

    def execute(self, sql, parameters=(), /):
        self.said.append(sql)
        return self._sql.execute(sql, parameters)


def listening(connection) -> Heard:
    heard = connection.info[BELOW] = Heard(driver(connection))
    return heard


def test_a_chain_of_which_all_went_by_age_goes_on_and_what_went_is_read_once(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            for i in range(3):
                await store.append(record(f"a{i}"))
            assert (await store.prune("", 0)).records == 3
            await store.append(record("b"))
            found = await store.verify_chain()
            assert found.faults == ()
            foot, head = found.spans[-1].foot, found.spans[-1].head
            assert head.seq > foot.seq > 0
            heard = await store._thread.look(listening)
            there = await store.chain_at([foot.seq, head.seq, head.seq + 1])
            assert there == {foot.seq: foot.hash, head.seq: head.hash, head.seq + 1: ""}
            return [one for one in heard.said if "'pruned'" in one]

    assert len(asyncio.run(story())) == 1


def test_a_store_from_before_the_chain_is_vouched_for_as_it_is(place):
    with behind(place) as db:
        db.execute("DROP TABLE entry")
        db.execute("DROP TABLE open_call")
        db.execute("DELETE FROM migration WHERE number > 1")
    found = verified(place)
    assert found.faults == ()
    assert found.entries == found.rows == CALLS + CALLS // 8 + 1


async def test_however_many_go_the_database_reads_the_same_statements(tmp_path):
    said: list[str] = []

    @event.listens_for(Engine, "before_cursor_execute")
    def hear(*given: object) -> None:
        said.append(str(given[2]))

    rounds: list[set[str]] = []
    try:
        async with await Store.open(settings(tmp_path)) as store:
            for i in range(20):
                await store.append(record(f"r{i:02}"))
            for most in (17, 12, 1):
                said.clear()
                assert (await store.prune("", most)).records
                rounds.append(set(said))
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    assert rounds[0] == rounds[1] == rounds[2]

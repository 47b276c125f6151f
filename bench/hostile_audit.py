# ruff: noqa: S608, S311 - the tamperer writes SQL, and draws from a seed
"""Tampering with the audit: random edits of five kinds on copies of a store, each by several means, and what is found.

Every kind has a crude way and a sly one: after the sly one the chain was made anew, and holds by itself. A signed
checkpoint of the whole store lies elsewhere, as it should. The control is the untouched copy.
"""

import asyncio
import contextlib
import hashlib
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite

from insource.errors import InsourceError
from insource.journeys import audit
from insource.nouns import Attempt, Decision, Intent, Pending, Prediction, Record, Release, Review, StageChange, Usage
from insource.settings import Settings, load_settings
from insource.stats import clopper_pearson_upper
from insource.store import Store
from insource.store.links import entry_hash

TABLES = {"record": "id", "review": "record", "stage_change": "seq"}
ROWS = {"record": "record", "review": "review", "stage": "stage_change"}
COLUMNS = {
    "record": (
        "body",
        "id",
        "task",
        "release",
        "tenant",
        "outcome",
        "input_hash",
        "confidence",
        "input_tokens",
        "created",
    ),
    "review": ("body", "record", "task"),
    "stage_change": ("body", "release", "task"),
    "entry": ("body", "kind", "about", "hash"),
}
Db = Any
Change = Callable[[Db, random.Random], None]


async def filled(root: Path, calls: int) -> Settings:
    """Fills the store of a workspace: so many calls in two phases, verdicts on some, releases that went live."""
    settings = load_settings(root)
    async with await Store.open(settings) as store:
        for begin in range(0, calls, 500):
            some = range(begin, min(calls, begin + 500))
            await asyncio.gather(*(store.intend(_intent(i)) for i in some))
            await asyncio.gather(*(_ended(store, i) for i in some))
        for i in range(0, calls, 20):
            await store.settle(Review(record=f"call-{i:06}", verdict="right", reviewer="ada"))
        for i in range(1, 9):
            await store.add_release(_release(f"{i}.0.0"))
            change = StageChange(release=f"t@{i}.0.0", before="candidate", after="live", who="ada", why="it passed")
            await store.change_stage(change, retire=f"t@{i - 1}.0.0" if i > 1 else "")
        await audit.checkpoint(settings, store)
    return settings


async def _ended(store: Store, i: int) -> None:
    waits = i % 20 == 0
    said = Prediction(
        text="", value={"label": "a"}, engine="own", confidence=0.5 + i % 50 / 100, usage=Usage(input_tokens=i % 90)
    )
    decision = Decision(engine="own", rule="task", accepted=not waits, reason="because")
    record = Record(
        id=f"call-{i:06}", task="t", release="t@1.0.0", tenant=f"tenant-{i % 7}",
        outcome="review" if waits else "answered",
        attempts=(Attempt(decision=decision, prediction=said),), input_hash=hashlib.sha256(str(i).encode()).hexdigest(),
        latency_ms=float(i % 40), created=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )  # fmt: skip
    waiting = (
        Pending(record=record.id, task="t", input=f"text {i}", value={"label": "a"}, confidence=0.5) if waits else None
    )
    await store.append(record, waiting)


def _intent(i: int) -> Intent:
    now = datetime.now(UTC)
    until = (now + timedelta(seconds=600)).isoformat()
    return Intent(id=f"call-{i:06}", task="t", tenant="local", input_hash="h", created=now.isoformat(), until=until)


def _release(version: str) -> Release:
    return Release(
        task="t", version=version, engine="linear", base="", dataset="d", recipe="r", artefact=version, folder="f"
    )


# ------------------------------------------------------------------ five kinds


def edit(db: Db, dice: random.Random) -> None:
    """One value becomes another: a letter, a number, or something of another type altogether."""
    table, column = dice.choice([(table, column) for table, columns in COLUMNS.items() for column in columns])
    at, before = dice.choice(db.execute(f"SELECT rowid, {column} FROM {table}").fetchall())
    after = before
    while after == before:  # the column's type may turn what was written into what was there
        with contextlib.suppress(sqlite.IntegrityError):  # a name that another row has
            db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (_other(before, dice), at))
        ((after,),) = db.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (at,)).fetchall()


def _other(value: Any, dice: random.Random) -> Any:
    if dice.random() < 0.1:
        return dice.choice((b"\xff\x00", b"", "", "0", "-1", "nought", "\U0001f9ff" * 50, 10**15, 0.5))
    if not isinstance(value, str) or not value:
        return (value or 0) + 1
    at = dice.randrange(len(value))
    return value[:at] + dice.choice([c for c in "0aZ-" if c != value[at]]) + value[at + 1 :]


def edit_slyly(db: Db, dice: random.Random) -> None:
    """A record says something else, and the chain was made anew from it on."""
    key, body = dice.choice(db.execute("SELECT id, body FROM record").fetchall())
    db.execute("UPDATE record SET body = ? WHERE id = ?", (body.replace('"because"', '"to please"'), key))
    _rechained(db)


def delete(db: Db, dice: random.Random) -> None:
    """A row, an entry, or both are gone; of the entries not the last, which would be cut off."""
    (last,) = db.execute("SELECT max(seq) FROM entry").fetchone()
    kind, seq, about = dice.choice(db.execute("SELECT kind, seq, about FROM entry WHERE seq < ?", (last,)).fetchall())
    both = dice.randrange(3)
    if both != 0:
        db.execute("DELETE FROM entry WHERE seq = ?", (seq,))
    if both != 1 or kind == "intent":
        table = ROWS.get(kind, "record")
        db.execute(f"DELETE FROM {table} WHERE {TABLES[table]} = ?", (about,))


def delete_slyly(db: Db, dice: random.Random) -> None:
    """A call as if it had never been: its row, all its entries, and the rest of the chain moved up and made anew."""
    (key,) = dice.choice(db.execute("SELECT id FROM record").fetchall())
    for table, column in (("record", "id"), ("review", "record"), ("pending", "record"), ("entry", "about")):
        db.execute(f"DELETE FROM {table} WHERE {column} = ?", (key,))
    _renumbered(db)
    _rechained(db)


def insert(db: Db, dice: random.Random) -> None:
    """A row beside the chain, an entry at its end that does not belong there, or a second one for the same row."""
    row = list(dice.choice(db.execute("SELECT * FROM record").fetchall()))
    (last, hash_) = db.execute("SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
    kind, about, body = dice.choice(db.execute("SELECT kind, about, body FROM entry WHERE kind != 'intent'").fetchall())
    way = dice.randrange(3)
    if way == 0:
        row[0], row[1] = 10**7, f"put in {dice.random()}"
        db.execute(f"INSERT INTO record VALUES ({','.join('?' * len(row))})", row)
        return
    entry = {"seq": last + 1, "kind": kind, "about": about, "body": body}
    hash_ = entry_hash(hash_, entry) if way == 1 else "0" * 64
    db.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", (*entry.values(), hash_))


def insert_slyly(db: Db, dice: random.Random) -> None:
    """A call that never was, with its row and both entries in the middle, and the chain made anew behind them."""
    row = list(dice.choice(db.execute("SELECT * FROM record").fetchall()))
    (last,) = db.execute("SELECT max(seq) FROM entry").fetchone()
    at, name = dice.randrange(1, last), f"call-x{dice.randrange(10**6):06}"
    body = row[-1].replace(row[1], name)
    row[0], row[1], row[-1] = 10**7, name, body
    db.execute(f"INSERT INTO record VALUES ({','.join('?' * len(row))})", row)
    _moved(db, at, 2)
    for seq, kind, said in ((at + 1, "intent", "{}"), (at + 2, "record", hashlib.sha256(body.encode()).hexdigest())):
        db.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", (seq, kind, name, said, ""))
    _rechained(db)


def reorder(db: Db, dice: random.Random) -> None:
    """Two entries change places, or two rows what they say."""
    if dice.random() < 0.3:
        one, two = dice.sample(db.execute("SELECT id, body FROM record").fetchall(), 2)
        db.execute("UPDATE record SET body = ? WHERE id = ?", (two[1], one[0]))
        db.execute("UPDATE record SET body = ? WHERE id = ?", (one[1], two[0]))
        return
    _swapped(db, dice)


def reorder_slyly(db: Db, dice: random.Random) -> None:
    """Two entries change places, and the chain was made anew."""
    _swapped(db, dice)
    _rechained(db)


def truncate(db: Db, dice: random.Random) -> None:
    """The last entries and all they vouch for, from one to nearly all of them, gone without a trace."""
    (last,) = db.execute("SELECT max(seq) FROM entry").fetchone()
    keep = last - int(last ** dice.random())
    for kind, about in db.execute("SELECT kind, about FROM entry WHERE seq > ?", (keep,)).fetchall():
        table = ROWS.get(kind)
        if table:
            db.execute(f"DELETE FROM {table} WHERE {TABLES[table]} = ?", (about,))
    db.execute("DELETE FROM entry WHERE seq > ?", (keep,))


KINDS: dict[str, tuple[Change, ...]] = {
    "edit": (edit, edit, edit, edit_slyly),
    "delete": (delete, delete, delete_slyly),
    "insert": (insert, insert, insert_slyly),
    "reorder": (reorder, reorder, reorder_slyly),
    "truncate": (truncate,),
}


def _swapped(db: Db, dice: random.Random) -> None:
    (last,) = db.execute("SELECT max(seq) FROM entry").fetchone()
    one, two = dice.sample(range(1, last + 1), 2)
    for a, b in ((one, -1), (two, one), (-1, two)):
        db.execute("UPDATE entry SET seq = ? WHERE seq = ?", (b, a))


def _moved(db: Db, after: int, by: int) -> None:
    """The entries behind `after` get higher numbers."""
    db.execute("UPDATE entry SET seq = -seq WHERE seq > ?", (after,))
    db.execute("UPDATE entry SET seq = ? - seq WHERE seq < 0", (by,))


def _renumbered(db: Db) -> None:
    """The entries are numbered without a gap."""
    for number, (seq,) in enumerate(db.execute("SELECT seq FROM entry ORDER BY seq").fetchall(), 1):
        if number != seq:
            db.execute("UPDATE entry SET seq = ? WHERE seq = ?", (number, seq))


def _rechained(db: Db) -> None:
    """Every entry vouches for what its row says now, and is bound to the one before it."""
    rows = {
        kind: dict(db.execute(f"SELECT CAST({TABLES[t]} AS TEXT), body FROM {t}").fetchall())
        for kind, t in ROWS.items()
    }
    before, changed = "0" * 64, []
    for seq, kind, about, body in db.execute("SELECT seq, kind, about, body FROM entry ORDER BY seq").fetchall():
        if kind in rows:
            body = hashlib.sha256(rows[kind][about].encode()).hexdigest()
        before = entry_hash(before, {"seq": seq, "kind": kind, "about": about, "body": body})
        changed.append((body, before, seq))
    db.executemany("UPDATE entry SET body = ?, hash = ? WHERE seq = ?", changed)


# ------------------------------------------------------------------ found?


@contextlib.contextmanager
def opened(file: Path) -> Iterator[Db]:
    """The database, as whoever can write the file has it."""
    with contextlib.closing(sqlite.connect(str(file))) as db, db:
        yield db


async def verified(settings: Settings) -> list[str]:
    """What `insource audit verify` finds, in words. One of our errors is a find too; any other is a fault of ours."""
    try:
        async with await Store.open(settings) as store:
            return [fault.what for fault in (await audit.verify(settings, store)).faults]
    except InsourceError as error:
        return [f"{type(error).__name__}: {error}"]


def by_verb(root: Path) -> int:
    """How `insource audit verify` ends, as a command."""
    command = [sys.executable, "-m", "insource", "-C", str(root), "audit", "verify", "--json"]
    return subprocess.run(command, capture_output=True, check=False).returncode


def restored(file: Path, written: bytes) -> None:
    """The untouched store."""
    for end in ("-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)
    file.write_bytes(written)


async def tampering(folder: Path, edits: int, calls: int, seed: int) -> dict[str, Any]:
    """So many edits, evenly of the five kinds; some of each by the verb itself."""
    root = folder / "audit"
    root.mkdir(parents=True)
    (root / "insource.toml").touch()
    settings = await filled(root, calls)
    file, dice = settings.state / "insource.db", random.Random(seed)
    written = file.read_bytes()
    clean = await verified(settings)
    tried, missed, raised, means = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    verbs = Counter[int]()
    for number in range(edits):
        kind = list(KINDS)[number % len(KINDS)]
        change = dice.choice(KINDS[kind])
        restored(file, written)
        with opened(file) as db:
            change(db, dice)
        found = await verified(settings)
        tried[kind] += 1
        missed[change.__name__] += not found
        means[change.__name__] += 1
        raised[found[0].partition(":")[0] if found and ":" in found[0] and "Error" in found[0] else ""] += 1
        if number < edits // 100:
            verbs[by_verb(settings.root)] += 1
        if number % 100 == 99:
            print(f"  audit: {number + 1} of {edits} edits, {missed.total()} not found", file=sys.stderr)
    restored(file, written)
    lost = missed.total()
    return {
        "edits": edits,
        "calls": calls,
        "missed": lost,
        "missed_upper95": clopper_pearson_upper(lost, edits),
        "by_kind": dict(tried),
        "by_means": dict(means),
        "missed_by": {name: n for name, n in missed.items() if n},
        "found_as_errors": sum(n for name, n in raised.items() if name),
        "by_verb": {str(code): n for code, n in verbs.items()},
        "control": {"faults": clean, "by_verb": by_verb(settings.root)},
    }

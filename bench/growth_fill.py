"""What a workspace holds after years: calls, what waits for people and what they said, releases with their evidence.

Rows go into the tables through the store's own functions, thousands a transaction, so the audit chain is whole. Bodies
are as short as real ones can be: a label, one or two engines asked, no text but that of review items, a sentence each.
Half of everything is of the task "tickets", the rest of seven others.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from insource.journeys.keys import create
from insource.journeys.promote import promote
from insource.journeys.train import train
from insource.nouns import (
    DRAWN,
    Attempt,
    Check,
    Dataset,
    Decision,
    Example,
    Gate,
    Intent,
    Key,
    Pending,
    Prediction,
    Record,
    Release,
    Report,
    Review,
    StageChange,
    digest,
    from_json,
    stamp,
    to_json,
)
from insource.nouns.prediction import Usage
from insource.nouns.report import Candidate, Failures, Latency, Score
from insource.settings import load_settings, load_task
from insource.store import Store, bulk, draws, links, records
from insource.store.spending import spend
from insource.store.store import FILE
from insource.store.tables import API_KEY, GATE, PENDING, RELEASE, REPORT, REVIEW, STAGE_CHANGE
from insource.store.thread import sqlite_engine

TASKS = ("tickets", "orders", "claims", "returns", "parts", "alarms", "notes", "visits")
LABELS = ("refund", "status", "cancel", "other")
TENANTS = ("local", "north", "south", "east", "west")
DAYS, BATCH, SEED = 90, 5_000, 7
LIVE_S = 60 * 86_400.0  # for how long what is live has been there
SETTLED = 0.6  # of the review items
DRAWN_SHARE = 0.2
HALF = 0.5  # of everything is of the first task
VARIANTS = 64
TOML = """name = "{name}"
kind = "classify"
owner = "desk@plant.example"
[outputs.intent]
labels = ["refund", "status", "cancel", "other"]
[acceptance]
accuracy = 0.5
[risk]
max_error = 0.1
"""
ENGINE = '[engines.hub]\nkind = "scripted"\nscript = "hub.jsonl"\nmodel = "hub"\nusd_per_million_output = 1.0\n'


class Size(NamedTuple):
    """How much there is."""

    records: int
    items: int
    releases: int


class Filled(NamedTuple):
    """The key of an admin, one call, one report, one old release, how long it took and how large the store is."""

    key: str
    record: str
    report: str
    release: str
    fill_s: float
    bytes: int


async def fill(root: Path, size: Size) -> Filled:
    """A workspace with that much in it."""
    began = time.monotonic()
    _furnish(root)
    settings = load_settings(root)
    async with await Store.open(settings) as store:
        await _live(settings, store)
        _, key = await create(store, Key(id="", name="boss", roles=("admin",)), lasts=None)
    found = await asyncio.to_thread(_rows, settings.state / FILE, size)
    size_of = sum(path.stat().st_size for path in settings.state.glob(f"{FILE}*"))
    return Filled(key, *found, fill_s=time.monotonic() - began, bytes=size_of)


def _furnish(root: Path) -> None:
    (root / "tasks").mkdir(parents=True)
    (root / "insource.toml").write_text(ENGINE, "utf-8")
    (root / "hub.jsonl").write_text('{"match": "*", "text": "hello there"}\n', "utf-8")
    for name in TASKS:
        (root / "tasks" / f"{name}.toml").write_text(TOML.format(name=name), "utf-8")


async def _live(settings: Any, store: Store) -> None:
    """A release of the first task that answers calls: it is the oldest of all that there will be."""
    rows = [
        Example(id=f"r{i}", task=TASKS[0], input=f"{LABELS[i % 4]} please, number {i}", split=split,
                target={"intent": LABELS[i % 4]})
        for i, split in zip(range(240), itertools.cycle(["train"] * 8 + ["dev", "test"]), strict=False)
    ]  # fmt: skip
    counts = {split: sum(row.split == split for row in rows) for split in ("train", "dev", "test")}
    await store.save_dataset(Dataset(id=digest([row.id for row in rows]), task=TASKS[0], counts=counts), rows)
    made = await train(load_task(settings, TASKS[0]), settings, store, base="linear")
    check = Check(name="accuracy", demanded="≥ 0.5", found="0.9", passed=True)
    await store.save_gate(Gate(release=made.name, artefact=made.artefact, checks=(check,), report="bench"))
    await promote(made, settings, store)


def _rows(path: Path, size: Size) -> tuple[str, str, str]:
    """All rows; the id of a call in the midst, of a report, and the name of an old release."""
    engine = sqlite_engine(path)
    chance = random.Random(SEED)  # noqa: S311 - made-up rows, not secrets
    with contextlib.closing(engine.connect()) as connection:
        sql = bulk.driver(connection)
        _aged(sql)
        for pragma in ("synchronous=OFF", "cache_size=-400000"):
            sql.execute(f"PRAGMA {pragma}")
        middle, calls, done = "", _calls(size, chance), 0
        while some := list(itertools.islice(calls, BATCH)):
            with _transaction(sql):
                _keep(sql, some, chance)
            middle = some[0][1].id if done <= size.records // 2 else middle
            done += len(some)
        with _transaction(sql):
            report, release = _releases(sql, size.releases, chance)
            _keys(sql, max(10, size.releases // 10))
        sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    engine.dispose()
    return middle, report, release


def _aged(sql: Any) -> None:
    """What is live has been there for two months: it is the only release so far."""
    (body,) = sql.execute("SELECT body FROM release").fetchone()
    made = msgspec.structs.replace(from_json(body, Release), created=stamp(time.time() - LIVE_S))
    sql.execute("UPDATE release SET body = ?", (to_json(made).decode(),))


@contextlib.contextmanager
def _transaction(sql: Any) -> Iterator[None]:
    sql.execute("BEGIN IMMEDIATE")
    yield
    sql.execute("COMMIT")


Call = tuple[Intent, Record, Pending | None]


def _calls(size: Size, chance: random.Random) -> Iterator[Call]:
    """Calls of the last 90 days, oldest first; as many wait, or waited, for a person as there are items."""
    attempts = {task: _attempts(task, chance) for task in TASKS}
    start, step = time.time() - DAYS * 86_400, DAYS * 86_400 / size.records
    # a fifth of what people see are given answers, drawn by chance
    waits, given = size.items / size.records * (1 - DRAWN_SHARE), size.items / size.records * DRAWN_SHARE
    parts = (("review", waits), ("failed", waits + 0.01), ("escalated", waits + 0.06))
    for i in range(size.records):
        at = start + i * step
        task = TASKS[0] if chance.random() < HALF else TASKS[1 + i % (len(TASKS) - 1)]
        chance_at = chance.random()
        outcome = next((name for name, most in parts if chance_at < most), "answered")
        made = attempts[task][outcome][i % VARIANTS]
        looked = chance_at > 1 - given
        name = f"{int(at * 1000):012x}7{i % 4096:03x}8{chance.getrandbits(60):015x}"
        tenant, created, hashed = TENANTS[i % 5], stamp(at), f"{chance.getrandbits(256):064x}"
        intent = Intent(id=name, task=task, tenant=tenant, input_hash=hashed, created=created, until=stamp(at + 30))
        record = Record(
            id=name, task=task, release=f"{task}@1.0.0", tenant=tenant, attempts=made, outcome=outcome,
            input_hash=hashed, latency_ms=3 + chance.random() * 20, usd=0.002 if outcome == "escalated" else 0.0,
            created=created, caller=f"desk{i % 20}",
        )  # fmt: skip
        pending = _pending(record, i, "not sure enough") if outcome == "review" else None
        pending = _pending(record, i, DRAWN) if looked else pending
        yield intent, record, pending


def _attempts(task: str, chance: random.Random) -> dict[str, list[tuple[Attempt, ...]]]:
    """Some ways in which a call of a task can have gone, by its outcome."""

    def one(engine: str, label: str, *, accepted: bool, rule: str = "task") -> Attempt:
        sure = round(chance.uniform(0.8, 1.0) if accepted else chance.uniform(0.2, 0.8), 4)
        decision = Decision(engine=engine, rule=rule, accepted=accepted, reason="0.8 is demanded", confidence=sure,
                            threshold=0.8)  # fmt: skip
        said = Prediction(text="", value={"intent": label}, engine=engine, confidence=sure,
                          usage=Usage(input_tokens=40, output_tokens=2), latency_ms=2.5)  # fmt: skip
        return Attempt(decision=decision, prediction=said, usd=0.002 if rule == "escalate" else 0.0)

    def ways(outcome: str) -> tuple[Attempt, ...]:
        label, own = chance.choice(LABELS), f"{task}@1.0.0"
        if outcome == "failed":
            return (Attempt(decision=Decision(engine=own, rule="task", accepted=False, reason="it took too long")),)
        if outcome == "escalated":
            return one(own, label, accepted=False), one("hub", label, accepted=True, rule="escalate")
        return (one(own, label, accepted=outcome == "answered"),)

    return {each: [ways(each) for _ in range(VARIANTS)] for each in ("answered", "escalated", "review", "failed")}


def _pending(record: Record, i: int, reason: str) -> Pending:
    """An item; a third of them are worth the same."""
    said = record.answer
    return Pending(record=record.id, task=record.task or "", input=f"please give me my money back, it is number {i}",
                   value=said.value if said else None, confidence=said.confidence if said else None,
                   reason=reason, created=record.created,
                   worth=0.4 if i % 3 == 0 else 1 - (said.confidence or 0.0) if said else 0.0)  # fmt: skip


def _keep(sql: Any, calls: Sequence[Call], chance: random.Random) -> None:
    """What `records.intend`, `records.append` and `records.settle` write of calls that have ended."""
    kept = [records.kept(record, pending) for _, record, pending in calls]
    rows = [(*links.record_columns(one.record), one.body) for one in kept]
    waits = [pending for _, _, pending in calls if pending is not None]
    settled = {one.record for one in waits if chance.random() < SETTLED}
    said = [_review(one, chance) for one in waits if one.record in settled]
    bulk.insert(sql, records.RECORD, records.RECORD_NAMES, rows)
    links.enter(sql, [entry for (intent, record, _), one in zip(calls, kept, strict=True)
                      for entry in (("intent", intent.id, to_json(intent).decode()),
                                    ("record", record.id, one.body))])  # fmt: skip
    spend(sql, [record for _, record, _ in calls])
    shown = [dict(zip(records.PENDING_NAMES, records.shown(one), strict=True)) for one in waits]
    bulk.insert(sql, PENDING, records.PENDING_NAMES,
                [tuple((row | {"settled": row["record"] in settled}).values()) for row in shown])  # fmt: skip
    draws.note(sql, [one.record for one in waits if one.reason == DRAWN])
    bulk.insert(sql, REVIEW, ("record", "task", "body"),
                [(one.record, task, to_json(one).decode()) for task, one in said])  # fmt: skip
    links.enter(sql, [("review", one.record, to_json(one).decode()) for _, one in said])
    for _, one in said:
        sql.execute("UPDATE draw SET verdict = ? WHERE record = ?", (one.verdict, one.record))


def _review(item: Pending, chance: random.Random) -> tuple[str, Review]:
    right = chance.random() < 0.85
    return item.task, Review(
        record=item.record, verdict="right" if right else "wrong", reviewer=f"person{chance.randrange(8)}",
        corrected=None if right else {"intent": chance.choice(LABELS)}, decided=item.created[:19] + "+00:00",
    )  # fmt: skip


def _releases(sql: Any, count: int, chance: random.Random) -> tuple[str, str]:
    """Releases that came and went, with a report, a gate and three changes of stage each; one of each, by name."""
    made = [_release(i, count, chance) for i in range(1, count + 1)]
    reports = [_report(release) for release in made]
    gates = [_gate(release, report) for release, report in zip(made, reports, strict=True)]
    bulk.insert(sql, RELEASE, ("name", "task", "stage", "body"),
                [(one.name, one.task, one.stage, to_json(one).decode()) for one in made])  # fmt: skip
    bulk.insert(sql, REPORT, ("id", "task", "split", "body"),
                [(one.id, one.task, one.split, to_json(one).decode()) for one in reports])  # fmt: skip
    bulk.insert(sql, GATE, ("release", "body"), [(one.release, to_json(one).decode()) for one in gates])
    seq = int(sql.execute("SELECT max(seq) FROM stage_change").fetchone()[0])
    moved = [
        (number, change) for number, change in enumerate(itertools.chain.from_iterable(map(_moves, made)), seq + 1)
    ]
    bulk.insert(sql, STAGE_CHANGE, ("seq", "release", "task", "body"),
                [(n, one.release, one.release.partition("@")[0], to_json(one).decode())
                 for n, one in moved])  # fmt: skip
    links.enter(sql, [("stage", n, to_json(one).decode()) for n, one in moved])
    return reports[count // 2].id, made[count // 2].name


def _release(i: int, count: int, chance: random.Random) -> Release:
    task = TASKS[0] if i % 2 else TASKS[1 + (i // 2) % (len(TASKS) - 1)]
    at = stamp(time.time() - DAYS * 86_400 * (1 - i / count))
    return Release(
        task=task, version=f"1.{i // 100 + 1}.{i % 100}", engine="linear", base="linear", dataset=digest(i),
        recipe=digest([i]), artefact=digest(["artefact", i]), folder=f"releases/{task}/{i}", created=at,
        changelog="120 reviewed rows more, 4 labels with fewer mistakes", approved_by="boss",
        stage="candidate" if chance.random() < 0.05 else "retired",
    )  # fmt: skip


def _gate(release: Release, report: Report) -> Gate:
    checks = [Check(name=f"check {k}", demanded="≥ 0.5", found="0.91 (0.90 to 0.92, n 3,080)", passed=True)
              for k in range(8)]  # fmt: skip
    return Gate(release=release.name, artefact=release.artefact, checks=tuple(checks), report=report.id,
                created=release.created)  # fmt: skip


def _moves(release: Release) -> list[StageChange]:
    way = ("candidate", "staging", "canary", "retired")
    return [StageChange(release=release.name, before=before, after=after, who="boss", why="its tests say so",
                        created=release.created, share=10 if after == "canary" else 0)
            for before, after in itertools.pairwise(way)]  # type: ignore[arg-type]  # fmt: skip


def _report(release: Release) -> Report:
    """A report of two candidates with a page of evidence, some 6 kB."""
    score = Score(metric="accuracy", value=0.91, low=0.90, high=0.92, n=3080)
    confusions = [{"output": "intent", "target": a, "answer": b, "n": 3, "of": 80,
                   "examples": ["please give me money back"] * 3}
                  for a in LABELS for b in LABELS]  # fmt: skip
    found = tuple(
        Candidate(candidate=name, kind="specialist", scores=(score,), latency_ms=Latency(p50=2.0, p95=3.0, p99=4.0),
                  usd_per_1k=None, failures=Failures(n=3080, invalid=0, upper95=0.001),
                  details={"confusions": confusions})
        for name in (release.name, "baseline")
    )  # fmt: skip
    made = Report(task=release.task, dataset=release.dataset, split="test", candidates=found, created=release.created,
                  summary=(f"{release.name} is right in 91.0%",))  # fmt: skip
    return msgspec.structs.replace(made, id=digest(made))


def _keys(sql: Any, count: int) -> None:
    """Keys, of which nine in ten were ended."""
    made = [
        Key(id=f"{i:08d}", name=f"desk{i}", tenant=TENANTS[i % 5], digest=digest(i), created=stamp(time.time()),
            revoked="" if i % 10 == 0 else stamp(time.time()))
        for i in range(count)
    ]  # fmt: skip
    changed = int(sql.execute("SELECT max(changed) FROM api_key").fetchone()[0])
    rows = [(one.id, one.name, changed + 1 + i, to_json(one).decode()) for i, one in enumerate(made)]
    bulk.insert(sql, API_KEY, ("id", "name", "changed", "body"), rows)

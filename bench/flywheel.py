"""What people say of doubtful answers makes the next release better: python bench/flywheel.py DATA_ROOT [--json].

Half of CLINC150's train rows are known; the other half arrives as traffic, in rounds. The live release answers what it
is sure of at the error the task tolerates, the rest waits for a person, and so does a share of what was answered, drawn
by chance. The person is the data set's own label and sees only what the queue gives. Then `improve`: reviewed rows in,
trained, gated, measured beside the live release, and where it passed it goes live for the next round.

What is shown of a round: the share answered automatically and the error among it, what a person looked at, and the
accuracy afterwards on the official test rows, of which none is ever trained on. It is held against training on all
rows at once, and against as many rows drawn by chance from what arrived.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from contract import Pairs, clinc150
from insource.collect.split import merge
from insource.journeys.answer import Path as AnswerPath
from insource.journeys.answer import Tier, answer, discard
from insource.journeys.gate import gate
from insource.journeys.improve import Wanted, improve
from insource.journeys.lineup import Lineup
from insource.journeys.promote import promote
from insource.journeys.review import Said, settle
from insource.journeys.serve import close_path, open_path
from insource.journeys.train import train
from insource.nouns import Dataset, Example, Release, ask, digest
from insource.review import ANY
from insource.settings import Settings, load_settings, load_task
from insource.stats import paired_proportions, wilson
from insource.store import Store

NAME, PERSON, AT_ONCE, ONE_GO = "clinc150", "gold", 256, 50
TASK = """name = "clinc150"
kind = "classify"
instruction = "Choose the label of the text."
[outputs.label]
labels = "labels/clinc150.txt"
[acceptance]
accuracy = 0.85
[risk]
max_error = {risk}
audit = {audit}
"""


def parted(rows: Pairs, dice: random.Random) -> tuple[Pairs, Pairs]:
    """Two halves, each label divided evenly, both in an order drawn by chance."""
    by: dict[str, Pairs] = {}
    for row in rows:
        by.setdefault(row[1], []).append(row)
    known: Pairs = []
    later: Pairs = []
    for label in sorted(by):
        mine = dice.sample(by[label], len(by[label]))
        known += mine[: len(mine) // 2]
        later += mine[len(mine) // 2 :]
    dice.shuffle(known)
    dice.shuffle(later)
    return known, later


def examples(split: str, rows: Pairs) -> list[Example]:
    """The rows as they are kept, each under its own identity."""
    return [Example(id=Example.identity(NAME, text, {"label": label}), task=NAME, input=text,
                    target={"label": label}, split=split) for text, label in rows]  # fmt: skip


async def place(root: Path, rows: dict[str, Pairs], given: argparse.Namespace) -> Settings:
    """A workspace with the task and these rows by split."""
    for folder in ("tasks", "labels"):
        (root / folder).mkdir(parents=True)
    (root / "insource.toml").touch()
    labels = sorted({label for _, label in rows["train"]})
    (root / "labels" / f"{NAME}.txt").write_text("\n".join(labels) + "\n", "utf-8")
    (root / "tasks" / f"{NAME}.toml").write_text(TASK.format(risk=given.risk, audit=given.audit), "utf-8")
    settings = load_settings(root)
    made = list(merge([], [one for split, part in rows.items() for one in examples(split, part)]).rows)
    async with await Store.open(settings) as store:
        counts = dict(Counter(one.split for one in made))
        await store.save_dataset(Dataset(id=digest(made), task=NAME, counts=counts), made)
    return settings


async def released(settings: Settings, store: Store, given: argparse.Namespace) -> Release:
    """The first release, through its gate and live."""
    task = load_task(settings, NAME)
    made = await train(task, settings, store, base=given.base, recipe=given.recipe)
    await gate(task, made, settings, store)
    await promote(made, settings, store)
    return await store.release(NAME, made.version)


async def right(release: Release, settings: Settings, store: Store, rows: Pairs) -> list[bool]:
    """Which of the rows it answers rightly, sure or not."""
    task = load_task(settings, NAME)
    engine = await asyncio.to_thread(Lineup(settings, store, task).release, release)
    path, seats = AnswerPath(task=task, tiers=(Tier(engine, release.name),)), asyncio.Semaphore(AT_ONCE)

    async def one(number: int, text: str, label: str) -> bool:
        async with seats:
            said = (await answer(ask(task, text, id=f"{number:032x}"), path, discard)).answer
        return said is not None and (said.value or {}).get("label") == label

    try:
        return list(await asyncio.gather(*[one(i, text, label) for i, (text, label) in enumerate(rows)]))
    finally:
        await engine.close()


async def arrived(settings: Settings, store: Store, rows: Pairs, dice: random.Random) -> dict[str, int]:
    """Calls of the task, kept as the server keeps them: how many were answered automatically, and wrong among these."""
    path, seats = await open_path(NAME, settings, store), asyncio.Semaphore(AT_ONCE)
    assert path.task is not None
    task, found = path.task, Counter(answered=0, wrong=0)

    async def one(text: str, label: str, name: str) -> None:
        async with seats:
            record = await answer(ask(task, text, id=name), path, store.append)
        if record.outcome == "answered" and record.answer is not None:
            found["answered"] += 1
            found["wrong"] += (record.answer.value or {}).get("label") != label

    try:
        await asyncio.gather(*[one(text, label, f"{dice.getrandbits(128):032x}") for text, label in rows])
    finally:
        await close_path(path)
    return dict(found)


async def looked_at(settings: Settings, store: Store, gold: dict[str, str]) -> dict[str, int]:
    """A person goes through all that waits and says what is right: how many were doubtful, how many drawn by chance."""
    task, found = load_task(settings, NAME), Counter(doubtful=0, by_chance=0, corrected=0)
    while waiting := await store.lease(NAME, PERSON, ONE_GO, 600.0):
        for one in waiting:
            label = gold[one.input]
            fine = (one.value or {}).get("label") == label
            said = Said(verdict="right" if fine else "wrong", correct=() if fine else {"label": label}, reviewer=PERSON)
            await settle(task, store, one.record, said)
            found["by_chance" if one.worth == ANY else "doubtful"] += 1
            found["corrected"] += not fine
    return dict(found)


async def turned(settings: Settings, store: Store, given: argparse.Namespace) -> dict[str, Any]:
    """`improve`, and live where it passed its gate."""
    recipe = str(given.recipe) if given.recipe else ""
    done = await improve(load_task(settings, NAME), settings, store, Wanted(recipe=recipe))
    if done.passed:
        made = await store.release(NAME, done.release.partition("@")[2])
        await promote(made, settings, store, why="passed its gate")
    return {"release": done.release, "passed": done.passed, "joined": done.joined, "left": done.left}


def share(count: int, n: int) -> dict[str, Any]:
    """A share with its interval."""
    low, high = wilson(count, n) if n else (0.0, 1.0)
    return {"value": count / n if n else 0.0, "low": low, "high": high, "n": n}


async def wheel(root: Path, sets: dict[str, Pairs], given: argparse.Namespace) -> dict[str, Any]:
    """Round after round, in a workspace that knows half of the rows."""
    dice = random.Random(given.seed)  # noqa: S311 - the same halves each time
    known, later = parted(sets["train"], dice)
    settings, gold = await place(root, sets | {"train": known}, given), dict(later)
    rounds, step = [], -(-len(later) // given.rounds)
    async with await Store.open(settings) as store:
        live = await released(settings, store, given)
        hits = await right(live, settings, store, sets["test"])
        first = share(sum(hits), len(hits))
        for start in range(0, len(later), step):
            came = later[start : start + step]
            said = await arrived(settings, store, came, dice)
            seen = await looked_at(settings, store, gold)
            made = await turned(settings, store, given)
            now = await store.live(NAME)
            assert now is not None
            if now.name != live.name:
                live, hits = now, await right(now, settings, store, sets["test"])
            dataset = await store.dataset(NAME)
            rounds.append({
                "calls": len(came), "coverage": share(said["answered"], len(came)),
                "error": share(said["wrong"], said["answered"]), "seen": share(seen["doubtful"] + seen["by_chance"],
                len(came)), **seen, **made, "live": live.name, "rows": dataset.counts if dataset else {},
                "accuracy": share(sum(hits), len(hits)),
            })  # fmt: skip
            print(f"  round {len(rounds)}: { {k: rounds[-1][k] for k in ('coverage', 'error', 'seen', 'accuracy')} }",
                  file=sys.stderr)  # fmt: skip
        chain = len((await store.verify_chain()).faults)
    labels = sum(one["doubtful"] + one["by_chance"] for one in rounds)
    drawn = known + random.Random(given.seed + 1).sample(later, labels)  # noqa: S311 - the same rows each time
    return {"known": len(known), "later": len(later), "first": first, "rounds": rounds, "labels": labels,
            "chain_faults": chain, "hits": hits, "drawn": drawn}  # fmt: skip


async def at_once(root: Path, sets: dict[str, Pairs], given: argparse.Namespace) -> list[bool]:
    """Which of the test rows a release is right for that was trained on `sets` at once."""
    settings = await place(root, sets, given)
    async with await Store.open(settings) as store:
        made = await train(load_task(settings, NAME), settings, store, base=given.base, recipe=given.recipe)
        return await right(made, settings, store, sets["test"])


def beside(ours: list[bool], theirs: list[bool]) -> dict[str, Any]:
    """The other's accuracy, and ours less it on the same rows."""
    ours_only = sum(a and not b for a, b in zip(ours, theirs, strict=True))
    theirs_only = sum(b and not a for a, b in zip(ours, theirs, strict=True))
    pair = paired_proportions(ours_only, theirs_only, len(ours))
    return share(sum(theirs), len(theirs)) | {
        "difference": {"value": pair.value, "low": pair.low, "high": pair.high, "n": len(ours)}
    }


async def measured(root: Path, given: argparse.Namespace) -> dict[str, Any]:
    """The rounds, and what they are held against."""
    said = clinc150(given.data)
    sets = {"train": said["train"], "dev": said["dev"], "test": said["test"]}
    if given.rows:
        sets = {split: pairs[:: max(1, len(pairs) // given.rows)] for split, pairs in sets.items()}
    began = time.monotonic()
    found = await wheel(root / "wheel", sets, given)
    hits, drawn = found.pop("hits"), found.pop("drawn")
    found["right"] = "".join(str(int(hit)) for hit in hits)
    if given.alone:
        return found | {"minutes": round((time.monotonic() - began) / 60, 1)}
    found["all"] = beside(hits, await at_once(root / "all", sets, given))
    found["by_chance"] = beside(hits, await at_once(root / "drawn", sets | {"train": drawn}, given))
    return found | {"minutes": round((time.monotonic() - began) / 60, 1)}


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of data sets")
    parser.add_argument("--base", default="linear")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--risk", type=float, default=0.02)
    parser.add_argument("--audit", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rows", type=int, help="only about so many of each split, to try it")
    parser.add_argument("--alone", action="store_true", help="leave out what it is held against")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measured(Path(folder), given))
    document = {"bench": "flywheel", "engine": given.base, "risk": given.risk, "audit": given.audit,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores"} | found  # fmt: skip
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

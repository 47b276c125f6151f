"""A governed workspace: rows with tags from a real file, a linear release through the gate, live, called and signed."""

import asyncio
import csv
import random
from pathlib import Path

from insource.collect.columns import Wish
from insource.journeys.audit import checkpoint
from insource.journeys.backups import keep_backups
from insource.journeys.collect import collect
from insource.journeys.drill import drill
from insource.journeys.gate import gate
from insource.journeys.govern import declare
from insource.journeys.lineup import quiet
from insource.journeys.promote import promote
from insource.journeys.sign import sign_release
from insource.journeys.train import train
from insource.nouns import Release, ask, record_id
from insource.release.signature import make_key
from insource.settings import Settings, load_settings, load_task
from insource.store import Store, egress
from insource.store.egress import Egress

PHRASES = {
    "leak": ["oil leak at the seal", "hose drips fluid", "puddle of coolant", "gasket is leaking", "wet flange"],
    "noise": ["loud grinding noise", "squeal from the belt", "rattles at speed", "knocking gearbox", "humming motor"],
    "heat": ["bearing too hot", "overheated drive", "smell of burning", "temperature alarm", "smoke from the cabinet"],
}
WHEN = ["since this morning", "after the restart", "only under load", "during cleaning", "at full speed", "before noon",
        "whenever it cools", "with every second part"]  # fmt: skip
WHERE = ["beside the press", "in hall seven", "next to the lathe", "under the crane", "behind the furnace",
         "by gate two", "on the upper floor", "close to the dock"]  # fmt: skip
CONFIG = """
[audit]
checkpoints = "../signed.jsonl"
[signing]
trusted = ["release.key.pub"]
"""
TASK = """
name = "defects"
kind = "classify"
owner = "quality@plant.example"
[outputs.category]
labels = ["heat", "leak", "noise"]
[acceptance]
accuracy = 0.3
[govern]
slices = ["shift"]
by = "A. Muster"
on = 2026-11-20
[govern.declared]
intended_use = "Files defect reports of plant 4."
"""


def workspace(root: Path, task: str = TASK) -> Settings:
    """insource.toml, whose checkpoints go beside the workspace, and the task's file."""
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    (root / "insource.toml").write_text(CONFIG)
    (root / "tasks" / "defects.toml").write_text(task)
    return load_settings(root, {"INSOURCE_CACHE": str(root / "cache")})


def reports(file: Path, count: int = 600) -> Path:
    """Reports of two shifts and of a third with few: the night's are mislabelled often, and three rows are spoilt."""
    rng = random.Random(0)  # noqa: S311 - rows, not secrets
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["report", "category", "shift"])
        for i in range(count):
            label, shift = rng.choice(sorted(PHRASES)), ("day", "night")[i % 2] if i % 40 else "sunday"
            given = rng.choice(sorted(PHRASES)) if shift == "night" and i % 8 == 1 else label
            text = f"{rng.choice(PHRASES[label])} {rng.choice(WHEN)} {rng.choice(WHERE)}"
            rows.writerow([text, given, shift])
        rows.writerow(["a report without a label", "", "day"])
        rows.writerow(["a report of another kind", "rust", "day"])
        rows.writerow(["write to a.muster@plant.example about the seal", "leak", "day"])
    return file


async def made(settings: Settings, store: Store) -> Release:
    """A release, trained on collected rows and through the gate."""
    task = load_task(settings, "defects")
    return await released(settings, store) if await store.dataset(task.name) else await first(settings, store)


async def first(settings: Settings, store: Store) -> Release:
    """The rows, and the first release of them."""
    make_key(settings.root / "release.key")
    wish = Wish(input="report", targets=("category",), tags=("shift",))
    await collect("defects", [reports(settings.root / "reports.csv")], settings, store, wish=wish)
    return await released(settings, store)


async def released(settings: Settings, store: Store) -> Release:
    """Another release of the rows, through the gate."""
    task = load_task(settings, "defects")
    release = await train(task, settings, store, base="linear")
    answered = await gate(task, release, settings, store, progress=quiet)
    await sign_release(release, settings, settings.root / "release.key")
    assert answered.passed, [check for check in answered.checks if not check.passed]
    return release


async def called(settings: Settings, store: Store, count: int = 5) -> None:
    """Calls through the path that serves."""
    from insource.journeys.answer import answer
    from insource.journeys.serve import open_path

    path = await open_path("defects", settings, store)
    for i in range(count):
        await answer(ask(path.task, f"oil leak at the seal {i}", id=record_id()), path, store.append)
    for tier in path.tiers:
        await tier.engine.close()


async def build(settings: Settings) -> None:
    """Everything: two releases that went live one after the other, calls, a journal, a word said, a checkpoint."""
    async with await Store.open(settings) as store:
        for _ in range(2):
            await promote(await made(settings, store), settings, store, why="it passed")
        await called(settings, store)
        await declare("defects", "risks=None beyond a wrong desk.", "B. Beispiel", settings, store)
        await checkpoint(settings, store)
        await keep_backups(settings, store)
        await store.backup(settings.root.parent / "drilled.tar")
        await drill(settings, store, file=settings.root.parent / "drilled.tar", rows=5)
    journal = egress.Journal(settings.state / egress.FILE)
    at = "2026-11-20T08:00:00+00:00"
    journal.note(Egress(purpose="engine", destination="models.example:443", region="eu", address="192.0.2.7",
                        first=at, last=at, connections=2, sent=900))  # fmt: skip
    journal.flush()


def built(root: Path) -> Settings:
    """A workspace with all of it."""
    settings = workspace(root)
    asyncio.run(build(settings))
    return settings

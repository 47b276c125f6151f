"""A workspace to migrate: a task with two hundred test rows, a frontier and a cheap engine that are scripted.

As a program it migrates the task in the folder that it is given, slowly enough to be killed.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from insource.collect.take_calls import Fact
from insource.journeys.incumbent import with_entry
from insource.journeys.migrate import migrate
from insource.journeys.migrate_begin import Wanted
from insource.nouns import Dataset, Example, digest
from insource.nouns.assessment import Assessed
from insource.settings import Settings, load_settings, load_task
from insource.store import Store

WANTED = Wanted(rows=200, load_s=0.2)
ENGINE = """
[engines.{name}]
kind = "scripted"
script = "{name}.jsonl"
region = "us"
usd_per_million_input = {price}
usd_per_million_output = {price}
"""
HUB = """
[networks]
us = ["127.0.0.1"]
[engines.hub]
kind = "openai"
base_url = "{url}"
model = "m"
region = "us"
usd_per_million_input = 2
usd_per_million_output = 8
"""
TASK = """
name = "tickets"
kind = "classify"
sensitivity = "{sensitivity}"
[outputs.intent]
labels = ["refund", "status", "cancel"]
[acceptance]
accuracy = 0.9
[risk]
{risk}
[levels]
{levels}
[price]
calls_per_day = {calls}
[price.effort]
fte = 0.01
salary_usd = 120000
[migrate]
incumbent = "{incumbent}"
bases = ["linear"]
"""
WORDS = {
    "refund": ["money back", "refund my payment", "return the money", "reimburse me"],
    "status": ["where is my order", "track the parcel", "delivery status", "has it shipped"],
    "cancel": ["cancel my order", "stop the purchase", "do not send it", "withdraw the order"],
}
LABELS = tuple(WORDS)


def rows() -> list[Example]:
    """Six hundred texts, of which two hundred are to test with."""
    made = []
    for i in range(600):
        label = LABELS[i % 3]
        text = f"please {WORDS[label][i // 3 % 4]} number {i:04d} thanks {'very much ' * (i % 4)}"
        target = {"intent": label}
        split = ("test", "train", "dev" if i % 2 else "train")[i // 3 % 3]
        made.append(Example(id=Example.identity("tickets", text, target), task="tickets", input=text, target=target,
                            split=split))  # fmt: skip
    return made


def script(root: Path, name: str, wrong: int, **how: object) -> None:
    """What the engine `name` says: the label of each row, but for the first `wrong` of the test rows."""
    lines, missed = [], 0
    for i, row in enumerate(rows()):
        label = row.target["intent"]
        if row.split == "test" and missed < wrong:
            label, missed = LABELS[(i + 1) % 3], missed + 1
        lines.append(json.dumps({"match": f"{i:04d}", "value": {"intent": label}, **how}))
    lines.append(json.dumps({"match": "*", "value": {"intent": "status"}}))
    (root / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def write(root: Path, **task: object) -> Settings:
    """The task's file."""
    usual = {"calls": 1_000_000, "sensitivity": "any", "incumbent": "large", "risk": "", "levels": ""}
    text = TASK.format(**usual | task)
    (root / "tasks" / "tickets.toml").write_text(text)
    return load_settings(root)


def folder(root: Path, engines: dict[str, tuple[float, int]], **task: object) -> Settings:
    """A workspace with engines by name: US dollars per million tokens, and how many rows each gets wrong."""
    (root / "tasks").mkdir(parents=True)
    (root / "insource.toml").write_text("".join(ENGINE.format(name=n, price=p) for n, (p, _) in engines.items()))
    for name, (_, wrong) in engines.items():
        script(root, name, wrong)
    return write(root, **task)


async def filled(settings: Settings, facts: Sequence[Fact] = ()) -> None:
    """The rows, collected, and what the log of the model so far says of them."""
    examples = rows()
    async with await Store.open(settings) as store:
        lineage = with_entry((), facts, store)
        counts = {split: sum(row.split == split for row in examples) for split in ("train", "dev", "test")}
        await store.save_dataset(Dataset(id=digest(examples), task="tickets", counts=counts, lineage=lineage), examples)


async def migrated(settings: Settings, wanted: Wanted = WANTED) -> Assessed:
    """The task, migrated."""
    async with await Store.open(settings) as store:
        return await migrate(load_task(settings, "tickets"), settings, store, wanted, speak=(_say, lambda *_: None))


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    asyncio.run(migrated(load_settings(Path(sys.argv[1]))))

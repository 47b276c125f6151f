"""A workspace whose task `tickets` has a live release: the linear engine, trained on a few generated rows."""

from pathlib import Path

from insource.journeys.train import train
from insource.nouns import Dataset, Example, Release, StageChange, digest
from insource.settings import Settings, load_settings, load_task
from insource.store import Store

CONFIG = """
[engines.hub]
kind = "scripted"
script = "hub.jsonl"
region = "premises"
[engines.cloud]
kind = "scripted"
script = "hub.jsonl"
region = "us"
"""
TASK = """
name = "tickets"
kind = "classify"
[outputs.intent]
labels = ["refund", "status", "cancel"]
[risk]
threshold = 0.5
else = ["cloud", "review"]
"""
WORDS = {
    "refund": ["money back", "refund my payment", "return the money", "reimburse me"],
    "status": ["where is my order", "track the parcel", "delivery status", "has it shipped"],
    "cancel": ["cancel my order", "stop the purchase", "do not send it", "withdraw the order"],
}


def rows() -> list[Example]:
    made = []
    for label, phrases in WORDS.items():
        for i in range(60):
            text = f"please {phrases[i % 4]} number {i} thanks {'very much' * (i % 3)}"
            split = ("train", "train", "dev", "test")[i % 4 if i % 8 else 0]
            target = {"intent": label}
            made.append(
                Example(
                    id=Example.identity("tickets", text, target), task="tickets", input=text, target=target, split=split
                )
            )
    return made


def folder(root: Path) -> Settings:
    (root / "tasks").mkdir(parents=True)
    (root / "insource.toml").write_text(CONFIG)
    (root / "tasks" / "tickets.toml").write_text(TASK)
    (root / "hub.jsonl").write_text('{"match": "*", "text": "hello there"}\n')
    return load_settings(root)


async def release(settings: Settings, store: Store) -> Release:
    examples = rows()
    dataset = Dataset(id=digest([e.id for e in examples]), task="tickets", counts={"train": 1})
    await store.save_dataset(dataset, examples)
    return await train(load_task(settings, "tickets"), settings, store, base="linear")


async def go_live(store: Store, name: str, *, retire: str = "") -> None:
    change = StageChange(release=name, before="candidate", after="live", who="test", why="test")
    await store.change_stage(change, retire=retire)

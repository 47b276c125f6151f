"""What the tests of releases are made of: a workspace, generated rows, and a release without a model."""

import random
from pathlib import Path

from insource.engines.artefact import Manifest, file_digests, write_manifest
from insource.nouns import Dataset, Example, Release, Task, digest
from insource.settings import Settings, load_settings
from insource.store import Store

PHRASES = {
    "leak": ["oil leak at the seal", "hose drips fluid", "puddle of coolant", "gasket is leaking", "wet flange"],
    "noise": ["loud grinding noise", "squeal from the belt", "rattles at speed", "knocking gearbox", "humming motor"],
    "heat": ["bearing too hot", "overheated drive", "smell of burning", "temperature alarm", "smoke from the cabinet"],
}
TASK = """
name = "defects"
kind = "classify"
owner = "quality@plant.example"
[outputs.category]
labels = ["heat", "leak", "noise"]
[acceptance]
{acceptance}
"""


def workspace(root: Path, acceptance: str = "accuracy = 0.8") -> Settings:
    """insource.toml and tasks/defects.toml under `root`."""
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    (root / "insource.toml").write_text("")
    (root / "tasks" / "defects.toml").write_text(TASK.format(acceptance=acceptance))
    return load_settings(root, {"INSOURCE_CACHE": str(root / "cache")})


def rows(count: int = 600, *, seed: int = 0, shuffled: bool = False) -> list[Example]:
    """Labelled reports, each text once; `shuffled` gives every row of train and dev somebody else's label."""
    rng = random.Random(seed)  # noqa: S311 - rows, not secrets
    made = []
    for i in range(count):
        label = rng.choice(sorted(PHRASES))
        split = ("train", "train", "train", "dev", "test")[i % 5]
        given = rng.choice(sorted(PHRASES)) if shuffled and split != "test" else label
        text = f"{rng.choice(PHRASES[label])} on line {rng.randint(1, 40)}, report {i}"
        target = {"category": given}
        made.append(
            Example(
                id=Example.identity("defects", text, target), task="defects", input=text, target=target, split=split
            )
        )
    return made


async def keep_rows(store: Store, examples: list[Example]) -> Dataset:
    """Keeps the rows as the task's newest dataset."""
    counts = {split: sum(e.split == split for e in examples) for split in ("train", "dev", "test")}
    dataset = Dataset(
        id=digest([[e.id, e.split] for e in examples]), task="defects", counts=counts, created="2026-01-01T00:00:00"
    )
    await store.save_dataset(dataset, examples)
    return dataset


def stub(settings: Settings, task: Task, version: str) -> Release:
    """A release whose artefact is whole on disk but holds no model: enough where stages are what is tested."""
    folder = settings.state / "releases" / task.name / version
    folder.mkdir(parents=True)
    (folder / "weights.json").write_text(f'"{version}"')
    manifest = Manifest(
        engine="linear", task=task, base="linear", base_digest="", dataset="d", recipe={}, heads=(),
        files=file_digests(folder),
    )  # fmt: skip
    return Release(
        task=task.name, version=version, engine="linear", base="linear", dataset="d", recipe="r",
        artefact=write_manifest(folder, manifest), folder=f"releases/{task.name}/{version}",
    )  # fmt: skip

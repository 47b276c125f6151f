"""Releases that must not get through: python bench/degradation.py DATA_ROOT [--json].

A specialist is trained on twelve labels of CLINC150 (a few hundred rows, minutes on two cores), passes its gate and
goes live: that is the control. Then come releases with one thing wrong with each, every one sealed and registered as a
sound one is, so that its files are what its manifest says:

    shuffled         trained on rows whose labels were dealt out anew
    merged twice     its adapter was added to the base's weights two times
    a layer off      its adapter was added to the layer above the one it was trained for
    3 bits           its weights were rounded to eight values each
    slow             whoever serves it waits before each answer

What was demanded is written before: accuracy and a p95. Each must fail the very check that is meant for it, `promote`
must refuse it (exit code 1), and the live release must stay. The product's own form in 4 bits is shown beside them.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from contract import Pairs, clinc150
from insource.engines.artefact import Manifest, file_digests, read_manifest, write_manifest
from insource.engines.specialist import READERS
from insource.journeys.convert import converting, make_over
from insource.journeys.gate import gate
from insource.journeys.train import train
from insource.nouns import Dataset, Example, Release, digest
from insource.release.enter import enter
from insource.settings import Settings, load_settings, load_task
from insource.store import Store

NAME, LABELS, WAIT_S, BITS = "intents", 12, 0.6, 3
EACH = {"train": 40, "dev": 20, "test": 30}
SLOW = "torch, waiting"
TASK = """name = "intents"
kind = "classify"
instruction = "Choose the label of the text."
[outputs.label]
labels = "labels/intents.txt"
[acceptance]
accuracy = 0.9
p95_ms = 500
"""
MEANT = {
    "shuffled": "accuracy",
    "merged twice": "as sure as trained",
    "a layer off": "served = trained",
    "3 bits": "accuracy",
    "slow": "p95_ms",
}
AS_TRAINED = ("served = trained", "as sure as trained")
MERGED = ("merged twice", "a layer off")
Tensors = dict[str, Any]
Change = Callable[[Tensors, Tensors], None]


def rows(root: Path) -> dict[str, Pairs]:
    """A few rows a label, of the first labels by name."""
    said = clinc150(root)
    labels = sorted({label for _, label in said["train"]})[:LABELS]
    return {
        split: [pair for label in labels for pair in [one for one in said[split] if one[1] == label][:count]]
        for split, count in EACH.items()
    }


def shuffled(sets: dict[str, Pairs]) -> dict[str, Pairs]:
    """The labels of the train and dev rows dealt out anew; those of the test rows as they are."""
    dice = random.Random(5)  # noqa: S311 - the same each time
    found = dict(sets)
    for split in ("train", "dev"):
        labels = [label for _, label in sets[split]]
        dice.shuffle(labels)
        found[split] = [(text, label) for (text, _), label in zip(sets[split], labels, strict=True)]
    return found


async def place(root: Path, sets: dict[str, Pairs]) -> Settings:
    """A workspace with the task and these rows."""
    for folder in ("tasks", "labels"):
        (root / folder).mkdir(parents=True)
    (root / "insource.toml").touch()
    (root / "recipe.toml").write_text("epochs = 4\n", "utf-8")
    (root / "labels" / f"{NAME}.txt").write_text(
        "\n".join(sorted({label for _, label in sets["test"]})) + "\n", "utf-8"
    )
    (root / "tasks" / f"{NAME}.toml").write_text(TASK, "utf-8")
    settings = load_settings(root)
    made = [
        Example(id=f"{split}{i}", task=NAME, input=text, target={"label": label}, split=split)
        for split, part in sets.items()
        for i, (text, label) in enumerate(part)
    ]
    async with await Store.open(settings) as store:
        counts = dict(Counter(one.split for one in made))
        await store.save_dataset(Dataset(id=digest(made), task=NAME, counts=counts), made)
    return settings


def _layers(weights: Tensors, adapter: Tensors, deltas: Callable[[str], Any]) -> None:
    """Adds what `deltas` gives for each weight that has an adapter."""
    for name in [key for key in adapter if key.endswith("lora_A.weight")]:
        weight = "model." + name.removeprefix("base_model.model.model.").replace("lora_A.weight", "weight")
        weights[weight] = (weights[weight].float() + deltas(name)).bfloat16()


def _delta(adapter: Tensors, name: str) -> Any:
    """What the adapter adds to a weight: alpha is twice its rank."""
    return 2.0 * adapter[name.replace("lora_A", "lora_B")].float() @ adapter[name].float()


def twice(weights: Tensors, adapter: Tensors) -> None:
    """Merges the adapter again."""
    _layers(weights, adapter, lambda name: _delta(adapter, name))


def layer_off(weights: Tensors, adapter: Tensors) -> None:
    """Takes each layer's adapter out and puts it into the layer above, that of the last into the first."""
    count = 1 + max(int(name.split(".layers.")[1].split(".")[0]) for name in adapter if ".layers." in name)

    def below(name: str) -> str:
        before, _, rest = name.partition(".layers.")
        number, _, rest = rest.partition(".")
        return f"{before}.layers.{(int(number) - 1) % count}.{rest}"

    _layers(weights, adapter, lambda name: _delta(adapter, below(name)) - _delta(adapter, name))


def few_bits(weights: Tensors, _: Tensors) -> None:
    """Rounds every linear layer's weight to eight values, one scale a tensor."""
    most = 2 ** (BITS - 1) - 1
    for name, weight in weights.items():
        if name.startswith("model.layers.") and weight.dim() == 2:
            step = weight.float().abs().max() / most
            weights[name] = ((weight.float() / step).round().clamp(-most - 1, most) * step).bfloat16()


def waiting(folder: Path, manifest: Manifest, encoder: Any, threads: int) -> Any:
    """The sound reader, behind a wait."""
    reader = READERS["torch"](folder, manifest, encoder, threads)

    class Waiting:
        def logits(self, encoded: Any) -> Any:
            time.sleep(WAIT_S)
            return reader.logits(encoded)

    return Waiting()


async def spoiled(
    sound: Release, settings: Settings, store: Store, what: str, change: Change | None, engine: str = "torch"
) -> Release:
    """A copy of the sound release with its weights changed, sealed anew and registered."""
    from safetensors.torch import load_file, save_file

    work = settings.state / "training" / "spoiled"
    shutil.copytree(settings.state / sound.folder, work)
    manifest = read_manifest(work)
    (work / "manifest.json").unlink()
    if change is not None:
        weights = load_file(work / "model" / "model.safetensors")
        change(weights, load_file(work / "adapter" / "adapter_model.safetensors"))
        save_file(weights, work / "model" / "model.safetensors", metadata={"format": "pt"})
    sealed = msgspec.structs.replace(manifest, engine=engine, files=file_digests(work))
    made = msgspec.structs.replace(
        sound, engine=engine, artefact=write_manifest(work, sealed), stage="candidate", approved_by="", changelog=what
    )
    return await enter(made, work, settings, store, step="patch")


async def asked(made: Release, settings: Settings, store: Store) -> dict[str, Any]:
    """What the gate says, what `promote` does after it, and who is live then."""
    began = time.monotonic()
    said = await gate(load_task(settings, NAME), made, settings, store)
    words = [sys.executable, "-m", "insource", "-C", str(settings.root), "release", "promote", made.name, "--json"]
    done = await asyncio.create_subprocess_exec(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, told = await done.communicate()
    live, after = await store.live(NAME), await store.release(NAME, made.version)
    return {
        "passed": said.passed, "failed": [check.name for check in said.checks if not check.passed],
        "checks": {check.name: {"demanded": check.demanded, "found": check.found, "passed": check.passed}
                   for check in said.checks},
        "exit": done.returncode, "told": told.decode().strip()[-200:], "stage": after.stage,
        "live": live.name if live else "", "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def stopped(what: str, found: dict[str, Any], live: str) -> bool:
    """Whether it was stopped, by the check that is meant for it, and the live release stayed.

    What was merged wrongly must be seen before a test row is looked at, as another than was trained; what is only slow
    must fail nothing else.
    """
    failed = found["failed"]
    if found["passed"] or found["exit"] != 1 or found["stage"] != "candidate" or found["live"] != live:
        return False
    if what == "slow":
        return bool(failed == [MEANT[what]])
    if what in MERGED:
        return MEANT[what] in failed and failed[0] in AS_TRAINED
    return MEANT[what] in failed


async def drill(root: Path, given: argparse.Namespace) -> dict[str, Any]:
    """The sound one, then those that are not."""
    sets = rows(given.data)
    settings = await place(root / "sound", sets)
    found: dict[str, Any] = {}
    async with await Store.open(settings) as store:
        task, recipe = load_task(settings, NAME), settings.root / "recipe.toml"
        sound = await train(task, settings, store, base=given.base, recipe=recipe)
        control = await asked(sound, settings, store)
        print(f"  sound: {control['failed']}, exit {control['exit']}, {control['stage']}", file=sys.stderr)
        for what, change in (("merged twice", twice), ("a layer off", layer_off), ("3 bits", few_bits)):
            found[what] = await asked(await spoiled(sound, settings, store, what, change), settings, store)
            print(f"  {what}: {found[what]['failed']}", file=sys.stderr)
        READERS[SLOW] = waiting
        found["slow"] = await asked(await spoiled(sound, settings, store, "slow", None, SLOW), settings, store)
        print(f"  slow: {found['slow']['failed']}", file=sys.stderr)
        for what, one in found.items():
            one["stopped"] = stopped(what, one, sound.name)
        with converting(sound, settings):
            four = await asked(await make_over(sound, settings, store, form="openvino-int4"), settings, store)
        chain = len((await store.verify_chain()).faults)
        print(f"  openvino-int4: {four['failed']}", file=sys.stderr)
    settings = await place(root / "shuffled", shuffled(sets))
    async with await Store.open(settings) as store:
        made = await train(load_task(settings, NAME), settings, store, base=given.base, recipe=recipe)
        found["shuffled"] = await asked(made, settings, store)
        found["shuffled"]["stopped"] = stopped("shuffled", found["shuffled"], "")
    print(f"  shuffled: {found['shuffled']['failed']}", file=sys.stderr)
    return {"control": control, "found": {what: found[what] for what in MEANT}, "int4": four, "chain_faults": chain}


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of data sets")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(drill(Path(folder), given))
    document = {"bench": "degradation", "base": given.base, "meant": MEANT, "rows": EACH, "labels": LABELS,
                "minutes": round((time.monotonic() - began) / 60, 1),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores"} | found  # fmt: skip
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

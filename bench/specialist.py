"""How sure a specialist is of every row: python bench/specialist.py DATA_ROOT --set banking77 --out FILE.json.

BANKING77 or CLINC150 in the splits of bench/contract.py, trained as `insource train` does (on a GPU where torch sees
one), answered by the path that serves. What is kept of a row is whether the answer was right, its confidence, and two
more scores of its logits, by which a question for no label may be told: the energy and the lead of the first label on
the second. bench/contract_specialist.py reads the file; no figure is made here.

    confidence   the calibrated probability of the label given, as served
    energy       log Σ exp(logit) (Liu et al. 2020, arXiv:2010.03759): larger for what the model knows
    lead         the first logit less the second
"""

import argparse
import asyncio
import datetime as dt
import json
import platform
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from contract import Pairs, banking77, clinc150
from insource.engines.artefact import Manifest, file_digest, read_manifest
from insource.engines.readout import Encoder
from insource.engines.specialist import READERS
from insource.journeys.answer import Path as AnswerPath
from insource.journeys.answer import Tier, answer, discard
from insource.journeys.lineup import Lineup
from insource.journeys.train import train
from insource.nouns import Dataset, Example, Release, Task, ask, digest
from insource.settings import Settings, load_settings, load_task
from insource.store import Store

AT_ONCE = 512
TASK = """name = "{name}"
kind = "classify"
instruction = "Choose the label of the text."
[outputs.label]
labels = "labels/{name}.txt"
[acceptance]
accuracy = 0.0
[risk]
max_error = 0.02
"""
FILES = {"banking77": ("train.csv", "test.csv"), "clinc150": ("data_full.json",)}


def banking(root: Path) -> dict[str, Pairs]:
    """BANKING77 as bench/contract.py splits it."""
    return {name: rows for name, rows in banking77(root).items() if rows}


def clinc(root: Path) -> dict[str, Pairs]:
    """CLINC150 as bench/contract.py splits it, and its 100 + 100 questions for no label that are no test questions."""
    said = json.loads((root / "clinc150" / "data_full.json").read_text("utf-8"))
    rest = {"none_train": "oos_train", "none_dev": "oos_val"}
    return clinc150(root) | {name: [(text, label) for text, label in said[of]] for name, of in rest.items()}


SETS = {"banking77": banking, "clinc150": clinc}


async def prepared(root: Path, name: str, rows: dict[str, Pairs]) -> Settings:
    """A workspace with the task, its train and dev rows."""
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    (root / "labels").mkdir(exist_ok=True)
    (root / "insource.toml").touch()
    labels = sorted({label for _, label in rows["train"]})
    (root / "labels" / f"{name}.txt").write_text("\n".join(labels) + "\n", "utf-8")
    (root / "tasks" / f"{name}.toml").write_text(TASK.format(name=name), "utf-8")
    settings = load_settings(root)
    made = [
        Example(id=f"{split}{i}", task=name, input=text, target={"label": label}, split=split)
        for split in ("train", "dev")
        for i, (text, label) in enumerate(rows[split])
    ]
    async with await Store.open(settings) as store:
        counts = dict(Counter(one.split for one in made))
        await store.save_dataset(Dataset(id=digest(made), task=name, counts=counts), made)
    return settings


async def served(task: Task, path: AnswerPath, rows: Pairs) -> tuple[list[float], str]:
    """The confidence of each row's answer, and "1" or "0" for right or wrong."""
    seats = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, text: str, label: str) -> tuple[float, str]:
        async with seats:
            said = (await answer(ask(task, text, id=f"{number:032x}"), path, discard)).answer
        if said is None or said.confidence is None:
            return 0.0, "0"
        return said.confidence, str(int((said.value or {}).get("label") == label))

    found = await asyncio.gather(*[one(i, text, label) for i, (text, label) in enumerate(rows)])
    return [sure for sure, _ in found], "".join(right for _, right in found)


def scores(folder: Path, manifest: Manifest, rows: dict[str, Pairs]) -> dict[str, dict[str, list[float]]]:
    """Energy and lead of every row, from the logits that the served engine reads."""
    encoder = Encoder(folder / "model", manifest.max_tokens, manifest.template)
    reader = READERS[manifest.engine](folder, manifest, encoder, 0)
    found = {}
    for split, pairs in rows.items():
        [logits] = reader.logits([ids for ids, _ in encoder.encode([text for text, _ in pairs])])
        said = np.sort(np.asarray(logits, dtype=np.float64), axis=1)
        top = said[:, -1:]
        energy = top[:, 0] + np.log(np.exp(said - top).sum(axis=1))
        found[split] = {"energy": _short(energy), "lead": _short(said[:, -1] - said[:, -2])}
    return found


def _short(values: Any) -> list[float]:
    return [round(float(value), 5) for value in values]


def where() -> dict[str, str]:
    """What computed it."""
    import torch
    import transformers

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return {"card": card, "torch": str(torch.__version__), "transformers": str(transformers.__version__),
            "python": platform.python_version(), "date": dt.datetime.now(dt.UTC).date().isoformat()}  # fmt: skip


async def measured(given: argparse.Namespace, root: Path, rows: dict[str, Pairs]) -> dict[str, Any]:
    """Trains, answers, and says all of it in one document."""
    settings = await prepared(root, given.set, rows)
    task, began = load_task(settings, given.set), time.monotonic()
    async with await Store.open(settings) as store:
        release: Release = await train(
            task, settings, store, base=given.base, recipe=given.recipe, speak=(print, lambda *_: None)
        )
        minutes = (time.monotonic() - began) / 60
        folder = settings.state / release.folder
        manifest = read_manifest(folder)
        path = AnswerPath(task=task, tiers=(Tier(Lineup(settings, store, task).release(release), release.name),))
        asked = {split: pairs for split, pairs in rows.items() if split != "train"}
        extra = scores(folder, manifest, asked)
        splits = {}
        for split, pairs in asked.items():
            sure, right = await served(task, path, pairs)
            confidence = [round(each, 9) for each in sure]
            splits[split] = {"n": len(pairs), "right": right, "confidence": confidence} | extra[split]
        await path.tiers[0].engine.close()
    data = {name: file_digest(given.data / given.set / name) for name in FILES[given.set]}
    return {"set": given.set, "data": data, "engine": "specialist", "base": manifest.base,
            "base_digest": manifest.base_digest, "artefact": release.artefact, "recipe": manifest.recipe,
            "dev": manifest.dev, "promise": manifest.promise, "train_rows": len(rows["train"]),
            "minutes": round(minutes, 2), **where(), "splits": splits}  # fmt: skip


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of data sets")
    parser.add_argument("--set", choices=SETS, required=True)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--rows", type=int, help="only so many of each split, to try it")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = SETS[given.set](given.data)
    if given.rows:
        rows = {split: pairs[:: max(1, len(pairs) // given.rows)] for split, pairs in rows.items()}
    with tempfile.TemporaryDirectory() as folder:
        document = asyncio.run(measured(given, Path(folder) / "place", rows))
    given.out.write_text(json.dumps(document, separators=(",", ":")) + "\n", "utf-8")
    for split, found in document["splits"].items():
        print(f"{given.set} {split}: {found['right'].count('1') / found['n']:.2%} right of {found['n']:,}")


if __name__ == "__main__":
    main()

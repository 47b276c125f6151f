"""Train, gate and measure on a labelled set, through the command line a user types.

    python bench/classify.py DATA_FOLDER [--set banking77|excavator_mwo|naics2012|csv] [--json] [--keep DIR]

banking77: train.csv and test.csv (text, category), the official split. excavator_mwo: case_study_pdl.csv, short text →
the 127 most frequent functional locations. naics2012: index.csv and nodes.jsonl.gz, index entry → leaf of the tree.
csv: train.csv and test.csv with columns input and target, of any task. Where a set has no official test part, 20% of
the rows are drawn with seed 0. A row that repeats word for word with its label counts once, on the test side if it is
there: with repeats on both sides a linear SVM gets 49% to 51% of the work orders right, without them 42% to 44%. The
untuned model is measured on a stratified sample of the test rows (its n is shown).
"""

import argparse
import asyncio
import csv
import gzip
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from insource.nouns import Dataset, Example, digest
from insource.settings import load_settings
from insource.store import Store

Rows = list[tuple[str, str]]
TASK = """name = "bench"
kind = "classify"
instruction = {instruction}
[outputs.label]
{kind} = "labels/bench-label.txt"
[acceptance]
accuracy = {accept}
[risk]
max_error = 0.05
"""


def read(path: Path, text: str, label: str) -> Rows:
    """(text, label) of every row of a CSV."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [(row[text], row[label]) for row in csv.DictReader(file) if row[text].strip() and row[label].strip()]


def drawn(rows: Rows) -> tuple[Rows, Rows]:
    """80% to train and 20% to test, seed 0."""
    rows = list(rows)
    random.Random(0).shuffle(rows)  # noqa: S311 - a split, not a secret
    cut = len(rows) // 5
    return rows[cut:], rows[:cut]


def banking77(data: Path) -> tuple[Rows, Rows, str]:
    """The official split."""
    return read(data / "train.csv", "text", "category"), read(data / "test.csv", "text", "category"), "labels"


def excavator_mwo(data: Path) -> tuple[Rows, Rows, str]:
    """Work orders of the 127 most frequent functional locations, case folded."""
    rows = read(data / "case_study_pdl.csv", "OriginalShorttext", "FuncLocation")
    rows = [(text, label.upper().strip()) for text, label in rows]
    kept = {label for label, _ in Counter(label for _, label in rows).most_common(127)}
    return *drawn([row for row in rows if row[1] in kept]), "labels"


def naics2012(data: Path) -> tuple[Rows, Rows, str]:
    """Index entries → the path of the leaf code, each level as "code title"."""
    with gzip.open(data / "nodes.jsonl.gz", "rt", encoding="utf-8") as file:
        nodes = [json.loads(line) for line in file]
    titles = {}
    for node in nodes:
        first, _, last = str(node["code"]).partition("-")
        for code in range(int(first), int(last or first) + 1):
            titles[str(code)] = f"{node['code']} {(node['title'] or '').replace('/', '-')}".strip()

    def path(code: str) -> str:
        return " / ".join(titles[code[:n]] for n in (2, 3, 4, 5, 6) if code[:n] in titles)

    return *drawn([(text, path(code)) for text, code in read(data / "index.csv", "text", "code")]), "taxonomy"


def plain(data: Path) -> tuple[Rows, Rows, str]:
    """train.csv and test.csv with columns input and target."""
    return read(data / "train.csv", "input", "target"), read(data / "test.csv", "input", "target"), "labels"


SETS = {"banking77": banking77, "excavator_mwo": excavator_mwo, "naics2012": naics2012, "csv": plain}


def insource(workspace: Path, *words: str, may_refuse: bool = False) -> Any:
    """Runs a verb with --json and gives its document; the words go to our stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "insource", "-C", str(workspace), *words, "--json"], stdout=subprocess.PIPE, check=False
    )
    if done.returncode and not (may_refuse and done.returncode == 1):
        sys.exit(f"insource {' '.join(words)} ended with {done.returncode}")
    return json.loads(done.stdout)


def prepare(workspace: Path, train: Rows, test: Rows, kind: str) -> None:
    """A workspace with the task and its rows: dev is a tenth of the train rows, at most 500, by content."""
    (workspace / "tasks").mkdir(parents=True, exist_ok=True)
    (workspace / "labels").mkdir(exist_ok=True)
    with (workspace / "insource.toml").open("a", encoding="utf-8"):
        pass  # a kept workspace keeps its settings
    labels = sorted({label for _, label in train} | {label for _, label in test})
    (workspace / "labels" / "bench-label.txt").write_text("\n".join(labels) + "\n", "utf-8")
    task = TASK.format(instruction=json.dumps("Choose the label of the text."), kind=kind, accept=0.0)
    (workspace / "tasks" / "bench.toml").write_text(task, "utf-8")
    rows = {}
    for split, part in (("test", test), ("train", train)):
        for text, label in part:
            target = {"label": label}
            key = Example.identity("bench", text, target)
            rows.setdefault(key, Example(id=key, task="bench", input=text, target=target, split=split))
    learn = sorted(key for key, row in rows.items() if row.split == "train")
    for key in learn[: min(500, len(learn) // 10)]:
        rows[key] = msgspec.structs.replace(rows[key], split="dev")
    examples = [rows[key] for key in sorted(rows)]
    asyncio.run(store(workspace, examples))


async def store(workspace: Path, examples: list[Example]) -> None:
    """Keeps the rows as the task's dataset."""
    counts = dict(Counter(example.split for example in examples))
    place = await Store.open(load_settings(workspace))
    await place.save_dataset(Dataset(id=digest(examples), task="bench", counts=counts), examples)
    await place.close()


def trained(given: argparse.Namespace, workspace: Path) -> tuple[str, float]:
    """The specialist's name and the minutes its training took; one that a kept workspace holds is taken as it is."""
    history = workspace / ".insource" / "releases" / "bench" / "1.0.0" / "history.json"
    if not history.is_file():
        recipe = ["--recipe", str(given.recipe)] if given.recipe else []
        insource(workspace, "train", "bench", "--base", given.base, *recipe)
    return "bench@1.0.0", json.loads(history.read_text("utf-8"))["seconds"] / 60


def threads(workspace: Path) -> str:
    """How many cores the training had."""
    count = load_settings(workspace).workspace.threads or os.cpu_count() or 1
    return f"{count} core" + ("s" if count > 1 else "")


def run(given: argparse.Namespace, workspace: Path) -> dict[str, Any]:
    """The loop on one set; everything measured, as one document."""
    train, test, kind = SETS[given.set](given.data)
    prepare(workspace, train, test, kind)
    name, minutes = trained(given, workspace)
    full = insource(workspace, "measure", "bench", "--candidate", "baseline", "--candidate", name)
    gate = insource(workspace, "release", "gate", name, may_refuse=True)
    cores = f"{platform.machine()}, {os.cpu_count()} cores"
    document = {"bench": given.set, "base": given.base, "train_rows": len(train), "test_rows": len(test),
                "training_minutes": minutes, "threads": threads(workspace), "machine": cores,
                "full": full, "gate": gate}  # fmt: skip
    if not given.trained_only:
        names = (f"zero-shot:{given.base}", f"few-shot:{given.base}")
        options = [word for candidate in ("baseline", name, *names) for word in ("--candidate", candidate)]
        document["sample"] = insource(workspace, "measure", "bench", *options, "--rows", str(given.rows))
    return document


def show(document: dict[str, Any]) -> None:
    """A table for people."""
    print(f"{document['bench']}: {document['train_rows']:,} train rows, {document['test_rows']:,} test rows, "
          f"training {document['training_minutes']:.1f} min on {document['machine']}")  # fmt: skip
    for part in ("full", "sample"):
        for candidate in document.get(part, {}).get("candidates", []):
            for score in candidate["scores"]:
                if score["slice"] is None:
                    interval = f"{score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}] n={score['n']}"
                    print(f"  {part:6} {candidate['candidate']:28} {score['metric']:22} {interval}")
    for pair in document["full"]["pairs"]:
        print(f"  {pair['a']} - {pair['b']}: {pair['metric']} {pair['difference']:+.4f} "
              f"[{pair['low']:+.4f}, {pair['high']:+.4f}] p={pair['p']:.2g}")  # fmt: skip
    for check in document["gate"].get("checks", []):
        print(f"  gate {'yes' if check['passed'] else 'NO '} {check['name']}: {check['found']}")


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", choices=SETS, default="csv")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--rows", type=int, default=200, help="test rows for the untuned model")
    parser.add_argument("--trained-only", action="store_true", help="leave the untuned model out")
    parser.add_argument("--keep", type=Path, help="keep the workspace in this folder")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.keep:
        document = run(given, given.keep)
    else:
        with tempfile.TemporaryDirectory() as folder:
            document = run(given, Path(folder) / "workspace")
    if given.json:
        json.dump(document, sys.stdout)
    else:
        show(document)


if __name__ == "__main__":
    main()

"""`insource migrate` on four shared sets, without a key, through the command line a user types.

    python bench/migrate.py DATA_ROOT [--set intent|work_orders|receipts|headlines …] [--keep DIR] [--json]

intent      banking77, 77 labels: 1,000 train rows, 300 of the official test rows
work_orders excavator_mwo, the 127 most frequent functional locations: 1,000 train rows, 300 of our test rows
receipts    sroie, four fields: 24 train rows, 20 test rows; patterns written by hand do the work today
headlines   commodity headlines, train.csv alone, split by us 4,000 to 1,000: 1,500 train rows, 500 test rows

The row budgets are for two cores that others share. Criteria are written in each task's file before anything is asked.
Each migration is killed with SIGKILL twice, two seconds into the work after its fourth and its sixth piece, and goes on
by the same command; what it kept before a kill must stand there after it. Then `--replay` tells every figure again.
Beside headlines stand the scores that FrugalGPT published of frontier models on the set's test rows: others than ours.
"""

import argparse
import asyncio
import csv
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import extract_sets
from classify import Rows, banking77, drawn, excavator_mwo, insource, store
from extract import rival
from extract_rivals import receipt
from insource.nouns import Example
from insource.settings import load_settings
from insource.store import Store

KILLED_AT, LATER_S = (4, 6), 2.0  # pieces that it had kept; seconds after that
TASK = """name = "bench"
kind = "{kind}"
instruction = {instruction}
sensitivity = "{sensitivity}"
{output}
[acceptance]
{acceptance}
[price]
calls_per_day = {calls}
[migrate]
incumbent = "{incumbent}"
recipe = "recipe.toml"
untuned_rows = {untuned}
attacked_rows = {attacked}
"""
LABELS = '[outputs.label]\nlabels = "labels/bench-label.txt"'


class Set(NamedTuple):
    """A set as it is migrated: where it lies, what is demanded and known of it, and how much of it is used."""

    folder: str
    train: int
    rows: int
    acceptance: str
    calls: int
    sensitivity: str = "premises"
    incumbent: str = "none"
    epochs: int = 2
    untuned: int = 24
    attacked: int = 24


SETS = {
    "headlines": Set("headlines", 1500, 500, "accuracy = 0.8\np95_ms = 2000", 50_000, sensitivity="any"),
    "intent": Set("banking77", 1000, 300, "accuracy = 0.75\np95_ms = 2000", 20_000, epochs=1),
    "work_orders": Set("excavator_mwo", 1000, 300, "accuracy = 0.6\np95_ms = 2000", 400, sensitivity="any", epochs=1),
    "receipts": Set(
        "sroie", 24, 20, "f1 = 0.7\np95_ms = 60000", 2_000, incumbent="patterns", epochs=1, untuned=1, attacked=1
    ),
}


def headlines(data: Path) -> tuple[Rows, Rows, str]:
    """Headlines of train.csv and where each says the price went; the text between "Q: " and "A:"."""
    with (data / "train.csv").open(newline="", encoding="utf-8") as file:
        rows = [(text.removeprefix("Q: ").removesuffix("\nA:").strip(), label) for text, label, _ in csv.reader(file)]
    return *drawn(rows), "labels"


def published(data: Path) -> list[dict[str, Any]]:
    """The frontier models' accuracy and US dollars a query on the set's test rows, n each."""
    with (data / "published_frontier_scores.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["Method"] != "FrugalGPT"]
    return [{"model": row["Method"], "accuracy": float(row["Test_acc"]), "usd": float(row["Test_cost"]),
             "n": int(row["Test_size"])} for row in rows]  # fmt: skip


def examples(name: str, data: Path, train: int) -> tuple[list[Example], str, str]:
    """The rows with their splits, the kind, and the instruction."""
    if name == "receipts":
        rows = extract_sets.limited(extract_sets.sroie(data, train).rows, {"dev": 8})
        return rows, "extract", "Find the company, the date, the address and the total of the receipt."
    learn, test, _ = {"intent": banking77, "work_orders": excavator_mwo, "headlines": headlines}[name](data)
    made = [extract_sets.example(text, {"label": label}, split)
            for split, part in (("test", test), ("train", learn)) for text, label in part]  # fmt: skip
    rows = extract_sets.once(made)
    dev = {row.id for row in [row for row in rows if row.split == "train"][: max(100, train // 8)]}
    rows = [extract_sets.example(row.input, row.target, "dev") if row.id in dev else row for row in rows]
    words = {"headlines": "Say where the headline has the price of gold go.", "intent": "Choose the customer's intent.",
             "work_orders": "Choose the functional location of the work order."}  # fmt: skip
    return extract_sets.limited(rows, {"train": train}), "classify", words[name]


def prepare(workspace: Path, name: str, chosen: Set, data: Path) -> dict[str, int]:
    """The workspace with the task, its criteria and its rows; one that was kept stays as it is."""
    rows, kind, instruction = examples(name, data, chosen.train)
    counts = {split: sum(row.split == split for row in rows) for split in ("train", "dev", "test")}
    if (workspace / "tasks" / "bench.toml").is_file():
        return counts
    output = 'schema = "schemas/bench.json"' if kind == "extract" else LABELS
    files = {
        "insource.toml": "[workspace]\nthreads = 1\n",
        "recipe.toml": f"epochs = {chosen.epochs}\n",
        "tasks/bench.toml": TASK.format(
            kind=kind, instruction=json.dumps(instruction), sensitivity=chosen.sensitivity, output=output,
            acceptance=chosen.acceptance, calls=chosen.calls, incumbent=chosen.incumbent, untuned=chosen.untuned,
            attacked=chosen.attacked,
        ),
    }  # fmt: skip
    if kind == "extract":
        files |= extract_sets.sroie(data, chosen.train).files
    else:
        files["labels/bench-label.txt"] = "\n".join(sorted({str(row.target["label"]) for row in rows})) + "\n"
    for path, text in sorted(files.items(), reverse=True):  # the task's file last but one: it says that all is there
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_text(text, "utf-8")
    asyncio.run(store(workspace, rows))
    if name == "receipts":
        test = [row for row in rows if row.split == "test"]
        rival(workspace, "patterns", test, [receipt(row.input) for row in test])
    return counts


async def pieces(workspace: Path) -> dict[str, str]:
    """What the newest run kept."""
    async with await Store.open(load_settings(workspace)) as place:
        runs = await place.assessments.of_task("bench")
    return runs[-1].pieces if runs else {}


def killed(command: list[str], workspace: Path) -> tuple[int, int]:
    """Runs the command and kills it, twice; how often it was killed, and pieces that changed after they were kept."""
    kills = changed = 0
    for many in KILLED_AT:
        before = asyncio.run(pieces(workspace))
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while child.poll() is None and len(asyncio.run(pieces(workspace))) < many:
            time.sleep(1)
        time.sleep(LATER_S)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        child.wait()
        after = asyncio.run(pieces(workspace))
        changed += sum(after.get(name) != sha for name, sha in before.items())
    return kills, changed


def migrated(workspace: Path, name: str, chosen: Set, data: Path) -> dict[str, Any]:
    """One set, from its rows to its verdict, told again."""
    counts = prepare(workspace, name, chosen, data)
    words = ["migrate", "bench", "--yes", "--rows", str(chosen.rows)]
    command = [sys.executable, "-m", "insource", "-C", str(workspace), *words, "--json"]
    started = time.monotonic()
    kills, changed = killed(command, workspace)
    before = asyncio.run(pieces(workspace))
    found = insource(workspace, *words, "--report", str(workspace / "verdict.html"))
    changed += sum(found["pieces"].get(piece) != sha for piece, sha in before.items())
    again = insource(workspace, "migrate", "bench", "--replay", found["run"], may_refuse=True)
    document = {"rows": counts, "assessed": found, "replay": again, "kills": kills, "changed": changed,
                "minutes": (time.monotonic() - started) / 60}  # fmt: skip
    return document | ({"published": published(data)} if name == "headlines" else {})


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", action="append", choices=SETS, dest="sets")
    parser.add_argument("--keep", type=Path, help="keep the workspaces in this folder, and go on with those in it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    document: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "sets": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in given.sets or SETS:
            workspace = (given.keep or Path(folder)) / name
            document["sets"][name] = migrated(workspace, name, SETS[name], given.data / SETS[name].folder)
    if given.json:
        json.dump(document, sys.stdout)
        return
    for name, one in document["sets"].items():
        print(f"{name}: {one['assessed']['verdict']['sentence']} ({one['minutes']:.0f} min)")


if __name__ == "__main__":
    main()

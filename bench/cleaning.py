"""Cleaning: faults put into BANKING77 and found again, and what a model gains by it.

    python bench/cleaning.py DATA_ROOT [--json] [--specialist DIR]

The faults are those of bench/cleaning_faults.py, in the log of a model; people's own test rows are collected first. The
rules were chosen on faults drawn with seed 0, what is told is of seed 1.
`insource collect` reads the log as it does by default. Of each kind is told: of the faults, which share was taken out
or set aside (recall), and of the rows taken out, which share was a fault (precision). As BANKING77 has faults of its
own, the same is done to its rows untouched: what is taken out there is told beside.

Then a linear classifier is fitted on the rows as they came (--no-clean) and on the cleaned ones; both answer the test
rows of which no copy was put into train, and are compared row by row. With --specialist, SmolLM2-135M learns 2,500 rows
drawn from the raw ones, and as many drawn in the same order from the cleaned ones, for two epochs each; both answer
those test rows. Everything is made in DIR then, and goes on where it was stopped. What they answered is kept
in bench/evidence/cleaning_specialist.json, and the figures are made from that.
"""

import argparse
import asyncio
import csv
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cleaning_faults as faults
from classify import insource, read
from cleaning_faults import Line, Rows
from insource.collect.clean import KINDS
from insource.engines.linear import Linear
from insource.journeys.init import init
from insource.journeys.removals import Book, read_book
from insource.nouns import Dataset, Example, ask, digest
from insource.settings import load_settings, load_task
from insource.stats import paired_proportions, wilson
from insource.store import Store

TASK = "bank"
EVIDENCE = Path(__file__).parent / "evidence" / "cleaning_specialist.json"
SEED = 1  # the rules were chosen on seed 0
SUBSET = 2_500
RECIPE = "epochs = 2\nmax_tokens = 64\n"
DEV = 154
FAULTS_OF = {
    "label-errors": ("noise", "mixed"), "drift": ("drift",), "leaks": ("leaks",), "other-task": ("mixed",),
}  # fmt: skip


def workspace(place: Path, lines: Sequence[Line], test: Rows, *, clean: bool) -> dict[str, Any]:
    """A workspace with the task, the test rows and the log; the document of the collect that read the log.

    One that was made before is taken as it is.
    """
    if (place / "collected.json").exists():
        return dict(json.loads((place / "collected.json").read_text("utf-8")))
    init(place)
    (place / "labels").mkdir(exist_ok=True)
    labels = sorted({label for _, label in test})
    (place / "labels" / "bank.txt").write_text("\n".join(labels) + "\n", "utf-8")
    task = f'name = "{TASK}"\nkind = "classify"\ninstruction = {json.dumps(faults.PROMPT)}\n'
    (place / "tasks" / f"{TASK}.toml").write_text(task + '[outputs.label]\nlabels = "labels/bank.txt"\n', "utf-8")
    with (place / "test.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("input", "label"), *test])
    (place / "log.jsonl").write_text(faults.as_log(lines), "utf-8")
    insource(place, "collect", TASK, str(place / "test.csv"), "--split", "test")
    found: dict[str, Any] = insource(
        place, "collect", TASK, str(place / "log.jsonl"), "--split", "train", "--clean" if clean else "--no-clean"
    )
    (place / "collected.json").write_text(json.dumps(found), "utf-8")
    return found


async def kept(place: Path) -> tuple[list[Example], Book]:
    """The rows of the newest dataset, and what was taken out."""
    async with await Store.open(load_settings(place)) as store:
        dataset = await store.dataset(TASK)
        assert dataset is not None
        return await store.examples(dataset.id), read_book(dataset, store)


def told(share: int, n: int) -> dict[str, Any]:
    """A share with its interval."""
    low, high = wilson(share, n)
    return {"found": share, "n": n, "value": share / n if n else None, "low": low, "high": high}


def judged(place: Path, lines: Sequence[Line], document: dict[str, Any], books: tuple[Book, Book]) -> dict[str, Any]:
    """Precision and recall of every kind of fault; the second book is of the rows untouched."""
    book = books[0]
    before = {one.row.input for one in books[1].removals if one.kind == "leaks"}
    fault = {line.text: line for line in reversed(lines)}
    out = {one.row.input: one for one in book.removals}
    aside = {json.loads(line)["row"] for line in (place / document["rejects"]).read_text("utf-8").splitlines()}
    by_kind: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for one in book.removals:
        of = fault.get(one.row.input)
        by_kind[one.kind][of.fault.split(":")[0] if of else ""] += 1
    kinds = sorted({line.fault for line in lines if line.fault})
    test = set(_texts(place / "test.csv"))

    def gone(line: Line) -> bool:
        if line.fault == "mixed: another prompt":
            return document["rows"]["elsewhere"] > 0
        return line.text in out or line.text in aside or line.text in test

    recall = {kind: told(sum(map(gone, some)), len(some)) for kind in kinds if (some := _of(lines, kind))}
    whole = {
        name: told(sum(map(gone, some)), len(some))
        for name in ("noise", "drift", "leaks", "mixed")
        if (some := [line for line in lines if line.fault.startswith(name)])
    }
    mine = {kind: told(sum(by_kind[kind][of] for of in own), by_kind[kind].total()) for kind, own in FAULTS_OF.items()}
    fresh = [one for one in book.removals if one.kind == "leaks" and one.row.input not in before]
    leaked = sum(one.row.input in fault and fault[one.row.input].fault.startswith("leaks") for one in fresh)
    precise = {**mine, "leaks beyond those of the set": told(leaked, len(fresh))}
    drifted = [(one, fault[one.row.input]) for one in book.removals if one.kind == "drift" and one.row.input in fault]
    right = sum(one.row.target["label"] == line.truth for one, line in drifted if line.fault.startswith("drift"))
    return {
        "recall": recall, "whole": whole, "precision": precise, "collect": document["rows"],
        "drift_as_today": told(right, sum(line.fault.startswith("drift") for _, line in drifted)),
        "sound_lost": told(sum(line.text in out or line.text in aside for line in _of(lines, "")), len(_of(lines, ""))),
    }  # fmt: skip


def _of(lines: Sequence[Line], kind: str) -> list[Line]:
    return [line for line in lines if line.fault == kind]


def _texts(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row["input"] for row in csv.DictReader(file)]


def linear(place: Path, test: Sequence[Example], quiet: Callable[..., None] = lambda *_: None) -> list[bool]:
    """Which test rows the baseline gets right, fitted on the workspace's train and dev rows."""
    task = load_task(load_settings(place), TASK)
    rows, _ = asyncio.run(kept(place))
    parts = {split: [row for row in rows if row.split == split] for split in ("train", "dev")}
    engine = Linear.fit(task, parts["train"], parts["dev"], name="linear", progress=quiet)

    async def answers() -> list[bool]:
        said = [await engine.complete(ask(task, row.input, id=row.id)) for row in test]
        await engine.close()
        return [one.value == row.target for one, row in zip(said, test, strict=True)]

    return asyncio.run(answers())


def compared(raw: Sequence[bool], cleaned: Sequence[bool]) -> dict[str, Any]:
    """Both on the same rows."""
    n = len(raw)
    pairs = list(zip(cleaned, raw, strict=True))
    found = paired_proportions(sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs), n)
    return {
        "raw": told(sum(raw), n), "cleaned": told(sum(cleaned), n), "n": n,
        "difference": {"value": found.value, "low": found.low, "high": found.high, "p": found.p},
    }  # fmt: skip


def untouched(lines: Sequence[Line], test: Sequence[Example]) -> list[Example]:
    """The test rows of which no copy, edited or not, stands among the lines."""
    copies = {line.truth_text for line in lines if line.truth_text}
    return [row for row in test if row.input not in copies]


def specialists(place: Path, folders: dict[str, Path], test: Sequence[Example]) -> None:
    """Trains both, has them answer the test rows, and keeps which were right; goes on where it was stopped."""
    raw, _ = asyncio.run(kept(folders["raw"]))
    clean, _ = asyncio.run(kept(folders["cleaned"]))
    dev = sorted((row for row in raw if row.split == "dev"), key=lambda row: digest([0, row.id]))[:DEV]
    chosen = {name: _drawn(rows) for name, rows in (("raw", raw), ("cleaned", clean))}
    found: dict[str, Any] = {"rows": {name: len(rows) for name, rows in chosen.items()}, "dev": len(dev)}
    for name, rows in chosen.items():
        home = place / name
        if not (home / "insource.toml").exists():
            shutil.copytree(folders[name], home, ignore=shutil.ignore_patterns(".insource"), dirs_exist_ok=True)
            asyncio.run(_save(home, [*rows, *dev, *test]))
            (home / "recipe.toml").write_text(RECIPE, "utf-8")
        if not list((home / ".insource" / "releases").glob("*/1.0.0/manifest.json")):
            insource(home, "train", TASK, "--base", "smollm2-135m", "--recipe", str(home / "recipe.toml"))
        asks = "".join(json.dumps({"id": row.id, "input": row.input}) + "\n" for row in test)
        (home / "in.jsonl").write_text(asks, "utf-8")
        insource(home, "batch", f"{TASK}@1.0.0", str(home / "in.jsonl"), "--out", str(home / "out.jsonl"))
        said = {}
        for line in (home / "out.jsonl").read_text("utf-8").splitlines():
            one = json.loads(line)
            said[one["id"]] = one["output"]
        found[name] = [_label(said[row.id]) == row.target["label"] for row in test]
        history = json.loads(next(home.glob(".insource/releases/*/1.0.0/history.json")).read_text("utf-8"))
        found[f"{name}_minutes"] = history["seconds"] / 60
    EVIDENCE.parent.mkdir(exist_ok=True)
    packed = {**found, **{name: "".join("01"[right] for right in found[name]) for name in chosen}}
    EVIDENCE.write_text(json.dumps(packed, indent=1) + "\n", "utf-8")


def _drawn(rows: Sequence[Example]) -> list[Example]:
    """As many train rows of both, in one order: the second takes the next one where a row was taken out."""
    return sorted((row for row in rows if row.split == "train"), key=lambda row: digest([0, row.id]))[:SUBSET]


def _label(output: Any) -> Any:
    return output.get("label") if isinstance(output, dict) else output


async def _save(place: Path, rows: list[Example]) -> None:
    counts = dict(Counter(row.split for row in rows))
    async with await Store.open(load_settings(place)) as store:
        ordered = sorted(rows, key=lambda row: row.id)
        await store.save_dataset(Dataset(id=digest(ordered), task=TASK, counts=counts), ordered)


def run(given: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Everything, as one document."""
    data = given.data
    train, test = (read(data / "banking77" / f"{part}.csv", "text", "category") for part in ("train", "test"))
    lines = faults.faulty(train, test, faults.foreign_rows(data / "clinc150", data / "headlines"), seed=SEED)
    document = workspace(place / "cleaned", lines, test, clean=True)
    workspace(place / "raw", lines, test, clean=False)
    sound = [Line(faults.PROMPT, text, label, "", label) for text, label in train]
    control = workspace(place / "control", sound, test, clean=True)
    (rows, book), (_, before) = (asyncio.run(kept(place / name)) for name in ("cleaned", "control"))
    ours = [row for row in rows if row.split == "test"]
    fair = untouched(lines, ours)
    found = {
        "bench": "cleaning", "lines": len(lines), "faults": dict(Counter(line.fault for line in lines)),
        "judged": judged(place / "cleaned", lines, document, (book, before)),
        "control": {"rows": control["rows"], "removed": control["removed"]},
        "linear": compared(*(linear(place / name, fair) for name in ("raw", "cleaned"))),
    }  # fmt: skip
    if given.specialist:
        specialists(given.specialist / "specialists", {name: place / name for name in ("raw", "cleaned")}, fair)
    if EVIDENCE.exists():
        kept_words = json.loads(EVIDENCE.read_text("utf-8"))
        rights = {name: [c == "1" for c in kept_words[name]] for name in ("raw", "cleaned")}
        found["specialist"] = {
            **compared(rights["raw"], rights["cleaned"]),
            **{k: kept_words[k] for k in ("rows", "raw_minutes", "cleaned_minutes")},
        }
    return found


def show(document: dict[str, Any]) -> None:
    """The figures for people."""
    for part in ("recall", "whole", "precision"):
        for name, one in document["judged"][part].items():
            print(f"{part:9} {name:32} {one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f}, n {one['n']:,})")
    print("sound rows lost", document["judged"]["sound_lost"], "\ncontrol", document["control"])
    for name in ("linear", "specialist"):
        if name in document:
            print(name, json.dumps(document[name]))


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--specialist", type=Path, help="train the specialists in this folder")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        document = run(given, given.specialist or Path(folder))
    if given.json:
        json.dump(document, sys.stdout)
    else:
        show(document)


if __name__ == "__main__":
    main()

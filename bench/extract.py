"""Receipts, contracts and recall documents, through the command line a user types.

    python bench/extract.py DATA_FOLDER sroie|cuad|nhtsa [--part spans|contracts] [--json] [--keep DIR]

sroie: fields of receipts, the trained model against patterns, and on some rows against the untuned one, which is
slow. cuad: the type of marked clauses against the linear baseline and centroids, then whole contracts read in windows:
every clause found, scored against what the lawyers marked, beside a linear model over sentences. nhtsa: the type of
recall documents against the linear baseline. `extract_sets.py` says how rows are split. A recipe lies beside each set,
sized for two CPU cores and about 40 minutes in all; --rows limits the train rows (contracts: the train contracts),
--test the test contracts.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import extract_sets
from classify import insource, store, threads
from extract_rivals import centroids, clauses, receipt, write_script
from extract_score import by_label, by_type, paired
from extract_sets import Set
from insource.nouns import Example

HERE = Path(__file__).parent
UNTUNED = 12  # test receipts that the untuned model reads too; it writes each to the limit
RIVAL = '[engines.{name}]\nkind = "scripted"\nscript = "{name}.jsonl"\nregion = "premises"\n'
Given = argparse.Namespace


def prepare(workspace: Path, found: Set) -> None:
    """A workspace with the task, its files and its rows."""
    for name, text in {"insource.toml": "", "tasks/bench.toml": found.task, **found.files}.items():
        path = workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name != "insource.toml" or not path.exists():
            path.write_text(text, "utf-8")
    asyncio.run(store(workspace, found.rows))


def rival(workspace: Path, name: str, test: list[Example], values: list[Any]) -> None:
    """An engine of the workspace that gives these answers."""
    write_script(workspace / f"{name}.jsonl", [row.input for row in test], values)
    settings = workspace / "insource.toml"
    if f"[engines.{name}]" not in settings.read_text("utf-8"):
        settings.write_text(settings.read_text("utf-8") + RIVAL.format(name=name), "utf-8")


def trained(given: Given, workspace: Path, recipe: str) -> dict[str, Any]:
    """Trains the specialist bench@1.0.0; one that a kept workspace holds is taken as it is."""
    history = workspace / ".insource" / "releases" / "bench" / "1.0.0" / "history.json"
    if not history.is_file():
        chosen = given.recipe or HERE / recipe
        insource(workspace, "train", "bench", "--base", given.base, "--recipe", str(chosen))
    minutes = json.loads(history.read_text("utf-8"))["seconds"] / 60
    return {"training_minutes": minutes, "threads": threads(workspace), "base": given.base}


def measured(workspace: Path, *names: str, rows: int = 0) -> Any:
    """The report on the test rows."""
    options = [word for name in names for word in ("--candidate", name)]
    return insource(workspace, "measure", "bench", *options, *(["--rows", str(rows)] if rows else []))


def answered(workspace: Path, texts: list[str]) -> list[dict[str, Any]]:
    """What the specialist answers, in the order of the texts."""
    asked, out = workspace / "in.jsonl", workspace / "out.jsonl"
    asked.write_text("".join(json.dumps({"id": i, "input": text}) + "\n" for i, text in enumerate(texts)), "utf-8")
    insource(workspace, "batch", "bench@1.0.0", str(asked), "--out", str(out))
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def counts(found: Set) -> dict[str, int]:
    """Rows by split."""
    return {split: sum(row.split == split for row in found.rows) for split in ("train", "dev", "test")}


def sroie(given: Given, workspace: Path) -> dict[str, Any]:
    """Receipts: every candidate on the same test rows."""
    found = extract_sets.sroie(given.data, given.rows)
    prepare(workspace, found)
    test = [row for row in found.rows if row.split == "test"]
    rival(workspace, "patterns", test, [receipt(row.input) for row in test])
    about = trained(given, workspace, "sroie.toml")
    report = measured(workspace, "bench@1.0.0", "patterns", rows=len(test))
    document = about | {"rows": counts(found), "full": report}
    if not given.trained_only:
        untuned = (f"zero-shot:{given.base}", f"few-shot:{given.base}")
        document["sample"] = measured(workspace, "bench@1.0.0", *untuned, rows=UNTUNED)
    return document


def spans(given: Given, workspace: Path) -> dict[str, Any]:
    """Marked clauses: type by type, and against the baseline and centroids."""
    found = extract_sets.spans(given.data, given.rows or 3000)
    prepare(workspace, found)
    test = [row for row in found.rows if row.split == "test"]
    train = [row for row in found.rows if row.split == "train"]
    rival(workspace, "centroids", test, [{"label": one} for one in centroids(train, [row.input for row in test])])
    about = trained(given, workspace, "cuad_spans.toml")
    report = measured(workspace, "baseline", "centroids", "bench@1.0.0")
    said = [(row["output"] or {}).get("label") for row in answered(workspace, [row.input for row in test])]
    types = by_label([str(row.target["label"]) for row in test], said)
    return about | {"rows": counts(found), "full": report, "types": types}


def contracts(given: Given, workspace: Path) -> dict[str, Any]:
    """Whole contracts: what was found, against what is marked."""
    found = extract_sets.contracts(given.data, given.rows or 24, given.test)
    prepare(workspace, found)
    about = trained(given, workspace, "cuad_contracts.toml")
    train, test = ([row.input for row in found.rows if row.split == split] for split in ("train", "test"))
    start = time.monotonic()
    rows = answered(workspace, test)
    minutes = (time.monotonic() - start) / 60
    gold = extract_sets.marked(given.data)
    learned, wanted = ([gold.get(name, []) for name in extract_sets.names(given.data, part)] for part in (train, test))
    linear = clauses(list(zip(train, learned, strict=True)), test)
    return about | {
        "rows": counts(found),
        "reading_minutes": minutes,
        "characters": sum(map(len, test)),
        "scores": by_type(wanted, rows),
        "baseline": by_type(wanted, linear),
        "pair": paired(wanted, rows, linear),
    }


def nhtsa(given: Given, workspace: Path) -> dict[str, Any]:
    """Recall documents against the baseline."""
    found = extract_sets.nhtsa(given.data, given.rows or 5000)
    prepare(workspace, found)
    about = trained(given, workspace, "nhtsa.toml")
    return about | {"rows": counts(found), "full": measured(workspace, "baseline", "bench@1.0.0")}


Part = Callable[[Given, Path], dict[str, Any]]
SETS: dict[str, dict[str, Part]] = {
    "sroie": {"sroie": sroie},
    "cuad": {"spans": spans, "contracts": contracts},
    "nhtsa": {"nhtsa": nhtsa},
}


def run(given: Given, folder: Path) -> dict[str, Any]:
    """Every part asked for, each in a workspace of its own."""
    document: dict[str, Any] = {"bench": given.set, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    for name, part in SETS[given.set].items():
        if given.part in (None, name):
            start = time.monotonic()
            document[name] = part(given, folder / name)
            document[name]["minutes"] = (time.monotonic() - start) / 60
    return document


def show(document: dict[str, Any]) -> None:
    """Tables for people."""
    for name, part in document.items():
        if isinstance(part, dict):
            print(f"{name}: {part['rows']}, training {part['training_minutes']:.1f} min on {part['threads']}, "
                  f"{part['minutes']:.1f} min in all")  # fmt: skip
            show_report(part.get("full", {}))
            show_scores(part)


def show_report(report: dict[str, Any]) -> None:
    """What `insource measure` found."""
    for candidate in report.get("candidates", []):
        failures = candidate["failures"]
        malformed = f"{failures['invalid']} malformed of {failures['n']}, below {failures['upper95']:.2%}"
        print(f"  {candidate['candidate']}: {malformed}")
        for score in candidate["scores"]:
            print(f"    {score['metric'] + ' ' + (score['slice'] or ''):30} {interval(score)} n={score['n']}")
    for pair in report.get("pairs", []):
        print(f"  {pair['a']} - {pair['b']}: {pair['metric']} {interval(pair, 'difference')} p={pair['p']:.2g}")


def show_scores(part: dict[str, Any]) -> None:
    """F1 by type, and over all of them."""
    for one in [*part.get("types", []), *part.get("scores", {}).get("types", [])]:
        print(f"    {one['type']:36} f1 {interval(one)} n={one['n']}")
    for who in ("scores", "baseline"):
        for metric, score in part.get(who, {}).get("whole", {}).items():
            print(f"  {who} {metric:24} {interval(score)}")
    if "pair" in part:
        print(f"  bench@1.0.0 - sentences: span_f1 {interval(part['pair'])}")


def interval(score: dict[str, Any], key: str = "value") -> str:
    """A figure with its interval."""
    return f"{score[key]:.4f} [{score['low']:.4f}, {score['high']:.4f}]"


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--part", help="only this part of the set")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument(
        "--rows", type=int, default=0, help="train rows (contracts: train contracts); 0 = the set's own"
    )
    parser.add_argument("--test", type=int, default=20, help="test contracts; 0 = all")
    parser.add_argument("--trained-only", action="store_true", help="leave the untuned model out")
    parser.add_argument("--keep", type=Path, help="keep the workspaces in this folder")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.part not in (None, *SETS[given.set]):
        sys.exit(f"{given.set} has the parts {', '.join(SETS[given.set])}")
    if given.keep:
        document = run(given, given.keep)
    else:
        with tempfile.TemporaryDirectory() as folder:
            document = run(given, Path(folder))
    if given.json:
        json.dump(document, sys.stdout)
    else:
        show(document)


if __name__ == "__main__":
    main()

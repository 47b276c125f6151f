"""What hard texts do to a release: python bench/adversarial.py DATA_FOLDER [--json] [--keep DIR].

BANKING77, official split, through the command line a user types: the linear engine trained as a release with a promised
error of 5% (`[risk] max_error`), then `insource measure --adversarial` on every test row in every way; the same release
again with 4% false alarms allowed for what is out of scope (`out_of_scope`), which needs no training.

    python bench/adversarial.py DATA_FOLDER --specialist FILE.json [--train-rows 4000] [--rows 100] [--keep DIR]

trains SmolLM2 on some of the train rows and keeps what was measured in FILE.json: one in bench/evidence/ is shown
beside when its data is the data given here. A kept workspace goes on where it was. Without a promise, for which 3,000
rows had one held-out row too few, there is nothing to show.
"""

import argparse
import datetime as dt
import json
import os
import platform
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from classify import banking77, insource, prepare
from insource.engines.artefact import file_digest

EVIDENCE = Path(__file__).parent / "evidence" / "adversarial_banking77.json"
ALARMS = 0.04
FILES = ("train.csv", "test.csv")


def attacked(workspace: Path, name: str, rows: int) -> dict[str, Any]:
    """The report of an attack on one release, without the texts it quotes."""
    report: dict[str, Any] = insource(
        workspace, "measure", "bench", "--adversarial", "--candidate", name, "--rows", str(rows)
    )
    one = report["candidates"][0]
    return {"summary": report["summary"], "scores": one["scores"], "robustness": one["details"]["robustness"],
            "rows_per_s": one["rows_per_s"], "failures": one["failures"]}  # fmt: skip


def scoped(workspace: Path) -> None:
    """The task as it is, with the false alarms that are allowed for what is out of scope."""
    path = workspace / "tasks" / "bench.toml"
    path.write_text(path.read_text("utf-8").replace("[risk]\n", f"[risk]\nout_of_scope = {ALARMS}\n"), "utf-8")


def both(workspace: Path, name: str, rows: int) -> dict[str, Any]:
    """The release under its threshold alone, and under that and the limit of its scope."""
    plain = attacked(workspace, name, rows)
    scoped(workspace)
    return {"threshold": plain, "scope": attacked(workspace, name, rows), "rows": rows}


def linear(data: Path, workspace: Path) -> dict[str, Any]:
    """The linear engine, on all rows."""
    train, test, kind = banking77(data)
    prepare(workspace, train, test, kind)
    insource(workspace, "train", "bench", "--base", "linear")
    return {"train_rows": len(train), "engine": "linear", **both(workspace, "bench@1.0.0", len(test))}


def specialist(given: argparse.Namespace, workspace: Path) -> dict[str, Any]:
    """SmolLM2 on some train rows, drawn with seed 0; what it needs is on the CPU of whoever measures."""
    train, test, kind = banking77(given.data)
    random.Random(0).shuffle(train)  # noqa: S311 - a draw, not a secret
    prepare(workspace, train[: given.train_rows], test, kind)
    release = workspace / ".insource" / "releases" / "bench" / "1.0.0"
    history = release / "history.json"
    if not history.is_file():
        recipe = ["--recipe", str(given.recipe)] if given.recipe else []
        insource(workspace, "train", "bench", "--base", given.base, *recipe)
    manifest = json.loads((release / "manifest.json").read_text("utf-8"))
    if manifest.get("unpromised"):
        sys.exit(f"{manifest['promise']}: with more --train-rows it can")
    minutes = json.loads(history.read_text("utf-8"))["seconds"] / 60
    return {"train_rows": min(len(train), given.train_rows), "engine": given.base, "minutes": minutes,
            "date": dt.datetime.now(dt.UTC).date().isoformat(), **digests(given.data),
            **both(workspace, "bench@1.0.0", given.rows)}  # fmt: skip


def digests(data: Path) -> dict[str, Any]:
    """What names the data."""
    return {"data": {name: file_digest(data / name) for name in FILES}}


def kept(data: Path) -> dict[str, Any] | None:
    """What was measured of a specialist on the same data, where it was."""
    if not EVIDENCE.is_file():
        return None
    found: dict[str, Any] = json.loads(EVIDENCE.read_text("utf-8"))
    return found if found["data"] == digests(data)["data"] else None


def show(name: str, found: dict[str, Any]) -> None:
    """Its sentences, for people."""
    for rule in ("threshold", "scope"):
        print(f"{name}, {rule}:", *(re.sub("^", "  ", line) for line in found[rule]["summary"]), sep="\n")


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--specialist", type=Path, help="train one, and keep what was measured here")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--train-rows", type=int, default=4_000)
    parser.add_argument("--rows", type=int, default=100, help="test rows for the specialist")
    parser.add_argument("--keep", type=Path, help="keep the workspace in this folder")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = given.keep or Path(folder) / "workspace"
        if given.specialist:
            made = specialist(given, workspace)
            given.specialist.write_text(json.dumps(made) + "\n", "utf-8")
            show(given.base, made)
            return
        found = linear(given.data, workspace)
    document = {"bench": "adversarial", "linear": found, "specialist": kept(given.data),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores"}  # fmt: skip
    if given.json:
        json.dump(document, sys.stdout)
    else:
        show("linear", found)


if __name__ == "__main__":
    main()

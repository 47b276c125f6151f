"""Is the evidence pack what it says? python bench/evidence.py DATA_ROOT [--rows 1400] [--builds 20] [--json].

A workspace is made with the demo's reports: collected with a tag, two linear releases through the gate and live one
after the other, calls, a word of a person, a signed checkpoint, a journal of connections. Its pack is built so many
times, and once more in another folder to which a backup was restored: every file byte for byte.

Then each source in turn is taken away from a copy, behind the product's back, and the pack is built again. No field may
still name the source that is gone, and none may be made up: a field that was missing must not be there now. Every bill
of materials on the way is held against the official schema of CycloneDX 1.6. DATA_ROOT is not used.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from insource.cli.main import main as insource
from insource.govern.evidence import Field
from insource.govern.pack import Pack
from insource.journeys.audit import checkpoint
from insource.journeys.govern import declare, govern
from insource.settings import Settings, load_settings
from insource.stats import clopper_pearson_upper, quantile
from insource.store import Store, egress
from insource.store.egress import Egress

EXTRA = """
[acceptance]
accuracy = 0.3
[govern]
slices = ["urgency"]
by = "A. Muster"
on = 2026-11-20
[govern.declared]
intended_use = "Files defect reports."
"""
AT = "2026-11-20T08:00:00+00:00"
CALLED = 40


def say(root: Path, *words: str) -> None:
    """A command of the product; its words go to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        insource(["-C", str(root), *words], standalone_mode=False)


def made(root: Path, rows: int) -> Settings:
    """The workspace with everything in it."""
    say(root.parent, "init", str(root))
    (root / "insource.toml").write_text('[audit]\ncheckpoints = "../signed.jsonl"\n')
    reports = root / "reports.csv"
    with contextlib.redirect_stdout(sys.stderr):
        insource(["demo", "--reports", str(reports), "--rows", str(rows)], standalone_mode=False)
    say(root, "collect", "defects", str(reports), "--input", "report", "--target", "category", "--tag", "urgency")
    file = root / "tasks" / "defects.toml"
    head, _, _ = file.read_text().partition("[acceptance]")
    file.write_text('owner = "quality@plant.example"\n' + head.rstrip().removesuffix("#") + EXTRA)
    for _ in range(2):
        say(root, "train", "defects", "--base", "linear")
        say(root, "release", "gate", "defects")
        say(root, "release", "promote", "defects", "--why", "it passed")
    for i in range(CALLED):
        say(root, "answer", "defects", "--input", f"oil under the press {i}")
    settings = load_settings(root)
    asyncio.run(_said(settings))
    journal = egress.Journal(settings.state / egress.FILE)
    journal.note(Egress(purpose="engine", destination="models.example:443", region="eu", address="192.0.2.7",
                        first=AT, last=AT, connections=2, sent=900))  # fmt: skip
    journal.flush()
    return settings


async def _said(settings: Settings) -> None:
    async with await Store.open(settings) as store:
        await declare("defects", "risks=A wrong desk.", "B. Beispiel", settings, store)
        await checkpoint(settings, store)


def built(settings: Settings) -> tuple[Pack, float]:
    """The pack, and the seconds that it took."""

    async def build() -> Pack:
        async with await Store.open(settings) as store:
            return (await govern("defects", settings, store)).pack

    start = time.perf_counter()
    return asyncio.run(build()), time.perf_counter() - start


def sql(*statements: str) -> Callable[[Settings], None]:
    """What takes rows away from the database."""

    def take(settings: Settings) -> None:
        with contextlib.closing(sqlite3.connect(settings.state / "insource.db")) as db, db:
            for statement in statements:
                db.execute(statement)

    return take


# kind of source, as fields name it → how it is taken away
SOURCES: dict[str, Callable[[Settings], None]] = {
    "report": sql("DELETE FROM report"),
    "gate": sql("DELETE FROM gate"),
    "dataset": sql("DELETE FROM dataset"),
    "artefact": lambda s: shutil.rmtree(s.state / "releases"),
    "release": sql("DELETE FROM release"),
    "stage changes": sql("DELETE FROM stage_change"),
    "egress journal": lambda s: (s.state / egress.FILE).unlink(),
    "checkpoint": lambda s: (s.root.parent / "signed.jsonl").unlink(),
    "audit chain": sql("DELETE FROM entry"),
    "records": sql("DELETE FROM record"),
    "declaration": sql("DELETE FROM declaration"),
}


def faults(bill: bytes) -> int:
    """1 where the schema of CycloneDX 1.6 has something against it."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return int(JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.decode()) is not None)


def named(fields: dict[str, Field], kind: str) -> set[str]:
    """The fields that name a source of the kind."""
    return {name for name, one in fields.items() if any(source.kind == kind for source in one.sources)}


def taken(root: Path, pack: Pack) -> list[dict[str, Any]]:
    """What became of the fields when each source was taken away."""
    found = []
    for kind, take in SOURCES.items():
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(root.parent, Path(folder) / "copy")
            settings = load_settings(Path(folder) / "copy" / root.name)
            take(settings)
            after, _ = built(settings)
        stood = named(pack.fields, kind)
        missing = {name for name, one in pack.fields.items() if one.state == "missing"}
        there = {name for name, one in after.fields.items() if one.state != "missing"}
        found.append({"source": kind, "stood": len(stood), "still": sorted(named(after.fields, kind)),
                      "made_up": sorted(missing & there), "schema": faults(after.files["bom.cdx.json"])})  # fmt: skip
    return found


def measured(rows: int, builds: int) -> dict[str, Any]:
    """The whole document."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "home" / "plant"
        root.parent.mkdir()
        settings = made(root, rows)
        packs, times = zip(*[built(settings) for _ in range(builds)], strict=True)
        first = packs[0]
        say(root, "store", "backup", str(Path(folder) / "kept.tar"))
        other = Path(folder) / "away" / "elsewhere"
        shutil.copytree(root.parent, other.parent, ignore=shutil.ignore_patterns(".insource"))
        (other.parent / root.name).rename(other)
        say(other, "store", "restore", str(Path(folder) / "kept.tar"))
        copy, _ = built(load_settings(other))
        found = taken(root, first)
    stood, still = sum(one["stood"] for one in found), sum(len(one["still"]) for one in found)
    return {
        "rows": rows,
        "calls": CALLED,
        "builds": builds,
        "same": sum(one.files == first.files for one in packs),
        "restored_same": copy.files == first.files,
        "files": len(first.files),
        "p50_s": quantile(sorted(times), 0.5),
        "counts": first.counts,
        "taken": found,
        "stood": stood,
        "still": still,
        "made_up": sum(len(one["made_up"]) for one in found),
        "upper95": clopper_pearson_upper(still, stood),
        "bills": len(found) + 2,
        "schema_faults": sum(one["schema"] for one in found)
        + sum(faults(p.files["bom.cdx.json"]) for p in (first, copy)),
    }


def main() -> None:
    """Reads the words, measures, prints."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("root", type=Path)
    words.add_argument("--rows", type=int, default=1400)
    words.add_argument("--builds", type=int, default=20)
    words.add_argument("--json", action="store_true")
    given = words.parse_args()
    document = measured(given.rows, given.builds)
    print(json.dumps(document, indent=None if given.json else 1))


if __name__ == "__main__":
    main()

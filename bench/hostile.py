"""Hostile input, other tenants' keys and tampering: what the gateway and its audit make of them.

    python bench/hostile.py DATA [--cases 10000] [--raw 2000] [--broken 2000] [--pairs 5000] [--edits 1000]
                            [--calls 2000] [--only input,tenants,audit] [--venv DIR] [--json]

DATA holds json_test_suite and naughty_strings. The gateway is `insource serve` in a process of its own, with a linear
specialist, a scripted engine and one behind HTTP; after every block of input it must be the same process, ready, with
no call under way, and its log may hold nothing of a caller. Schemathesis comes from PyPI, into an environment of its
own below the cache folder (--venv puts it elsewhere).
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import hostile_bodies
import hostile_raw
from gateway_peers import environment
from hostile_audit import tampering
from hostile_place import OPERATOR, Place, Seen, foreign_lines, made, served, session, upstream
from hostile_tenants import tenants
from insource.serve.patience import Patience
from insource.settings import cache_folder
from insource.stats import clopper_pearson_upper

PACKAGE = "schemathesis==4.32.5"
GRACE_S = 15.0  # beyond its patience a gateway may take so long to end a connection
SETTLE_S = 20.0
SLOW_CALLERS = 20
Block = Callable[[], Awaitable[Seen]]


def interpreter(folder: Path) -> str:
    """An interpreter with Schemathesis, made in `folder` unless it is there."""
    python, note = folder / "bin" / "python", folder / "made"
    if not note.is_file() or note.read_text("utf-8") != PACKAGE:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", PACKAGE], check=True, stdout=sys.stderr)
        note.write_text(PACKAGE, "utf-8")
    return str(python)


async def cases(place: Place, python: str, count: int, seed: int) -> Seen:
    """Cases that Schemathesis draws from the gateway's own description."""
    script = str(Path(__file__).with_name("hostile_cases.py"))
    process = await asyncio.create_subprocess_exec(
        python, script, place.url, place.key, str(count), str(seed), stdout=asyncio.subprocess.PIPE, env=environment()
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{script} ended with {process.returncode}")
    found = json.loads(said)
    seen = Seen(calls=found["cases"], failed=found["failed"], faults=found["faults"])
    seen.statuses.update(found["statuses"])
    return seen


async def under_way(place: Place) -> int:
    """How many calls the gateway is answering, once it had time to end those that were left."""
    async with session(place) as http:
        until = time.monotonic() + SETTLE_S
        while True:
            async with http.get(
                f"{place.url}/metrics", headers={"Authorization": f"Bearer {place.operator}"}
            ) as answer:
                lines = (await answer.text()).splitlines()
            now = next(int(float(line.split()[1])) for line in lines if line.startswith("insource_in_flight "))
            if not now or time.monotonic() > until:
                return now
            await asyncio.sleep(0.5)


async def block(place: Place, name: str, run: Block) -> dict[str, Any]:
    """One block: what was answered, and how the gateway is afterwards."""
    before, began = len(place.log()), time.monotonic()
    seen = await run()
    alive = await place.lives()
    foreign = foreign_lines(place.log()[before:], hostile_bodies.CANARY.encode())
    found = {
        "calls": seen.calls,
        "failed": seen.failed,
        "failed_upper95": clopper_pearson_upper(seen.failed, seen.calls),
        "statuses": dict(sorted(seen.statuses.items())),
        "faults": seen.faults,
        "alive": alive,
        "under_way": await under_way(place) if alive else -1,
        "memory_mb": place.memory_mb() if alive else {},
        "open_files": place.open_files() if alive else -1,
        "log_lines_of_callers": len(foreign),
        "log_samples": foreign[:5],
        "seconds": round(time.monotonic() - began, 1),
    }
    print(
        f"  {name}: {seen.calls:,} answers, {seen.failed} faults, alive {alive}, {found['seconds']} s", file=sys.stderr
    )
    return found


async def slow(place: Place) -> dict[str, Any]:
    """Callers that never end what they say, all kinds at once, while others are answered."""
    patience = Patience()
    bounds = {"nothing is said": patience.head_s, "a body, a byte at a time": patience.body_s}
    took = await hostile_raw.slow(place, SLOW_CALLERS, patience.body_s + GRACE_S)
    late = [name for name, s in took.items() if s > bounds.get(name, patience.head_s) + GRACE_S]
    alive = await place.lives()
    return {"callers": SLOW_CALLERS * len(took), "held_s": took, "late": late, "alive": alive,
            "open_files": place.open_files(), "memory_mb": place.memory_mb()}  # fmt: skip


async def hostile_input(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every block of bad input against one gateway."""
    data, root = Path(given.data), folder / "input"
    python = interpreter(given.venv or cache_folder() / "schemathesis") if given.cases else ""
    async with upstream() as far:
        keys = await made(root, far, wanted=(OPERATOR,))
        async with served(root, keys[0]) as place:
            place.operator = keys[1]
            blocks: dict[str, Block] = {
                "json suite": lambda: hostile_bodies.json_suite(place, data, given.most),
                "naughty strings": lambda: hostile_bodies.naughty(place, data, given.most),
                "broken bodies": lambda: hostile_bodies.broken_bodies(place, given.broken, given.seed),
                "raw http": lambda: hostile_raw.raw(place, given.raw, given.seed),
                "schemathesis": lambda: cases(place, python, given.cases, given.seed),
            }
            begun = place.memory_mb()
            found = {
                name: await block(place, name, run)
                for name, run in blocks.items()
                if given.cases or name != "schemathesis"
            }
            return {"memory_mb_at_start": begun, "blocks": found} | ({"slow": await slow(place)} if given.slow else {})


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The parts that were asked for."""
    document: dict[str, Any] = {}
    wanted = given.only.split(",")
    if "input" in wanted:
        document["input"] = await hostile_input(given, folder)
    if "tenants" in wanted:
        document["tenants"] = await tenants(folder, given.pairs, given.seed)
    if "audit" in wanted:
        document["audit"] = await tampering(folder, given.edits, given.calls, given.seed)
    return document


def show(document: dict[str, Any]) -> None:
    """A few lines for people."""
    for name, found in document.get("input", {}).get("blocks", {}).items():
        print(f"{name}: {found['calls']:,} answers, {found['failed']} faults (below {found['failed_upper95']:.3%}), "
              f"{found['statuses']}, alive {found['alive']}, {found['memory_mb']}")  # fmt: skip
        for fault in found["faults"]:
            print(f"    {fault}")
    for name in ("tenants", "audit"):
        if name in document:
            print(f"{name}: {json.dumps(document[name], indent=1)}")
    if "slow" in document.get("input", {}):
        print(f"slow callers: {document['input']['slow']}")


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the folder of data sets")
    for name, count in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--only", default="input,tenants,audit")
    parser.add_argument("--venv", type=Path, help="where Schemathesis is, or comes to")
    parser.add_argument("--no-slow", dest="slow", action="store_false", help="leave out the callers that never end")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        document = asyncio.run(measure(given, Path(folder)))
    document["sizes"] = {name: getattr(given, name) for name in SIZES}
    document |= {"bench": "hostile", "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    if given.json:
        print(json.dumps(document))
    else:
        show(document)


SIZES = {
    "cases": 10_000,
    "raw": 2_000,
    "broken": 2_000,
    "pairs": 5_000,
    "edits": 1_000,
    "calls": 2_000,
    "most": 10_000,
    "seed": 7,
}

if __name__ == "__main__":
    main()

"""What does a page cost when much has been kept? python bench/growth.py [DATA] [--sizes 10000,100000,1000000] [--json].

A workspace is filled for each size (bench/growth_fill.py: so many calls in the audit chain, a tenth as many review
items, a hundredth as many releases), and then, of each:

- every page of the console, over a socket from `insource serve`, by somebody who signed in as an admin, in turns;
- every listing of the command line, `--json`: the time inside, from the verb's first line to its last in a process
  that has its modules, and whose garbage collector looks through nothing else (what filled the workspace lies in this
  one, and in no command's); and the whole of `insource VERB` as it is typed, beside the whole of `insource --help`;
- beside them what is no listing but looks at all there is: the audit's verification and the levels of a month.

At the smallest size the chain is verified whole, so that what is measured is a store and not a heap of rows.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from click.testing import CliRunner

from growth_fill import TASKS, Filled, Size, fill
from insource.cli.main import main as command_line
from insource.stats import quantile

PAGES = (
    "", "tasks/{task}", "tasks/{task}/review", "tasks/{task}/labels?q=re", "tasks/{task}/drift", "tasks/{task}/move",
    "tasks/{task}/move?release={release}", "calls", "calls?outcome=failed", "calls?task={task}&below=30",
    "calls?release=nothing@9.9.9", "calls?until=2020-01-01", "calls/{record}", "reports", "reports/{report}",
    "governance",
)  # fmt: skip
LISTINGS = (
    "status", "status {task}", "release list", "release list {task}", "release list {task} --at {at}",
    "release show {task}", "release show {release}", "review {task}", "review {task} --stats", "watch {task}",
    "keys list", "audit usage", "audit usage --by engine", "audit usage --by day", "audit egress", "models list",
)  # fmt: skip
WHOLE = ("audit levels {task}", "audit verify")
ROUNDS, TYPED, BUDGET_S = 20, 2, 20.0
AT = "2026-11-01T09:30"


def told(times: list[float]) -> dict[str, Any]:
    """Milliseconds: the median, the 95th percentile and how many."""
    ms = sorted(1000 * one for one in times)
    return {"p50_ms": quantile(ms, 0.5), "p95_ms": quantile(ms, 0.95), "n": len(ms)}


def often(work: Callable[[], Any], rounds: int, budget_s: float = BUDGET_S) -> list[float]:
    """Seconds of each round, the first left out where there are more; no new one begins after the budget."""
    times: list[float] = []
    began = time.monotonic()
    while len(times) <= rounds and (not times or time.monotonic() - began < budget_s):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times[1:] or times


def words(pattern: str, filled: Filled) -> str:
    """A page's path, or a command line, of this store."""
    return pattern.format(task=TASKS[0], release=filled.release, record=filled.record, report=filled.report, at=AT)


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[str]:
    """A gateway's URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "insource", "serve", "--port", "0", "--json",
        cwd=root, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield json.loads(await process.stdout.readline())["url"]
    finally:
        process.terminate()
        await process.wait()


async def pages(root: Path, filled: Filled, rounds: int) -> dict[str, Any]:
    """Every page, in turns."""
    times: dict[str, list[float]] = {page: [] for page in PAGES}
    size: dict[str, int] = {}
    jar = aiohttp.CookieJar(unsafe=True)
    async with serving(root) as url, aiohttp.ClientSession(cookie_jar=jar) as http:
        async with http.post(f"{url}/console/login", data={"key": filled.key}) as answer:
            assert answer.status == 200, await answer.text()
        for turn in range(rounds + 1):
            for page in PAGES:
                if sum(times[page]) > BUDGET_S:
                    continue
                start = time.perf_counter()
                async with http.get(f"{url}/console/{words(page, filled)}", allow_redirects=False) as answer:
                    body = await answer.read()
                took = time.perf_counter() - start
                assert answer.status == 200, (page, answer.status, body[:2000])
                size[page] = len(body)
                times[page] += [took] if turn or took > 1 else []
    return {page: told(times[page]) | {"kb": size[page] / 1024} for page in PAGES}


def inside(root: Path, line: str, filled: Filled, rounds: int) -> dict[str, Any]:
    """A command's own time, in this process."""
    runner, sizes = CliRunner(), []

    def once() -> None:
        own = time.process_time()
        done = runner.invoke(command_line, ["-C", str(root), "--json", *words(line, filled).split()])
        assert done.exit_code in (0, 1), (line, done.output, done.exception)
        json.loads(done.stdout)
        sizes.append(len(done.stdout_bytes))
        busy.append(1000 * (time.process_time() - own))

    busy: list[float] = []
    gc.collect()
    gc.freeze()  # what filled the workspace and ran the other verbs; no command's own process looks through that
    found = told(often(once, rounds))
    return found | {"kb": sizes[-1] / 1024, "cpu_p50_ms": statistics.median(busy)}


def typed(root: Path, line: list[str]) -> float:
    """Seconds of a command as it is typed, the median."""

    def once() -> None:
        subprocess.run([sys.executable, "-m", "insource", *line], cwd=root, capture_output=True, check=True)

    return statistics.median(often(once, TYPED))


def listings(root: Path, filled: Filled, rounds: int) -> dict[str, Any]:
    """Every listing, inside and as it is typed."""
    found = {}
    start_ms = 1000 * typed(root, ["--help"])
    for line in LISTINGS:
        found[line] = inside(root, line, filled, rounds)
        found[line]["typed_ms"] = 1000 * typed(root, [*words(line, filled).split(), "--json"])
        print(f"    {line}: {found[line]}", file=sys.stderr)
    return {"help_ms": start_ms, "listings": found}


def grown(size: Size, rounds: int, folder: Path) -> dict[str, Any]:
    """One size."""
    root = folder / str(size.records)
    filled = asyncio.run(fill(root, size))
    print(f"  {size}: filled in {filled.fill_s:.0f} s, {filled.bytes / 1e6:,.0f} MB", file=sys.stderr)
    said = {"fill_s": filled.fill_s, "bytes": filled.bytes}
    return size._asdict() | said | measured(root, filled, rounds)


def measured(root: Path, filled: Filled, rounds: int) -> dict[str, Any]:
    """What pages and listings of a filled workspace cost."""
    first = inside(root, "audit usage", filled, 0)["p50_ms"]
    shown = asyncio.run(pages(root, filled, rounds))
    for page, seen in shown.items():
        print(f"    /{page}: {seen}", file=sys.stderr)
    return {
        "first_usage_ms": first,
        "pages": shown,
        **listings(root, filled, rounds),
        "whole": {line: inside(root, line, filled, 0) for line in WHOLE},
    }


def whole(root: Path) -> bool:
    """Whether the chain of what was filled in is as it was written."""
    done = CliRunner().invoke(command_line, ["-C", str(root), "--json", "audit", "verify"])
    return done.exit_code == 0 and not json.loads(done.stdout)["faults"]


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not used")
    parser.add_argument("--sizes", default="10000,100000,1000000", help="calls, with commas between")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--keep", type=Path, help="a new folder for the workspaces, which then stay")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    sizes = [Size(int(n), max(10, int(n) // 10), max(10, int(n) // 100)) for n in given.sizes.split(",")]
    folder = given.keep or Path(tempfile.mkdtemp())
    try:
        found = [grown(size, given.rounds, folder) for size in sizes]
        chain = whole(folder / str(sizes[0].records))
    finally:
        if given.keep is None:
            shutil.rmtree(folder)
    document = {"bench": "growth", "sizes": found, "load": os.getloadavg()[1], "chain_whole": chain,
                "tasks": len(TASKS), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}  # fmt: skip
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

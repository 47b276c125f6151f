"""The store taken away under calls, and the gateway killed: every answer that a caller got is on record, once.

    python bench/spool.py [DATA] [--outages 20] [--calls 300] [--json]

One workspace is served by `insource serve` with a spool. In each round its database is locked by another program, moved
away, or may not grow; after so many answers more the gateway is killed with SIGKILL: while the store is down, while
what was spooled is carried in, or when all is well again. Then it is served again. Beside it two controls: the same
without a spool, which refuses, and with one that forgets, which loses.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import platform
import random
import resource
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from insource.journeys.recover import end_calls, recover, spool_folder
from insource.settings import load_settings
from insource.stats import clopper_pearson_upper
from insource.store import Store
from kills import CALLERS, READY_S, SCRIPT, call

TOML = """[serve]
queue = 4096
[audit]
spool = {spool}
spool_after_s = 0.5
[engines.hub]
kind = "scripted"
script = "hub.jsonl"
region = "premises"
"""
FORGETS = """
import sys
from insource.store.spool import Spool
async def add(self, line):
    pass
Spool.add = add
from insource.cli.main import main
main()
"""


@dataclass
class Told:
    """What callers were told, and how long it took: seconds of calls while all was well, and while the store was down.

    `back_s` are the seconds from the end of an outage until the gateway said it was ready; `start_s` until it took
    calls after a kill, what was spooled carried in.
    """

    records: list[str] = field(default_factory=list)
    refused: int = 0
    well_s: list[float] = field(default_factory=list)
    down_s: list[float] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)


@contextmanager
def locked(database: Path, _: int) -> Iterator[None]:
    """Another program holds it."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout=10000")
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def removed(database: Path, _: int) -> Iterator[None]:
    """It is moved away, and put back."""
    away = database.with_name("away.db")
    database.rename(away)
    yield
    away.rename(database)


@contextmanager
def full(database: Path, number: int) -> Iterator[None]:
    """No file of the process may grow beyond the database's log."""
    size = max(1_000_000, database.with_name(f"{database.name}-wal").stat().st_size)
    resource.prlimit(number, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    yield
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(number, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


OUTAGES = {"locked": locked, "removed": removed, "full": full}
MOMENTS = ("down", "carrying", "well")  # when it is killed


class Round:
    """One life of the gateway, from its start to its kill."""

    def __init__(self, told: Told, given: argparse.Namespace, chance: random.Random) -> None:
        self.told, self.given, self.chance = told, given, chance
        self.down = False

    async def live(self, root: Path, command: list[str], outage: str, moment: str) -> None:
        """Serves, takes the store away under calls, and kills."""
        start = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *command, "-C", str(root), "serve", "--port", "0", "--json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        url = json.loads(await asyncio.wait_for(process.stdout.readline(), READY_S))["url"]
        self.told.start_s.append(time.monotonic() - start)
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(base_url=url, timeout=timeout) as http:
            running = [asyncio.create_task(self._calls(http, url, number)) for number in range(CALLERS)]
            await self._through(http, root / ".insource" / "insource.db", process, outage, moment)
            await asyncio.gather(*running)

    async def _through(self, http: Any, database: Path, process: Any, outage: str, moment: str) -> None:
        await self._more(self.given.calls // 3)
        with OUTAGES[outage](database, process.pid):
            self.down = True
            await self._said(http, ("degraded", "not ready"))
            await self._more(self.given.calls)
            if moment == "down":
                await self._kill(process)
        self.down = False
        if moment == "carrying":
            await asyncio.sleep(self.chance.uniform(0.0, 0.6))
            await self._kill(process)
        if moment == "well":
            ended = time.monotonic()
            await self._said(http, ("ready",))
            self.told.back_s.append(time.monotonic() - ended)
            await self._kill(process)

    async def _kill(self, process: Any) -> None:
        await asyncio.sleep(self.chance.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def _calls(self, http: Any, url: str, number: int) -> None:
        """Calls until the gateway is gone."""
        for i in itertools.count():
            began, down = time.monotonic(), self.down
            try:
                record = await call(http, url, f"{url} {began} {number} {i}", stream=bool(number % 2))
            except aiohttp.ClientPayloadError as error:
                if not str(error).startswith("503"):
                    return
                self.told.refused += 1
                await asyncio.sleep(0.02)
                continue
            except (aiohttp.ClientError, OSError):
                return
            self.told.records.append(record)
            if down is self.down:
                (self.told.down_s if down else self.told.well_s).append(time.monotonic() - began)

    async def _more(self, count: int) -> None:
        """Returns when so many more callers were told something."""
        wanted = len(self.told.records) + self.told.refused + count
        while len(self.told.records) + self.told.refused < wanted:  # noqa: ASYNC110 - two counts of many tasks
            await asyncio.sleep(0.005)

    async def _said(self, http: Any, wanted: tuple[str, ...]) -> None:
        """Returns when /readyz says one of these."""
        while True:
            async with http.get("/readyz") as answer:
                if (await answer.json())["status"] in wanted:
                    return
            await asyncio.sleep(0.02)


async def held(root: Path, told: Told) -> dict[str, Any]:
    """What of that is in the store, once what is spooled was carried in."""
    settings = load_settings(root)
    async with await Store.open(settings) as store:
        refused = len((await recover(store, spool_folder(settings))).refused)
        interrupted = len(await end_calls(settings, store))
        records = await store.records(limit=10**7)
        faults = len((await store.verify_chain()).faults)
    ids = Counter(record.id for record in records if record.outcome == "answered")
    inputs = Counter(record.input_hash for record in records if record.outcome == "answered")
    lost, n = sum(name not in ids for name in told.records), len(told.records)
    return {
        "answers": n,
        "lost": lost,
        "lost_upper95": clopper_pearson_upper(lost, n),
        "twice": sum(count > 1 for count in (ids + inputs).values()) + (n - len(set(told.records))),
        "spooled": sum(record.spooled for record in records),
        "records": len(records),
        "interrupted": interrupted,
        "chain_faults": faults,
        "files_refused": refused,
        "refused": told.refused,
        "call_ms": {"well": figures(told.well_s, 1000), "down": figures(told.down_s, 1000)},
        "back_s": figures(told.back_s),
        "start_s": figures(told.start_s),
    }


def figures(values: list[float], times: float = 1) -> dict[str, float]:
    """Median, p95, p99, the largest, and n."""
    found = sorted(value * times for value in values)
    if not found:
        return {"n": 0}
    share = {f"p{per}": found[min(len(found) - 1, per * len(found) // 100)] for per in (95, 99)}
    return {"p50": statistics.median(found), **share, "most": found[-1], "n": len(found)}


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """With a spool, without one, and with one that forgets; the controls with fewer outages."""
    document: dict[str, Any] = {}
    plain = [sys.executable, "-m", "insource"]
    kinds = {
        "spool": (plain, given.spool or "spool", given.outages),
        "without": (plain, "", max(2, given.outages // 10)),
        "forgets": ([sys.executable, "-c", FORGETS], "spool", max(1, given.outages // 20)),
    }
    for name, (command, spool, outages) in kinds.items():
        root, told, chance = folder / name, Told(), random.Random(given.seed)  # noqa: S311 - moments, no secret
        (root / "tasks").mkdir(parents=True)
        (root / "insource.toml").write_text(TOML.format(spool=json.dumps(str(spool))), "utf-8")
        (root / "hub.jsonl").write_text(SCRIPT, "utf-8")
        # without a spool a locked store is waited for, ten seconds a call
        those = [outage for outage in OUTAGES if spool or outage != "locked"]
        cases = itertools.cycle(itertools.product(MOMENTS, those))
        for number, (moment, outage) in zip(range(outages), cases, strict=False):
            await Round(told, given, chance).live(root, command, outage, moment)
            so_far = f"{len(told.records):,} answers, started in {told.start_s[-1]:.1f} s"
            print(f"  {name}: {number + 1} of {outages}, {outage}, killed {moment}, {so_far}", file=sys.stderr)
        document[name] = {"outages": outages} | await held(root, told)
    return document


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not looked at: every benchmark is given the folder of data")
    parser.add_argument("--outages", type=int, default=20, help="each ends with a kill")
    parser.add_argument("--calls", type=int, default=300, help="answers while the store is down")
    parser.add_argument("--spool", type=Path, help="a new folder on another disk (default: beside the store)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        document = asyncio.run(measure(given, Path(folder)))
    document |= {"bench": "spool", "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    if given.json:
        print(json.dumps(document))
        return
    for name in ("spool", "without", "forgets"):
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in document[name].items()))


if __name__ == "__main__":
    main()

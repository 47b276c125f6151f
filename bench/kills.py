"""The gateway killed with SIGKILL, again and again, under calls: every answer a caller got is on record, once.

    python bench/kills.py [DATA] [--kills 200] [--calls 120] [--json]

One workspace is served by `insource serve`, killed at a random moment after it gave so many answers, plain and
streamed, and served again. At the end the records are held against what callers were told, and the audit chain is
verified. Beside it the negative control: the same, but records are written after the answer has left.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from insource.settings import load_settings
from insource.stats import clopper_pearson_upper
from insource.store import Store

CALLERS = 24
READY_S = 60
TOML = '[serve]\nqueue = 4096\n[engines.hub]\nkind = "scripted"\nscript = "hub.jsonl"\nregion = "premises"\n'
SCRIPT = '{"match": "*", "text": "one two three", "delay_s": 0.01}\n'
LATE = """
import asyncio, sys
from insource.serve.desk import Desk
kept, later = Desk.keep, []
async def keep(self, record, pending):
    async def write():
        await asyncio.sleep(0.5)
        await kept(self, record, pending)
    later.append(asyncio.create_task(write()))
Desk.keep = keep
sys.argv = ["insource", *sys.argv[1:]]
from insource.cli.main import main
main()
"""


@dataclass
class Told:
    """What callers were told: the names of records, the seconds until each start was ready, calls that failed alive."""

    records: list[str] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    failed: int = 0


async def call(http: aiohttp.ClientSession, url: str, text: str, *, stream: bool) -> str:
    """The record of one call, once its whole answer is here. Raises `aiohttp.ClientError` when it broke off."""
    body = {"model": "hub", "messages": [{"role": "user", "content": text}], "stream": stream}
    async with http.post(f"{url}/v1/chat/completions", json=body) as answer:
        said = await answer.read()
        if answer.status != 200 or (stream and not said.endswith(b"data: [DONE]\n\n")):
            raise aiohttp.ClientPayloadError(f"{answer.status}: no whole answer")
        return answer.headers["x-insource-record"]


async def callers(url: str, told: Told, run: int, wanted: int, enough: asyncio.Event) -> None:
    """Calls until the gateway is gone; says when so many were answered."""
    begun = len(told.records)

    async def one(number: int) -> None:
        for i in range(10**6):
            try:
                told.records.append(await call(http, url, f"{run} {number} {i}", stream=bool(number % 2)))
            except (aiohttp.ClientError, OSError):
                told.failed += not enough.is_set()
                return
            if len(told.records) - begun >= wanted:
                enough.set()

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        await asyncio.gather(*(one(number) for number in range(CALLERS)))
        enough.set()


async def run(root: Path, command: list[str], given: argparse.Namespace, name: str) -> Told:
    """Served and killed, so many times."""
    told = Told()
    chance = random.Random(given.seed)  # noqa: S311 - moments, no secret
    for number in range(given.kills):
        start = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *command, "-C", str(root), "serve", "--port", "0", "--json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), READY_S)
        url = json.loads(line)["url"]
        told.ready_s.append(time.monotonic() - start)
        enough = asyncio.Event()
        calling = asyncio.create_task(callers(url, told, number, given.calls, enough))
        await enough.wait()
        await asyncio.sleep(chance.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await calling
        print(f"  {name}: {number + 1} of {given.kills} kills, {len(told.records):,} answers", file=sys.stderr)
    return told


async def held(root: Path, told: Told) -> dict[str, Any]:
    """What of that is in the store."""
    async with await Store.open(load_settings(root)) as store:
        interrupted = len(await store.interrupt())
        records = await store.records(limit=10**7)
        faults = len((await store.verify_chain()).faults)
    answered = {record.id: record.input_hash for record in records if record.outcome == "answered"}
    answers = Counter(answered.values())
    lost = [name for name in told.records if name not in answered]
    n = len(told.records)
    return {
        "answers": n,
        "lost": len(lost),
        "lost_upper95": clopper_pearson_upper(len(lost), n),
        "twice": sum(count > 1 for count in answers.values()) + (n - len(set(told.records))),
        "records": len(records),
        "interrupted": interrupted,
        "chain_faults": faults,
        "failed_alive": told.failed,
        "ready_s": {"p50": statistics.median(told.ready_s), "p95": sorted(told.ready_s)[int(0.95 * len(told.ready_s))]},
    }


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Ours, and the control with a tenth of the kills."""
    document: dict[str, Any] = {}
    late = folder / "late.py"
    late.write_text(LATE, "utf-8")
    commands = {"kept": [sys.executable, "-m", "insource"], "control": [sys.executable, str(late)]}
    for name, command in commands.items():
        root = folder / name
        (root / "tasks").mkdir(parents=True)
        (root / "insource.toml").write_text(TOML, "utf-8")
        (root / "hub.jsonl").write_text(SCRIPT, "utf-8")
        some = argparse.Namespace(**vars(given) | ({"kills": max(1, given.kills // 10)} if name == "control" else {}))
        document[name] = {"kills": some.kills} | await held(root, await run(root, command, some, name))
    return document


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not looked at: every benchmark is given the folder of data")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--calls", type=int, default=120, help="answers before a kill")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        document = asyncio.run(measure(given, Path(folder)))
    document |= {"bench": "kills", "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    if given.json:
        print(json.dumps(document))
        return
    for name in ("kept", "control"):
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in document[name].items()))


if __name__ == "__main__":
    main()

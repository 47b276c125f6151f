"""Ten minutes under calls of every kind over 256 connections, with everything that is forgotten forgotten soon: memory.

    python bench/soak.py [DATA] [--minutes 10] [--connections 256] [--per-s 200] [--json]

`insource serve` answers plain and streamed calls by a server of its own, calls whose callers leave half-way, with a
wrong key, for a model that is not there, that are no JSON, and calls that fall back since the first server fails.
The first twenty seconds nobody pauses, so that what all connections at once take is there from the beginning. Meanwhile
its keys are replaced every few seconds, its audit is signed every second, all but the newest 1,000 records
are removed every three seconds, and minutes of limits last five seconds. What it holds is read once a second.

What is kept has a bound and fills up to it; only what comes then is growth. It is full when all that it holds has been
replaced ten times: the newest 1,000 records after 10,000 calls, keys that are still known after ten times their overlap
(two minutes). Grown is what the last minute has (the middle of it) over the first whole minute from there on.
"""

import argparse
import asyncio
import json
import math
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from insource.engines.scripted_server import Reply, ScriptedServer
from insource.journeys import keys
from insource.journeys.audit import verify
from insource.nouns import Key, Limits
from insource.settings import Settings, load_settings
from insource.store import Store

READY_S, ROTATE_S, OVERLAP_S, BURST_S = 60, 4.0, 12.0, 20.0
KEPT, TURNS = 1000, 10  # records; how often what is kept is replaced before it counts as full
TEXT = "The spindle chatters at twelve thousand turns a minute. " * 25
WORDS = "Lorem ipsum dolor sit amet. " * 8
SOONER = """
import sys
from insource.route import limits
from insource.serve import app, books, keyring
limits.WINDOW_S, books.PRUNE_S, app.FOLLOW_S, keyring.LOOK_S = 5, 3.0, 0.5, 0.25
sys.argv = ["insource", *sys.argv[1:]]
from insource.cli.main import main
main()
"""
TOML = """
[serve]
queue = 4096
[audit]
checkpoint_s = 1
keep_calls = {kept}
[tenants.plant]
requests_per_minute = 900000000
[engines.hub]
kind = "openai"
base_url = "{good}"
model = "m"
region = "premises"
idle_s = 5
usd_per_million_input = 0.1
usd_per_million_output = 0.4
[engines.shaky]
kind = "openai"
base_url = "{bad}"
model = "n"
region = "premises"
else = ["hub"]
"""
# kind of call → how many of a hundred, and which statuses it may have
KINDS: dict[str, tuple[int, tuple[int, ...]]] = {
    "plain": (55, (200,)),
    "stream": (25, (200,)),
    "falls back": (5, (200,)),
    "leaves": (5, (0,)),
    "wrong key": (4, (401,)),
    "no such model": (3, (404,)),
    "no JSON": (3, (422,)),
}


@dataclass
class Seen:
    """What callers were told, by kind and status; megabytes by second; the key that is used now."""

    told: Counter[str] = field(default_factory=Counter)
    amiss: Counter[str] = field(default_factory=Counter)
    held_mb: list[float] = field(default_factory=list)
    key: str = ""
    replaced: int = 0


def body(kind: str, number: int) -> bytes:
    """One call of this kind; no two are the same."""
    if kind == "no JSON":
        return b'{"model": "hub", "messages": ['
    model = {"no such model": f"none-{number}", "falls back": "shaky"}.get(kind, "hub")
    stream = kind in ("stream", "leaves") or (kind == "falls back" and number % 2 == 0)
    text = f"{'<hang> ' if kind == 'leaves' else ''}{number} {TEXT}"
    return json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()


async def call(http: aiohttp.ClientSession, url: str, kind: str, number: int, seen: Seen) -> None:
    """Makes one and notes what came of it."""
    key = "wrong" if kind == "wrong key" else seen.key
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    status = 0
    try:
        async with asyncio.timeout(0.4 if kind == "leaves" else 30):
            async with http.post(f"{url}/v1/chat/completions", data=body(kind, number), headers=headers) as answer:
                said = await answer.read()
                status = answer.status
                if status == 200 and b'"stream": true' in body(kind, number) and not said.endswith(b"[DONE]\n\n"):
                    status = -1
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        status = 0 if kind == "leaves" else -2
        seen.told[type(error).__name__] += kind != "leaves"
    seen.told[f"{kind}: {status}"] += 1
    if status not in KINDS[kind][1]:
        seen.amiss[f"{kind}: {status}"] += 1


async def caller(http: aiohttp.ClientSession, url: str, seen: Seen, place: tuple[int, float, float]) -> None:
    """Calls with a pause between, until the time is up."""
    first, pause_s, until = place
    dice = random.Random(first)  # noqa: S311 - no secret
    names, shares = list(KINDS), [share for share, _ in KINDS.values()]
    number = first * 10**6
    crowd = time.monotonic() + BURST_S
    while time.monotonic() < until:
        number += 1
        began = time.monotonic()
        await call(http, url, dice.choices(names, shares)[0], number, seen)
        pause = 0.0 if began < crowd else dice.uniform(0.5, 1.5) * pause_s
        await asyncio.sleep(max(0.0, began + pause - time.monotonic()))


async def replacing(settings: Settings, seen: Seen) -> None:
    """A new key every few seconds, until cancelled."""
    async with await Store.open(settings) as store:
        known = (await store.keys())[0][0]
        while True:
            await asyncio.sleep(ROTATE_S)
            known, seen.key = await keys.rotate(store, known.id, overlap=timedelta(seconds=OVERLAP_S))
            seen.replaced += 1


async def watching(pid: int, seen: Seen, servers: Sequence[ScriptedServer]) -> None:
    """What the process holds, once a second, until cancelled. What the servers behind have seen is forgotten."""
    page = os.sysconf("SC_PAGE_SIZE")
    while True:
        seen.held_mb.append(int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * page / 2**20)  # noqa: ASYNC240
        for server in servers:
            server.seen.clear()
            server.keys.clear()
        await asyncio.sleep(1.0)


async def run(given: argparse.Namespace, root: Path, servers: Sequence[ScriptedServer], seen: Seen) -> None:
    """Serves, calls, watches."""
    (root / "tasks").mkdir(parents=True)
    (root / "insource.toml").write_text(
        TOML.format(good=servers[0].base_url, bad=servers[1].base_url, kept=KEPT), "utf-8"
    )
    sooner = root / "sooner.py"
    sooner.write_text(SOONER, "utf-8")
    settings = load_settings(root)
    limits = Limits(requests_per_minute=10**9, tokens_per_minute=10**12, usd_per_day=1e6, usd_per_month=1e7)
    async with await Store.open(settings) as store:
        _, seen.key = await keys.create(store, Key(id="", name="soak", tenant="plant", limits=limits))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(sooner), "-C", str(root), "serve", "--port", "0", "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    url = json.loads(await asyncio.wait_for(process.stdout.readline(), READY_S))["url"]
    until = time.monotonic() + 60 * given.minutes
    beside = [asyncio.create_task(each) for each in (replacing(settings, seen), watching(process.pid, seen, servers))]
    connector = aiohttp.TCPConnector(limit=given.connections, keepalive_timeout=600)
    try:
        async with aiohttp.ClientSession(connector=connector) as http:
            pause_s = given.connections / given.per_s
            each = [caller(http, url, seen, (number, pause_s, until)) for number in range(given.connections)]
            await asyncio.gather(*each)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        process.terminate()
        await process.wait()


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What it held, and whether its books are right at the end."""
    seen = Seen()
    good = [Reply(match="<hang>", text=WORDS, play="hang", at="middle"), Reply(match="*", text=WORDS, delay_s=0.05)]
    async with ScriptedServer(good) as first, ScriptedServer([Reply(status=503)]) as second:
        await run(given, folder / "workspace", (first, second), seen)
    settings = load_settings(folder / "workspace")
    async with await Store.open(settings) as store:
        audit = await verify(settings, store)
        kept = len(await store.records(limit=10**6))
    return {
        "minutes": given.minutes,
        "connections": given.connections,
        "calls": sum(count for name, count in seen.told.items() if ": " in name),
        "told": dict(sorted(seen.told.items())),
        "amiss": dict(seen.amiss),
        "keys_replaced": seen.replaced,
        "records_kept": kept,
        "removed_through": audit.foot.seq,
        "checkpoints": audit.checkpoints,
        "audit_faults": [fault.what for fault in audit.faults],
        "store_mb": sum(file.stat().st_size for file in settings.state.glob("insource.db*")) / 2**20,
    } | held(seen.held_mb, given.per_s)


def full_minute(per_s: float) -> int:
    """The number of the first minute, from 0, in which all that is kept was replaced ten times before."""
    return math.ceil(TURNS * max(KEPT / per_s, OVERLAP_S) / 60)


def held(held_mb: Sequence[float], per_s: float) -> dict[str, Any]:
    """The figures of what was held: by minute, the most, how much it grew and how fast after it was full."""
    minutes = [statistics.median(held_mb[at : at + 60]) for at in range(0, len(held_mb) - 29, 60)]
    begin = min(full_minute(per_s), len(minutes) - 1)
    since = held_mb[60 * begin :]
    slope = statistics.linear_regression(range(len(since)), since).slope * 60 if len(since) > 1 else 0.0
    return {
        "mb_by_minute": minutes,
        "full_minute": begin,
        "most_mb": max(held_mb),
        "growth": minutes[-1] / minutes[begin] - 1,
        "mb_a_minute": slope,
    }


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not looked at: every benchmark is given the folder of data")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--per-s", type=float, default=200.0, help="calls a second, of all connections")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        document = asyncio.run(measure(given, Path(folder)))
    document |= {"bench": "soak", "machine": f"{platform.machine()}, {os.cpu_count()} cores", "per_s": given.per_s}
    print(json.dumps(document, indent=None if given.json else 1))


if __name__ == "__main__":
    main()

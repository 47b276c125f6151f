"""The gateway killed with SIGKILL at named points, under calls: every answer a caller got is on record, once.

    python bench/kill_points.py [DATA] [--times 10] [--point NAME]… [--json]

The points (bench/fail_points.py) are moments of a call, of a stream, of the audit's checkpoints, of removing what is
old, of replacing a key, of making a store, and of coming back after the last kill. One workspace goes through all of
them. After each kill it is served again; at the end every record is held against what callers were told, and the audit
chain and its signed checkpoints are verified. That the accounts tell loss is shown by the control of bench/kills.py.
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
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from fail_points import POINTS
from insource.journeys import keys
from insource.journeys.audit import verify
from insource.nouns import Key
from insource.settings import Settings, load_settings
from insource.stats import clopper_pearson_upper
from insource.store import Store
from kills import CALLERS, READY_S, SCRIPT, Told, callers

LAUNCHER = Path(__file__).with_name("fail_points.py")
PATIENCE_S = 90
KEEP = 1000
TOML = """
[serve]
queue = 4096
[audit]
checkpoint_s = 1
keep_calls = {keep}
[engines.hub]
kind = "scripted"
script = "hub.jsonl"
region = "premises"
"""
ONCE = ("checkpoint", "calls of the dead", "old records", "the gateway")  # by the second; the others by the call
KEYS = ("a key replaced, not committed", "a key replaced, not shown")
MAKING = "a new store half made"
REMOVING = ("old records removed, not committed", "old records removed")


def workspace(root: Path, keep: int = 10_000_000) -> Settings:
    """A new one, with an engine that answers after 10 ms."""
    (root / "tasks").mkdir(parents=True)
    (root / "insource.toml").write_text(TOML.format(keep=keep), "utf-8")
    (root / "hub.jsonl").write_text(SCRIPT, "utf-8")
    return load_settings(root)


async def launched(name: str, nth: int, root: Path, *words: str) -> asyncio.subprocess.Process:
    """`insource`, armed."""
    return await asyncio.create_subprocess_exec(
        sys.executable, str(LAUNCHER), name, str(nth), "-C", str(root), *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def killed(name: str, nth: int, root: Path, told: Told, run: int) -> bool:
    """Serves under calls until it is dead; whether it died by its own hand, at the point."""
    start = time.monotonic()
    process = await launched(name, nth, root, "serve", "--port", "0", "--json")
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), READY_S)
    if line:
        told.ready_s.append(time.monotonic() - start)
        calling = asyncio.create_task(callers(json.loads(line)["url"], told, run, 10**9, asyncio.Event()))
    try:
        await asyncio.wait_for(process.wait(), PATIENCE_S)
        alive = False
    except TimeoutError:
        process.kill()
        alive = True
    if line:
        await calling
    return not alive and await process.wait() == -signal.SIGKILL


async def key_kill(name: str, root: Path, settings: Settings, run: int) -> list[str]:
    """A key is replaced, and the command killed; what is wrong afterwards."""
    async with await Store.open(settings) as store:
        old, text = await keys.create(store, Key(id="", name=f"caller {run}"))
    process = await launched(name, 1, root, "keys", "rotate", old.id)
    if await asyncio.wait_for(process.wait(), PATIENCE_S) != -signal.SIGKILL:
        return [f"{name}: not reached"]
    async with await Store.open(settings) as store:
        there = [key for key in (await store.keys())[0] if key.name == f"caller {run}"]
    usable = [key.id for key in there if key.state(keys.moment(timedelta(minutes=1))) == "active"]
    wanted = 1 + (name == KEYS[1])
    old_opens = any(key.id == old.id and key.opened_by(text) for key in there)
    right = len(there) == len(usable) == wanted and old_opens
    return [] if right else [f"{name}: {len(usable)} of {len(there)} keys can be used, not {wanted}"]


async def held(settings: Settings, told: Told, excused: int) -> dict[str, Any]:
    """What of that is in the store; so many of the oldest records may have been removed as too old."""
    async with await Store.open(settings) as store:
        interrupted = len(await store.interrupt())
        records = await store.records(limit=10**7)
        audit = await verify(settings, store)
    answered = {record.id: record.input_hash for record in records if record.outcome == "answered"}
    kept = sorted(answered)
    since = kept[min(excused, len(kept) - 1)] if excused and kept else ""
    lost = [name for name in told.records if name not in answered and name > since]
    twice = sum(count > 1 for count in Counter(answered.values()).values())
    return {
        "answers": len(told.records),
        "lost": len(lost),
        "twice": twice + len(told.records) - len(set(told.records)),
        "records": len(records),
        "interrupted_at_last": interrupted,
        "open_calls": audit.open_calls,
        "audit_faults": len(audit.faults),
        "words": [fault.what for fault in audit.faults][:3],
    }


async def through(names: Sequence[str], times: int, root: Path, keep: int, dice: random.Random) -> dict[str, Any]:
    """One workspace through these points, so many times each."""
    settings, told, missed, kills = workspace(root, keep), Told(), list[str](), Counter[str]()
    run = 0
    for name in names:
        for _ in range(times):
            run += 1
            nth = dice.randint(1, 3) if name.startswith(ONCE) else dice.randint(20, 400)
            if await killed(name, nth, root, told, run):
                kills[name] += 1
            else:
                missed.append(name)
        print(f"  {name}: {kills[name]} kills, {len(told.records):,} answers in all", file=sys.stderr)
    found = await held(settings, told, 2 * CALLERS if keep == KEEP else 0)
    return found | {"kills": dict(kills), "missed": missed, "ready_s": told.ready_s}


async def made(times: int, folder: Path) -> list[str]:
    """New stores, killed while they are made; what is wrong with the second start."""
    wrong = []
    for number in range(times):
        root = folder / f"new {number}"
        settings = workspace(root)
        process = await launched(MAKING, 1, root, "status")
        if await asyncio.wait_for(process.wait(), PATIENCE_S) != -signal.SIGKILL:
            wrong.append(f"{MAKING}: not reached")
        async with await Store.open(settings) as store:
            await store.probe()
    return wrong


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All of them, or those that are asked for."""
    dice = random.Random(given.seed)  # noqa: S311 - moments, no secret
    wanted = given.point or list(POINTS)
    calls = [name for name in wanted if name not in (*KEYS, MAKING, *REMOVING)]
    document: dict[str, Any] = {"calls": await through(calls, given.times, folder / "calls", 10_000_000, dice)}
    removing = [name for name in wanted if name in REMOVING]
    document["removing"] = await through(removing, given.times, folder / "removing", KEEP, dice)
    settings, wrong = workspace(folder / "keys"), list[str]()
    for number, name in enumerate(name for name in wanted if name in KEYS for _ in range(given.times)):
        wrong += await key_kill(name, folder / "keys", settings, number)
    wrong += await made(given.times if MAKING in wanted else 0, folder)
    others = [name for name in wanted if name in (*KEYS, MAKING)]
    return document | {"others": {"points": others, "kills": given.times * len(others), "wrong": wrong}}


def summed(document: dict[str, Any]) -> dict[str, Any]:
    """The sums of both workspaces."""
    both = document["calls"], document["removing"]
    total = {name: sum(one[name] for one in both) for name in ("answers", "lost", "twice", "audit_faults")}
    ready = sorted(second for one in both for second in one["ready_s"])
    by_point = both[0]["kills"] | both[1]["kills"]
    others = document["others"]
    return total | {
        "lost_upper95": clopper_pearson_upper(total["lost"], max(1, total["answers"])),
        "points": len(by_point) + len(others["points"]),
        "kills": sum(by_point.values()) + others["kills"] - len(others["wrong"]),
        "missed": len(both[0]["missed"]) + len(both[1]["missed"]),
        "wrong": len(others["wrong"]),
        "ready_p50_s": statistics.median(ready) if ready else 0.0,
        "ready_p95_s": ready[int(0.95 * len(ready))] if ready else 0.0,
    }


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not looked at: every benchmark is given the folder of data")
    parser.add_argument("--times", type=int, default=10, help="kills at each point")
    parser.add_argument("--point", action="append", choices=POINTS, help="only this one; may be given again")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        document = asyncio.run(measure(given, Path(folder)))
    document |= {"sum": summed(document), "bench": "kill_points"}
    document |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    if given.json:
        print(json.dumps(document))
        return
    print(json.dumps({name: value for name, value in document.items() if name != "calls"} | {"calls": "…"}, indent=1))
    print({name: value for name, value in document["calls"].items() if name != "ready_s"})


if __name__ == "__main__":
    main()

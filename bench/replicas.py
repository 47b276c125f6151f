"""Three gateways on one PostgreSQL: limits raced from all, faults under calls, and two on two cores against one.

    python bench/replicas.py [DATA] [--seconds 75] [--rounds 3] [--json]

Limits: callers of every gateway race for keys of 120 calls a minute, 4 at once and 0.20 USD a day; from the records it
is told how many were admitted in any 60 seconds, at once and in a day. Faults: a gateway gets SIGKILL, PostgreSQL is
stopped at once and started, a gateway's network to it is cut, under callers; what they were told is held against the
records. Each has a negative control. Two against one: calls per second, each gateway held to a core, and who took the
processors.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from insource.journeys import keys
from insource.journeys.recover import end_calls, recover, spool_folder
from insource.nouns import Key, Limits
from insource.settings import load_settings
from insource.stats import clopper_pearson_upper
from insource.store import Store
from replicas_place import (
    ALONE,
    FORGETS,
    Gateway,
    Network,
    Postgres,
    Server,
    Told,
    calling,
    can_network,
    cpu_s,
    ended,
    family,
    programs,
    started,
    workspace,
)

GATEWAYS, RECOVERED_S = 3, 10.0
CALLERS, SPEED_ROUNDS = 96, 3  # so many that no gateway waits for a call
RATE, AT_ONCE, USD = 120, 4, 0.2
LIMITS = {
    "rate": Limits(requests_per_minute=RATE),
    "once": Limits(concurrent=AT_ONCE),
    "money": Limits(usd_per_day=USD),
}


async def limits(root: Path, model: Server, seconds: float, code: str = "") -> dict[str, Any]:
    """What was admitted of each key's limit while all gateways were asked for more; the model's server counts."""
    settings = load_settings(root)
    texts = {}
    async with await Store.open(settings) as store:
        for name, limit in LIMITS.items():
            texts[name] = (await keys.create(store, Key(id="", name=name, limits=limit)))[1]
    gateways = await asyncio.gather(*[started(root, code=code) for _ in range(GATEWAYS)])
    told = {name: Told() for name in texts}
    racing = [calling([one.url for one in gateways], told[name], text, 3, name) for name, text in texts.items()]
    for each in racing:
        await each.__aenter__()
    await asyncio.sleep(seconds)
    for each in racing:
        await each.__aexit__(None, None, None)
    await asyncio.gather(*[ended(one) for one in gateways])
    async with await Store.open(settings) as store:
        records = await store.records(limit=10**7)
    begun = sorted(datetime.fromisoformat(one.created).timestamp() for one in records if one.caller == "rate")
    answered = {name: len(one.records) for name, one in told.items()}
    return {
        "seconds": seconds,
        "rate": {"limit": RATE, "most": _most_within(begun, 60.0), "answered": answered["rate"]},
        "once": {"limit": AT_ONCE, "most": model.most["once"], "answered": answered["once"]},
        "money": {
            "limit": USD,
            "most": round(sum(one.usd for one in records if one.caller == "money"), 9),
            "answered": answered["money"],
        },
        "refused": sum(one.refused[429] for one in told.values()),
        "other": sum(count for one in told.values() for status, count in one.refused.items() if status != 429),
    }


def _most_within(begun: list[float], window_s: float) -> int:
    most = first = 0
    for last, at in enumerate(begun):
        while begun[first] <= at - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


async def forgets(root: Path, server: Postgres) -> dict[str, Any]:
    """The control: PostgreSQL stopped and started under calls, and what is spooled meanwhile is lost."""
    async with await Store.open(load_settings(root)) as store:
        text = (await keys.create(store, Key(id="", name="caller")))[1]
    gateways, told = [await started(root, code=FORGETS) for _ in range(GATEWAYS)], Told()
    async with calling([one.url for one in gateways], told, text):
        await asyncio.sleep(1)
        await _restarted(server, [one.url for one in gateways])
    await asyncio.gather(*[ended(one) for one in gateways])
    return await held([root], told)


async def faults(root: Path, server: Postgres, network: Network | None, rounds: int) -> dict[str, Any]:
    """Each fault so many times under callers, what was lost, and the seconds until each gateway answered again."""
    async with await Store.open(load_settings(root)) as store:
        text = (await keys.create(store, Key(id="", name="caller")))[1]
    alone = network is not None
    apart = workspace(root.parent / f"{root.name}-apart", server.url + "?schema=faults")
    gateways = [await started(root) for _ in range(GATEWAYS - alone)]
    if network is not None:
        gateways.append(await started(apart, before=network.inside, host=network.theirs))
    urls, told, took = [one.url for one in gateways], Told(), dict[str, list[float]]()
    async with calling(urls, told, text):
        await asyncio.sleep(2)
        for _ in range(rounds):
            took.setdefault("killed", []).append(await _killed(root, gateways, urls))
            took.setdefault("restarted", []).append(await _restarted(server, urls))
            if network is not None:
                took.setdefault("cut", []).append(await _cut(network, urls))
    for one in gateways:
        await ended(one)
    found = await held([root, *([apart] if alone else [])], told)
    return found | {"recovery_s": took, "rounds": rounds, "refused": dict(told.refused), "broken": told.broken}


async def _killed(root: Path, gateways: list[Gateway], urls: list[str]) -> float:
    """SIGKILL of the first; a supervisor starts it again."""
    moment = time.monotonic()
    gateways[0].process.send_signal(signal.SIGKILL)
    await gateways[0].process.wait()
    gateways[0] = await started(root)
    urls[0] = gateways[0].url
    return await _again(moment, urls)


async def _restarted(server: Postgres, urls: list[str]) -> float:
    await asyncio.to_thread(server.stop, signal.SIGINT)
    await asyncio.sleep(1)
    await asyncio.to_thread(server.start)
    return await _again(time.monotonic(), urls)


async def _cut(network: Network, urls: list[str]) -> float:
    network.cut(on=True)
    await asyncio.sleep(3)
    network.cut(on=False)
    return await _again(time.monotonic(), urls)


async def _again(moment: float, urls: list[str]) -> float:
    """The seconds from `moment` until each is ready, what lay in its spool in the store."""
    async with aiohttp.ClientSession() as http:
        for url in urls:
            for _ in range(1200):
                async with http.get(f"{url}/readyz") as said:
                    if (await said.json())["status"] == "ready":
                        break
                await asyncio.sleep(0.05)
    found = time.monotonic() - moment
    await asyncio.sleep(1)
    return round(found, 2)


async def held(roots: list[Path], told: Told) -> dict[str, Any]:
    """What of what callers were told is in the store; spools that were left are carried in, as at a next start."""
    settings = load_settings(roots[0])
    async with await Store.open(settings) as store:
        for root in roots:
            there = load_settings(root)
            await recover(store, spool_folder(there))
        await end_calls(settings, store)
        records = await store.records(limit=10**7)
        found = await store.verify_chain()
    answered = {one.id: one.input_hash for one in records if one.outcome == "answered"}
    n, lost = len(told.records), sum(name not in answered for name in told.records)
    return {
        "answers": n,
        "lost": lost,
        "lost_upper95": clopper_pearson_upper(lost, n),
        "twice": sum(count > 1 for count in Counter(answered.values()).values()) + n - len(set(told.records)),
        "spooled": sum(one.spooled for one in records),
        "chain_faults": len(found.faults),
        "chains": len(found.replicas),
    }


async def speed(root: Path, server: Postgres, seconds: float) -> dict[str, Any]:
    """Calls a second where all that takes part has one core, and where it has two; and the processor seconds of each.

    All is one gateway, or one a core, PostgreSQL and the callers: else one gateway would have the other core do its
    database's work for nothing.
    """
    async with await Store.open(load_settings(root)) as store:
        text = (await keys.create(store, Key(id="", name="caller")))[1]
    rounds = list[dict[str, Any]]()
    for _ in range(SPEED_ROUNDS):
        rounds.append({})
        for name, cores in (("one", [0]), ("two", [0, 1])):
            _hold((os.getpid(), *family(_first_process(server))), cores)
            rounds[-1][name] = await _rate(root, server, (text, cores), seconds)
    _hold((os.getpid(), *family(_first_process(server))), range(os.cpu_count() or 1))
    ratios = [one["two"]["calls_per_s"] / one["one"]["calls_per_s"] for one in rounds]
    found = {name: _mean([one[name] for one in rounds]) for name in ("one", "two")}
    ratio = found["two"]["calls_per_s"] / found["one"]["calls_per_s"]
    return found | {"ratio": ratio, "ratios": ratios, "callers": CALLERS, "machine_cores": os.cpu_count()}


async def _rate(root: Path, server: Postgres, asked: tuple[str, list[int]], seconds: float) -> dict[str, Any]:
    """Calls a second of a gateway on each of the cores, with a key, and the cores that each kind took."""
    text, cores = asked
    gateways = [await started(root, before=("taskset", "-c", str(core))) for core in cores]
    told, callers = Told(), CALLERS // len(cores)
    numbers = {"gateways": [one.process.pid for one in gateways], "postgresql": [_first_process(server)]}
    async with calling([one.url for one in gateways], told, text, callers):
        await asyncio.sleep(2)
        before, begun, at = _taken(numbers), len(told.records), time.monotonic()
        await asyncio.sleep(seconds)
        took, after = time.monotonic() - at, _taken(numbers)
        rate = (len(told.records) - begun) / took
    for one in gateways:
        await ended(one)
    taken = {kind: (after[kind] - before[kind]) / took for kind in after}
    return {"calls_per_s": rate, "cores": taken, "calls_per_core_s": rate / max(taken["gateways"], 0.01)}


def _mean(some: list[dict[str, Any]]) -> dict[str, Any]:
    cores = {kind: round(statistics.mean(one["cores"][kind] for one in some), 2) for kind in some[0]["cores"]}
    return {name: statistics.mean(one[name] for one in some) for name in ("calls_per_s", "calls_per_core_s")} | {
        "cores": cores
    }


def _hold(processes: Iterable[int], cores: Iterable[int]) -> None:
    """Keeps all threads of processes, and what they start, on some cores."""
    for number in processes:
        with contextlib.suppress(OSError):  # it has ended
            for thread in Path(f"/proc/{number}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)


def _taken(numbers: dict[str, list[int]]) -> dict[str, float]:
    """Seconds of the processors by who took them; the callers are this process."""
    return {kind: sum(map(cpu_s, some)) for kind, some in numbers.items()} | {"callers": time.process_time()}


def _first_process(server: Postgres) -> int:
    return int((server.folder / "data" / "postmaster.pid").read_text("utf-8").split()[0])


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All of it."""
    document: dict[str, Any] = {"bench": "replicas", "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    network = Network() if can_network() else None
    with network.made() if network else contextlib.nullcontext():
        server = Postgres(durable=True, host=network.server if network else "127.0.0.1")
        with (server.folder / "data" / "pg_hba.conf").open("a", encoding="utf-8") as allowed:
            allowed.write("host all all 10.91.0.0/16 trust\n")
        server.start()
        try:
            for name, code in (("limits", ""), ("control", ALONE)):
                print(f"  {name}", file=sys.stderr)
                model = Server(0.2)
                async with model.there() as url:
                    root = workspace(folder / name, f"{server.url}?schema={name}", server=url)
                    seconds = given.seconds if name == "limits" else given.control_s
                    document[name] = await limits(root, model, seconds, code)
            print("  faults", file=sys.stderr)
            root = workspace(folder / "faults", f"{server.url}?schema=faults")
            document["faults"] = await faults(root, server, network, given.rounds)
            print("  forgets", file=sys.stderr)
            document["forgets"] = await forgets(workspace(folder / "forgets", f"{server.url}?schema=forgets"), server)
            print("  two against one", file=sys.stderr)
            root = workspace(folder / "speed", f"{server.url}?schema=speed", delay=0.0)
            document["speed"] = await speed(root, server, given.speed_s)
        finally:
            server.remove()
    return document


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not looked at: every benchmark is given the folder of data")
    parser.add_argument("--seconds", type=float, default=75.0, help="of the race for limits")
    parser.add_argument("--control-s", type=float, default=20.0)
    parser.add_argument("--speed-s", type=float, default=10.0, help="of each of the rounds of one and of two")
    parser.add_argument("--rounds", type=int, default=3, help="of each fault")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if programs() is None or shutil.which("taskset") is None:
        sys.exit("it takes PostgreSQL's programs and taskset")
    with tempfile.TemporaryDirectory() as folder:
        document = asyncio.run(measure(given, Path(folder)))
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

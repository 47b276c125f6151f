"""Three times as many calls as the gateway can answer: what it still answers, how soon, and how soon it is well again.

    python bench/overload.py [DATA] [--rounds 3] [--seconds 20] [--service-ms 250] [--times 3] [--json]

`insource serve` runs on core 0 with a key, all kinds of limits and the durable audit; the load and a server that takes
a fixed time for each call (a quarter of a second, as for some fifty words) share core 1. A round: the peak (callers
that wait for their answers, more and more of them); then by the clock, answers or no answers (bench/open_load.c), at
three quarters of that peak, at three times of it, and at three quarters again, without a pause between. A call's time
counts from when it was due; a round in which the load itself was late does not count. Beside it, a round each: the
control, which is the same gateway whose limit never falls; and an engine that is slower than the gateway, with eight
places and as many that wait.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gateway_peers import require
from gateway_streams import built

TEXT = "The spindle chatters at twelve thousand turns a minute. " * 25
CALLERS, FEW = (128, 256, 384, 512, 768, 1024, 1536, 2048), (4, 8, 12, 16)
LINES = 8000  # connections at most: for those that are under way, and for refusals
MANY_PLACES, FEW_PLACES = 8192, 8
USUAL, PAUSE_S, READY_S, WARM_S = 0.75, 0.05, 60, 2.0
CALM_S = 3.0  # so many seconds without a refusal or a slow call, and it is well again
LATE_MS = 5.0  # a tenth of what a refusal may take: where the load comes later itself (p99), nothing is measured
OTHERWISE = ("unanswered", "broken", "timed_out", "no_http", "other_status")
TOML = """
[serve]
queue = 4096
[engines.hub]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
model = "m"
region = "premises"
max_concurrent = {places}
max_waiting = {places}
usd_per_million_input = 0.1
usd_per_million_output = 0.4
"""
CONTROL = """
import sys
from insource.route.admission import Rules
from insource.serve import door
door.Rules = lambda: Rules(shortest_s=1e9, longest_s=1e9)
sys.argv = ["insource", *sys.argv[1:]]
from insource.cli.main import main
main()
"""
LIMITS = ["--requests-per-minute", "900000000", "--tokens-per-minute", "900000000000", "--concurrent", "100000",
          "--usd-per-day", "1000000", "--usd-per-month", "10000000"]  # fmt: skip


def workspace(folder: Path, upstream: int, places: int) -> str:
    """Made in `folder`; the key that its callers have."""
    insource = [sys.executable, "-m", "insource"]
    subprocess.run([*insource, "init", str(folder)], check=True, capture_output=True)
    (folder / "insource.toml").write_text(TOML.format(port=upstream, places=places), "utf-8")
    made = subprocess.run([*insource, "-C", str(folder), "keys", "create", "bench", *LIMITS, "--json"], check=True,
                          capture_output=True)  # fmt: skip
    return str(json.loads(made.stdout)["key"])


@asynccontextmanager
async def gateway(folder: Path, command: Sequence[str]) -> AsyncIterator[int]:
    """The port of a gateway on core 0, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        "taskset", "-c", "0", *command, "-C", str(folder), "serve", "--port", "0", "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), READY_S)
        yield int(json.loads(line)["url"].rpartition(":")[2])
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def served(program: Path) -> AsyncIterator[int]:
    """The port of the server behind (bench/gateway_streams.c), until the block ends."""
    process = await asyncio.create_subprocess_exec(str(program), "serve", "0", stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


def request(port: int, key: str, service_ms: float) -> bytes:
    """One call, as it goes over the wire; the server behind takes so many milliseconds for it."""
    asked = [
        {"role": "system", "content": "You are helpful."},
        {"role": "user", "content": f"pace={service_ms:.0f} {TEXT}"},
    ]
    body = json.dumps({"model": "hub", "messages": asked}).encode()
    head = [f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}",
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"]  # fmt: skip
    return "\r\n".join(head).encode() + body


class Load(NamedTuple):
    """Calls to one gateway at `port`, each of them the bytes of `call` (bench/open_load.c)."""

    program: Path
    port: int
    call: Path

    async def closed(self, callers: int, seconds: float) -> dict[str, Any]:
        """So many callers, each with one call after another; one that is refused waits."""
        return (await self._levels("closed", callers, seconds, PAUSE_S * 1000))[0]

    async def open(self, seed: int, *levels: tuple[float, float]) -> list[dict[str, Any]]:
        """Calls at random moments: so many a second for so many seconds, one level right after another."""
        return await self._levels("open", LINES, seed, *[f"{per_s:.3f}:{seconds}" for per_s, seconds in levels])

    async def _levels(self, how: str, lines: int, *more: object) -> list[dict[str, Any]]:
        words = [self.program, how, self.port, lines, self.call, *more]
        process = await asyncio.create_subprocess_exec(*map(str, words), stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        levels: list[dict[str, Any]] = json.loads(said)["levels"]
        return levels


def calm(slot: dict[str, Any], slow_ms: float) -> bool:
    """Whether every call of a slot was answered, and not too late."""
    return not slot["offered"] or (slot["answered"] == slot["offered"] and slot["p99_ms"] <= slow_ms)


def recovery(level: dict[str, Any], slow_ms: float) -> float:
    """Seconds from its begin on until all is calm for some seconds in a row; infinite where it never is."""
    slots, many = level["slots"], int(CALM_S / level["slot_s"])
    for first in range(len(slots) - many + 1):
        if all(calm(slot, slow_ms) for slot in slots[first : first + many]):
            return float(first * level["slot_s"])
    return float("inf")


async def peak(load: Load, many: Sequence[int], seconds: float) -> dict[str, Any]:
    """The most that were answered in a second, by how many callers; more are not tried when twice fewer were."""
    found: dict[int, float] = {}
    for callers in many:
        if len(found) > 2 and max(list(found.values())[-2:]) < max(found.values()):
            break
        found[callers] = (await load.closed(callers, seconds))["in_time"] / seconds
    most = max(found, key=lambda callers: found[callers])
    return {"per_s": found[most], "callers": most, "by_callers": found}


async def one_round(load: Load, many: Sequence[int], given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The peak, and the load at three levels one after another."""
    top = await peak(load, many, given.peak_seconds)
    usual, over = USUAL * top["per_s"], given.times * top["per_s"]
    afterwards_s = max(given.seconds, 10.0 + CALM_S)
    levels = await load.open(seed, (usual, given.seconds), (over, given.seconds), (usual, afterwards_s))
    return {"peak": top} | weighed(levels, top["per_s"])


def weighed(levels: Sequence[dict[str, Any]], peak_per_s: float) -> dict[str, Any]:
    """A round's figures from its three levels. Of the slots only those are kept in which it became well again."""
    before, over, after = ({name: of for name, of in level.items() if name != "slots"} for level in levels)
    back = recovery(levels[2], 2 * before["answered"]["p99_ms"])
    slots = levels[2]["slots"]
    return {
        "usual": before,
        "over": over,
        "after": after | {"slots": slots[: 1 + int(min(back, CALM_S) / after["slot_s"])]},
        "recovery_s": back,
        "goodput": over["in_time"] / over["seconds"] / peak_per_s,
        "p99_ratio": over["answered"]["p99_ms"] / before["answered"]["p99_ms"],
        "otherwise": sum(over[name] for name in OTHERWISE),
        "counts": max(level["late"]["p99_ms"] for level in levels) <= LATE_MS,
    }


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Rounds of ours, and one each of the control and of a slow engine."""
    control = folder / "control.py"
    control.write_text(CONTROL, "utf-8")
    ours = [sys.executable, "-m", "insource"]
    legs = {
        "ours": (ours, CALLERS, MANY_PLACES, given.rounds),
        "control": ([sys.executable, str(control)], CALLERS, MANY_PLACES, 1),
        "slow engine": (ours, FEW, FEW_PLACES, 1),
    }
    document: dict[str, Any] = {}
    program, call = built(folder, "open_load.c"), folder / "call.http"
    async with served(built(folder)) as upstream:
        for name, (command, many, places, turns) in legs.items():
            key = workspace(folder / name, upstream, places)
            rounds = []
            for number in range(turns):
                async with gateway(folder / name, command) as port:
                    call.write_bytes(request(port, key, given.service_ms))
                    load = Load(program, port, call)
                    await load.closed(many[0], WARM_S)
                    rounds.append(await one_round(load, many, given, 10 * number))
                    print(f"  {name}, round {number + 1}: {words(rounds[-1])}", file=sys.stderr)
            document[name] = {"rounds": rounds} | middle(rounds)
    return document


def middle(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The medians, and the ranges, of what is held against the bars, over the rounds that count."""
    counted = [one for one in rounds if one["counts"]]
    figures = {
        "peak_per_s": [one["peak"]["per_s"] for one in counted],
        "goodput": [one["goodput"] for one in counted],
        "usual_p99_ms": [one["usual"]["answered"]["p99_ms"] for one in counted],
        "over_p99_ms": [one["over"]["answered"]["p99_ms"] for one in counted],
        "p99_ratio": [one["p99_ratio"] for one in counted],
        "refused_p99_ms": [one["over"]["refused"]["p99_ms"] for one in counted],
        "late_p99_ms": [one["over"]["late"]["p99_ms"] for one in counted],
        "recovery_s": [one["recovery_s"] for one in counted],
    }
    spread = {name: of or [float("nan")] for name, of in figures.items()}
    return {name: {"median": statistics.median(of), "low": min(of), "high": max(of)} for name, of in spread.items()}


def words(one: dict[str, Any]) -> str:
    """A round in a line."""
    usual, over = one["usual"], one["over"]
    refused, late = over["refused"], over["late"]
    said = (
        f"peak {one['peak']['per_s']:,.0f}/s by {one['peak']['callers']}; usual p99 {usual['answered']['p99_ms']:.0f} "
        f"ms, {usual['refused']['n']} refused; offered {over['offered'] / over['seconds']:,.0f}/s: answered "
        f"{one['goodput']:.0%}, p99 {over['answered']['p99_ms']:.0f} ms ({one['p99_ratio']:.2f} times), refused in "
        f"{refused['p99_ms']:.1f} ms (p99; p50 {refused['p50_ms']:.1f}, most {refused['most_ms']:.0f}), otherwise "
        f"{one['otherwise']}; sent late by {late['p99_ms']:.1f} ms (p99; most {late['most_ms']:.0f}), without a "
        f"connection {over['held']['p99_ms']:.1f} ms (p99); well after {one['recovery_s']:.2f} s"
    )
    return said if one["counts"] else f"DOES NOT COUNT, the load was late itself: {said}"


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not looked at: every benchmark is given the folder of data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="at each level")
    parser.add_argument("--peak-seconds", type=float, default=3.0, help="with each number of callers")
    parser.add_argument("--service-ms", type=float, default=250.0, help="what the server behind takes for a call")
    parser.add_argument("--times", type=float, default=3.0, help="the overload, in peaks")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    require("gcc", "taskset")
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as folder:
        document = asyncio.run(measure(given, Path(folder).resolve()))
    document |= {"bench": "overload", "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    document |= {"service_ms": given.service_ms, "times": given.times, "seconds": given.seconds}
    if given.json:
        print(json.dumps(document))
        return
    for name in ("ours", "control", "slow engine"):
        for number, one in enumerate(document[name]["rounds"], 1):
            print(f"{name} {number}: {words(one)}")


if __name__ == "__main__":
    main()

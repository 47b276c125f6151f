"""Three times as many calls as the gateway can answer: what it still answers, how soon, and how soon it is well again.

    python bench/overload.py [DATA] [--rounds 3] [--seconds 20] [--service-ms 250] [--times 3] [--json]

`insource serve` runs on core 0 with a key, all kinds of limits and the durable audit; the load and a server that takes
a fixed time for each call (a quarter of a second, as for some fifty words) share core 1. A round: the peak (callers
that wait for their answers, more and more of them); then by the clock, answers or no answers (bench/open_load.py), at
three quarters of that peak, at three times of it, and at three quarters again. Beside it, a round each: the control,
which is the same gateway whose limit never falls; and an engine that is slower than the gateway, with eight places and
as many that wait.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway_peers import ANSWER
from insource.serve.run import event_loop
from open_load import FULL, OK, Call, Load, served

TEXT = "The spindle chatters at twelve thousand turns a minute. " * 25
BODY = json.dumps({"model": "hub", "messages": [{"role": "system", "content": "You are helpful."},
                                                {"role": "user", "content": TEXT}]}).encode()  # fmt: skip
CALLERS, FEW = (64, 128, 192, 256, 384, 512, 768, 1024, 1536), (4, 8, 12, 16)
MANY_PLACES, FEW_PLACES = 8192, 8
USUAL, PAUSE_S, READY_S, WARM_S = 0.75, 0.05, 60, 2.0
CALM_S = 3  # so many seconds without a refusal or a slow call, and it is well again
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


def request(port: int, key: str) -> bytes:
    """One call, as it goes over the wire."""
    head = [f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}",
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"]  # fmt: skip
    return "\r\n".join(head).encode() + BODY


def at(values: Sequence[float], share: float) -> float:
    """A quantile of sorted `values`."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def seen(calls: Sequence[Call], seconds: float) -> dict[str, Any]:
    """What became of calls that were offered over so many seconds."""
    first = calls[0].due
    answered = sorted(call.ms for call in calls if call.status == OK)
    refused = sorted(call.ms for call in calls if call.status == FULL)
    late = sorted((call.sent - call.due) * 1000 for call in calls if call.sent)
    return {
        "offered_per_s": len(calls) / seconds,
        "answered": len(answered),
        "answered_per_s": sum(call.status == OK and call.done <= first + seconds for call in calls) / seconds,
        "p50_ms": at(answered, 0.5),
        "p99_ms": at(answered, 0.99),
        "most_ms": at(answered, 1.0),
        "refused": len(refused),
        "refused_p50_ms": at(refused, 0.5),
        "refused_p99_ms": at(refused, 0.99),
        "refused_most_ms": at(refused, 1.0),
        "otherwise": sum(call.status not in (OK, FULL) for call in calls),
        "load_late_p99_ms": at(late, 0.99),
        "load_late_most_ms": at(late, 1.0),
    }


def recovery(calls: Sequence[Call], slow_ms: float) -> float:
    """Seconds from the first call on until there are three in a row without a refusal and with a p99 up to that."""
    began = calls[0].due
    well = 0
    for second in range(int(calls[-1].due - began)):
        those = [call for call in calls if second <= call.due - began < second + 1]
        calm = all(call.status == OK for call in those) and at(sorted(call.ms for call in those), 0.99) <= slow_ms
        well = well + 1 if calm else 0
        if well == CALM_S:
            return float(second + 1 - CALM_S)
    return float("inf")


async def peak(load: Load, many: Sequence[int], seconds: float) -> dict[str, Any]:
    """The most that were answered in a second, by how many callers; more are not tried when twice fewer were."""
    found: dict[int, float] = {}
    for callers in many:
        if len(found) > 2 and max(list(found.values())[-2:]) < max(found.values()):
            break
        calls = await load.closed(callers, seconds, PAUSE_S)
        found[callers] = sum(call.status == OK and call.done <= calls[0].due + seconds for call in calls) / seconds
    most = max(found, key=lambda callers: found[callers])
    return {"per_s": found[most], "callers": most, "by_callers": found}


async def one_round(load: Load, many: Sequence[int], given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The peak, and the load at three levels one after another."""
    top = await peak(load, many, given.peak_seconds)
    usual = USUAL * top["per_s"]
    before = seen(await load.open(usual, given.seconds, seed), given.seconds)
    over = seen(await load.open(given.times * top["per_s"], given.seconds, seed + 1), given.seconds)
    later = await load.open(usual, max(given.seconds, 10.0 + CALM_S), seed + 2)
    back = recovery(later, 2 * before["p99_ms"])
    said = {"peak": top, "usual": before, "over": over, "after": seen(later, given.seconds), "recovery_s": back}
    return said | {
        "goodput": over["answered_per_s"] / top["per_s"],
        "p99_ratio": over["p99_ms"] / before["p99_ms"],
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
    async with served(given.service_ms / 1000, ANSWER.encode()) as upstream:
        for name, (command, many, places, turns) in legs.items():
            key = workspace(folder / name, upstream, places)
            rounds = []
            for number in range(turns):
                async with gateway(folder / name, command) as port:
                    load = Load(port, request(port, key))
                    await load.closed(many[0], WARM_S, PAUSE_S)
                    rounds.append(await one_round(load, many, given, 10 * number))
                    print(f"  {name}, round {number + 1}: {words(rounds[-1])}", file=sys.stderr)
            document[name] = {"rounds": rounds} | middle(rounds)
    return document


def middle(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The medians, and the ranges, of what is held against the bars."""
    figures = {
        "peak_per_s": [one["peak"]["per_s"] for one in rounds],
        "goodput": [one["goodput"] for one in rounds],
        "usual_p99_ms": [one["usual"]["p99_ms"] for one in rounds],
        "over_p99_ms": [one["over"]["p99_ms"] for one in rounds],
        "p99_ratio": [one["p99_ratio"] for one in rounds],
        "refused_p99_ms": [one["over"]["refused_p99_ms"] for one in rounds],
        "recovery_s": [one["recovery_s"] for one in rounds],
    }
    return {name: {"median": statistics.median(of), "low": min(of), "high": max(of)} for name, of in figures.items()}


def words(one: dict[str, Any]) -> str:
    """A round in a line."""
    usual, over = one["usual"], one["over"]
    return (
        f"peak {one['peak']['per_s']:,.0f}/s by {one['peak']['callers']}; usual p99 {usual['p99_ms']:.0f} ms, "
        f"{usual['refused']} refused; offered {over['offered_per_s']:,.0f}/s: answered {one['goodput']:.0%}, "
        f"p99 {over['p99_ms']:.0f} ms ({one['p99_ratio']:.2f} times), refused in {over['refused_p99_ms']:.0f} ms (p99; "
        f"most {over['refused_most_ms']:.0f}), otherwise {over['otherwise']}, "
        f"load late {over['load_late_p99_ms']:.1f} ms; well after {one['recovery_s']:.0f} s"
    )


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
    if not shutil.which("taskset") or (os.cpu_count() or 1) < 2:
        sys.exit("needs two cores and taskset: apt-get install util-linux")
    os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=event_loop) as runner:
        document = runner.run(measure(given, Path(folder).resolve()))
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

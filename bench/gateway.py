"""The gateway beside others: requests a second on one core, added latency, memory; one upstream, one run.

    python bench/gateway.py [--peers nginx,insource,…] [--rounds 3] [--seconds 6] [--cache DIR] [--json]

Every gateway is pinned to core 0, the upstream and the load (wrk) to core 1. All run at once, idle while another is
asked; rounds are interleaved, so that what else the machine does hits all of them. Ours runs with a key, all kinds of
limits and the durable audit: two rows a call, each on the disk before the call goes on.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gateway_peers import PEERS, Peer, require, running, upstream

TEXT = "The spindle chatters at twelve thousand turns a minute. " * 25
BODY = {
    "model": "hub",
    "messages": [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": TEXT}],
}
CONNECTIONS = (1, 32, 256)
READY_S = 120
LUA = "wrk.method='POST'\nwrk.body={body}\n{headers}\n"


def script(folder: Path, peer: Peer) -> Path:
    """What wrk sends to this peer."""
    headers = {"Content-Type": "application/json", **peer.headers}
    lines = "\n".join(f"wrk.headers[{json.dumps(name)}]={json.dumps(value)}" for name, value in headers.items())
    path = folder / f"{peer.name}.lua"
    path.write_text(LUA.format(body=json.dumps(json.dumps(BODY)), headers=lines), "utf-8")
    return path


def wait_ready(peer: Peer, log: Path) -> None:
    """Returns once a call is answered with 200. Ends the program with the log when none is."""
    url = f"http://127.0.0.1:{peer.port}/v1/chat/completions"
    headers = {"Content-Type": "application/json", **peer.headers}
    until, said = time.monotonic() + READY_S, ""
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, json.dumps(BODY).encode(), headers), timeout=10):
                return
        except urllib.error.HTTPError as error:
            said = f"HTTP {error.code}: {error.read(500)!r}"
        except OSError as error:
            said = str(error)
        time.sleep(0.5)
    sys.exit(f"{peer.name} does not answer: {said}\n{log.read_text('utf-8', 'replace')[-2000:]}")


def asked(peer: Peer, lua: Path, connections: int, seconds: int) -> dict[str, float]:
    """What wrk saw: requests a second, latencies in milliseconds, answers other than 2xx and broken connections."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s",
               "-s", str(lua), f"http://127.0.0.1:{peer.port}/v1/chat/completions"]  # fmt: skip
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {name: milliseconds(said, name) for name in ("50%", "99%")}
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.findall(r"(?:connect|read|write|timeout) (\d+)", said.partition("Socket errors:")[2])
    return {
        "rps": float(rate[1]) if rate else 0.0,
        "p50_ms": found["50%"],
        "p99_ms": found["99%"],
        "failed": float(wrong[1]) if wrong else 0.0,
        "broken": float(sum(map(int, broken))),
    }


def milliseconds(said: str, name: str) -> float:
    """A percentile of wrk's table."""
    found = re.search(rf"{name}\s+([\d.]+)(us|ms|s)\b", said)
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]] if found else float("nan")


def resident(process: subprocess.Popen[bytes]) -> float:
    """Megabytes that the process and its children hold."""
    total, waiting = 0, [process.pid]
    while waiting:
        pid = waiting.pop()
        try:
            status = Path(f"/proc/{pid}/status").read_text("utf-8")
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split())
        except OSError:
            continue
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        total += int(found[1]) if found else 0
    return total / 1024


def summed(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Median and range of each figure over the rounds."""
    names = [name for name in rounds[0] if name not in ("failed", "broken")]
    middle = {name: statistics.median(one[name] for one in rounds) for name in names}
    ranges = {name: [min(one[name] for one in rounds), max(one[name] for one in rounds)] for name in names}
    return middle | {"range": ranges} | {name: sum(one[name] for one in rounds) for name in ("failed", "broken")}


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every peer at every number of connections, round after round."""
    cache = given.cache or folder
    cache.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        behind = upstream(folder)
        stack.enter_context(running(behind, 1, folder / "upstream.out"))
        wait_ready(behind, folder / "upstream.out")
        peers = [PEERS[name](cache if name in ("portkey", "litellm") else folder) for name in given.peers.split(",")]
        processes: dict[str, subprocess.Popen[bytes]] = {}
        for peer in peers:
            log = folder / f"{peer.name}.out"
            processes[peer.name] = stack.enter_context(running(peer, 0, log))
            wait_ready(peer, log)
        everyone = [behind, *peers]
        scripts = {peer.name: script(folder, peer) for peer in everyone}
        rounds: dict[str, dict[int, list[dict[str, float]]]] = {}
        for number in range(given.rounds):
            for connections in CONNECTIONS:
                for peer in everyone:
                    found = asked(peer, scripts[peer.name], connections, given.seconds)
                    rounds.setdefault(peer.name, {}).setdefault(connections, []).append(found)
                    print(f"  round {number + 1} of {given.rounds}, {connections} connections, {peer.name}: "
                          f"{found['rps']:,.0f}/s, p50 {found['p50_ms']:.2f} ms", file=sys.stderr)  # fmt: skip
        memory = {name: resident(process) for name, process in processes.items()}
    results = {name: {str(c): summed(found) for c, found in by.items()} for name, by in rounds.items()}
    return {"results": results, "memory_mb": memory}


def compared(results: dict[str, Any]) -> dict[str, float]:
    """Ours to each of the others, requests a second at 32 connections; and what 256 keep of 32."""
    mine = results["insource"]
    ratios = {name: mine["32"]["rps"] / of["32"]["rps"] for name, of in results.items() if name != "insource"}
    return ratios | {"256 to 32": mine["256"]["rps"] / mine["32"]["rps"]}


def show(document: dict[str, Any]) -> None:
    """A table for people."""
    print(f"{document['machine']}: {document['rounds']} rounds of {document['seconds']} s, 1.5 KB in, 0.5 KB out")
    for name, by in document["results"].items():
        for connections, found in by.items():
            low, high = found["range"]["rps"]
            print(f"  {name:9} {connections:>4} connections {found['rps']:10,.0f}/s ({low:,.0f} to {high:,.0f})  "
                  f"p50 {found['p50_ms']:.2f}  p99 {found['p99_ms']:.2f} ms  failed {found['failed']:.0f}")  # fmt: skip
    for name, ratio in document["ratios"].items():
        print(f"  insource to {name}: {ratio:.3f}")
    print("  resident: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in document["memory_mb"].items()))


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not looked at: every benchmark is given the folder of data")
    parser.add_argument("--peers", default=",".join(PEERS), help="which of nginx,insource,portkey,litellm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--cache", type=Path, help="where peers are installed, and found again")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    require("wrk", "nginx", "taskset")
    with tempfile.TemporaryDirectory() as folder:
        document = measure(given, Path(folder).resolve())
    document |= {"bench": "gateway", "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    document |= {"rounds": given.rounds, "seconds": given.seconds, "ratios": compared(document["results"])}
    print(json.dumps(document)) if given.json else show(document)


if __name__ == "__main__":
    main()

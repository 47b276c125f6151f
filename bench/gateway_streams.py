"""Streams through the gateway beside others: events a second on one core, and what a first word waits longer.

    python bench/gateway_streams.py [--peers nginx,insource,portkey,litellm] [--rounds 3] [--seconds 6] [--cache DIR]
                                    [--json]

An answer is 20 events of a token or two. Paced, the upstream waits 5 ms after each, as a model would; in a burst it
waits for nothing. As in gateway.py every gateway is pinned to core 0, the upstream and the callers (gateway_streams.c)
to core 1, rounds are interleaved, and ours has its key, its limits and its durable audit. An event counts where its
text arrives, however it is framed; an answer without all 20, or without its end, is a failure. Processor time is the
gateway's own. A gateway that answers no stream within the first round is not asked again, and the document says so.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gateway import BODY, TEXT, resident, summed, wait_ready
from gateway_peers import PEERS, UPSTREAM, Peer, require, running

HERE = Path(__file__).parent
SHAPES = {  # name → milliseconds between events, callers at once
    "one": (5, 1),
    "paced": (5, 256),
    "burst": (0, 32),
}
SLOT_MS = 100.0  # callers begin spread over the length of an answer: else all events of the paced come at once


def built(folder: Path, source: str = "gateway_streams.c") -> Path:
    """A program of this folder, compiled: by default both ends of streams."""
    program = folder / Path(source).stem
    subprocess.run(["gcc", "-O2", "-o", str(program), str(HERE / source), "-lm"], check=True)
    return program


def question(folder: Path, peer: Peer, pace_ms: int) -> Path:
    """The bytes of a call to this peer."""
    said = f"pace={pace_ms} {TEXT}"
    messages = [BODY["messages"][0], {"role": "user", "content": said}]
    body = json.dumps(BODY | {"messages": messages, "stream": True}).encode()
    headers = {"Host": f"127.0.0.1:{peer.port}", "Content-Type": "application/json", **peer.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /v1/chat/completions HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    path = folder / f"{peer.name}-{pace_ms}.http"
    path.write_bytes(head.encode() + body)
    return path


def processor_s(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor time that the process and its children have taken."""
    ticks, waiting = 0, [process.pid]
    while waiting:
        pid = waiting.pop()
        try:
            stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split())
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def asked(
    program: Path, peer: Peer, process: subprocess.Popen[bytes], call: Path, callers: int, seconds: int
) -> dict[str, float]:
    """What the callers saw, and what it cost the process: events a second, milliseconds, microseconds an event."""
    before = processor_s(process)
    command = ["taskset", "-c", "1", str(program), "load", str(peer.port), str(seconds), str(callers), str(call)]
    said = subprocess.run([*command, str(SLOT_MS)], check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(said)
    spent, events = processor_s(process) - before, found.pop("events")
    rates = {"events_s": events / found.pop("seconds"), "answers": found.pop("answers")}
    return rates | {"cpu_us": spent / events * 1e6 if events else 0.0, "broken": 0.0} | found


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every peer in every shape, round after round."""
    cache, program = given.cache or folder, built(folder)
    cache.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        behind = Peer("direct", UPSTREAM, [str(program), "serve", str(UPSTREAM)])
        peers = [behind, *[PEERS[n](folder if n in ("nginx", "insource") else cache) for n in given.peers.split(",")]]
        processes: dict[str, subprocess.Popen[bytes]] = {}
        for peer in peers:
            log = folder / f"{peer.name}.out"
            processes[peer.name] = stack.enter_context(running(peer, int(peer is behind), log))
            wait_ready(peer, log)
        rounds: dict[str, dict[str, list[dict[str, float]]]] = {peer.name: {} for peer in peers}
        for number in range(given.rounds):
            for shape, (pace_ms, callers) in SHAPES.items():
                for peer in peers:
                    known = rounds[peer.name].setdefault(shape, [])
                    if number and not sum(one["answers"] for one in known):
                        continue
                    call = question(folder, peer, pace_ms)
                    found = asked(program, peer, processes[peer.name], call, callers, given.seconds)
                    known.append(found)
                    print(f"  round {number + 1} of {given.rounds}, {shape}, {peer.name}: {found['events_s']:,.0f} "
                          f"events/s, {found['cpu_us']:.1f} µs each, first {found['first_p50_ms']:.2f} ms, "
                          f"{found['failed']:.0f} failed", file=sys.stderr)  # fmt: skip
        memory = {name: resident(process) for name, process in processes.items()}
    results = {name: {shape: told(found) for shape, found in by.items()} for name, by in rounds.items()}
    return {"results": results, "memory_mb": memory}


def told(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Medians and ranges; answers and failures of all rounds."""
    return summed(rounds) | {"answers": sum(one["answers"] for one in rounds)}


def added(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What the first word of each waits longer than without a gateway, one caller: milliseconds."""
    direct = results["direct"]["one"]
    names = ("first_p50_ms", "first_p99_ms")
    streams = {name: of["one"] for name, of in results.items() if name != "direct" and of["one"]["answers"]}
    return {name: {which: one[which] - direct[which] for which in names} for name, one in streams.items()}


def show(document: dict[str, Any]) -> None:
    """A table for people."""
    print(f"{document['machine']}: {document['rounds']} rounds of {document['seconds']} s, 20 events an answer")
    for name, by in document["results"].items():
        for shape, found in by.items():
            low, high = found["range"]["events_s"]
            pace_ms, callers = SHAPES[shape]
            print(f"  {name:9} {callers:>4} callers, {pace_ms} ms {found['events_s']:10,.0f} events/s ({low:,.0f} to "
                  f"{high:,.0f})  {found['cpu_us']:.1f} µs each  first p50 {found['first_p50_ms']:.2f}  "
                  f"p99 {found['first_p99_ms']:.2f} ms  failed {found['failed']:.0f}")  # fmt: skip
    for name, more in document["added"].items():
        print(f"  {name} adds to the first: p50 {more['first_p50_ms']:.2f}, p99 {more['first_p99_ms']:.2f} ms")
    print("  resident: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in document["memory_mb"].items()))


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not looked at: every benchmark is given the folder of data")
    parser.add_argument(
        "--peers", default="nginx,insource,portkey,litellm", help="which of nginx,insource,portkey,litellm"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--cache", type=Path, help="where peers are installed, and found again")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    require("gcc", "nginx", "taskset")
    with tempfile.TemporaryDirectory() as folder:
        document = measure(given, Path(folder).resolve())
    document |= {"bench": "gateway_streams", "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    document |= {"rounds": given.rounds, "seconds": given.seconds, "added": added(document["results"])}
    print(json.dumps(document)) if given.json else show(document)


if __name__ == "__main__":
    main()

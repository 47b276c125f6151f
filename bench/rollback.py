"""How soon nothing of a bad release is left: python bench/rollback.py [DATA] [--times 50] [--callers 16] [--json].

`insource serve` answers callers who never stop, while another process moves releases, in turn: a canary of half the
traffic is taken out; a release that went live is rolled back. A rollback has been obeyed when the last answer of the
release has arrived; seconds are counted from the moment at which `insource release rollback` has made the change. Every
call without an answer of a release is a failed one.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from hostile_place import Place, examples, good, made, served, session, upstream
from insource.journeys.promote import promote, rollback
from insource.journeys.train import train
from insource.nouns import Check, Gate, Release
from insource.settings import Settings, load_settings, load_task
from insource.stats import clopper_pearson_upper, quantile
from insource.store import Store

SETTLE_S = 3.0
ROLLOUT = "\n[rollout]\nmin_calls = 1000000\nsample = 0.1\n"


class Callers:
    """Callers who ask one question after another, and what they were told."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.calls = self.failed = 0
        self.last: dict[str, float] = {}
        self.samples: list[str] = []
        self.going = True

    async def run(self, number: int) -> None:
        """One of them."""
        texts = [row.input for row in examples()]
        async with session(self.place) as http:
            at = number
            while self.going:
                at += 7
                await self._one(http, f"{texts[at % len(texts)]} {at}")

    async def _one(self, http: aiohttp.ClientSession, text: str) -> None:
        self.calls += 1
        try:
            async with http.post(f"{self.place.url}/v1/chat/completions", json=good("tickets", 0, text)) as answer:
                body = await answer.read()
                release = answer.headers.get("x-insource-release", "")
                if answer.status != 200 or not release:
                    self._failed(f"{answer.status} {body[:200]!r}")
                self.last[release] = time.monotonic()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._failed(repr(error))

    def _failed(self, why: str) -> None:
        self.failed += 1
        self.samples = [*self.samples, why][:10]


async def another(settings: Settings, store: Store) -> Release:
    """One more release, gated."""
    made_ = await train(load_task(settings, "tickets"), settings, store, base="linear")
    check = Check(name="accuracy", demanded="≥ 0.8", found="0.9", passed=True)
    await store.save_gate(Gate(release=made_.name, artefact=made_.artefact, checks=(check,), report="bench"))
    return made_


async def until_answers(callers: Callers, release: str) -> None:
    """Returns when the release answers calls."""
    began = time.monotonic()
    while callers.last.get(release, 0.0) < began:
        if time.monotonic() - began > 30:
            raise RuntimeError(f"{release} answers nothing")
        await asyncio.sleep(0.02)


async def one(kind: str, release: Release, settings: Settings, store: Store, callers: Callers) -> float:
    """Has `release` answer calls and rolls it back; how many seconds its last answer came after that."""
    to = {"canary": {"to": "canary", "share": 50}, "live": {"to": "live"}}[kind]
    await promote(release, settings, store, why="drill", **to)  # type: ignore[arg-type]
    await until_answers(callers, release.name)
    await asyncio.sleep(0.3)
    await rollback("tickets", settings, store, why="drill")
    done = time.monotonic()
    await asyncio.sleep(SETTLE_S)
    return max(0.0, callers.last[release.name] - done)


async def drill(root: Path, times: int, count: int) -> dict[str, Any]:
    """Every round, and what the callers were told meanwhile."""
    async with upstream() as far:
        key = (await made(root, far))[0]
        file = root / "tasks" / "tickets.toml"
        file.write_text(file.read_text("utf-8") + ROLLOUT, "utf-8")
        settings = load_settings(root)
        async with await Store.open(settings) as store:
            first = await another(settings, store)
            await promote(first, settings, store)
        async with await Store.open(settings) as store, served(root, key) as place:
            callers = Callers(place)
            running = [asyncio.create_task(callers.run(number)) for number in range(count)]
            took: dict[str, list[float]] = {"canary": [], "live": []}
            try:
                for number in range(times):
                    kind = ("canary", "live")[number % 2]
                    took[kind].append(await one(kind, await another(settings, store), settings, store, callers))
                    print(f"  rollback {number + 1} of {times}: {kind} {took[kind][-1]:.2f} s", file=sys.stderr)
            finally:
                callers.going = False
                await asyncio.gather(*running)
            now = await store.live("tickets")
            alive = await place.lives()
            verified = await store.verify_chain()
    return {"took_s": took, "calls": callers.calls, "failed": callers.failed, "samples": callers.samples,
            "alive": alive, "same_as_before": now is not None and first.name == now.name,
            "chain_faults": len(verified.faults)}  # fmt: skip


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not needed")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(drill(Path(folder) / "place", given.times, given.callers))
    took = sorted(s for each in found["took_s"].values() for s in each)
    document = found | {
        "bench": "rollback", "times": len(took), "callers": given.callers,
        "p95_s": quantile(took, 0.95), "p50_s": statistics.median(took), "most_s": max(took),
        "failed_upper95": clopper_pearson_upper(found["failed"], found["calls"]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }  # fmt: skip
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

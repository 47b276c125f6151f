"""Bad days, drilled: python bench/bad_days.py [DATA] [faults outages cuts] [--seconds 60] [--cuts 500] [--rounds 5].

    faults    every fault at every place of an answer, streamed and whole, on three wires (bench/fault_cells.py)
    outages   the first of two engines is out for some seconds: how often it is asked, one probe at a time or more,
              what a call costs more; by connections reset, by 503, by silence, and with 100 calls at every probe
    cuts      callers that leave at any moment: whether the server sees it, how soon, and what is on record

Everything is one process on this machine: gateway, servers and callers share its loop, so times are rather too long.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bad_days_parts import Mode, Switched, cuts, gateway, say
from fault_cells import PLAYS, cells, matrix
from insource.engines.deployment import Turnstile
from insource.route.breaker import Rules
from insource.stats import clopper_pearson_upper

WIRES = ("openai", "anthropic", "ollama")
PER_S, SOUND_S, BURST = 10, 5.0, 100
SOON_S = 1.0  # within which the server must see that a caller left
SILENCE_S = 2.0  # first_byte_s of the gateway in these drills
ROUNDS = 5  # in each, 648 faults leave it to the next engine; 2,995 of them without a failure show 99.9% (95%)


@dataclass
class Call:
    """A call that was answered, or not: when it began, how long it took, and by which engine of the path."""

    began: float
    ms: float
    tier: int
    status: int


async def call(http: aiohttp.ClientSession, url: str, calls: list[Call]) -> None:
    """Makes one, and notes it."""
    began = time.monotonic()
    async with http.post(f"{url}/v1/chat/completions", json=say("hello")) as answer:
        await answer.read()
        tier = int(answer.headers.get("x-insource-tier", 0))
        calls.append(Call(began, (time.monotonic() - began) * 1000, tier, answer.status))


async def paced(http: aiohttp.ClientSession, url: str, calls: list[Call], seconds: float) -> None:
    """Calls at an even pace, however long each takes."""
    begun, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        begun.append(asyncio.create_task(call(http, url, calls)))
        await asyncio.sleep(1 / PER_S)
    await asyncio.gather(*begun)


async def crowds(http: aiohttp.ClientSession, url: str, calls: list[Call], turnstile: Turnstile) -> None:
    """A hundred calls at once whenever a probe is due, until cancelled."""
    breaker = turnstile.breaker
    while breaker is not None:
        due = turnstile.rests and breaker.wait_s > 0
        await asyncio.sleep(breaker.wait_s if due else 0.002)
        if due:
            await asyncio.gather(*[call(http, url, calls) for _ in range(BURST)])


async def outage(mode: Mode, seconds: float, *, crowd: bool) -> dict[str, Any]:
    """The first engine is sound, out for so many seconds, and sound again."""
    first, second = Switched(), Switched()
    usual, out, after, crowded = list[Call](), list[Call](), list[Call](), list[Call]()
    with tempfile.TemporaryDirectory() as folder:
        async with first.serving() as one, second.serving() as two:  # noqa: SIM117 - their addresses
            async with (
                gateway(Path(folder), one, two, first_byte_s=SILENCE_S) as (url, _, desk),
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            ):
                await paced(http, url, usual, SOUND_S)
                turnstile = desk._bases.turnstiles["s0"]  # noqa: SLF001 - what is measured has no public name
                opened = asyncio.create_task(opening(turnstile))
                mob = asyncio.create_task(crowds(http, url, crowded, turnstile)) if crowd else None
                first.mode, began = mode, time.monotonic()
                await paced(http, url, out, seconds)
                first.mode, well = "sound", time.monotonic()
                while not after or after[-1].tier != 1:
                    await call(http, url, after)
                    await asyncio.sleep(1 / PER_S)
                back = time.monotonic() - well
                if mob:
                    mob.cancel()
                    await asyncio.gather(mob, return_exceptions=True)
    asked = [span for span in first.calls if began <= span[0] < well]
    found = {"mode": mode, "crowds": crowd} | weighed(usual, out, asked, await opened)
    answered = [one for one in (*out, *crowded) if one.status == 200]
    return found | {"calls": len(out) + len(crowded), "answered": len(answered), "back_s": back}


async def opening(turnstile: Turnstile) -> float:
    """When its breaker opened."""
    while not turnstile.rests:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)
    return time.monotonic()


def weighed(usual: list[Call], out: list[Call], asked: list[list[float]], opened: float) -> dict[str, Any]:
    """What an outage cost. Once the breaker is open, each time the server is asked is a probe, alone with it."""
    probes = [span for span in asked if span[0] > opened]
    at_once = [sum(other[0] <= span[0] < other[1] for other in probes) for span in probes]
    usually = statistics.median(one.ms for one in usual)
    later = sorted(one.ms - usually for one in out if one.began > opened)
    return {
        "attempts": len(asked),
        "threshold": Rules().row,
        "before_it_opened": len(asked) - len(probes),
        "probes": len(probes),
        "most_probes_at_once": max(at_once, default=0),
        "usual_ms": usually,
        "added_ms": {
            "p50": statistics.median(later),
            "p99": later[int(len(later) * 0.99)],
            "most": later[-1],
            "over_50": sum(one > 50 for one in later),
            "n": len(later),
        },
    }


async def faults(asked: argparse.Namespace) -> dict[str, Any]:
    """The matrix, again and again."""
    played = possible = fell_back = 0
    words: list[str] = []
    for turn in range(asked.rounds):
        for kind in WIRES:
            chosen = list(cells(kind))
            said = await matrix(chosen)
            played, possible, fell_back = played + len(chosen), possible + said.possible, fell_back + said.fell_back
            words += [f"round {turn + 1}: {cell}: {'; '.join(what)}" for cell, what in said.failed.items()]
        print(f"  faults, round {turn + 1} of {asked.rounds}: {len(words)} of {played:,} failed", file=sys.stderr)
    return {
        "kinds": len(PLAYS) + 1,
        "cells": played,
        "failed": len(words),
        "upper95": clopper_pearson_upper(len(words), played),
        "hangs": sum("took" in said or "TimeoutError" in said for said in words),
        "cut_short": sum("cut:" in said or "is not" in said for said in words),
        "could_fall_back": possible,
        "fell_back": fell_back,
        "no_fallback_upper95": clopper_pearson_upper(possible - fell_back, possible),
        "words": words,
    }


async def outages(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The three ways, one after another, and one with crowds."""
    ways: list[tuple[Mode, bool]] = [("reset", False), ("503", False), ("hang", False), ("503", True)]
    found = []
    for mode, crowd in ways:
        found.append(await outage(mode, asked.seconds, crowd=crowd))
        print(json.dumps(found[-1]), file=sys.stderr)
    return found


async def leaving(asked: argparse.Namespace) -> dict[str, Any]:
    """Callers that leave."""
    with tempfile.TemporaryDirectory() as folder:
        left = await cuts(Path(folder), asked.cuts, seed=1, at_once=asked.at_once)
    seconds = sorted(left.seconds)
    on_record = len({record.id for record in left.records})
    late = sum(one > SOON_S for one in seconds)
    return {
        "cuts": asked.cuts,
        "seen": sum(one < float("inf") for one in seconds),
        "late": late,
        "late_upper95": clopper_pearson_upper(late, len(seconds)),
        "unrecorded_upper95": clopper_pearson_upper(max(0, asked.cuts - on_record), asked.cuts),
        "never_asked": left.never_asked,
        "p50_s": statistics.median(seconds),
        "most_s": seconds[-1],
        "on_record": on_record,
        "records": len(left.records),
        "outcomes": sorted({record.outcome for record in left.records}),
        "in_flight": left.in_flight,
        "places_kept": left.places_kept,
    }


LEGS: dict[str, Callable[[argparse.Namespace], Awaitable[Any]]] = {
    "faults": faults,
    "outages": outages,
    "cuts": leaving,
}


async def played(legs: list[str], asked: argparse.Namespace) -> dict[str, Any]:
    """What the legs that are named came to, or all."""
    return {leg: await LEGS[leg](asked) for leg in legs or LEGS}


def main() -> None:
    """Runs the legs that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("words", nargs="*", help=f"{', '.join(LEGS)}; all by default. A folder of data is passed over")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cuts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of every fault at every place on every wire")
    parser.add_argument("--at-once", type=int, default=16, help="callers that leave side by side")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    legs = [word for word in asked.words if not Path(word).is_dir()]
    if unknown := [leg for leg in legs if leg not in LEGS]:
        parser.error(f"there is no drill {unknown[0]!r}: {', '.join(LEGS)}")
    found = asyncio.run(played(legs, asked))
    if asked.json:
        print(json.dumps(found))
    else:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

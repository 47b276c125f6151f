"""Does a canary cry wolf, and does it bark? python bench/canary.py [DATA] [--runs 2000] [--json].

Runs of calls that a release on trial and the live one both answered, looked at after every call by the gateway's own
tests (insource.release.trial), until they stop it or the calls end. A call is labelled: a person said what is right.
Beside them, on the same calls and looks, a z-test of two shares at the same level, which is made for one look.

    the same        both wrong in 5% of the calls, independent of each other, and as quick: any stop is a false one
    the same calls  both wrong in 5% of the calls, four fifths of them the same
    worse           the release on trial is wrong in 10%, independent of the live one's 5%
    worse, paired   in 10%, among them most of the live one's 5%
    failing         it fails in 3% of the calls, the live one in 0.5%
    slow            its median call takes twice as long
"""

import argparse
import json
import math
import os
import platform
import sys
from typing import Any, NamedTuple

import numpy as np

from insource.nouns import Rollout
from insource.release.trial import PARTS, Tally, against, weighed
from insource.stats import wilson

CALLS, WITHIN = 2_000, 1_000
SPREAD = 0.3  # of the logarithm of a call's time
Steps = dict[str, np.ndarray[Any, Any]]


class World(NamedTuple):
    """How often ours alone and theirs alone are wrong, and fail; how many times as long ours takes."""

    wrong: tuple[float, float]
    failing: tuple[float, float] = (0.005, 0.005)
    slower: float = 1.0


WORLDS = {
    "the same": World((0.05 * 0.95, 0.05 * 0.95)),
    "the same calls": World((0.01, 0.01)),
    "worse": World((0.10 * 0.95, 0.05 * 0.90)),
    "worse, paired": World((0.06, 0.01)),
    "failing": World((0.05 * 0.95, 0.05 * 0.95), failing=(0.03, 0.005)),
    "slow": World((0.05 * 0.95, 0.05 * 0.95), slower=2.0),
}


def drawn(world: World, random: np.random.Generator, policy: Rollout) -> Steps:
    """The steps of the three tests, call by call."""

    def either(shares: tuple[float, float]) -> np.ndarray[Any, Any]:
        chance = random.random(CALLS)
        return np.where(chance < shares[0], 1, np.where(chance < sum(shares), -1, 0))

    times = np.exp(random.normal(0, SPREAD, (2, CALLS)))
    slower = np.where(times[0] * world.slower > policy.max_slower * times[1], 1, -1)
    return {"quality": either(world.wrong), "failures": either(world.failing), "speed": slower}


def stopped(steps: Steps, policy: Rollout) -> int:
    """After how many calls the gateway's tests stop it; 0 when they never do."""
    seen: dict[str, dict[float, int]] = {part: {} for part in PARTS}
    for i in range(CALLS):
        for part in PARTS:
            value = float(steps[part][i])
            seen[part][value] = seen[part].get(value, 0) + 1
        found = against(Tally(calls=i + 1, quality=seen["quality"], failures=seen["failures"], speed=seen["speed"]))
        if weighed(found) >= 1 / policy.alpha:
            return i + 1
    return 0


def naive(steps: Steps) -> int:
    """After how many calls a one-sided z-test of the difference in errors, level 5%, says stop; 0 for never."""
    for i in range(20, CALLS + 1):
        some = steps["quality"][:i]
        alone = int(np.abs(some).sum())
        if alone and some.sum() / math.sqrt(alone) > 1.645:
            return i
    return 0


def simulate(world: World, runs: int, seed: int) -> dict[str, Any]:
    """Runs of one world, by the gateway's tests and by the naive one."""
    policy, random = Rollout(), np.random.default_rng(seed)
    found: dict[str, list[int]] = {"ours": [], "naive": []}
    for _ in range(runs):
        steps = drawn(world, random, policy)
        found["ours"].append(stopped(steps, policy))
        found["naive"].append(naive(steps))
    return {"wrong": world.wrong, "runs": runs} | {name: _said(stops) for name, stops in found.items()}


def _said(stops: list[int]) -> dict[str, Any]:
    n, ever, within = len(stops), sum(s > 0 for s in stops), sum(0 < s <= WITHIN for s in stops)
    after = sorted(s for s in stops if s)
    return {
        "stopped": ever, "share": ever / n, "interval": wilson(ever, n),
        "within": within, "within_share": within / n, "within_interval": wilson(within, n),
        "median_calls": after[len(after) // 2] if after else None,
    }  # fmt: skip


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not needed")
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    worlds = {}
    for number, (name, world) in enumerate(WORLDS.items()):
        worlds[name] = simulate(world, given.runs, given.seed + number)
        print(f"  {name}: {worlds[name]['ours']}", file=sys.stderr)
    document = {"bench": "canary", "calls": CALLS, "within": WITHIN, "alpha": Rollout().alpha, "worlds": worlds,
                "seed": given.seed, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}  # fmt: skip
    if given.json:
        print(json.dumps(document))
    else:
        for name, found in worlds.items():
            print(f"{name}: {found}")


if __name__ == "__main__":
    main()

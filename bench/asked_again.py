"""Does asking again cry wolf, and does it bark? python bench/asked_again.py [DATA] [--windows 2000] [--json].

The rolling holdout: rows over 90 days, some drawn by chance and some harder, of which a release answers as many right
in the end as in the beginning; then ones of which the share falls on a straight line. How often its trend is called a
fall (insource.watch.holdout, at the level of 1%).

The engines of others: 50 rows every night, of which an engine says something else in none to a fifth, and breaks the
form in none or one in a hundred; eight nights behind the first. How often a night is told as changed though nothing
changed, and how often a swap is, that changes a tenth or a fifth of the answers (insource.watch.pinned).
"""

import argparse
import json
import os
import platform
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from insource.nouns import Example
from insource.stats import wilson
from insource.watch.holdout import Held, judged, result
from insource.watch.pinned import Row, Run, newest, wavering

NOW = datetime(2026, 11, 27, tzinfo=UTC)
DAYS, NIGHTS, ROWS = 90, 8, 50
WAVERS = ((0.0, 0.0), (0.02, 0.0), (0.05, 0.0), (0.05, 0.01), (0.1, 0.0), (0.2, 0.0))
SWAPS = (0.1, 0.2)


def held(dice: random.Random, n: int, fall: float) -> list[tuple[Held, bool]]:
    """Rows of a window, each with whether it was answered right: 95% of those drawn by chance, 75% of the others."""
    rows = []
    for i in range(n):
        days, drawn = dice.uniform(0, DAYS), dice.random() < 0.7
        row = Example(id=str(i), task="t", input="", target={})
        right = (0.95 if drawn else 0.75) - fall * (1 - days / DAYS)
        rows.append((Held(row=row, at=(NOW - timedelta(days=days)).isoformat(), drawn=drawn), dice.random() < right))
    return rows


def falls(windows: int, n: int, fall: float, seed: int) -> dict[str, Any]:
    """How many of so many windows are told as a fall."""
    dice = random.Random(seed)  # noqa: S311 - the same rows each time
    told = sum(judged("t", result("r", "", "", held(dice, n, fall)), None).state == "drift" for _ in range(windows))
    return {"windows": windows, "rows": n, "told": told, "share": told / windows, "interval": wilson(told, windows)}


def night(dice: random.Random, waver: float, breaks: float, swap: float = 0.0) -> Run:
    """What an engine says to the rows."""
    rows = []
    for i in range(ROWS):
        chance = dice.random()
        usual = "other" if dice.random() < swap else "a"
        said = "" if chance < breaks else f"b{dice.randrange(3)}" if chance < breaks + waver else usual
        rows.append(Row(id=str(i), said=said))
    return Run(engine="e", created="2026-11-27", first=False, about="", pinned="", rows=tuple(rows))


def engine(runs: int, waver: float, breaks: float, seed: int) -> dict[str, Any]:
    """One kind of engine, from its first night on, so many times over."""
    dice = random.Random(seed)  # noqa: S311 - the same nights each time
    cried, caught = 0, dict.fromkeys(SWAPS, 0)
    for _ in range(runs):
        first = night(dice, waver, breaks)
        twice = wavering(first.rows, night(dice, waver, breaks).rows)
        known = [msgspec.structs.replace(first, first=True, wavers=twice)]
        for _ in range(NIGHTS):
            known.append(night(dice, waver, breaks))
            found = newest(known)
            cried += bool(found and found.changed)
        for swap in SWAPS:
            found = newest([*known[:3], night(dice, waver, breaks, swap)])
            caught[swap] += bool(found and found.changed)
    nights = runs * NIGHTS
    return {"waver": waver, "breaks": breaks, "nights": nights, "cried": cried, "share": cried / nights,
            "interval": wilson(cried, nights), "runs": runs,
            "caught": {str(swap): n / runs for swap, n in caught.items()}}  # fmt: skip


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not needed")
    parser.add_argument("--windows", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    document = {
        "bench": "asked_again",
        "same": falls(given.windows, 300, 0.0, given.seed),
        "falls": {str(fall): falls(given.runs, 500, fall, given.seed + 1) for fall in (0.1, 0.2)},
        "engines": [engine(given.runs, *kind, given.seed + 2) for kind in WAVERS],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

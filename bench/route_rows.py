"""Rows of the README for the router."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
SETS = {
    "gsm8k": "small or large, GSM8K: Mixtral 8x7B or GPT-4",
    "routerarena": "small or large, RouterArena: Claude 3 Haiku or Gemini 2.0 Flash",
}


def _share(found: dict[str, Any]) -> str:
    return f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%}, n {found['n']:,})"


def router(d: dict[str, Any]) -> Iterator[Row]:
    """How fast, how often right, how often it does not know; and small against large."""
    for found in d["tasks"]:
        how = " with 200 such questions shown" if found["unknown_texts_shown"] else ""
        refused, told = found["unknown_refused"], found["told"]
        yield (
            f"router, CLINC150's ten domains: does not know what is for none{how}",
            "shown",
            f"{_share(refused)}; of questions for one it tells {_share(told)}, right {_share(found['told_right'])}",
            True,
        )
    took = d["tasks"][0]["decision"]
    said = [
        f"{name} ({one['characters']:.0f} characters): p99 {one['cpu_p99_ms']:.2f} ms of the processor, "
        f"{one['wall_p99_ms']:.2f} on the clock, p50 {one['wall_p50_ms']:.2f}"
        for name, one in took.items()
    ]
    slowest = max(one["cpu_p99_ms"] for one in took.values())
    yield "… one decision, one thread", "p99 < 1 ms", "; ".join(said), slowest < 1
    for name, what in SETS.items():
        found = d["sizes"][name]
        lead, own = found["lead"], found["router"]
        shown = f"{own['value']:.1%} ({own['low']:.1%} to {own['high']:.1%}, n {found['n']:,})"
        ahead = f"{lead['value'] * 100:+.1f} points ({lead['low'] * 100:+.1f} to {lead['high'] * 100:+.1f})"
        always = f"always small {found['always_small']:.1%}, always large {found['always_large']:.1%}"
        yield (
            f"{what}, area under quality by share of large calls, 5 folds",
            "above random",
            f"{shown}, random {found['random']:.1%}: {ahead}; {always}, oracle {found['oracle']:.1%}",
            lead["low"] > 0,
        )

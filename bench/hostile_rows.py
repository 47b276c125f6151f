"""The README's rows of bench/hostile.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
BLOCKS = {
    "schemathesis": ("Schemathesis from our own OpenAPI description", 10_000),
    "json suite": ("the JSON parsing suite, each file in four places of three routes", 3_000),
    "naughty strings": ("naughty strings in every field, header and path", 10_000),
    "broken bodies": ("sound bodies broken at random", 2_000),
    "raw http": ("answers to {raw:,} raw HTTP requests from a grammar of faults", 2_000),
}
MOST_MB = 400


def hostile(d: dict[str, Any]) -> Iterator[Row]:
    """Bad input, callers that never end, other tenants' keys, tampering."""
    yield from _input(d["input"], d["sizes"])
    yield from _tenants(d["tenants"])
    yield from _audit(d["audit"])


def _input(d: dict[str, Any], sizes: dict[str, int]) -> Iterator[Row]:
    for name, (what, least) in BLOCKS.items():
        found = d["blocks"][name]
        unwell = [word for word, so in (("died", not found["alive"]), ("hung", found["under_way"] != 0)) if so]
        lines = found["log_lines_of_callers"]
        said = f"{found['failed']} of {found['calls']:,} (below {found['failed_upper95']:.3%})"
        said += f", {' and '.join(unwell) or 'alive'}, {lines} lines of callers in the log"
        holds = not (found["failed"] or unwell or lines) and found["calls"] >= least and sizes["raw"] >= 2_000
        yield f"bad input: {what.format(**sizes)}", "no 5xx but the declared 502/503, 0 deaths", said, holds
    memory, start = max(block["memory_mb"].get("peak", 0.0) for block in d["blocks"].values()), d["memory_mb_at_start"]
    said = f"{memory:.0f} MB at most, {start['now']:.0f} before"
    yield "… memory of the gateway meanwhile, a linear specialist in it", f"≤ {MOST_MB} MB", said, memory <= MOST_MB
    held = d["slow"]
    longest = max(held["held_s"].values())
    said = f"{len(held['late'])} of {len(held['held_s'])} kinds late, longest {longest:.0f} s; alive {held['alive']}"
    holds = not held["late"] and held["alive"]
    yield f"callers that never end what they say, {held['callers']}", "sent away in time", said, holds


def _tenants(d: dict[str, Any]) -> Iterator[Row]:
    kept = d["on_record"]
    beside = kept["misplaced"] + kept["hashes_shared"] + kept["sums_that_differ"]
    said = f"{d['crossed']} of {d['pairs']:,} pairs, {d['tries']:,} tries (below {d['crossed_upper95']:.3%} of pairs)"
    said += f"; on record {beside} misplaced of {kept['records']:,}"
    holds = not (d["crossed"] or beside or d["answered_otherwise"]) and d["pairs"] >= 5_000
    yield "one tenant's key, another tenant's things, 13 ways", "0 crossings", said, holds
    said = "; ".join(f"{name}: {found['crossed']} of {found['tries']} tries" for name, found in d["controls"].items())
    yield "… controls", "cross", said, all(found["crossed"] for found in d["controls"].values())


def _audit(d: dict[str, Any]) -> Iterator[Row]:
    said = f"{d['edits'] - d['missed']:,} of {d['edits']:,} (missed below {d['missed_upper95']:.2%})"
    said += f", {d['calls']:,} calls, four kinds also with the chain made anew; by the verb {d['by_verb']}"
    holds = not d["missed"] and d["edits"] >= 1_000 and set(d["by_verb"]) == {"1"}
    yield "audit tampering: edit, delete, insert, reorder, truncate", "100% found, against a checkpoint", said, holds
    control = d["control"]
    said = f"{len(control['faults'])} faults in the untouched copy, ends with {control['by_verb']}"
    yield "… control", "0 faults", said, not control["faults"] and control["by_verb"] == 0

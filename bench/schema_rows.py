"""The README's rows of bench/schemas.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
ALLOWED = 0.005


def bench(d: dict[str, Any]) -> Iterator[Row]:
    """JSONSchemaBench."""
    yield from _rows("JSONSchemaBench", d)
    yield from _times(d["total"]["beside"])


def suite(d: dict[str, Any]) -> Iterator[Row]:
    """The official test suite."""
    yield from _rows("JSON Schema test suite", d)


def _rows(name: str, d: dict[str, Any]) -> Iterator[Row]:
    own, alone = d["total"]["ours"], d["total"]["llguidance"]
    splits = {
        split: (found["ours"]["honoured"], found["llguidance"]["honoured"]) for split, found in d["splits"].items()
    }
    shares = ", ".join(f"{split} {one['value']:.1%} ({other['value']:.1%})" for split, (one, other) in splits.items())
    drawn = f", {d['limit']} drawn from each large split" if d["limit"] else ""
    found = f"{_of(own['honoured'])}{drawn} (llguidance alone {_of(alone['honoured'])}); {shares}"
    more = all(one["k"] >= other["k"] for one, other in splits.values())
    yield f"{name}, schemas honoured", "≥ llguidance alone, in every split", found, more
    through, walks, theirs = own["violated"], own["walks"], alone["violated"]
    found = (f"{_of(through)} invalid instances let through, {walks['malformed']} of {walks['n']:,} random outputs "
             f"invalid (rates below {through['upper95']:.2%} and {walks['upper95']:.2%}); llguidance alone lets "
             f"{_of(theirs)} through")  # fmt: skip
    yield "… accepted but violated", "0", found, not through["k"] and not walks["malformed"]
    lost, capped, other = own["valid"]["rejected"], own["valid"]["capped"], alone["valid"]["rejected"]
    found = (f"{lost['value']:.2%} ({_of(lost)}), {capped['value']:.2%} more by a documented limit; "
             f"llguidance alone {other['value']:.2%}")  # fmt: skip
    yield "… valid instances kept out", "≤ 0.5%", found, lost["value"] <= ALLOWED


def _times(sides: dict[str, Any]) -> Iterator[Row]:
    """Where all three compiled the same schemas."""
    if sides:
        said = {
            name: (f"{name} {side['mask_us']['mean']:.0f} µs (worst p99 {side['mask_us']['worst_p99']:.0f}), compiled "
                   f"in {side['compile_ms']['mean']:.1f} ms (worst p99 {side['compile_ms']['worst_p99']:.0f})")
            for name, side in sides.items()
        }  # fmt: skip
        n = sides["ours"]["honoured"]["n"]
        yield (
            f"… a token's mask, mean; {n} schemas given to all three",
            "beside XGrammar",
            "; ".join(said.values()),
            True,
        )
        wrong = [f"{name} {side['violated']['k']} of {side['violated']['n']} and "
                 f"{side['valid']['n'] - side['valid']['served']['k']} of {side['valid']['n']}"
                 for name, side in sides.items()]  # fmt: skip
        yield "… invalid let through, and valid kept out", "beside XGrammar", "; ".join(wrong), True


def _of(one: dict[str, Any]) -> str:
    return f"{one['k']:,} of {one['n']:,}"

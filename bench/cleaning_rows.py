"""The README's rows of bench/cleaning.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
FAULTS = {
    "noise": ("12% of labels changed, half to a label alike", "label-errors"),
    "drift": ("5% in an older form: labels renamed, answers as another object", "drift"),
    "leaks": ("3% copied from the test, two thirds of them edited", "leaks beyond those of the set"),
    "mixed": ("5% of other tasks, a third of them forced into a label", "other-task"),
}


def _said(one: dict[str, Any]) -> str:
    return f"{one['value']:.1%} ({one['low']:.1%} to {one['high']:.1%}, n {one['n']:,})"


def cleaning(d: dict[str, Any]) -> Iterator[Row]:
    """Faults found again, and what a model gains."""
    judged = d["judged"]
    for name, (what, kind) in FAULTS.items():
        found = f"recall {_said(judged['whole'][name])}, precision {_said(judged['precision'][kind])}"
        if name == "mixed":
            forced = judged["recall"]["mixed: forced into a label"]
            found += f"; of the forced ones {_said(forced)}"
        if name == "drift":
            found += f"; what it is today right in {_said(judged['drift_as_today'])}"
        yield f"{'cleaning a log' if name == 'noise' else '…'} of BANKING77: {what}", "stated", found, True
    removed, rows = d["control"]["removed"], d["control"]["rows"]
    listed = ", ".join(f"{kind} {n:,}" for kind, n in removed.items())
    yield "… control: taken out of the rows as published", "shown", f"{listed} of {rows['read']:,}", True
    for name, what in (("linear", "linear"), ("specialist", "SmolLM2-135M")):
        if name in d:
            yield _gain(what, d[name])


def _gain(what: str, one: dict[str, Any]) -> Row:
    by = one["difference"]
    found = f"{by['value'] * 100:+.1f} points ({by['low'] * 100:+.1f} to {by['high'] * 100:+.1f}), p {by['p']:.1g};"
    found += f" {one['cleaned']['value']:.1%} after {one['raw']['value']:.1%}, n {one['n']:,}"
    if "rows" in one:
        found += f"; {one['rows']['cleaned']:,} of {one['rows']['raw']:,} rows"
    return (
        f"… {what} on cleaned rows against raw ones, test rows no copy of which leaked",
        "better",
        found,
        by["low"] > 0,
    )

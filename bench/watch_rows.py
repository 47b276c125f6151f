"""The README's rows of the watch: bench/drift.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]


def drift(d: dict[str, Any]) -> Iterator[Row]:
    """False alarms where nothing changed, and what is seen where something did."""
    same = d["same"]
    low, high = same["interval"]
    found = f"{same['share']:.2%} ({low:.2%} to {high:.2%}, n {same['windows']:,} windows of 500)"
    yield "drift: alarms where nothing changed, BANKING77 texts", "the interval of 1%", found, low <= d["alpha"] <= high
    for change, what in (
        ("longer", "texts a fifth longer"),
        ("other labels", "a tenth of the labels another"),
        ("unknown words", "twice as many unknown words"),
    ):
        of = d[change]
        low, high = of["named_interval"]
        found = f"{of['named']:.1%} ({low:.1%} to {high:.1%}, n {of['windows']:,}), within two windows"
        found += f" {of['within_two']:.1%}"
        yield f"… {what}: seen in the first window", "≥ 95%", found, of["named"] >= 0.95

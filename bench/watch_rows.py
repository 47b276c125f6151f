"""The README's rows of the watch: bench/drift.py and bench/asked_again.py."""

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


def asked_again(d: dict[str, Any]) -> Iterator[Row]:
    """The rolling holdout and the pinned rows: false alarms, and what is seen where something changed."""
    same = d["same"]
    low, high = same["interval"]
    found = f"{same['share']:.2%} ({low:.2%} to {high:.2%}, n {same['windows']:,} windows of {same['rows']:,} rows)"
    yield (
        "rolling holdout, simulated: told as falling where nothing fell",
        "the interval of 1%",
        found,
        low <= 0.01 <= high,
    )
    seen = "; ".join(
        f"{float(fall):.0%}: {of['share']:.1%} ({of['interval'][0]:.1%} to {of['interval'][1]:.1%})"
        for fall, of in d["falls"].items()
    )
    seen += f" (n {d['falls']['0.1']['windows']:,})"
    yield "… told as falling where accuracy falls over 500 rows of 90 days by", "shown", seen, True
    nights, cried = (sum(one[name] for one in d["engines"]) for name in ("nights", "cried"))
    worst = max(d["engines"], key=lambda one: one["share"])
    found = f"{cried / nights:.2%} of {nights:,} nights; of the worst kind {worst['share']:.2%}, n {worst['nights']:,}"
    what = "pinned rows, simulated: engines that waver in up to a fifth, told as changed"
    yield what, "≤ 1%", found, cried <= 0.01 * nights
    steady, some = (next(one for one in d["engines"] if one["waver"] == waver) for waver in (0.0, 0.05))
    seen = "; ".join(
        f"{float(swap):.0%} of answers: {share:.1%}, of one that wavers in 5%: {some['caught'][swap]:.1%}"
        for swap, share in steady["caught"].items()
    )
    yield "… a swap told the same night, by how much it changes", "shown", f"{seen} (n {steady['runs']:,})", True

"""The README's rows of bench/teach.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]


def teach(d: dict[str, Any]) -> Iterator[Row]:
    """A budget under kills, what is lost and paid for twice, and whether the interval holds what it should."""
    of, control, cover = d["figures"], d["control"], d["coverage"]
    found = f"0 of {of['n']} runs, rate below {of['upper']:.1%}" if not of["exceeded"] else f"{of['exceeded']} runs"
    found += f"; {of['kills']} kills, the budget ended {of['stopped']} of {of['tight']} runs that had too little"
    found += f", with {of['billed_share']:.0%} of it on the bill"
    yield (
        "a teacher labels BANKING77, killed with SIGKILL on bad days: bill above budget",
        "0",
        found,
        not of["exceeded"],
    )
    understated = of["understated"]
    yield "… bill above what is said to be spent", "0", f"{understated} of {of['n']}", not understated
    lost = of["lost"]
    yield "… inputs without an end, where there was money", "0", f"{lost} of {of['rows']:,}", not lost
    found = f"{of['again']}, of {of['broken_off']} calls that broke off or were killed"
    yield "… answers paid for twice", "only of killed calls", found, of["again"] <= of["broken_off"]
    found = f"{control['exceeded']} of {control['runs']} runs above it"
    yield "… control: nothing reserved for calls under way", "exceeds", found, control["exceeded"] > 0
    found = f"below the bill in {of['known_understated']} of {of['n']} runs"
    yield "… control: the sum of what answers said they cost", "understates", found, of["known_understated"] > 0
    found = f"{cover['share']:.1%} ({cover['low']:.1%} to {cover['high']:.1%}) of {cover['draws']:,} samples of "
    found += f"{cover['n']} of {cover['rows']:,}, truth {cover['truth']:.1%}; {of['covers']} of {of['intervals']} runs"
    yield "… how often two engines differ: the 95% interval has the truth", "≥ 95%", found, cover["share"] >= 0.95

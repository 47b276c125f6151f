"""From how many calls a day one way is cheaper than another: every crossing of two bills, exactly.

A bill is a straight line with a step for every machine. Between two steps of either the difference is a straight line:
it crosses zero where arithmetic says, or jumps over it at a step. Far from where the lines without steps meet the sign
cannot change any more, so all crossings are found, however far one looks.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise

from insource.nouns import Noun
from insource.price.cost import Curve

MOST = 10_000_000.0  # calls a day: 116 a second day and night
SAME = 1e-12  # a difference of this share of the bills is none
APART = 1e-8  # steps nearer to each other than this share are one


class Crossing(Noun, frozen=True, kw_only=True):
    """At so many calls a day it turns: `first` says whether the first of the two is cheaper above it.

    With `step` it turns because a machine more is needed: up to that many calls the one, for any more the other.
    """

    calls_per_day: float
    first: bool
    step: bool = False


class Range(Noun, frozen=True, kw_only=True):
    """From `low` to `high` calls a day, `name` is the cheapest."""

    name: str
    low: float
    high: float


def crossings(one: Curve, other: Curve, most: float = MOST) -> tuple[Crossing, ...]:
    """Every number of calls a day, above 0 and up to `most`, at which the cheaper of two bills becomes the dearer."""
    return _walked(one, other, most)[1]


def ranges(bills: Mapping[str, Curve], most: float = MOST) -> tuple[Range, ...]:
    """Which of the bills is the lowest, from 0 to `most` calls a day; of bills that are equal all along, the first."""
    pairs = {(a, b): _walked(bills[a], bills[b], most) for a, b in combinations(bills, 2)}
    places = sorted({0.0, most} | {turn.calls_per_day for _, turns in pairs.values() for turn in turns})
    found: list[Range] = []
    for low, high in pairwise(places):
        dearer = [(a if sign > 0 else b) for (a, b), walked in pairs.items() if (sign := _between(walked, low))]
        name = min(bills, key=dearer.count)  # nobody is dearer than the cheapest, but where three cross within rounding
        if found and found[-1].name == name:
            found[-1] = Range(name=name, low=found[-1].low, high=high)
        else:
            found.append(Range(name=name, low=low, high=high))
    return tuple(found)


def _between(walked: tuple[int, tuple[Crossing, ...]], low: float) -> int:
    """The sign of the difference between the crossing at `low` and the next: 1 where the first bill is the dearer."""
    first, turns = walked
    passed = [turn for turn in turns if turn.calls_per_day <= low]
    return first if not passed else -1 if passed[-1].first else 1


def _walked(one: Curve, other: Curve, most: float) -> tuple[int, tuple[Crossing, ...]]:
    """The first sign of one bill less the other, 0 where they are equal all along, and where it changes."""
    found: list[Crossing] = []
    first = last = 0
    edges = _edges(one, other, most)
    for low, high in pairwise(edges):
        left, right = _after(one, low) - _after(other, low), one.at(high) - other.at(high)
        begins, ends = _sign(left, one.at(low)), _sign(right, one.at(high))
        if begins:
            if last and begins != last:
                found.append(Crossing(calls_per_day=low, first=begins < 0, step=True))
            last = begins
        if ends and last and ends != last:
            at = low + (high - low) * left / (left - right) if begins else low
            found.append(Crossing(calls_per_day=at, first=ends < 0))
        last = ends or last
        first = first or begins or ends
    return first, tuple(found)


def cheapest(bills: Mapping[str, Curve], calls: float) -> str:
    """The name of the lowest bill at so many calls a day; the first named where two are equal."""
    return min(bills, key=lambda name: bills[name].at(calls))


def _edges(one: Curve, other: Curve, most: float) -> Sequence[float]:
    """Where either bill steps, as far as the cheaper can change there, with 0 and `most`."""
    settled = max(bill.least * bill.carries for bill in (one, other))
    low, high = 0.0, most
    difference, slope = one.fixed - other.fixed, one.slope - other.slope
    if slope:
        ends = sorted((-difference - one.step) / slope if sign else (other.step - difference) / slope
                      for sign in (True, False))  # fmt: skip
        low, high = max(ends[0], settled), min(ends[1], most)
    places = {0.0, most}
    for bill in (one, other):
        for start, end in ((0.0, min(settled, most)), (low, high)):
            places.update(_steps(bill, start, end))
    places.update(place for place in (settled, low, high) if 0 < place < most)
    kept = [0.0]
    kept += [b for a, b in pairwise(sorted(places)) if 0 < b < most and b > a * (1 + APART)]
    return [*kept, most]


def _steps(bill: Curve, low: float, high: float) -> Iterator[float]:
    """The calls a day, from `low` to `high` and one on both sides, beyond which one machine more is needed."""
    if not bill.carries or high < low:
        return
    first = max(bill.least, int(low / bill.carries) - 1, 1)
    for machines in range(first, int(high / bill.carries) + 2):
        yield machines * bill.carries


def _after(bill: Curve, calls: float) -> float:
    """The bill for a little more than so many calls a day."""
    beyond = bill.machines(calls * (1 + 4e-9) + 1e-9 * bill.carries) if bill.carries else 0
    return bill.fixed + bill.each * calls + bill.step * beyond


def _sign(difference: float, of: float) -> int:
    return 0 if abs(difference) <= SAME * abs(of) else 1 if difference > 0 else -1

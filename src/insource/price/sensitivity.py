"""Which input decides: each is varied alone, over a range that is stated, and the difference of two bills is watched.

This is the one-at-a-time analysis behind a tornado diagram (Howard, 1988). It says nothing of two inputs that move
together. The value at which the cheaper one changes is searched outwards from where the input stands, and narrowed
down to a trillionth; where the difference moves one way only, as for every price and share, none is missed.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from insource.nouns import Noun
from insource.nouns.pricing import ApiPrice, Use
from insource.price.cost import MONTHS, Option, curve

FARTHEST, STEPS, HALVINGS = 1000.0, 120, 100


class Case(Noun, frozen=True, kw_only=True):
    """Two ways to answer the same calls."""

    one: Option
    other: Option
    use: Use
    months: int = MONTHS

    @property
    def difference(self) -> float:
        """US dollars a month by which `one` is dearer than `other`."""
        return self._month(self.one) - self._month(self.other)

    def _month(self, option: Option) -> float:
        return curve(option, self.use, self.months).at(self.use.calls_per_day)


class Swing(Noun, frozen=True, kw_only=True):
    """One input: where it stands, the ends of its range, and the difference a month there (one's bill less other's).

    `flips_at` is the value nearest to `base`, between a thousandth and a thousand times of it and possible at all, at
    which the cheaper one changes; None where there is none.
    """

    name: str
    unit: str
    base: float
    low: float
    high: float
    low_usd: float
    high_usd: float
    flips_at: float | None

    @property
    def width(self) -> float:
        """US dollars a month between the ends."""
        return abs(self.high_usd - self.low_usd)


class Knob(Noun, frozen=True, kw_only=True):
    """An input that can be turned: the places that move together, the factors of its range, and its highest value."""

    name: str
    unit: str
    paths: tuple[str, ...]
    low: float
    high: float
    most: float = math.inf
    ends: tuple[float, float] | None = None


TOKENS = tuple(f"{whose}.{part}" for whose in ("use.tokens", "one.tokens", "other.tokens", "one.above_tokens",
               "other.above_tokens") for part in ("input", "cached", "output"))  # fmt: skip
PEOPLE = ("one.people", "other.people")
COMMON = (
    Knob(name="calls a day", unit="calls", paths=("use.calls_per_day",), low=0.5, high=2),
    Knob(name="tokens of a call", unit="tokens in", paths=TOKENS, low=0.5, high=2),
    Knob(name="hours a day", unit="hours", paths=("use.hours_per_day",), low=0.5, high=2, most=24),
    Knob(name="peak over mean", unit="times", paths=("use.peak",), low=0.5, high=2),
    Knob(name="minutes of a review", unit="minutes", paths=tuple(f"{p}.minutes" for p in PEOPLE), low=0.5, high=2),
    Knob(name="reviewers' rate", unit="US$ an hour", paths=tuple(f"{p}.usd_per_hour" for p in PEOPLE), low=0.75,
         high=1.25),
)  # fmt: skip
PRICE = ("input", "cached_input", "output")
FALLING, RISING = 0.1, 1.25  # prices of APIs fall faster than they rise: in a year by nine tenths, at times
OF_ONE = (
    Knob(name="escalated share", unit="share", paths=("escalated",), low=0.5, high=2, most=1),
    Knob(name="reviewed share", unit="share", paths=("people.share",), low=0.5, high=2, most=1),
    Knob(name="machine rate", unit="US$ an hour", paths=("fleet.machine.on_demand",), low=0.7, high=1.3),
    Knob(name="machine rate, reserved", unit="US$ an hour", paths=("fleet.machine.reserved",), low=0.7, high=1.3),
    Knob(name="machine rate, spot", unit="US$ an hour", paths=("fleet.machine.spot",), low=0.5, high=2),
    Knob(name="price of a machine", unit="US$", paths=("fleet.machine.owned.price_usd",), low=0.7, high=1.3),
    Knob(name="calls a machine answers", unit="calls/s", paths=("fleet.calls_per_s",), low=0.5, high=2),
    Knob(name="engineers", unit="FTE", paths=("effort.fte",), low=0.5, high=1.5, ends=(0.25, 0.5)),
    Knob(name="engineer's salary", unit="US$ a year", paths=("effort.salary_usd",), low=0.75, high=1.25),
    Knob(name="rows to label", unit="rows", paths=("effort.rows",), low=0.5, high=2),
    Knob(name="price of a label", unit="US$", paths=("effort.usd_per_row",), low=0.5, high=2),
    Knob(name="hours of a training", unit="hours", paths=("effort.training_hours",), low=0.5, high=2),
)
WAYS = {"machine rate": "on_demand", "machine rate, reserved": "reserved", "machine rate, spot": "spot",
        "price of a machine": "owned"}  # fmt: skip


def sensitivity(case: Case) -> tuple[Swing, ...]:
    """Every input that moves the difference or could flip it, the widest swing first."""
    swings = [swing for knob in knobs(case) if (swing := _swing(case, knob)) is not None]
    return tuple(sorted(swings, key=lambda swing: (-swing.width, swing.name)))


def knobs(case: Case) -> Iterator[Knob]:
    """The inputs that this case has, those of an option named after it. An API has one price wherever it is asked."""
    yield from COMMON
    sold: dict[str, list[str]] = {}
    for place in ("one.api", "one.above", "other.api", "other.above"):
        side, _, part = place.partition(".")
        option: Option = getattr(case, side)
        row: ApiPrice | None = getattr(option, part)
        if row is not None:
            sold.setdefault(row.name or f"{option.name}'s {part}", []).append(place)
    for name, places in sold.items():
        paths = tuple(f"{place}.{part}" for place in places for part in PRICE)
        yield Knob(name=f"price of {name}", unit="US$ a million in", paths=paths, low=FALLING, high=RISING)
    for side in ("one", "other"):
        option = getattr(case, side)
        for knob in OF_ONE:
            way = WAYS.get(knob.name)
            if way is None or (option.fleet is not None and option.fleet.paid == way):
                paths = tuple(f"{side}.{path}" for path in knob.paths)
                yield msgspec.structs.replace(knob, name=f"{knob.name}, {option.name}", paths=paths)


def _swing(case: Case, knob: Knob) -> Swing | None:
    base = next((value for path in knob.paths if (value := _get(case, path))), 0.0)
    if not base:
        return None
    low, high = knob.low, knob.high
    if knob.ends is not None and knob.ends[0] <= base <= knob.ends[1]:
        low, high = knob.ends[0] / base, knob.ends[1] / base
    least, most = _bounds(knob, base)
    low, high = max(low, least), min(high, most)

    def difference(factor: float) -> float:
        return _turned(case, knob, factor).difference

    low_usd, high_usd = difference(low), difference(high)
    flip = _flip(difference, least, most)
    if flip is None and math.isclose(low_usd, high_usd, rel_tol=1e-12, abs_tol=1e-9):
        return None
    return Swing(
        name=knob.name,
        unit=knob.unit,
        base=base,
        low=base * low,
        high=base * high,
        low_usd=low_usd,
        high_usd=high_usd,
        flips_at=None if flip is None else base * flip,
    )


def _bounds(knob: Knob, base: float) -> tuple[float, float]:
    """The least and the largest factor: a peak is never below the mean, a share never above 1."""
    least = 1 / base if knob.paths == ("use.peak",) else 1 / FARTHEST
    return least, min(FARTHEST, knob.most / base)


def _turned(case: Case, knob: Knob, factor: float) -> Case:
    for path in knob.paths if factor >= 1 else knob.paths[::-1]:  # cached tokens never exceed the input
        value = _get(case, path)
        if value:
            case = _put(case, path.split("."), min(value * factor, knob.most))
    return case


def _get(case: Case, path: str) -> float | None:
    found: Any = case
    for name in path.split("."):
        found = getattr(found, name) if found is not None else None
    return found if isinstance(found, int | float) else None


def _put(whole: Any, path: list[str], value: float) -> Any:
    name, *rest = path
    return msgspec.structs.replace(whole, **{name: _put(getattr(whole, name), rest, value) if rest else value})


def _flip(difference: Callable[[float], float], least: float, most: float) -> float | None:
    """The factor nearest to 1, by ratio, at which the sign changes."""
    now = difference(1.0) > 0
    found = [flip for end in (least, most) if (flip := _outwards(difference, end, now=now)) is not None]
    return min(found, key=lambda factor: abs(math.log(factor)), default=None)


def _outwards(difference: Callable[[float], float], end: float, *, now: bool) -> float | None:
    """The nearest change between 1 and `end`, looked for in steps of one ratio and then halved in."""
    inner = 1.0
    for step in range(1, STEPS + 1):
        outer = end ** (step / STEPS)
        if (difference(outer) > 0) != now:
            return _halved(difference, inner, outer, now=now)
        inner = outer
    return None


def _halved(difference: Callable[[float], float], inner: float, outer: float, *, now: bool) -> float:
    for _ in range(HALVINGS):
        middle = math.sqrt(inner * outer)
        inner, outer = (middle, outer) if (difference(middle) > 0) == now else (inner, middle)
    return outer

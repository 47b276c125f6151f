"""What each candidate of a run would cost a month, at the rate that it held and the calls that there are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from insource.nouns import Task
from insource.nouns.assessment import Prices, Turn
from insource.nouns.pricing import MILLION, ApiPrice, People, Tokens
from insource.price.breakeven import crossings
from insource.price.cost import Curve, Fleet, Option, cost, curve

ONE = Tokens(input=1)  # a call whose price is known as such, whatever its tokens


@dataclass(frozen=True)
class Measured:
    """What a bill needs of a candidate: the rate that one machine held in calls a second, or US dollars of a call.

    `automatic` is the share of answers that leave by themselves; the others go to `above`, an API at so much a call,
    or to a person where it is None.
    """

    name: str
    held: float | None = None
    usd_per_call: float | None = None
    automatic: float = 1.0
    above: float | None = None


@dataclass(frozen=True)
class Bill:
    """A month by line; `month` and `machines` are None and 0 where nobody says how many calls there are."""

    curve: Curve
    month: float | None = None
    lines: tuple[tuple[str, float], ...] = ()
    machines: int = 0


def bills(prices: Prices, found: Sequence[Measured]) -> dict[str, Bill]:
    """The bill of every candidate whose rate or price is known, and of each API of which only the price is."""
    options = [_option(one, prices) for one in found]
    options += [Option(name=name, api=price) for name, price in prices.listed.items()]
    return {option.name: _bill(option, prices) for option in options if option is not None}


def turns(found: Mapping[str, Bill]) -> Iterator[Turn]:
    """Every number of calls a day at which one of two becomes cheaper than the other."""
    for one, other in combinations(found, 2):
        for crossing in crossings(found[one].curve, found[other].curve):
            yield Turn(way=one, other=other, calls_per_day=crossing.calls_per_day, cheaper=crossing.first)


def above(task: Task, usd: Mapping[str, float | None]) -> float | None:
    """What the engine costs a call that gets what is not answered automatically; None where a person does."""
    first = task.risk.otherwise[0] if task.risk.otherwise else ""
    return usd.get(first)


def _option(one: Measured, prices: Prices) -> Option | None:
    if one.held:
        short = 1 - one.automatic
        people = People(share=short, minutes=prices.review_minutes, usd_per_hour=prices.reviewer_usd_per_hour)
        fleet = Fleet(machine=prices.machine, paid=prices.paid, calls_per_s=one.held)
        if one.above is not None:
            return Option(name=one.name, fleet=fleet, escalated=short, above=_flat(one.above), above_tokens=ONE,
                          effort=prices.effort)  # fmt: skip
        return Option(name=one.name, fleet=fleet, people=people, effort=prices.effort)
    if one.usd_per_call is not None:
        return Option(name=one.name, api=_flat(one.usd_per_call), tokens=ONE)
    return None


def _flat(usd: float) -> ApiPrice:
    return ApiPrice(input=usd * MILLION, output=0.0)


def _bill(option: Option, prices: Prices) -> Bill:
    if not prices.volume:
        return Bill(curve(option, prices.use, prices.months))
    found = cost(option, prices.use, prices.months)
    lines = tuple((line.name, line.usd) for line in found.lines)
    return Bill(curve(option, prices.use, prices.months), found.month_usd, lines, found.machines)

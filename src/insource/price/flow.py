"""The money month by month when one way takes the place of another, and when it has paid itself back."""

import math

from insource.nouns import Noun
from insource.nouns.pricing import Owned, Use
from insource.price.cost import HAIR, MONTHS, Option, bought, cost, life


class Month(Noun, frozen=True, kw_only=True):
    """US dollars paid in a month, 0 being the day of the change: with the one, with the other, and saved up to then."""

    number: int
    before_usd: float
    after_usd: float
    sum_usd: float


class Flow(Noun, frozen=True, kw_only=True):
    """The months, what was put in on day 0 beyond what the other would have taken, and what is saved by the end.

    `payback` is the month (with its fraction) from which the sum is never below zero again; None where that is later
    than the last, or never.
    """

    months: tuple[Month, ...]
    invested_usd: float
    saved_usd: float
    payback: float | None


def flow(before: Option, after: Option, use: Use, months: int = MONTHS) -> Flow:
    """Cash, not discounted: what is bought is paid when it is bought, and again when its life is over.

    Both begin on day 0: what is there already and paid for is left out of its option. Raises `ValueError` for no month.
    """
    if months < 1:
        raise ValueError("a cash flow has one month at least")
    said, total = [], 0.0
    for number in range(months + 1):
        paid, instead = (_paid(option, use, number, months) for option in (before, after))
        total += paid - instead
        said.append(Month(number=number, before_usd=paid, after_usd=instead, sum_usd=total))
    return Flow(months=tuple(said), invested_usd=-said[0].sum_usd, saved_usd=total, payback=_payback(said))


def _paid(option: Option, use: Use, number: int, months: int) -> float:
    """US dollars in that month: once on day 0, what is bought then and at the end of each life, else what runs."""
    bill, lived = cost(option, use, months), life(option)
    purchase = bought(option, use)
    if number == 0:
        return bill.once_usd
    again = purchase * (_lives(number, lived, months) - _lives(number - 1, lived, months)) if lived else 0.0
    owned = option.fleet.machine.owned if option.fleet and option.fleet.paid == "owned" else None
    spread = bill.machines * owned.price_usd / (12 * owned.years) if isinstance(owned, Owned) else 0.0
    return bill.running_usd - spread + again


def _lives(number: int, lived: float, months: int) -> int:
    """How many lives are over by that month; what ends with the last month is bought by nobody again."""
    over = number / lived
    return math.ceil(over - HAIR) - 1 if number == months else math.floor(over + HAIR)


def _payback(months: list[Month]) -> float | None:
    under = [month.number for month in months if month.sum_usd < 0]
    if not under:
        return 0.0
    last = under[-1]
    if last == months[-1].number:
        return None
    here, there = months[last].sum_usd, months[last + 1].sum_usd
    return last + here / (here - there)

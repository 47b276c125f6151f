"""What a way lacks to take over, each with its quantity: how many rows, points, answers, calls or milliseconds."""

import math
from collections.abc import Sequence

from insource.nouns.assessment import NOBODY, Case, Demand, Missing, Way

MOST_ROWS = 1_000_000


def gaps(way: Way | None, case: Case, unmeasured: Way | None = None) -> tuple[Missing, ...]:
    """What is missing before `way` is good; of `unmeasured`, which costs less, the answers."""
    found: list[Missing] = []
    if case.compared == "missing":
        who = case.incumbent or "the model that does the work today"
        words = f"the answers of {who} to the same {case.rows:,} rows"
        found.append(Missing(what="answers", quantity=case.rows, words=words))
    if way is None:
        return (*found, Missing(what="answers", quantity=case.rows, words="a candidate that answers at all"))
    found += [gap for demand in way.demands if (gap := _of(demand)) is not None]
    found += _behind(way, case)
    if not way.promise:
        words = "a confidence above which the tolerated error can be promised: more rows in the split dev, or more risk"
        found.append(Missing(what="promise", quantity=1, words=words))
    if way.kind == "own" and not way.calls_per_s:
        found.append(Missing(what="load", quantity=1, words="a rate that one machine holds in time"))
    if unmeasured is not None:
        words = f"the answers of {unmeasured.name}, which costs less, to the same {case.rows:,} rows: it takes a key"
        found.append(Missing(what="answers", quantity=case.rows, words=words))
    if case.calls_per_month is None and any(one.kind == "api" and one.allowed for one in case.ways):
        words = "how many calls a day there are: calls_per_day under [price] of the task's file"
        found.append(Missing(what="volume", quantity=1, words=words))
    return tuple(found)


def prices(ways: Sequence[Way]) -> tuple[Missing, ...]:
    """What each of these costs, which nobody knows."""
    found = []
    for way in ways:
        words = f"the price of a call of {way.name}, without which nothing says that a change would not be dearer"
        if way.kind == "own":
            words = f"a rate that {way.name} holds on one machine, without which nobody knows what it costs"
        found.append(Missing(what="price", quantity=1, words=words))
    return tuple(found)


def rows_to_decide(value: float, edge: float, bound: float, n: int) -> int:
    """How many rows put the edge of the interval, `edge` for `n` rows, on the bound, the value staying what it is.

    The half width of an interval shrinks as the root of the rows. `MOST_ROWS` at most: more is never.
    """
    half, room = abs(value - edge), abs(value - bound)
    if half >= room * math.sqrt(MOST_ROWS / n):
        return MOST_ROWS
    return math.ceil(n * (half / room) ** 2 - 1e-9)


def _of(demand: Demand) -> Missing | None:
    if demand.state == "met":
        return None
    if demand.value is None:
        return Missing(what="answers", quantity=1, words=f"a measurement of {demand.name}")
    if demand.name.endswith("_ms"):
        over = demand.value - demand.demanded
        return Missing(what="milliseconds", quantity=over, words=f"{over:,.0f} ms less at {demand.name}")
    edge = demand.high if demand.at_most else demand.low
    short = (demand.value - demand.demanded) * (1 if demand.at_most else -1)
    if short >= 0 or edge is None:
        way = "less" if demand.at_most else "more"
        words = f"{abs(short) * 100:.1f} points {way} of {demand.name}"
        return Missing(what="points", quantity=abs(short), words=words)
    rows = rows_to_decide(demand.value, edge, demand.demanded, demand.n)
    words = f"about {rows:,} rows, not {demand.n:,}, to be sure of {demand.name} at its present {demand.value:.1%}"
    return Missing(what="rows", quantity=rows, words=words)


def _behind(way: Way, case: Case) -> list[Missing]:
    pair = way.against
    if pair is None or pair.low > -case.margin or case.compared == NOBODY:
        return []
    short = -case.margin - pair.difference
    if short >= 0:
        words = f"{short * 100:.1f} points of {pair.metric} to be within the margin of {case.incumbent}"
        return [Missing(what="points", quantity=short, words=words)]
    rows = rows_to_decide(pair.difference, pair.low, -case.margin, pair.n)
    words = f"about {rows:,} rows, not {pair.n:,}, to be sure that it is not behind {case.incumbent} by the margin"
    return [Missing(what="rows", quantity=rows, words=words)]

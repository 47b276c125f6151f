"""What would change a verdict, by arithmetic: the volume, the price, the quality and the margin at which it turns."""

from collections.abc import Sequence

from insource.nouns.assessment import Case, Change, Way


def changes(case: Case, way: Way | None, rivals: Sequence[Way]) -> tuple[Change, ...]:
    """The numbers at which the verdict on `way` turns; `rivals` are the alternatives to it."""
    if way is None:
        return ()
    found = [change for rival in rivals for change in (*_volume(case, way, rival), *_price(case, way, rival))]
    return (*found, *(_quality(way) if way.name != case.incumbent else ()), *_margin(case, way))


def _volume(case: Case, way: Way, rival: Way) -> list[Change]:
    """Where the two bills cross nearest to today's calls."""
    turns = [turn for turn in case.turns if {turn.way, turn.other} == {way.name, rival.name}]
    now = case.calls_per_day
    if now is not None:
        turns.sort(key=lambda turn: abs(turn.calls_per_day - now))
    found = []
    for turn in turns[:1]:
        cheaper = turn.cheaper == (turn.way == way.name)
        side = "above" if cheaper else "below"
        words = f"{way.name} costs less than {rival.name} {side} {turn.calls_per_day:,.0f} calls a day"
        found.append(Change(what="volume", at=turn.calls_per_day, words=words))
    return found


def _price(case: Case, way: Way, rival: Way) -> list[Change]:
    """What the one that is paid by the call would have to cost for the two bills to be the same."""
    if not case.calls_per_month or way.usd_month is None or rival.usd_month is None:
        return []
    one, other = (way, rival) if way.kind == "api" else (rival, way)
    if one.kind != "api" or other.kind == "api" or other.usd_month is None:
        return []
    at = other.usd_month / case.calls_per_month * 1000
    words = f"at ${at:,.4g} for 1,000 calls {one.name} costs what {other.name} does"
    return [Change(what="price", at=at, words=words)]


def _quality(way: Way) -> list[Change]:
    """How far each figure may fall, or has to rise, for its whole interval to lie on the demand."""
    found = []
    for demand in way.demands:
        edge = demand.high if demand.at_most else demand.low
        if demand.value is None or edge is None or demand.name.endswith("_ms"):
            continue
        at = demand.demanded + (demand.value - edge)
        words = f"{demand.name} of {at:.1%} on {demand.n:,} rows is where its interval meets the {demand.demanded:.1%}"
        found.append(Change(what="quality", at=at, words=words))
    return found


def _margin(case: Case, way: Way) -> list[Change]:
    if way.against is None or way.name == case.incumbent:
        return []
    at = -way.against.low
    words = f"a margin of {max(at, 0.0) * 100:.1f} points is the least at which it is not inferior to {case.incumbent}"
    return [Change(what="margin", at=at, words=words)]

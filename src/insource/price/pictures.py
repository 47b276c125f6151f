"""The pictures of a comparison as inline SVG. Widths are in per cent, so that text never shrinks on a narrow screen.

Lines differ in dashes as well as in colour, and the same figures stand beside each picture as a table.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from insource.price.breakeven import MOST
from insource.price.compare import number, usd
from insource.price.cost import Curve
from insource.price.flow import Flow
from insource.price.sensitivity import Swing

HIGH, TOP, LEFT, RIGHT = 240, 18, 13.0, 98.0
POINTS, STEPS = 160, 40
DASHES = ("", "6 4", "2 3", "9 3 2 3")


def curves(bills: Mapping[str, Curve], here: float, turns: Sequence[float], title: str) -> Markup:
    """US dollars a month by calls a day, both logarithmic; where the task stands, and where the cheaper one changes."""
    low = max(1.0, min([here, *turns[:1]]) / 30)
    high = min(MOST, max([here, *turns[-1:]]) * 30)
    steps = {n * bill.carries * by for bill in bills.values() for n in range(1, STEPS) for by in (1, 1 + 1e-6)}
    places = sorted(
        [low * (high / low) ** (i / POINTS) for i in range(POINTS + 1)] + [s for s in steps if low < s < high]
    )
    costs = {name: [bill.at(calls) for calls in places] for name, bill in bills.items()}
    values = [usd for line in costs.values() for usd in line if usd > 0] or [1.0]
    across, up = _Log(low, high), _Log(max(min(values), max(values) / 1e6) * 0.8, max(values) * 1.25)
    body = Markup("")
    for look, (name, line) in enumerate(costs.items()):
        points = [(across.share(x), up.share(y)) for x, y in zip(places, line, strict=True)]
        body += _line(points, f"line l{look}", DASHES[look % len(DASHES)], name)
    for turn in turns[:1]:
        body += _upright("zero", across.share(turn))
    body += _upright("here", across.share(here))
    body += _words(across.share(here), TOP - 6, f"{number(here)} a day")
    return _frame(body, title, (across, short), (up, _dollars))


def cash(flow: Flow, title: str) -> Markup:
    """What is saved up to each month, as bars from zero."""
    sums = [month.sum_usd for month in flow.months]
    up = _Plain(min(0.0, *sums), max(0.0, *sums))
    zero, step = up.share(0.0), (RIGHT - LEFT) / len(sums)
    body = Markup("")
    for month in flow.months:
        share = up.share(month.sum_usd)
        top, height = TOP + HIGH * (1 - max(share, zero)), max(1.0, HIGH * abs(share - zero))
        body += Markup(
            '<rect class="{}" x="{}%" width="{}%" y="{:.1f}" height="{:.1f}"><title>month {}: {}</title></rect>'
        ).format(
            "gain" if month.sum_usd >= 0 else "loss",
            round(LEFT + step * (month.number + 0.15), 3), round(step * 0.7, 3), top, height,
            month.number, usd(month.sum_usd),
        )  # fmt: skip
    return _frame(body, title, (_Count(len(sums) - 1), str), (up, _dollars))


def swing(of: Swing, widest: tuple[float, float]) -> Markup:
    """One bar of the tornado: from one end of the input's range to the other, over the zero of the difference."""
    axis = _Plain(min(widest[0], 0.0), max(widest[1], 0.0))
    a, b = sorted((axis.share(of.low_usd), axis.share(of.high_usd)))
    return Markup(
        '<svg class="swing" aria-hidden="true" width="100%" height="22">'
        '<rect class="gain" x="{}%" width="{}%" y="4" height="14"/>'
        '<line class="zero" x1="{z}%" x2="{z}%" y1="0" y2="22"/></svg>'
    ).format(round(2 + 96 * a, 2), max(0.4, round(96 * (b - a), 2)), z=round(2 + 96 * axis.share(0.0), 2))


def short(amount: float) -> str:
    """A round number in few letters: 250, 10k, 2M."""
    size = abs(amount)
    for letter, unit in (("M", 1e6), ("k", 1e3)):
        if size >= unit:
            return f"{amount / unit:g}{letter}".replace("-", "\N{MINUS SIGN}")
    return f"{amount:g}".replace("-", "\N{MINUS SIGN}")


def _dollars(amount: float) -> str:
    sign = "\N{MINUS SIGN}" if amount < 0 else ""
    return f"{sign}${short(abs(amount))}"


class _Log:
    """Amounts by their digits; where one lies, from 0 to 1, and round ones to name."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = math.log10(low), math.log10(max(high, low * 1.01))

    def share(self, value: float) -> float:
        at = (math.log10(max(value, 1e-12)) - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, at))

    def ticks(self) -> list[float]:
        powers = range(math.ceil(self.low), math.floor(self.high) + 1)
        every = max(1, math.ceil(len(powers) / 4))
        return [10.0**power for power in powers if power % every == 0]


class _Plain:
    """Amounts as they are."""

    def __init__(self, low: float, high: float) -> None:
        room = (high - low or 1.0) * 0.06
        self.low, self.high = low - room * (low < 0), high + room * (high > 0 or low == high)

    def share(self, value: float) -> float:
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def ticks(self) -> list[float]:
        raw = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [k * step for k in range(first, last + 1)]


class _Count:
    """Months, each in a column of its own."""

    def __init__(self, last: int) -> None:
        self.last = last

    def share(self, value: float) -> float:
        return (value + 0.5) / (self.last + 1)

    def ticks(self) -> list[float]:
        every = max(1, math.ceil(self.last / 4))
        return list(range(0, self.last + 1, every))


Axis = _Log | _Plain | _Count


def _frame(
    body: Markup, title: str, across: tuple[Axis, Callable[..., str]], up: tuple[Axis, Callable[..., str]]
) -> Markup:
    """The grid with its numbers, and the picture in it. `across` and `up` are an axis and how its numbers are said."""
    grid = Markup("")
    for tick in across[0].ticks():
        place = across[0].share(tick)
        grid += _upright("grid", place) + _words(place, TOP + HIGH + 17, across[1](tick))
    for tick in up[0].ticks():
        y = round(TOP + HIGH * (1 - up[0].share(tick)), 1)
        grid += Markup('<line class="{}" x1="{}%" x2="{}%" y1="{y}" y2="{y}"/>').format(
            "grid" if tick else "zero", LEFT, RIGHT, y=y
        )
        grid += Markup('<text x="{}%" y="{}" text-anchor="end">{}</text>').format(LEFT - 1, y + 4, up[1](tick))
    return Markup('<svg class="wide" role="img" width="100%" height="{}"><title>{}</title>{}{}</svg>').format(
        TOP + HIGH + 24, title, grid, body
    )


def _line(points: Sequence[tuple[float, float]], look: str, dashes: str, name: str) -> Markup:
    """A curve, in a box of its own that is stretched while its line keeps its width."""
    path = "M" + "L".join(f"{100 * x:.2f} {100 * (1 - y):.2f}" for x, y in points)
    return Markup(
        '<svg x="{}%" y="{}" width="{}%" height="{}" viewBox="0 0 100 100" preserveAspectRatio="none">'
        '<path class="{}" stroke-dasharray="{}" vector-effect="non-scaling-stroke" d="{}">'
        "<title>{}</title></path></svg>"
    ).format(LEFT, TOP, RIGHT - LEFT, HIGH, look, dashes, path, name)


def _upright(look: str, share: float) -> Markup:
    x = round(LEFT + (RIGHT - LEFT) * share, 2)
    return Markup('<line class="{}" x1="{x}%" x2="{x}%" y1="{}" y2="{}"/>').format(look, TOP, TOP + HIGH, x=x)


def _words(share: float, y: float, text: str) -> Markup:
    anchor = "end" if share > 0.94 else "start" if share < 0.02 else "middle"
    x = round(LEFT + (RIGHT - LEFT) * share, 2)
    return Markup('<text x="{}%" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, text)

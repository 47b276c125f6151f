"""Small pictures as inline SVG, drawn from numbers only. Widths are in per cent, so that text never shrinks.

Colours are CSS variables of the page; every mark differs in shape or place as well, and a table stands beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from insource.nouns import JsonObject

SIZE, LEFT, TOP = 236, 36, 24
WIDTH, HEIGHT = LEFT + SIZE + 14, TOP + SIZE + 42
LEAST = 0.02
FLOORS = (0.9, 0.8, 0.6, 0.4, 0.2)
STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5)


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers with its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Where a number lies, in per cent of the width; 3 to 97."""
        share = (value - self.low) / (self.high - self.low)
        return round(3 + 94 * min(1.0, max(0.0, share)), 2)


def axis(values: Sequence[float], *, zero: bool = False, most: int = 5) -> Axis:
    """The axis that holds `values`, with at most about `most` round ticks; with `zero`, 0 is among them.

    Without it the values are shares, and the axis ends where shares do.
    """
    low, high = min(values), max(values)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = max((high - low) * 0.04, 0.002)
    low, high = low - room, high + room
    if not zero:
        low, high = max(low, 0.0), min(high, 1.0)
    step = next((step for step in STEPS if (high - low) / step <= most), math.ceil((high - low) / most))
    first, last = math.floor(low / step), math.ceil(high / step)
    if not zero:
        low, high = first * step, last * step
    ticks = tuple(round(k * step, 6) for k in range(first, last + 1) if low - 1e-9 <= k * step <= high + 1e-9)
    return Axis(low, high, ticks)


def scale(of: Axis, *, sign: bool = False) -> Markup:
    """The numbers of an axis, to stand above a column of whiskers."""
    digits = 0 if all(abs(tick * 100 - round(tick * 100)) < 1e-6 for tick in of.ticks) else 1
    texts = Markup("").join(
        Markup('<text x="{}%" y="12" text-anchor="middle">{}</text>').format(
            of.at(tick), _tick(tick * 100, digits, sign=sign)
        )
        for tick in of.ticks
    )
    return Markup('<svg class="scale" aria-hidden="true" width="100%" height="16">{}</svg>').format(texts)


def whisker(of: Axis, low: float, value: float, high: float, look: str = "", *, before: float | None = None) -> Markup:
    """A dot and its interval over the axis' ticks; a hollow dot for look "tie", a square for "worse".

    A ring stands where the value was `before`, a thin line leads from there.
    """
    grid = Markup("").join(
        Markup('<line class="{}" x1="{x}%" x2="{x}%" y1="0" y2="26"/>').format(
            "zero" if not tick else "grid", x=of.at(tick)
        )
        for tick in of.ticks
    )
    x = of.at(value)
    dot = (
        Markup('<svg x="{}%" overflow="visible"><rect class="dot" x="-5" y="8" width="10" height="10"/></svg>').format(
            x
        )
        if look == "worse"
        else Markup('<circle class="dot" cx="{}%" cy="13" r="5.5"/>').format(x)
    )
    return Markup(
        '<svg class="whisker {look}" aria-hidden="true" width="100%" height="26">{grid}'
        '{was}<line class="bar" x1="{a}%" x2="{b}%" y1="13" y2="13"/>'
        '<line class="end" x1="{a}%" x2="{a}%" y1="8" y2="18"/><line class="end" x1="{b}%" x2="{b}%" y1="8" y2="18"/>'
        "{dot}</svg>"
    ).format(look=look, grid=grid, was=_was(of, value, before), a=of.at(low), b=of.at(high), dot=dot)


def _was(of: Axis, value: float, before: float | None) -> Markup:
    if before is None:
        return Markup("")
    return Markup(
        '<line class="way" x1="{}%" x2="{x}%" y1="13" y2="13"/><circle class="was" cx="{x}%" cy="13" r="5"/>'
    ).format(of.at(value), x=of.at(before))


def reliability(bins: Sequence[JsonObject], title: str) -> Markup:
    """Confidence against the share that is right, one dot a bin, larger for more rows; the diagonal is honest."""
    most = max((int(b["n"]) for b in bins), default=1)
    dots = Markup("").join(
        Markup('<circle class="dot" cx="{}" cy="{}" r="{}"/>').format(
            _x(b["confidence"]), _y(b["accuracy"]), round(3 + 4 * math.sqrt(int(b["n"]) / most), 1)
        )
        for b in bins
    )
    line = _path([(b["confidence"], b["accuracy"]) for b in bins])
    body = Markup('<path class="guide" d="{}"/><path class="curve" d="{}"/>{}').format(
        _path([(0.0, 0.0), (1.0, 1.0)]), line, dots
    )
    return _frame(body, title, ("confidence", "right"), (0.0, 1.0))


def curve(points: Sequence[JsonObject], others: Sequence[Sequence[JsonObject]], title: str) -> Markup:
    """Accuracy among the surest answers against the share answered, with its band; other candidates' faintly behind."""
    lows = [float(p["low"]) for p in points if p["share"] >= 0.05] + [float(p["accuracy"]) for p in points]
    floor = next((floor for floor in FLOORS if floor < min(lows, default=0.0)), 0.0)
    shown = [p for p in points if p["share"] >= LEAST]
    band = [(p["share"], p["high"]) for p in shown] + [(p["share"], p["low"]) for p in reversed(shown)]
    behind = Markup("").join(
        Markup('<path class="other" d="{}"/>').format(_path(_above(other, floor), floor)) for other in others
    )
    body = Markup('{}<path class="band" d="{}"/><path class="curve" d="{}"/>').format(
        behind, _path(band, floor), _path([(p["share"], p["accuracy"]) for p in shown], floor)
    )
    return _frame(body, title, ("share answered", "right"), (floor, 1.0))


def _frame(body: Markup, title: str, names: tuple[str, str], rising: tuple[float, float]) -> Markup:
    """A square plot with a grid of quarters, its axes named; `rising` is what the upright axis spans."""
    grid = Markup("")
    for k in range(5):
        place = k / 4
        x, y = _x(place), _y(place)
        value = rising[0] + place * (rising[1] - rising[0])
        grid += Markup(
            '<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{low}"/>'
            '<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
            '<text x="{x}" y="{under}" text-anchor="middle">{across}</text>'
            '<text x="{beside}" y="{ytext}" text-anchor="end">{up}</text>'
        ).format(
            x=x, y=y, top=TOP, low=TOP + SIZE, left=LEFT, right=LEFT + SIZE, under=TOP + SIZE + 17,
            across=f"{place * 100:.0f}", beside=LEFT - 6, ytext=y + 4, up=_number(value * 100),
        )  # fmt: skip
    return Markup(
        '<svg class="plot" role="img" viewBox="0 0 {w} {h}" width="{w}" height="{h}"><title>{title}</title>{grid}'
        "{body}"
        '<text class="name" x="{mid}" y="{foot}" text-anchor="middle">% {across}</text>'
        '<text class="name" x="{left}" y="14" text-anchor="middle">% {up}</text></svg>'
    ).format(
        w=WIDTH, h=HEIGHT, title=title, grid=grid, body=body,
        mid=LEFT + SIZE / 2, foot=HEIGHT - 6, across=names[0], left=LEFT + 8, up=names[1],
    )  # fmt: skip


def _x(share: float) -> float:
    return round(LEFT + SIZE * min(1.0, max(0.0, share)), 1)


def _y(share: float, floor: float = 0.0) -> float:
    return round(TOP + SIZE * (1 - min(1.0, max(0.0, (share - floor) / (1 - floor)))), 1)


def _path(points: Sequence[tuple[float, float]], floor: float = 0.0) -> str:
    return "M" + "L".join(f"{_x(x)} {_y(y, floor)}" for x, y in points) if points else ""


def _above(points: Sequence[JsonObject], floor: float) -> list[tuple[float, float]]:
    """The curve until it falls below the floor for good, from where it is no longer chance."""
    last = max((i for i, point in enumerate(points) if point["accuracy"] >= floor), default=-1)
    return [(p["share"], p["accuracy"]) for p in points[: last + 1] if p["share"] >= LEAST and p["accuracy"] >= floor]


def _tick(value: float, digits: int, *, sign: bool) -> str:
    return f"{value:{'+' if sign and value else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value - round(value)) < 1e-6 else f"{value:.1f}"

"""Quality against cost as one picture: a dot and its interval for each way, and the bar that was demanded."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from insource.measure.charts import axis

W, H, LEFT, RIGHT, TOP, LOW = 340, 290, 44, 14, 26, 46
ACROSS, UP = W - LEFT - RIGHT, H - TOP - LOW
MANTISSAS = (1, 2, 5)
MOST_TICKS = 5


class Dot(NamedTuple):
    """A way: its number, US dollars a month, (low, value, high) of its quality; `look` is wins, today or empty."""

    number: int
    name: str
    usd: float
    score: tuple[float, float, float]
    look: str


def picture(dots: Sequence[Dot], bar: float | None, title: str) -> Markup:
    """The picture; nothing where there is no dot. Costs lie on a logarithmic axis."""
    if not dots:
        return Markup("")
    up = axis([edge for dot in dots for edge in dot.score] + ([bar] if bar is not None else []))
    low, high = _span([dot.usd for dot in dots])

    def x(usd: float) -> float:
        return round(LEFT + ACROSS * (math.log10(max(usd, 0.01)) - low) / (high - low), 1)

    def y(share: float) -> float:
        return round(TOP + UP * (1 - (share - up.low) / (up.high - up.low)), 1)

    body = Markup("")
    for tick in up.ticks:
        body += Markup('<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(LEFT, W - RIGHT, y=y(tick))
        body += _text(LEFT - 6, y(tick) + 4, f"{tick * 100:g}", "end")
    for usd in _ticks(low, high):
        body += Markup('<line class="grid" x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(TOP, H - LOW, x=x(usd))
        body += _text(x(usd), H - LOW + 17, _money(usd), "middle")
    if bar is not None:
        body += Markup('<line class="zero" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(LEFT, W - RIGHT, y=y(bar))
        body += _text(W - RIGHT, y(bar) - 5, "demanded", "end")
    for dot in sorted(dots, key=lambda one: one.look == "wins"):
        body += _dot(dot, x(dot.usd), [y(edge) for edge in dot.score])
    body += _text(LEFT + ACROSS / 2, H - 8, "US dollars a month", "middle", "name")
    body += _text(LEFT - 38, 14, "%", "start", "name")
    return Markup(
        '<svg class="plot" role="img" viewBox="0 0 {w} {h}" width="{w}" height="{h}"><title>{t}</title>{b}</svg>'
    ).format(w=W, h=H, t=title, b=body)


def _dot(dot: Dot, x: float, at: Sequence[float]) -> Markup:
    """A circle for the one that the verdict names, a square for what is there today, a hollow circle for others."""
    low, value, high = at
    line = Markup('<line class="bar" x1="{x}" x2="{x}" y1="{a}" y2="{b}"/>').format(x=x, a=low, b=high)
    ends = Markup('<line class="end" x1="{a}" x2="{b}" y1="{y}" y2="{y}"/>')
    line += ends.format(a=x - 4, b=x + 4, y=low) + ends.format(a=x - 4, b=x + 4, y=high)
    shape = (
        Markup('<rect class="dot" x="{}" y="{}" width="10" height="10"/>').format(x - 5, value - 5)
        if dot.look == "today"
        else Markup('<circle class="dot" cx="{}" cy="{}" r="5.5"/>').format(x, value)
    )
    side, anchor = (-9, "end") if x > W - RIGHT - 24 else (9, "start")
    number = _text(x + side, value - 7, str(dot.number), anchor, "name")
    return Markup('<g class="spot {}">{}{}{}</g>').format(dot.look or "other", line, shape, number)


def _text(x: float, y: float, words: str, anchor: str, look: str = "") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(look, x, y, anchor, words)


def _span(amounts: Sequence[float]) -> tuple[float, float]:
    """The logarithms between which the amounts lie, a third of a decade to spare on both sides."""
    logs = [math.log10(max(usd, 0.01)) for usd in amounts]
    return min(logs) - 0.3, max(logs) + 0.35


def _ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(low), math.ceil(high) + 1)
    for mantissas in (MANTISSAS, (1,)):
        found = [m * 10.0**p for p in powers for m in mantissas if low <= math.log10(m * 10.0**p) <= high]
        if len(found) <= MOST_TICKS:
            break
    return found[:: max(1, math.ceil(len(found) / MOST_TICKS))]


def _money(usd: float) -> str:
    return f"${usd / 1e6:g}M" if usd >= 1e6 else f"${usd / 1e3:g}k" if usd >= 1e3 else f"${usd:g}"

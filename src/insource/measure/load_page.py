"""A load as one self-contained page: a line a rate, with its latencies on one axis."""

import math
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from insource.measure.load import Load, Step, Times
from insource.nouns import JsonObject, visible

DIGITS = (1, 2, 5)
KINDS = (
    ("total_ms", "From due to answered"),
    ("first_ms", "To the first token"),
    ("token_ms", "From token to token"),
)


def html(load: Load) -> str:
    """The page."""
    pages = Environment(
        loader=PackageLoader("insource.measure"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"thousands": "{:,}".format}
    charts = [_chart(load, *kind) for kind in KINDS if any(getattr(step, kind[0]) for step in load.steps)]
    return visible(pages.get_template("load.html").render(load=load, charts=charts))


def _chart(load: Load, name: str, title: str) -> JsonObject:
    times = [getattr(step, name) for step in load.steps]
    target = load.target_ms if name == "total_ms" else None
    edges = [edge for one in times if one for edge in (one.p50, one.p99)]
    axis = _Axis([*edges, target] if target else edges)
    lines = [_line(step, one, axis, target, load.held) for step, one in zip(load.steps, times, strict=True)]
    return {"name": name, "title": title, "scale": axis.scale(), "lines": lines, "target": target}


def _line(step: Step, times: Times | None, axis: "_Axis", target: float | None, held: float | None) -> JsonObject:
    look = "wins" if step.rate == held else ""
    cells = [_ms(ms) for ms in (times.p50, times.p95, times.p99)] if times else ["none"] * 3
    picture = axis.picture(times, target, look) if times else ""
    return {"step": step, "n": times.n if times else 0, "cells": cells, "picture": picture, "look": look}


def _ms(ms: float) -> str:
    return f"{ms:,.2f}" if ms < 10 else f"{ms:,.0f}"


def _upright(look: str, x: float, top: int = 0, low: int = 26) -> Markup:
    return Markup('<line class="{}" x1="{x}%" x2="{x}%" y1="{top}" y2="{low}"/>').format(look, x=x, top=top, low=low)


class _Axis:
    """Milliseconds on a logarithmic axis; places are in per cent of the width, 3 to 97."""

    def __init__(self, values: Sequence[float]) -> None:
        least, most = max(min(values), 1e-3) * 0.9, max(*values, 1e-3) * 1.1
        self.low, self.high = math.log10(least), math.log10(max(most, least * 4))
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        ticks = [digit * 10.0**power for power in powers for digit in DIGITS]
        self.ticks = [tick for tick in ticks if self.low <= math.log10(tick) <= self.high]
        if len(self.ticks) > 6:
            self.ticks = [tick for tick in self.ticks if math.log10(tick) % 1 < 1e-9]

    def at(self, ms: float) -> float:
        """Where a time lies."""
        share = (math.log10(max(ms, 1e-3)) - self.low) / (self.high - self.low)
        return round(3 + 94 * min(1.0, max(0.0, share)), 2)

    def scale(self) -> Markup:
        """The numbers of the axis."""
        texts = Markup("").join(
            Markup('<text x="{}%" y="12" text-anchor="middle">{}</text>').format(self.at(tick), f"{tick:,g}")
            for tick in self.ticks
        )
        return Markup('<svg class="scale" aria-hidden="true" width="100%" height="16">{}</svg>').format(texts)

    def picture(self, times: Times, target: float | None, look: str) -> Markup:
        """A bar from p50 (a dot) over p95 (a ring) to p99 (its end); the target is dashed."""
        marks = Markup("").join(_upright("grid", self.at(tick)) for tick in self.ticks)
        if target:
            marks += _upright("zero", self.at(target))
        p50, p95, p99 = (self.at(ms) for ms in (times.p50, times.p95, times.p99))
        marks += Markup('<line class="bar" x1="{}%" x2="{}%" y1="13" y2="13"/>').format(p50, p99)
        marks += _upright("end", p99, 7, 19)
        marks += Markup('<circle class="ring" cx="{}%" cy="13" r="4.5"/>').format(p95)
        marks += Markup('<circle class="dot" cx="{}%" cy="13" r="5.5"/>').format(p50)
        whole = Markup('<svg class="whisker {}" aria-hidden="true" width="100%" height="26">{}</svg>')
        return whole.format(look, marks)

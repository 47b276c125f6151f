"""A case as one self-contained page and as Markdown: the same figures, each with its source, in the same order."""

import re

import jinja2

from insource.nouns import visible
from insource.nouns.business import Business, Figure
from insource.price import pictures
from insource.price.compare import number, usd
from insource.price.flow import Flow, Month
from insource.price.page import STYLE

SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def html(found: Business) -> str:
    """The page; nothing is fetched when it is opened."""
    pages = _pages(autoescape=True)
    flow = _flow(found)
    picture = pictures.cash(flow, found.sections[1].finding)
    return visible(pages.get_template("business.html").render(found=found, picture=picture, inputs=_shown(found)))


def markdown(found: Business) -> str:
    """The same in words, for what is kept beside code. What is a sign of Markdown in a name stands as it is read."""
    pages = _pages(autoescape=False)
    pages.filters["md"] = _plain
    return visible(pages.get_template("business.md").render(found=found, inputs=_shown(found)))


def _shown(found: Business) -> list[Figure]:
    """The inputs, without the ends of intervals: those stand beside their figure."""
    return [one for one in found.inputs if not one.key.endswith((".low", ".high"))]


def amount(figure: Figure) -> str:
    """A figure in its unit, with its interval where it has one."""
    value = figure.value
    if value is None:
        return "missing"
    if figure.key == "payback" and value < 0:
        return "not within the months"
    said = _in(figure.unit, value)
    if figure.low is None or figure.high is None:
        return said
    rows = "" if figure.n is None else f", n {figure.n:,}"
    return f"{said} ({_in(figure.unit, figure.low)} to {_in(figure.unit, figure.high)}{rows})"


def _in(unit: str, value: float) -> str:
    if unit == "share":
        return f"{value:.1%}".replace("-", "\N{MINUS SIGN}")
    if unit.startswith("US$"):
        return usd(value) + unit[3:]
    return f"{value:,.1f} {unit}" if unit in ("months", "hours a month") else f"{number(value)} {unit}"


def _flow(found: Business) -> Flow:
    """The cash flow as the picture takes it."""
    months = tuple(
        Month(
            number=one.month,
            before_usd=one.now.value or 0.0,
            after_usd=one.then.value or 0.0,
            sum_usd=one.saved.value or 0.0,
        )
        for one in found.cash
    )
    back = found.cash[-1].payback.value or 0.0
    return Flow(months=months, invested_usd=-months[0].sum_usd, saved_usd=months[-1].sum_usd,
                payback=back if back >= 0 else None)  # fmt: skip


def _pages(*, autoescape: bool) -> jinja2.Environment:
    pages = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("insource.price"), jinja2.PackageLoader(STYLE)]),
        autoescape=autoescape,  # noqa: S701 - Markdown is no HTML: its own signs are escaped
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {"amount": amount, "usd": usd}
    return pages


def _plain(text: str) -> str:
    return SPECIAL.sub(r"\\\1", text).replace("\n", " ")

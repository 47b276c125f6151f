"""A comparison as one self-contained page, in the style of the reports: dark and light, narrow and on paper."""

import jinja2
from markupsafe import Markup

from insource.nouns import JsonObject, visible
from insource.price import pictures
from insource.price.compare import Priced, number, rate, usd
from insource.price.cost import curve
from insource.price.known import Known
from insource.price.sensitivity import Swing

MOST_SWINGS, MOST_TURNS = 12, 8
ONE = {many: many[:-1] for many in ("calls", "days", "hours", "minutes", "rows", "times", "tokens")}
STYLE = "insource.measure"  # whose style sheet all reports share


def html(found: Priced) -> str:
    """The page; nothing is fetched when it is opened."""
    pages = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("insource.price"), jinja2.PackageLoader(STYLE)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"usd": usd, "number": number, "rate": rate, "value": value}
    whole = pages.get_template("price.html").render(
        found=found,
        drawn=_drawn(found),
        lines=list(dict.fromkeys(line.name for cost in found.costs for line in cost.lines)),
        swings=[_swing(found, one) for one in found.swings[:MOST_SWINGS]],
        turns=found.turns[:MOST_TURNS],
        hidden=max(0, len(found.turns) - MOST_TURNS),
    )
    return visible(whole)


def value(known: Known) -> str:
    """A figure in its unit."""
    if known.unit == "share":
        return f"{known.value:.1%}"
    if known.unit.startswith("US$"):
        return usd(known.value) + known.unit[3:]
    return f"{number(known.value)} {ONE.get(known.unit, known.unit) if known.value == 1 else known.unit}"


def _drawn(found: Priced) -> JsonObject:
    """The pictures, with what each says in words and which line is whose."""
    named = {option.name: option for option in found.options}
    shown = list(dict.fromkeys(name for name in (found.own, found.api, found.before) if name))
    bills = {name: curve(named[name], found.use, found.months) for name in shown}
    turns = [turn.calls_per_day for turn in found.turns]
    return {
        "curves": pictures.curves(bills, found.use.calls_per_day, turns, found.finding),
        "names": [(name, pictures.DASHES[i % len(pictures.DASHES)]) for i, name in enumerate(shown)],
        "cash": pictures.cash(found.flow, cash_words(found)) if found.flow else Markup(""),
        "cash_words": cash_words(found),
    }


def cash_words(found: Priced) -> str:
    """What the cash flow comes to, in a sentence."""
    flow = found.flow
    if flow is None:
        return ""
    change = f"{found.own} in place of {found.before}"
    put_in = f"{usd(flow.invested_usd)} put in on day 0"
    if flow.payback is None:
        return f"{change}: {put_in}, not paid back in {found.months} months ({usd(flow.saved_usd)} by then)"
    saved = f"{usd(flow.saved_usd)} saved by month {found.months}"
    return f"{change}: {put_in}, paid back after {flow.payback:.1f} months, {saved}"


def _swing(found: Priced, one: Swing) -> JsonObject:
    ends = [end for each in found.swings[:MOST_SWINGS] for end in (each.low_usd, each.high_usd)]
    return {
        "swing": one,
        "picture": pictures.swing(one, (min(ends), max(ends))),
        **{name: _amount(getattr(one, name), one.unit) for name in ("base", "low", "high", "flips_at")},
    }


def _amount(amount: float | None, unit: str) -> str:
    if amount is None:
        return "never"
    if unit == "share":
        return f"{amount:.1%}"
    return usd(amount) if unit.startswith("US$") else number(amount)

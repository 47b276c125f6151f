"""The report of a migration as one page: the verdict, three figures and a picture first, what it rests on below."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from insource.measure.migration_chart import Dot, picture
from insource.measure.words import LATENCIES, called
from insource.nouns import JsonObject, visible
from insource.nouns.assessment import Assessed, Demand, Entrant, Way

WORDS = {"go": "Go", "not yet": "Not yet", "stay": "Stay", "cheaper": "A cheaper API"}
KINDS = {"own": "on your own machine", "api": "an API", "untuned": "for comparison"}
PRICED = "only its price is known"


def html(found: Assessed) -> str:
    """The page; every text of the data is escaped."""
    pages = Environment(
        loader=PackageLoader("insource.measure"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"thousands": "{:,}".format, "percent": percent, "usd": usd, "called": called, "signed": signed}
    pages.filters["many"] = many
    ways = [way for way in found.case.ways if way.kind != "untuned"]
    entrants = {one.name: one for one in found.entrants}
    whole = pages.get_template("migration.html").render(
        found=found,
        word=WORDS[found.verdict.word],
        kinds=KINDS,
        ways=ways,
        entrants=entrants,
        figures=figures(found),
        picture=picture(dots(found), bar(found), said(found)),
        dots=dots(found),
        bills=[one for one in found.entrants if one.bill],
        asked=[(one, demands(one, found)) for one in found.entrants],
    )
    return visible(whole)


def figures(found: Assessed) -> list[JsonObject]:
    """Three figures of the way that the verdict names: how good, how dear beside today, how safe."""
    way = next((one for one in found.case.ways if one.name == found.verdict.way), None)
    entrant = next((one for one in found.entrants if one.name == found.verdict.way), None)
    return [quality(found, way, entrant), cost(found, way), safety(entrant)]


def quality(found: Assessed, way: Way | None, entrant: Entrant | None) -> JsonObject:
    """The leading figure with its interval, and how it stands to the incumbent."""
    name = called(found.criteria.metric)
    if entrant is None or entrant.score is None:
        return {"name": name, "value": "unknown", "small": "nothing was measured"}
    score = entrant.score
    small = f"{percent(score.low)} to {percent(score.high)}, n {score.n:,}"
    wanted = found.criteria.acceptance.get(found.criteria.metric)
    small += f"; {percent(wanted)} demanded" if wanted is not None else "; nothing demanded of it"
    if way is not None and way.against is not None and way.name != found.case.incumbent:
        pair = way.against
        small += f"; {signed(pair.difference)} points against {found.case.incumbent}"
    return {"name": f"{name} of {found.verdict.way}", "value": percent(score.value), "small": small}


def cost(found: Assessed, way: Way | None) -> JsonObject:
    """A month, then and now."""
    today = next((one for one in found.case.ways if one.name == found.case.incumbent), None)
    if way is None or way.usd_month is None:
        return {"name": "a month", "value": "unknown", "small": unknown(found, way)}
    calls = found.case.calls_per_day or 0
    small = f"at {calls:,.0f} calls a day"
    if today is not None and today.usd_month is not None and today.name != way.name:
        small += f"; {usd(today.usd_month)} with {today.name} today"
    elif found.case.compared != "measured":
        small += "; what it costs today is not known"
    return {"name": "a month", "value": usd(way.usd_month), "small": small}


def unknown(found: Assessed, way: Way | None) -> str:
    """Why nobody knows what the way costs a month."""
    if way is None:
        return "no way is named that could cost something"
    if found.case.calls_per_month is None and found.case.calls_per_day is None:
        return "nobody says how many calls a day there are"
    if way.kind == "own" and not way.calls_per_s:
        return "no rate was held, so nobody knows how many machines it takes"
    return "nobody says what a call of it costs"


def safety(entrant: Entrant | None) -> JsonObject:
    """What is wrong and leaves by itself under attack; else how much one machine bears."""
    if entrant is not None and entrant.sure_wrong is not None:
        score = entrant.sure_wrong
        small = f"of an adversarial set is wrong and leaves by itself ({percent(score.low)} to {percent(score.high)}, "
        return {"name": "confidently wrong", "value": percent(score.value), "small": f"{small}n {score.n:,})"}
    if entrant is not None and entrant.held:
        return {"name": "one machine holds", "value": f"{many(entrant.held)}/s", "small": "calls a second in time"}
    return {"name": "confidently wrong", "value": "unknown", "small": "nobody was attacked who could take over"}


def dots(found: Assessed) -> list[Dot]:
    """One dot for each way of which both quality and cost are known, numbered in the order of the ways."""
    scores = {one.name: one.score for one in found.entrants}
    made: list[Dot] = []
    for way in found.case.ways:
        score = scores.get(way.name)
        if way.kind != "untuned" and score is not None and way.usd_month is not None:
            look = "wins" if way.name == found.verdict.way else "today" if way.name == found.case.incumbent else ""
            made.append(Dot(len(made) + 1, way.name, way.usd_month, (score.low, score.value, score.high), look))
    return made


def bar(found: Assessed) -> float | None:
    """What is demanded of the leading figure."""
    return found.criteria.acceptance.get(found.criteria.metric)


def said(found: Assessed) -> str:
    """What the picture shows, in a sentence."""
    made = dots(found)
    if not made:
        return "No way has both a quality and a cost that is known."
    wanted, name = bar(found), called(found.criteria.metric)
    best = min(made, key=lambda dot: dot.usd)
    line = f"{best.name} costs least, {usd(best.usd)} a month, with {name} {percent(best.score[1])}"
    if wanted is None:
        return f"{line}; nothing is demanded of {name}."
    over = [dot.name for dot in made if dot.score[0] >= wanted]
    return f"{line}; the whole interval lies above the {percent(wanted)} demanded for {', '.join(over) or 'none'}."


def demands(entrant: Entrant, found: Assessed) -> Sequence[Demand]:
    """The lines of the acceptance for one candidate."""
    return next((way.demands for way in found.case.ways if way.name == entrant.name), ())


def figure(demand: Demand) -> str:
    """A demand's figure in words."""
    if demand.value is None:
        return "not measured"
    return f"{demand.value:,.1f} ms" if demand.name in LATENCIES else percent(demand.value)


def percent(value: float, digits: int = 1) -> str:
    """A share as per cent."""
    return f"{value * 100:.{digits}f}%"


def many(value: float) -> str:
    """A count or a rate, with no more digits than it is worth."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def signed(value: float) -> str:
    """A difference in points, with its sign."""
    return f"{value * 100:+.1f}".replace("-", "\N{MINUS SIGN}")


def usd(amount: float | None) -> str:
    """An amount for people."""
    if amount is None:
        return "unknown"
    return (
        f"${amount:,.0f}" if amount >= 100 or amount == 0 else f"${amount:,.2f}" if amount >= 0.01 else _cents(amount)
    )


def _cents(amount: float) -> str:
    """Two digits of less than a cent."""
    return f"${amount:.2g}" if amount >= 1e-4 else f"${amount:.7f}".rstrip("0")

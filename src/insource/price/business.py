"""The case for a change in five sections, every figure of it an input with a source or a formula of such.

It is no advertisement: the verdict of the newest migration stands on top, what nobody measured is missing, and what a
wrong answer costs is never invented.
"""

import msgspec

from insource.nouns import Noun
from insource.nouns.assessment import Assessed
from insource.nouns.business import Business, Figure, Pilot, Quality, Section, Stage, Told
from insource.nouns.pricing import People, TaskPricing
from insource.price.business_bill import WAYS, bill, cash
from insource.price.business_quality import quality
from insource.price.business_terms import Terms
from insource.price.compare import Priced, usd
from insource.price.cost import Option
from insource.price.known import Known

PER_MONTH = "US$ a month"


class Given(Noun, frozen=True, kw_only=True):
    """What a case is made of besides the comparison of costs: who owns the task, what was found, what is planned.

    `hands` are the shares done by hand, with the source of each: today, and what is left. `changed` names what of the
    task was changed after the verdict.
    """

    owner: str
    said: TaskPricing
    hands: tuple[Known, ...]
    quality: Quality
    stages: tuple[Stage, ...]
    governance: tuple[Told, ...]
    criteria: tuple[Told, ...]
    days: tuple[Figure, ...]
    months: Figure
    trial: tuple[int, float, int, float]
    assessed: Assessed | None = None
    changed: str = ""


def business(found: Priced, given: Given) -> Business:
    """The case. Raises `ValueError` where nothing would change, because today's way is the one that is proposed."""
    found = msgspec.structs.replace(found, known=(*found.known, *given.hands))
    now, then = _with_hands(_sides(found, given.assessed), given)
    terms = Terms(found, given.owner)
    _common(terms, found, given.months)
    today, proposed = bill(terms, now, "now"), bill(terms, then, "then")
    months = cash(terms, now, then, found.months)
    sections = (
        Section(
            title="What it costs today",
            finding=_today(terms, found, now),
            figures=(terms.figures["calls.month"], *today),
        ),
        _proposed(terms, found, then, proposed),
        _people(terms, given.said, (now, then)),
        quality(terms, given.quality, found.months),
        _plan(terms, given),
    )
    first, lines = _first(found, given)
    return Business(
        task=found.task,
        created=found.created,
        first=first,
        lines=lines,
        verdict=given.assessed.verdict.word if given.assessed else "",
        now=now.name,
        then=then.name,
        months=found.months,
        inputs=terms.inputs,
        sections=sections,
        cash=months,
        stages=given.stages,
        governance=given.governance,
        pilot=Pilot(finding=_pilot(terms, given), criteria=given.criteria),
        warnings=found.warnings,
    )


def _sides(found: Priced, assessed: Assessed | None) -> tuple[Option, Option]:
    """Who does it today, and who would: what the verdict names where that is an API, else the cheapest of one's own."""
    named = {option.name: option for option in found.options}
    cheaper = _api(assessed) if assessed and assessed.verdict.word == "cheaper" else ""
    then = cheaper if cheaper in named else found.own
    if not then or then == found.before:
        raise ValueError(f"{found.before} does it already: there is no change to make a case for")
    return named[found.before], named[then]


def _api(assessed: Assessed) -> str:
    """The API that the verdict names: as an engine it has the same name with examples in its instruction."""
    way = next((way for way in assessed.case.ways if way.name == assessed.verdict.way), None)
    return (way.engine or way.name) if way is not None else assessed.verdict.way


def _with_hands(sides: tuple[Option, Option], given: Given) -> tuple[Option, Option]:
    """Both with what people do beside them from beginning to end, where that has a price."""
    minutes, pay = given.said.human_minutes, given.said.human_usd_per_hour
    if minutes is None or pay is None:
        return sides
    now, then = (
        msgspec.structs.replace(side, hand=People(share=known.value, minutes=minutes, usd_per_hour=pay))
        for side, known in zip(sides, given.hands, strict=True)
    )
    return now, then


def _common(terms: Terms, found: Priced, months: Figure) -> None:
    use, tokens = found.use, found.use.tokens
    for key, value in (("calls", use.calls_per_day), ("days", use.days), ("hours", use.hours_per_day),
                       ("peak", use.peak), ("tokens.in", tokens.input), ("tokens.cached", tokens.cached),
                       ("tokens.out", tokens.output)):  # fmt: skip
        terms.known(key, value)
    terms.put(months)
    terms.computed("calls.month", "calls a month", "calls", "{calls}*{days}")


def _first(found: Priced, given: Given) -> tuple[str, tuple[str, ...]]:
    """The line on top: the verdict of the newest migration, else what costs alone say; then the rest of what is so."""
    assessed = given.assessed
    if assessed is None:
        none = f"No verdict: insource migrate {found.task} has not come to its end. Nothing says if answers are as good"
        return f"{found.finding}.", (f"{none}.", *_also(found))
    said = f"The verdict is of {assessed.created[:10]}, run {assessed.run[:12]}."
    old = (f"The task's file was changed after that verdict: {given.changed}.",) if given.changed else ()
    return assessed.verdict.sentence, (said, *old, *assessed.verdict.first, f"{found.finding}.", *_also(found))


def _also(found: Priced) -> tuple[str, ...]:
    return (f"{found.also}.",) if found.also else ()


def _today(terms: Terms, found: Priced, now: Option) -> str:
    who = f"{now.name} costs {usd(terms.value('now.month'))} a month, {usd(terms.value('now.call'))} a call."
    if found.today:
        return who
    return f"Nobody says who does it today ([price] incumbent): the cheapest API stands for it. {who}"


def _proposed(terms: Terms, found: Priced, then: Option, lines: tuple[Figure, ...]) -> Section:
    last = found.months
    own = [terms.figures[key] for key in terms.figures if key.startswith("then.machines.")]
    invested = terms.computed("invested", "put in on day 0, beyond today's way", "US$", "-{cash.saved.0}")
    saved = terms.computed("saved", f"saved in {last} months", "US$", f"{{cash.saved.{last}}}")
    whole = [
        terms.computed(
            f"{side}.whole",
            f"{last} months, {word}",
            "US$",
            "+".join(f"{{cash.{side}.{month}}}" for month in range(last + 1)),
            f"the sum of all months, {word}",
        )
        for side, word in WAYS.items()
    ]
    back = terms.computed("payback", "payback", "months", f"{{cash.payback.{last}}}")
    when = _when(terms.value("payback"), last)
    costs = f"{then.name} costs {usd(terms.value('then.month'))} a month"
    money = f"{usd(terms.value('invested'))} put in on day 0, {when}, {usd(terms.value('saved'))} saved by then"
    return Section(
        title=f"What is proposed, over {last} months",
        finding=f"{costs}: {money if (back.value or 0) < 0 else money.replace('by then', f'by month {last}')}.",
        figures=(*lines, *own, *whole, invested, saved, back),
    )


def _when(payback: float, months: int) -> str:
    if payback < 0:
        return f"not paid back in {months} months"
    return "nothing to pay back" if payback == 0 else f"paid back after {payback:.1f} months" if payback >= 1 else (
        "paid back in the first month")  # fmt: skip


def _people(terms: Terms, said: TaskPricing, sides: tuple[Option, Option]) -> Section:
    """Hours of people today and after, by what they do, and what they cost."""
    figures: list[Figure] = []
    for (side, word), option in zip(WAYS.items(), sides, strict=True):
        parts = []
        if option.hand.minutes:
            share = terms.known("hand.share" if side == "now" else "hand.left", option.hand.share)
            formula = f"{{calls.month}}*{share}*{{hand.minutes}}/60"
            parts.append(terms.computed(f"{side}.hours.hand", f"by hand, {word}", "hours a month", formula))
        if option.people.minutes:
            share = terms.known("reviewed" if option.fleet else "reviewed.api", option.people.share)
            formula = f"{{calls.month}}*{share}*{{review.minutes}}/60"
            parts.append(
                terms.computed(f"{side}.hours.review", f"looking at answers, {word}", "hours a month", formula)
            )
        whole = "+".join(f"{{{one.key}}}" for one in parts) or "0"
        paid = [f"{side}.{key}" for key in ("people", "by hand") if f"{side}.{key}" in terms.figures]
        money = "+".join(f"{{{key}}}" for key in paid) or "0"
        figures += [*parts, terms.computed(f"{side}.hours", f"people, {word}", "hours a month", whole),
                    terms.computed(f"{side}.hours.usd", f"what they cost, {word}", PER_MONTH, money)]  # fmt: skip
    hours = terms.computed("hours.freed", "hours that are free", "hours a month", "{now.hours}-{then.hours}")
    freed = terms.computed("hours.freed.usd", "what these cost", PER_MONTH, "{now.hours.usd}-{then.hours.usd}")
    figures += [hours, freed]
    gone = (
        ("hand.minutes", "minutes of a case by hand", "minutes", "human_minutes", said.human_minutes),
        ("hand.rate", "rate of those who do it", "US$ an hour", "human_usd_per_hour", said.human_usd_per_hour),
    )
    for key, name, unit, where, value in gone:
        if value is None:
            terms.lacking(key, name, unit, f"[price] {where} in {terms.file}")
            figures.append(terms.figures[key])
    today, left = terms.value("now.hours"), terms.value("then.hours")
    words = f"People spend {today:,.1f} hours a month on it today and {left:,.1f} after it"
    unknown = "" if said.human_minutes is not None else "; what they do by hand besides is not declared"
    return Section(title="What people do", finding=f"{words}{unknown}.", figures=tuple(figures))


def _plan(terms: Terms, given: Given) -> Section:
    here = next((stage.name for stage in given.stages if stage.state == "here"), "full migration")
    for one in given.days:
        terms.put(one)
    days = terms.computed("pilot.all", "days from a candidate to the pilot's end", "days",
                          "+".join(f"{{{one.key}}}" for one in given.days))  # fmt: skip
    by_hand = "-{then.by hand}" if "then.by hand" in terms.figures else ""  # it is paid with or without a pilot
    formula = f"{{then.once}}+({{then.running}}{by_hand})*{{pilot.all}}*12/365"
    most = terms.computed("pilot.usd", "what the pilot costs at most", "US$", formula)
    names = ", ".join(stage.name for stage in given.stages)
    finding = f"The stages are {names}. The task stands at {here}."
    return Section(title="The plan", finding=finding, figures=(*given.days, days, most))


def _pilot(terms: Terms, given: Given) -> str:
    percent, days, calls, worse = given.trial
    if any(one.how == "missing" for one in given.criteria):
        return (
            "Missing: [acceptance] says nothing, so no pilot could succeed or fail. It is written before results are."
        )
    demands = " and ".join(one.words for one in given.criteria)
    traffic = f"{percent}% of the traffic for {days:g} days and {calls:,} calls at least"
    go = f"With {demands}, and an error less than {worse:.0%} above what is live, we go on; without, it goes back"
    return f"{traffic}. {go}. It costs {usd(terms.value('pilot.usd'))} at most."

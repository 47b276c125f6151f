"""A bill and a cash flow as formulas: the arithmetic of cost.py and flow.py, cell by cell."""

from collections.abc import Iterator

from insource.nouns.business import Figure, Paid
from insource.nouns.pricing import ApiPrice, Owned
from insource.price.business_terms import EFFORT, Terms
from insource.price.cost import Fleet, Option

MONTH, ONCE = "US$ a month", "US$"
WAYS = {"now": "today", "then": "proposed"}
SPREAD = {"labelling": "labelling, spread", "first training": "the first training, spread", "set-up": "set-up, spread"}


def bill(terms: Terms, option: Option, side: str) -> tuple[Figure, ...]:
    """The lines of a month, then its sum, what of it runs, what is paid once, and a call; keys begin with `side`."""
    lines = [
        terms.computed(f"{side}.{key}", name, MONTH, formula) for key, name, formula in _lines(terms, option, side)
    ]
    first = dict(_once(terms, option))
    spread = [
        terms.computed(f"{side}.{key}, spread", SPREAD[key], MONTH, f"({formula})/{{months}}")
        for key, formula in first.items()
    ]
    way = WAYS[side]
    running = terms.computed(f"{side}.running", f"runs a month, {way}", MONTH, _sum(lines))
    month = terms.computed(f"{side}.month", f"a month, {way}", MONTH, _sum([running, *spread]))
    bought = f"+{{{side}.machines.needed}}*{{machine.price}}" if _owned(option) else ""
    paid = ("+".join(f"({one})" for one in first.values()) or "0") + bought
    once = terms.computed(f"{side}.once", f"paid once, {way}", ONCE, paid, "" if first or bought else "nothing is")
    each = "IF({calls.month}>0,{SIDE.month}/{calls.month},0)".replace("SIDE", side)
    call = terms.computed(
        f"{side}.call", f"a call, {way}", ONCE, each, f"a month, {way} \N{DIVISION SIGN} calls a month"
    )
    return (*lines, *spread, month, running, once, call)


def cash(terms: Terms, now: Option, then: Option, months: int) -> tuple[Paid, ...]:
    """Month by month, day 0 first, and the payback as far as each month tells."""
    rows: list[tuple[Figure, Figure, Figure]] = []
    for month in range(months + 1):
        paid = [
            terms.computed(f"cash.{side}.{month}", f"{side}, month {month}", ONCE, _paid(option, side, month, months))
            for side, option in (("now", now), ("then", then))
        ]
        before = f"{{cash.saved.{month - 1}}}+" if month else ""
        formula = f"{before}{{cash.now.{month}}}-{{cash.then.{month}}}"
        saved = terms.computed(f"cash.saved.{month}", f"saved up to month {month}", ONCE, formula)
        rows.append((*paid, saved))  # type: ignore[arg-type]
    return tuple(
        Paid(month=month, now=one, then=other, saved=saved, payback=_payback(terms, month, months))
        for month, (one, other, saved) in enumerate(rows)
    )


def _payback(terms: Terms, month: int, months: int) -> Figure:
    of = f"the month from which what is saved is never below zero again, as far as month {month} tells"
    return terms.computed(f"cash.payback.{month}", f"payback by month {month}", "months", payback(month, months), of)


def payback(month: int, months: int) -> str:
    """The month from which the sum is never below zero again, as far as `month` tells; -1 as long as it is."""
    here, there = f"{{cash.saved.{month}}}", f"{{cash.saved.{month + 1}}}"
    until = f"{{cash.payback.{month - 1}}}" if month else "0"
    crosses = f"IF({there}<0,-1,{month}+{here}/({here}-{there}))" if month < months else "-1"
    return f"IF({here}<0,{crosses},{until})"


def _paid(option: Option, side: str, month: int, months: int) -> str:
    """What is paid in that month: as flow.py has it."""
    if month == 0:
        return f"{{{side}.once}}"
    if not _owned(option):
        return f"{{{side}.running}}"
    all_of_it, life = f"{{{side}.machines.needed}}*{{machine.price}}", "({machine.years}*12)"
    again = f"({_lives(month, life, months)}-{_lives(month - 1, life, months)})"
    return f"{{{side}.running}}-{all_of_it}/{life}+{all_of_it}*{again}"


def _lives(month: int, life: str, months: int) -> str:
    """How many lives of a machine are over by that month, as flow.py has it."""
    return f"(ROUNDUP({month}/{life}-1E-9,0)-1)" if month == months else f"INT({month}/{life}+1E-9)"


def _lines(terms: Terms, option: Option, side: str) -> Iterator[tuple[str, str, str]]:
    """What runs: key, name, formula."""
    if option.api is not None:
        yield "API", f"tokens of {option.api.name}", f"{{calls.month}}*{call(terms, option.api, option)}"
    if option.above is not None:
        share = terms.known("escalated", option.escalated)
        yield (
            "escalation",
            f"escalation to {option.above.name}",
            (f"{{calls.month}}*{share}*{call(terms, option.above, option)}"),
        )
    if option.people.minutes:
        looked = terms.known("reviewed" if option.fleet else "reviewed.api", option.people.share)
        minutes, rate = review(terms, option)
        yield "people", "people who look at answers", f"{{calls.month}}*{looked}*{minutes}/60*{rate}"
    if option.hand.minutes:
        done = terms.known("hand.share" if side == "now" else "hand.left", option.hand.share)
        minutes, rate = by_hand(terms, option)
        yield "by hand", "people who do it by hand", f"{{calls.month}}*{done}*{minutes}/60*{rate}"
    if option.fleet is not None:
        yield "machines", f"machines, {option.fleet.machine.name}", _machines(terms, option.fleet, side)
    if option.effort.trainings_per_year and option.effort.training_hours:
        often = _effort(terms, "trainings", option.effort.trainings_per_year)
        yield "training again", "training again", f"{_training(terms, option)}*{often}/12"
    if option.effort.fte:
        fte, salary = (
            _effort(terms, *one) for one in (("fte", option.effort.fte), ("salary", option.effort.salary_usd))
        )
        yield "engineering", "engineers", f"{fte}*{salary}/12"


def call(terms: Terms, api: ApiPrice, option: Option) -> str:
    """US dollars of one call to an API; the tokens are those of the comparison."""
    assert option.tokens is None and option.above_tokens is None, "a case is of the tokens of the use"  # noqa: S101
    price = {part: terms.listed(f"{api.name}.{part}", f"{api.name}, a million tokens {what}", value, "US$", api)
             for part, what, value in (("input", "read", api.input), ("output", "written", api.output))}  # fmt: skip
    cached = price["input"]
    if api.cached_input is not None:
        cached = terms.listed(f"{api.name}.cached_input", f"{api.name}, a million tokens read again", api.cached_input,
                              "US$", api)  # fmt: skip
    fresh = f"({{tokens.in}}-{{tokens.cached}})*{price['input']}"
    return f"({fresh}+{{tokens.cached}}*{cached}+{{tokens.out}}*{price['output']})/1000000"


def review(terms: Terms, option: Option) -> tuple[str, str]:
    """Minutes and rate of those who look at answers."""
    people = option.people
    return terms.known("review.minutes", people.minutes), terms.known("review.rate", people.usd_per_hour)


def by_hand(terms: Terms, option: Option) -> tuple[str, str]:
    """Minutes and rate of those who do it from beginning to end."""
    return terms.known("hand.minutes", option.hand.minutes), terms.known("hand.rate", option.hand.usd_per_hour)


def _machines(terms: Terms, fleet: Fleet, side: str) -> str:
    speed, peak, hours = terms.known("speed", fleet.calls_per_s), "{peak}", "{hours}"
    of = f"{side}.machines"
    terms.computed(f"{of}.carries", "calls a day that a machine carries", "calls", f"{speed}*{hours}*3600/{peak}")
    terms.computed(f"{of}.needed", "machines needed", "machines",
                   f"MAX({fleet.least},ROUNDUP({{calls}}/{{{of}.carries}}*(1-1E-9),0))")  # fmt: skip
    terms.computed(f"{of}.rate", "a machine, a month", MONTH, _rate(terms, fleet))
    terms.computed(f"{of}.busy", "busy in the mean", "share",
                   f"{{calls}}/({hours}*3600)/({{{of}.needed}}*{speed})" if fleet.least else "0")  # fmt: skip
    return f"{{{of}.needed}}*{{{of}.rate}}"


def _rate(terms: Terms, fleet: Fleet) -> str:
    row, rate = fleet.machine, getattr(fleet.machine, fleet.paid)
    if not isinstance(rate, Owned):
        how = fleet.paid.replace("_", " ")
        hour = terms.listed(f"machine.{fleet.paid}", f"{row.name}, {how}", rate, "US$ an hour", row)
        return f"{hour}*24*365/12" if fleet.paid == "reserved" else f"{hour}*{{hours}}*{{days}}"
    parts = (("price", "price", rate.price_usd, "US$"), ("years", "years in use", rate.years, "years"),
             ("upkeep", "upkeep", rate.upkeep_usd, MONTH), ("watts", "power at work", rate.watts, "W"),
             ("kwh", "a kWh", rate.usd_per_kwh, "US$"))  # fmt: skip
    price, years, upkeep, watts, kwh = (
        terms.listed(f"machine.{key}", f"{row.name}, {name}", value, unit, row) for key, name, value, unit in parts
    )
    return f"{price}/(12*{years})+{upkeep}+{watts}/1000*{kwh}*{{hours}}*{{days}}"


def _once(terms: Terms, option: Option) -> Iterator[tuple[str, str]]:
    effort = option.effort
    if effort.usd_per_row:
        rows, label = _effort(terms, "rows", effort.rows), _effort(terms, "label", effort.usd_per_row)
        yield "labelling", f"{rows}*{label}"
    if effort.training_hours:
        yield "first training", _training(terms, option)
    if effort.once_usd:
        yield "set-up", _effort(terms, "set-up", effort.once_usd)


def _training(terms: Terms, option: Option) -> str:
    effort = option.effort
    hours = _effort(terms, "training.hours", effort.training_hours)
    return f"{hours}*{_effort(terms, 'training.rate', effort.training_usd_per_hour)}"


def _effort(terms: Terms, key: str, value: float) -> str:
    """A part of the effort: of its own section where that is declared, else as the comparison has it."""
    name, unit = EFFORT[key]
    return terms.known(key, value, name, unit)


def _owned(option: Option) -> bool:
    return option.fleet is not None and option.fleet.paid == "owned"


def _sum(figures: list[Figure]) -> str:
    return "+".join(f"{{{one.key}}}" for one in figures) or "0"

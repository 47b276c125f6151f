"""Several ways to answer the same calls, side by side, and the finding in words."""

from collections.abc import Sequence

from insource.nouns import Noun
from insource.nouns.pricing import Use
from insource.price.breakeven import MOST, Range, crossings, ranges
from insource.price.cost import MONTHS, Cost, Curve, Option, cost, curve
from insource.price.flow import Flow, flow
from insource.price.known import Known
from insource.price.sensitivity import Case, Swing, sensitivity


class Turn(Noun, frozen=True, kw_only=True):
    """From so many calls a day on `cheaper` is the cheaper of the two, `than` the dearer.

    The same in tokens a day and in requests a second of the hours in which calls come. `step` says that it turns
    because a machine more is needed.
    """

    calls_per_day: float
    tokens_per_day: float
    requests_per_s: float
    cheaper: str
    than: str
    step: bool


class Priced(Noun, frozen=True, kw_only=True):
    """What came of it. `finding` is the first line; `costs` are cheapest first.

    `also` says what another API saves in place of the one that answers today, "" where none does.

    `turns` are those between `own`, the cheapest way on machines of one's own, and `api`, the cheapest that is hosted;
    both are "" where there is none. Spot capacity can be taken away: it is shown, and is `own` only without another.
    The `flow` is from `before` to `own`: from who answers `today`, else from `api`. `swings` are of `own` against
    `api`, in US dollars a month by which `own` is dearer.
    """

    task: str = ""
    finding: str
    also: str = ""
    warnings: tuple[str, ...] = ()
    use: Use
    months: int
    costs: tuple[Cost, ...]
    own: str
    api: str
    before: str
    today: str
    turns: tuple[Turn, ...]
    ranges: tuple[Range, ...]
    flow: Flow | None
    swings: tuple[Swing, ...]
    known: tuple[Known, ...] = ()
    options: tuple[Option, ...] = ()
    created: str = ""

    def cost(self, name: str) -> Cost:
        """The bill of the option called `name`; StopIteration without it."""
        return next(one for one in self.costs if one.option == name)


def compare(
    options: Sequence[Option], use: Use, today: str = "", months: int = MONTHS, *, guessed: bool = False
) -> Priced:
    """The options side by side; `today` names who answers now, "" where nobody is known to.

    `guessed` says that nobody knows how many calls come: the finding says so too.

    Names are distinct. Raises `ValueError` for no option, or where `today` is none of them.
    """
    named = {option.name: option for option in options}
    if not named or (today and today not in named):
        raise ValueError(f"{today or 'no option'} is not among the options")
    costs = tuple(sorted((cost(option, use, months) for option in options), key=lambda one: one.month_usd))
    own = min(
        (one.option for one in costs if named[one.option].fleet), key=lambda name: _fleeting(named[name]), default=""
    )
    api = next((one.option for one in costs if named[one.option].api is not None), "")
    before = today or api
    bills = {name: curve(option, use, months) for name, option in named.items()}
    turns = _turns(own, api, bills, use) if own and api else ()
    return Priced(
        finding=_finding(costs, (own, api), turns, use, guessed=guessed),
        also=_also(costs, today, api) if today and named[today].api is not None else "",
        use=use,
        months=months,
        costs=costs,
        own=own,
        api=api,
        before=before,
        today=today,
        turns=turns,
        ranges=ranges(bills),
        flow=flow(named[before], named[own], use, months) if own and before and own != before else None,
        swings=sensitivity(Case(one=named[own], other=named[api], use=use, months=months)) if own and api else (),
        options=tuple(options),
    )


def _fleeting(option: Option) -> bool:
    return option.fleet is not None and option.fleet.paid == "spot"


def _turns(own: str, api: str, bills: dict[str, Curve], use: Use) -> tuple[Turn, ...]:
    return tuple(
        Turn(
            calls_per_day=turn.calls_per_day,
            tokens_per_day=turn.calls_per_day * use.tokens.all,
            requests_per_s=turn.calls_per_day / (use.hours_per_day * 3600),
            cheaper=own if turn.first else api,
            than=api if turn.first else own,
            step=turn.step,
        )
        for turn in crossings(bills[own], bills[api])
    )


def _finding(costs: Sequence[Cost], ways: tuple[str, str], turns: Sequence[Turn], use: Use, *, guessed: bool) -> str:
    """The first line: who is cheapest at this volume, by how much, and from where on it is another."""
    own, api = ways
    best = costs[0]
    bills = {one.option: one.month_usd for one in costs}
    at = f"{'an assumed ' if guessed else ''}{number(use.calls_per_day)} calls a day"
    if not own or not api or (best.month_usd < min(bills[own], bills[api]) and best.machines == 0):
        return f"{best.option} is the cheapest at {at}: {usd(best.month_usd)} a month"
    by = f"by {usd(abs(bills[own] - bills[api]))} a month at {at}"
    later = next((turn for turn in turns if turn.calls_per_day > use.calls_per_day), None)
    if bills[own] < bills[api]:
        since = next((turn for turn in reversed(turns) if turn.calls_per_day <= use.calls_per_day), None)
        word = f"from {number(since.calls_per_day)} calls a day on" if since else "at any volume below"
        until = f"; from {number(later.calls_per_day)} on {api} is" if later else ""
        return f"Owned is cheaper: {own} beats {api} {by}, {word}{until}"
    if later is None:
        most = f"{number(MOST)} calls a day"
        return f"A cheap API wins: {api} is cheaper than {own} {by}, and stays so up to {most}"
    where = f"{number(later.calls_per_day)} calls a day ({rate(later.requests_per_s)})"
    return f"Low volume: {api} is cheaper than {own} {by}; owned is cheaper from {where}"


def _also(costs: Sequence[Cost], today: str, api: str) -> str:
    """What the cheapest API saves in place of today's, which takes one line of settings."""
    bills = {one.option: one.month_usd for one in costs}
    saved = bills[today] - bills[api]
    if saved <= 0:
        return ""
    share = f" ({saved / bills[today]:.0%})"
    return f"{api} in place of {today} saves {usd(saved)} a month{share} with a line of settings, if it answers as well"


def usd(amount: float) -> str:
    """An amount in words: whole dollars from a hundred on, cents below, two digits of what is less than a cent."""
    sign, size = ("\N{MINUS SIGN}" if amount < 0 else ""), abs(amount)
    if size >= 99.995:
        return f"{sign}${size:,.0f}"
    if size >= 0.01 or not size:
        return f"{sign}${size:,.2f}"
    return f"{sign}${size:.2g}" if size >= 1e-4 else f"{sign}${size:.7f}".rstrip("0")


def number(value: float) -> str:
    """A count, with no more digits than it is worth."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rate(per_s: float) -> str:
    """Requests a second."""
    return f"{number(per_s) if per_s >= 0.01 else f'{per_s:.2g}'} requests/s"

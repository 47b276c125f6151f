"""A verdict in sentences: what a manager reads first, and the reasons under it."""

from collections.abc import Callable, Mapping

from insource.nouns.assessment import NOBODY, Against, Case, Demand, Missing, Verdict, Way, Word

UNSEEN = "a cheaper one was not measured"
UNPRICED = "what another costs is not known"
Good = Callable[[Way, Case], bool]


def _measured(_: Case) -> tuple[str, ...]:
    return ()


def _missing(case: Case) -> tuple[str, ...]:
    who = f"{case.incumbent}, which does the work today," if case.incumbent else "What does the work today"
    return (f"{who} was not asked these rows: nothing here says that a change would lose no quality.",)


def _none(_: Case) -> tuple[str, ...]:
    return ("Nothing does this work today, as the task's file says: what was demanded decides alone.",)


FIRST: Mapping[str, Callable[[Case], tuple[str, ...]]] = {
    "measured": _measured,
    "missing": _missing,
    NOBODY: _none,
}


def usd(amount: float | None) -> str:
    """An amount for people."""
    if amount is None:
        return "an unknown sum"
    return f"${amount:,.0f}" if amount >= 100 or amount == 0 else f"${amount:,.3g}"


def many(value: float) -> str:
    """A count or a rate, with no more digits than it is worth."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def sentence(found: Verdict, case: Case, way: Way | None, missing: tuple[Missing, ...]) -> str:
    """The verdict in one sentence."""
    name = way.name if way else ""
    if found.rule == "unsuitable":
        return f"Stay: it is {case.unsuitable.rstrip('.')}."
    if found.rule == UNSEEN:
        other = next(one for one in case.ways if not one.measured and one.allowed)
        prices = f"{usd(other.usd_month)} a month against {usd(way.usd_month if way else None)}"
        return f"Not yet: {name} would do, but {other.name} may be cheaper, {prices}, and was not asked."
    if found.word == "go":
        return f"Go: {name} {_does(case, way)}{_for(way, case)}."
    if found.word == "stay":
        return f"Stay with {name}: {_dear(case, way)}."
    if found.word == "cheaper":
        return f"Use {name}, {_other(case, way)} API or hosted model: it {_does(case, way)}{_for(way, case)}."
    what = "; ".join(gap.words for gap in missing[:2])
    return f"Not yet: {what or 'nothing could be measured'}."


def _other(case: Case, way: Way | None) -> str:
    """Where what is there today does not do what was demanded, what does may cost more."""
    today = next((one for one in case.ways if one.name == case.incumbent), None)
    costs = [one.usd_month for one in (way, today) if one is not None and one.usd_month is not None]
    return "another" if len(costs) == 2 and costs[0] > costs[1] else "a cheaper"


def _dear(case: Case, way: Way | None) -> str:
    others = [one for one in case.ways if one.kind != "untuned" and one.measured and one.name != case.incumbent]
    if not others:
        return "nobody else was asked who could take over"
    return f"what could take over costs more than its {usd(way.usd_month if way else None)} a month"


def _does(case: Case, way: Way | None) -> str:
    compared = f" and is not inferior to {case.incumbent}" if way is not None and way.against is not None else ""
    return f"does what was demanded{compared}"


def _for(way: Way | None, case: Case) -> str:
    if way is None or way.usd_month is None:
        return ""
    today = next((one for one in case.ways if one.name == case.incumbent and one != way), None)
    beside = f", {usd(today.usd_month)} today" if today is not None and today.usd_month is not None else ""
    return f", at {usd(way.usd_month)} a month{beside}"


def then(word: Word, rule: str, way: Way | None, missing: tuple[Missing, ...]) -> str:
    """The command that comes next; TASK stands for the task's name."""
    if word == "go" and way is not None and "@" in way.name:
        return f"insource release gate {way.name} && insource release promote {way.name} --to staging"
    if word in ("go", "cheaper") and way is not None:
        named = f'else = ["{way.engine or way.name}"] under [risk] of tasks/TASK.toml'
        said = ", and the instruction there as the report has it, with its examples" if way.engine else ""
        return f"insource answer TASK --input TEXT, with {named}{said}"
    if rule == UNSEEN:
        return "write an engine for it into insource.toml, set its key, then insource migrate TASK --yes"
    what = missing[0].what if missing else ""
    return NEXT.get(what, "insource migrate TASK, when something of this has changed")


NEXT = {
    "answers": "insource migrate TASK --yes once the incumbent answers, which [migrate] of tasks/TASK.toml names",
    "rows": "insource collect TASK FILE --split test, then insource migrate TASK --yes --rows N",
    "points": "insource collect TASK FILE, then insource migrate TASK --yes",
    "promise": "insource collect TASK FILE --split dev, then insource migrate TASK --yes",
    "volume": "write calls_per_day under [price] of tasks/TASK.toml, then insource migrate TASK --yes",
    "price": "write the price to the engine in insource.toml, or as incumbent under [price] of tasks/TASK.toml, then "
    "insource migrate TASK --yes",
    "load": "insource migrate TASK --yes, once it answers; where it is too slow, with another p95_ms under [levels] of "
    "tasks/TASK.toml",
    "milliseconds": "insource release best TASK, then insource migrate TASK --yes",
}


def reasons(case: Case, chosen: Way | None, good: Good) -> tuple[str, ...]:
    """Why each way may take over or may not, the one that the verdict names first."""
    ways = [way for way in case.ways if way.kind != "untuned"]
    ways.sort(key=lambda way: chosen is None or way.name != chosen.name)
    return tuple(f"{way.name}: {_why(way, case, good)}" for way in ways)


def _why(way: Way, case: Case, good: Good) -> str:
    if not way.allowed:
        return "the task's sensitivity keeps its texts from there"
    if not way.measured:
        return f"not measured; at its list price it would cost {usd(way.usd_month)} a month"
    said = [_demand(demand) for demand in way.demands] or ["nothing was demanded of it"]
    if way.against is not None and way.name != case.incumbent:
        said.append(_against(way.against, case))
    if not way.promise:
        said.append("the tolerated error could not be promised")
    if way.kind == "own":
        said.append(f"one machine holds {many(way.calls_per_s)} calls a second" if way.calls_per_s else "no rate held")
    if way.usd_month is not None:
        said.append(f"{usd(way.usd_month)} a month")
    verdict = "" if way.name == case.incumbent else "good: " if good(way, case) else "not good: "
    return verdict + "; ".join(said)


def _demand(demand: Demand) -> str:
    sign = "at most" if demand.at_most else "at least"
    if demand.value is None or demand.low is None or demand.high is None:
        return f"{demand.name} was not measured"
    if demand.name.endswith("_ms"):
        return f"{demand.name} {demand.value:,.1f}, {sign} {demand.demanded:g} demanded: {demand.state}"
    figure = f"{demand.value:.1%} ({demand.low:.1%} to {demand.high:.1%}, n {demand.n:,})"
    return f"{demand.name} {figure}, {sign} {demand.demanded:.1%} demanded: {demand.state}"


def _against(pair: Against, case: Case) -> str:
    figure = f"{pair.difference * 100:+.1f} points ({pair.low * 100:+.1f} to {pair.high * 100:+.1f}, n {pair.n:,})"
    inside = pair.low > -case.margin
    word = "not inferior" if inside else "inferior" if pair.high < -case.margin else "not shown to be as good"
    return f"{figure} against {case.incumbent}: {word} within {case.margin * 100:g} points"

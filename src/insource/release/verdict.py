"""The verdict: go, not yet, stay, or a cheaper API. Numbers in, one word with reasons out: the first rule that holds.

A way is good when its texts may go there, every demand is met by its whole 95% interval, it is not inferior to the
incumbent (the lower bound of the paired difference lies above minus the margin: Piaggio et al., JAMA 2012,
doi:10.1001/jama.2012.87802), the tolerated risk could be promised and one machine bears some load. Of good ways the
cheapest wins. What is known of the price only is an alternative that was not measured, and never wins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from insource.nouns.assessment import NOBODY, Case, Verdict, Way, Word
from insource.release.verdict_gaps import gaps, prices
from insource.release.verdict_turns import changes
from insource.release.verdict_words import FIRST, UNPRICED, UNSEEN, reasons, sentence, then

SAME_COST = 1.01  # what costs so little more is as cheap


@dataclass(frozen=True)
class View:
    """A case as the rules see it: the best of each kind of way, None where there is none."""

    case: Case
    own: Way | None
    near: Way | None
    api: Way | None
    incumbent: Way | None
    unmeasured: Way | None
    unpriced: tuple[Way, ...] = ()

    @property
    def others(self) -> list[Way]:
        """What the own way must not be dearer than."""
        return [way for way in (self.api, self.incumbent) if way is not None]

    @property
    def able(self) -> Way | None:
        """What may take the task over, one's own first."""
        return self.own or self.api

    @property
    def unknown(self) -> bool:
        """Whether what an alternative costs is all that is missing to compare: the calls are known."""
        return self.able is not None and bool(self.unpriced) and self.case.calls_per_month is not None

    @property
    def volume(self) -> bool:
        """Whether costs can be told, or need not be: there is nothing else that may be asked."""
        return self.case.calls_per_month is not None or not (self.others or self.unmeasured)


def good(way: Way, case: Case) -> bool:
    """Whether the way may take the task over."""
    return bool(
        way.kind != "untuned"
        and way.allowed
        and way.measured
        and all(demand.state == "met" for demand in way.demands)
        and (case.compared == NOBODY or _as_good(way, case))
        and way.promise
        and (way.kind == "api" or way.calls_per_s)
    )


def _as_good(way: Way, case: Case) -> bool:
    """Whether it is shown not to be inferior: without the incumbent's answers nothing shows that."""
    return case.compared == "measured" and way.against is not None and way.against.low > -case.margin


def view(case: Case) -> View:
    """The ways that the rules choose among."""
    rivals = [way for way in case.ways if way.name != case.incumbent]
    fine = [way for way in rivals if good(way, case)]
    apis = [way for way in fine if way.kind == "api"]
    own = [way for way in rivals if way.kind == "own" and way.measured and way.allowed]
    today = next((way for way in case.ways if way.name == case.incumbent), None)
    may_stay = today is not None and today.allowed and not case.incumbent_ends and _holds(today)
    return View(
        case=case,
        own=_first([way for way in fine if way.kind == "own"]),
        near=min(own, key=lambda way: _distance(way, case), default=None),
        api=_first(apis),
        incumbent=today if may_stay else None,
        unmeasured=_first([way for way in rivals if not way.measured and way.allowed]),
        unpriced=tuple(way for way in (today if may_stay else None, *apis) if way is not None and _unpriced(way)),
    )


def verdict(case: Case) -> Verdict:
    """The verdict on a case. Pure: the same numbers give the same words."""
    seen = view(case)
    rule = next(rule for rule in RULES if rule.holds(seen))
    way = rule.way(seen)
    missing = gaps(way, case) if rule.word == "not yet" else ()
    if rule.name in (UNSEEN, "how much it is called") and seen.own is not None:
        missing = gaps(seen.own, case, seen.unmeasured)
    if rule.name == UNPRICED:
        missing = (*prices(seen.unpriced), *missing)
    found = Verdict(word=rule.word, rule=rule.name, way=way.name if way else "", sentence="")
    said = sentence(found, case, way, missing)
    return Verdict(
        word=rule.word,
        rule=rule.name,
        way=way.name if way else "",
        sentence=said,
        first=FIRST[case.compared](case),
        reasons=reasons(case, way, good),
        missing=missing,
        changes=changes(case, way, _rivals(seen, way)),
        then=then(rule.word, rule.name, way, missing),
    )


@dataclass(frozen=True)
class Rule:
    """A line of the table: when it holds, what it says, and which way it names."""

    name: str
    word: Word
    holds: Callable[[View], bool]
    way: Callable[[View], Way | None]


def _cheapest(v: View, way: Way | None) -> bool:
    """Whether the API is cheaper than today's, and than the own way where what that costs is known."""
    if way is None or _unpriced(way) or (v.incumbent is not None and _unpriced(v.incumbent)):
        return False
    known = [other for other in (v.own, v.incumbent) if other is not None and not _unpriced(other)]
    return all(dearer(other, way) for other in known)


def _stays(v: View) -> bool:
    """Whether nothing that could take over, nor what nearly could, costs less than what is there."""
    if v.incumbent is None or v.case.compared != "measured":
        return False
    rivals = [way for way in (v.own or v.near, v.api) if way is not None]
    return all(dearer(way, v.incumbent) for way in rivals)


def _unseen(v: View) -> bool:
    return v.own is not None and v.unmeasured is not None and dearer(v.own, v.unmeasured)


def _unpriced(way: Way) -> bool:
    """Whether nobody knows what it costs a month."""
    return way.usd_month is None


def dearer(one: Way, other: Way) -> bool:
    """Whether `one` costs more; what it costs must be known of both."""
    return one.usd_month is not None and other.usd_month is not None and one.usd_month > other.usd_month


def _first(ways: Sequence[Way]) -> Way | None:
    """The cheapest; of those about as cheap the first that none of the others is better than."""
    if not ways:
        return None
    least = min((way.usd_month for way in ways if way.usd_month is not None), default=None)
    near = [way for way in ways if least is None or (way.usd_month is not None and way.usd_month <= least * SAME_COST)]
    return next((way for way in near if not any(way.name in other.beats for other in near)), near[0])


def _holds(way: Way) -> bool:
    """Whether the incumbent does what is demanded, as far as anybody knows: it is not asked to prove it."""
    return not any(demand.state == "missed" for demand in way.demands)


def _distance(way: Way, case: Case) -> tuple[int, int, int, float]:
    """How far a way is from good: what is missed counts before what is not decided yet."""
    states = [demand.state for demand in way.demands]
    worse = way.against is not None and way.against.high < -case.margin
    unsure = way.against is not None and way.against.low <= -case.margin
    value = next((demand.value for demand in way.demands if demand.value is not None and not demand.at_most), 0.0)
    beaten = sum(way.name in other.beats for other in case.ways if other.kind == "own")
    missed = states.count("missed") + states.count("unmeasured") + worse
    return missed, states.count("undecided") + unsure + (not way.promise), beaten, -value


def _rivals(v: View, way: Way | None) -> list[Way]:
    """The alternatives to the way that the verdict names: each kind of them once."""
    found = (v.own or v.near, v.api, v.incumbent, v.unmeasured)
    return [one for one in found if one is not None and one != way]


RULES = (
    Rule("unsuitable", "stay", lambda v: bool(v.case.unsuitable), lambda v: v.incumbent),
    Rule("how much it is called", "not yet", lambda v: v.able is not None and not v.volume, lambda v: v.able),
    Rule("an API is good enough and cheaper", "cheaper", lambda v: _cheapest(v, v.api), lambda v: v.api),
    Rule("the incumbent is cheaper", "stay", _stays, lambda v: v.incumbent),
    Rule(UNSEEN, "not yet", _unseen, lambda v: v.own),
    Rule(UNPRICED, "not yet", lambda v: v.unknown, lambda v: v.able),
    Rule("good enough and not dearer", "go", lambda v: v.own is not None, lambda v: v.own),
    Rule("something is missing", "not yet", lambda _: True, lambda v: v.near),
)

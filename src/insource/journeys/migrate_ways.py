"""The ways that a verdict chooses among, in numbers: each demand with its interval, each beside the incumbent."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from insource.journeys.lineup import engine_of
from insource.journeys.migrate_bills import Bill
from insource.journeys.migrate_facts import Facts
from insource.measure.figures import metrics
from insource.measure.report import LOG
from insource.measure.words import LATENCIES, LOWER_IS_BETTER, between
from insource.nouns import PREMISES, Candidate, Report, Score
from insource.nouns.assessment import NOBODY, Against, Criteria, Demand, Entrant, State, Way
from insource.route import permitted
from insource.stats import wilson

THOUSAND = 1000.0
ERROR, ANSWERED = "max_error", "answered"


def ways(facts: Facts, report: Report, entrants: Sequence[Entrant], costs: Mapping[str, Bill]) -> Iterator[Way]:
    """One way an entrant. Where a log is from nobody says, so it is an alternative only where texts may go anywhere."""
    found = {one.candidate: one for one in report.candidates}
    for entrant in entrants:
        name, finalist, bill = entrant.name, facts.finalists.get(entrant.name), costs.get(entrant.name)
        yield Way(
            name=name,
            kind=_kind(entrant, facts.criteria),
            allowed=entrant.kind != LOG or permitted(name, "", facts.task.sensitivity).allowed,
            demands=tuple(_demands(found[name], entrant, facts)),
            against=_against(report, name, facts.criteria),
            promise=finalist.promise if finalist else True,
            calls_per_s=entrant.held,
            beats=tuple(_beaten(report, name, facts.criteria.metric)),
            usd_month=bill.month if bill else None,
            usd_per_1k=entrant.usd_per_1k,
            engine="" if name in facts.criteria.engines else _engine(entrant, facts.criteria),
        )


def listed(facts: Facts, costs: Mapping[str, Bill]) -> Iterator[Way]:
    """One way for each API of which only the price is known."""
    for name, price in facts.prices.listed.items():
        yield Way(
            name=name,
            kind="api",
            allowed=permitted(name, "", facts.task.sensitivity).allowed,
            measured=False,
            usd_month=costs[name].month,
            usd_per_1k=price.call(facts.prices.use.tokens) * THOUSAND,
        )


def _kind(entrant: Entrant, criteria: Criteria) -> Literal["own", "api", "untuned"]:
    """An engine without a price is one's own on the premises; elsewhere it is an API whose price nobody wrote."""
    terms = criteria.engines.get(_engine(entrant, criteria))
    here = terms is None or terms.place == PREMISES
    if entrant.release or (entrant.kind == "remote" and entrant.usd_per_1k is None and here):
        return "own"
    return "api" if entrant.kind in ("remote", LOG) else "untuned"


def _engine(entrant: Entrant, criteria: Criteria) -> str:
    return engine_of(entrant.name, criteria.engines) or ""


def _demands(candidate: Candidate, entrant: Entrant, facts: Facts) -> Iterator[Demand]:
    """The lines of the acceptance, that no more is wrong than is tolerated, and that rows were not left unanswered.

    What may be wrong is asked of a release of what it gave by itself, which its threshold is for; of who has none, of
    every answer. What does the work today is not asked how much it answers: here it is loaded beyond its day's work.
    """
    for key, wanted in facts.criteria.acceptance.items():
        yield _demand(candidate, key, wanted)
    most = facts.criteria.max_error
    if most is not None:
        yield _wrong(entrant.given_wrong if entrant.release else _all_wrong(candidate, facts), most)
    asked = int(candidate.details.get("asked", 0))
    if candidate.failures.n < asked and candidate.candidate != facts.criteria.incumbent:
        yield _answered(candidate.failures.n, asked, 1 - facts.criteria.margin)


def _all_wrong(candidate: Candidate, facts: Facts) -> Score | None:
    right = candidate.score(next(metric.name for metric in metrics(facts.task) if metric.kind == "share"))
    if right is None:
        return None
    return Score(metric=ERROR, value=1 - right.value, low=1 - right.high, high=1 - right.low, n=right.n)


def _wrong(share: Score | None, most: float) -> Demand:
    if share is None:
        return Demand(name=ERROR, demanded=most, at_most=True, state="unmeasured")
    state: State = "met" if share.high <= most else "missed" if share.low > most else "undecided"
    return Demand(name=ERROR, demanded=most, at_most=True, state=state, value=share.value, low=share.low,
                  high=share.high, n=share.n)  # fmt: skip


def _answered(count: int, asked: int, least: float) -> Demand:
    """That rows are answered at all: an unanswered one is in no other figure, and may be as many as the margin."""
    low, high = wilson(count, asked)
    state: State = "met" if low >= least else "missed" if high < least else "undecided"
    return Demand(name=ANSWERED, demanded=least, at_most=False, state=state, value=count / asked, low=low, high=high,
                  n=asked)  # fmt: skip


def _demand(candidate: Candidate, key: str, wanted: float) -> Demand:
    at_most = key.rpartition(".")[2] in LOWER_IS_BETTER
    if key in LATENCIES:
        value: float = getattr(candidate.latency_ms, LATENCIES[key])
        state: State = "met" if value <= wanted else "missed"
        if not (n := int(candidate.details.get("timed", 0))):
            return Demand(name=key, demanded=wanted, at_most=True, state="unmeasured")
        return Demand(name=key, demanded=wanted, at_most=True, state=state, value=value, low=value, high=value, n=n)
    field, _, metric = key.rpartition(".")
    score = candidate.score(key) or candidate.score(metric, field or None)
    if score is None:
        return Demand(name=key, demanded=wanted, at_most=at_most, state="unmeasured")
    above, below = score.low >= wanted, score.high <= wanted
    met, missed = (below, above) if at_most else (above, below)
    state = "met" if met else "missed" if missed else "undecided"
    return Demand(name=key, demanded=wanted, at_most=at_most, state=state, value=score.value, low=score.low,
                  high=score.high, n=score.n)  # fmt: skip


def _against(report: Report, name: str, criteria: Criteria) -> Against | None:
    if criteria.incumbent in ("", NOBODY, name):
        return None
    pair = between(report, name, criteria.incumbent, criteria.metric)
    if pair is None:
        return None
    return Against(metric=pair.metric, difference=pair.difference, low=pair.low, high=pair.high, p=pair.p, n=pair.n)


def _beaten(report: Report, name: str, metric: str) -> Iterator[str]:
    for other in report.candidates:
        pair = between(report, name, other.candidate, metric) if other.candidate != name else None
        if pair is not None and pair.low > 0:
            yield other.candidate

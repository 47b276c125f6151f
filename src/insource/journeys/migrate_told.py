"""What a run says, told from what it kept: answers, times, loads and criteria in; every figure and the verdict out.

Nothing is asked or measured here, and the clock is not read: the same kept pieces give the same report, to the byte.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from insource.journeys.migrate_ask import Assemble, Placed, reported
from insource.journeys.migrate_bills import Bill, Measured, above, bills, turns
from insource.journeys.migrate_facts import Facts, facts_of
from insource.journeys.migrate_kept import get_lines
from insource.journeys.migrate_ways import listed, ways
from insource.measure import About
from insource.measure.adversarial import TAG
from insource.measure.attacked import attacked
from insource.measure.report import LOG, assemble
from insource.measure.robustness import AFTER, BEFORE, HARD, LOST, weakest
from insource.nouns import Candidate, Example, Report, Score, Task
from insource.nouns.assessment import (
    NOBODY,
    Asked,
    Assessed,
    Assessment,
    Case,
    Entrant,
    Line,
    Names,
    Verdict,
)
from insource.release.verdict import verdict
from insource.stats import wilson
from insource.store import Store
from insource.store.stored import stored

SPLIT = "test"


@dataclass(frozen=True)
class Told:
    """The report of a run, and the two measurements it rests on: the sample, and the sample made harder."""

    assessed: Assessed
    measured: tuple[Report, ...]


def told(store: Store, run: Assessment, rows: Sequence[tuple[int, Example]]) -> Told:
    """The report of `run`, of which the sampled rows are `rows`. Raises `Missing`, `StoreError` for what is gone."""
    facts = facts_of(store, run)
    sample = _report(store, run, facts, (facts.asked, rows), assemble)
    harder = _report(store, run, facts, (facts.harder, facts.harder_rows), attacked)
    case, entrants = judged(facts, sample, met(store, facts, sample, harder))
    found = named(verdict(case), run.task)
    entrants = [one if one.name == found.way else msgspec.structs.replace(one, instruction="") for one in entrants]
    before = stored(store.blobs.get(run.pieces["before"]), Names).names if "before" in run.pieces else ()
    reports = {name: one for name, one in (("sample", sample), ("adversarial", harder)) if one is not None}
    assessed = Assessed(
        run=run.id,
        task=run.task,
        created=run.created,
        code=run.code,
        machine=run.machine,
        criteria=facts.criteria,
        prices=facts.prices,
        verdict=found,
        case=case,
        entrants=tuple(entrants),
        failed={name: one.failed for name, one in facts.asked.items() if one.failed}
        | {f"{name}, attacked": one.failed for name, one in facts.harder.items() if one.failed}
        | {f"training {one.base}": one.failed for one in facts.finalists.values() if one.failed},
        reports={name: one.id for name, one in reports.items()},
        pieces=run.pieces,
        before=before,
        suitability=facts.fit.summary if facts.fit is not None else "",
    )
    return Told(assessed, tuple(reports.values()))


def met(store: Store, facts: Facts, sample: Report | None, harder: Report | None) -> list[Entrant]:
    """What was measured of everyone who answered, without what it would cost."""
    return [_entrant(store, facts, one, harder) for one in (sample.candidates if sample else ())]


def judged(facts: Facts, sample: Report | None, found: Sequence[Entrant]) -> tuple[Case, list[Entrant]]:
    """What the verdict is told from, and the entrants with their bills. Pure."""
    costs = bills(facts.prices, _measured(found, facts.task))
    entrants = [_billed(one, costs.get(one.name)) for one in found]
    use = facts.prices.use if facts.prices.volume else None
    case = Case(
        ways=(*(ways(facts, sample, entrants, costs) if sample else ()), *listed(facts, costs)),
        rows=facts.criteria.rows,
        margin=facts.criteria.margin,
        incumbent="" if facts.criteria.incumbent == NOBODY else facts.criteria.incumbent,
        compared=_compared(facts),
        incumbent_ends=facts.criteria.ends,
        calls_per_day=use.calls_per_day if use else None,
        calls_per_month=use.calls_per_month if use else None,
        turns=tuple(turns(costs)),
        unsuitable=facts.fit.summary if facts.fit is not None and facts.fit.verdict == "no" else "",
    )
    return case, entrants


def named(found: Verdict, task: str) -> Verdict:
    """The verdict with the task's name in the command that comes next."""
    return msgspec.structs.replace(found, then=found.then.replace("TASK", task))


def _report(
    store: Store, run: Assessment, facts: Facts, of: tuple[dict[str, Asked], Placed], made: Assemble
) -> Report | None:
    found, rows = of
    if all(one.failed for one in found.values()):
        return None
    split = SPLIT if made is assemble else f"{SPLIT}, {TAG}"
    about = About(dataset=facts.criteria.dataset, split=split, code=run.code, machine=run.machine,
                  notes=(f"Asked by insource migrate, run {run.id[:12]}.", *_priced(store, found)))  # fmt: skip
    return reported(store, facts.task, list(found.values()), rows, (about, run.created), made)


def _priced(store: Store, found: Mapping[str, Asked]) -> Iterator[str]:
    """Of how many calls of a log the cost is known, where it is not known of all."""
    for one in found.values():
        if one.kind == LOG and one.priced:
            lines = get_lines(store, one.answers, Line)
            known = sum(line.usd > 0 for line in lines)
            if known < len(lines):
                yield f"{one.candidate} costs the mean of the {known:,} of its {len(lines):,} calls that say theirs."


def _entrant(store: Store, facts: Facts, found: Candidate, harder: Report | None) -> Entrant:
    name = found.candidate
    asked, finalist = facts.asked[name], facts.finalists.get(name)
    lines = get_lines(store, asked.answers, Line)
    again_harder = next((one for one in (harder.candidates if harder else ()) if one.candidate == name), None)
    load = facts.loads.get(name)
    hard = again_harder.score if again_harder else lambda *_: None
    worst = weakest(again_harder) if again_harder else None
    return Entrant(
        name=name,
        kind=found.kind,
        score=found.score(facts.task.metric),
        latency_ms=found.latency_ms,
        failures=found.failures,
        usd_per_1k=found.usd_per_1k,
        tokens=_tokens(lines),
        answers=asked.answers,
        release=finalist.release if finalist else "",
        base=finalist.base if finalist else "",
        hard=hard(HARD),
        lost=hard(LOST),
        weakest=worst[0] if worst else "",
        sure_wrong=hard(AFTER),
        sure_wrong_before=hard(BEFORE),
        automatic=_share("automatic", sum(line.given for line in lines), len(lines)) if lines else None,
        given_wrong=_given_wrong(lines),
        held=load.held if load else None,
        instruction=asked.instruction,
    )


def _tokens(lines: Sequence[Line]) -> tuple[float, float]:
    """Mean tokens of an answered call, in and out."""
    said = [line for line in lines if not line.error]
    n = max(1, len(said))
    return sum(line.input_tokens for line in said) / n, sum(line.output_tokens for line in said) / n


def _given_wrong(lines: Sequence[Line]) -> Score | None:
    marks = [line.correct for line in lines if line.given and line.correct is not None]
    return _share("given_wrong", marks.count(0.0), len(marks)) if marks else None


def _share(name: str, count: int, n: int) -> Score:
    low, high = wilson(count, n)
    return Score(metric=name, value=count / max(n, 1), low=low, high=high, n=n)


def _measured(entrants: Sequence[Entrant], task: Task) -> list[Measured]:
    """What bills are told from; what is not answered automatically costs what the engine after it does."""
    usd = {one.name: None if one.usd_per_1k is None else one.usd_per_1k / 1000 for one in entrants}
    beyond = above(task, usd)
    return [
        Measured(one.name, one.held, usd[one.name], one.automatic.value if one.automatic else 1.0, beyond)
        for one in entrants
    ]


def _billed(entrant: Entrant, bill: Bill | None) -> Entrant:
    if bill is None:
        return entrant
    return msgspec.structs.replace(entrant, bill=bill.lines, machines=bill.machines)


def _compared(facts: Facts) -> Literal["measured", "missing", "none"]:
    if facts.criteria.incumbent == NOBODY:
        return "none"
    asked = facts.asked.get(facts.criteria.incumbent)
    return "measured" if asked is not None and not asked.failed else "missing"

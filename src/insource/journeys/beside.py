"""What another release answers to a call, asked beside, and how the two compare.

The caller never waits for it: it goes through the same answer path, keeps no record, costs no one's budget and is given
to nobody.
"""

from dataclasses import dataclass, replace

import msgspec

from insource.errors import InsourceError
from insource.journeys.answer import Path, answer, discard
from insource.journeys.scanned import watched
from insource.nouns import Attempt, Pending, Prediction, Record, Request, Rollout, Side, Task, Trial, same
from insource.review import ANY, eyes
from insource.store.trials import Tried

DIFFER = "the release on trial answers otherwise"
FLOOR_MS = 5.0  # less than this nobody notices, however many times it is


@dataclass(frozen=True)
class Pair:
    """The paths of the release on trial and of the live one, and the policy under which they are compared."""

    ours: Path
    live: Path
    policy: Rollout


async def beside(request: Request, record: Record, pair: Pair) -> Tried | None:
    """Asks the release that was not asked, and compares.

    None where neither was asked first of all, as with an answer that is given again.
    """
    names = {path.tiers[0].engine.name: path for path in (pair.ours, pair.live)}
    given = names.pop(record.attempts[0].decision.engine, None) if record.attempts and not record.cached else None
    if given is None or not names:
        return None
    mine = _given(record.attempts[0])
    said = mine, await _asked(request, names.popitem()[1])
    first, second = said if given is pair.ours else said[::-1]
    task = pair.live.task
    ours, live = first.side(pair.ours, task), second.side(pair.live, task)
    trial = Trial(
        record=record.id,
        task=record.task or "",
        ours=ours,
        theirs=live,
        agrees=_agree(first, second, ours, live),
        created=record.created,
    )
    return Tried(
        trial=trial,
        worse=bool(ours.fault) - bool(live.fault),
        slower=_slower(ours, live, pair.policy.max_slower),
        pending=None if trial.agrees else await _to_see(request, record, pair),
    )


async def _to_see(request: Request, record: Record, pair: Pair) -> Pending | None:
    """What a person sees of a call at which the two differ: its text as engines may see it, and the given answer.

    Into that, what a scan took out of the question was put back for the caller. Of a scanned task so only labels stay.
    """
    watch = await watched(request, pair.live.scans)
    if watch.error is not None or record.task is None:
        return None
    task = pair.live.task
    clean = pair.live.scans is None or (task is not None and task.kind == "classify")
    said = record.answer if clean else None
    return Pending(
        record=record.id,
        task=record.task,
        input=watch.request.input,
        value=said.value if said else None,
        confidence=said.confidence if said else None,
        alternatives=said.alternatives if said else {},
        reason=DIFFER,
        worth=ANY,
        eyes=eyes(record.id, pair.live.double),
        created=record.created,
    )


@dataclass(frozen=True)
class _Said:
    """What a release said to a call: its prediction, or the code of what went wrong."""

    prediction: Prediction | None
    accepted: bool
    usd: float
    error: str = ""

    @property
    def fault(self) -> str:
        """How it failed, empty where its answer is valid."""
        said = self.prediction
        if said is None:
            return self.error or "failed"
        return said.finish if said.finish != "stop" else "" if said.value is not None else "invalid"

    def side(self, path: Path, task: Task | None) -> Side:
        """As it is kept: labels of closed sets, and no other words."""
        said, closed = self.prediction, task is not None and task.kind == "classify"
        return Side(
            release=path.tiers[0].release or "",
            fault=self.fault,
            accepted=self.accepted,
            confidence=said.confidence if said else None,
            value=said.value if said and closed else None,
            latency_ms=said.latency_ms if said else 0.0,
            usd=self.usd,
        )


def _given(attempt: Attempt) -> _Said:
    """What was said; where that is that no label fits, the likeliest one, which was withheld, counts for nothing."""
    code, said = attempt.decision.reason.partition(":")[0], attempt.prediction
    if said is not None and attempt.decision.code == "out_of_scope":
        said = msgspec.structs.replace(said, value={})
    return _Said(said, attempt.decision.accepted, attempt.usd, code)


async def _asked(request: Request, path: Path) -> _Said:
    """What the path's first tier says, and nobody is told."""
    alone = replace(
        path, tiers=path.tiers[:1], key=None, intend=None, answers=None, choose=None, spare=(), refused=(), rule=""
    )
    try:
        return _given((await answer(request, alone, discard)).attempts[0])
    except InsourceError as error:
        return _Said(None, accepted=False, usd=0.0, error=error.code)


def _agree(first: _Said, second: _Said, ours: Side, live: Side) -> bool | None:
    """Whether both say the same; both failing is the same too. None where one alone does."""
    if ours.fault or live.fault:
        return True if ours.fault and live.fault else None
    one, other = first.prediction, second.prediction
    return one is not None and other is not None and same(one.value, other.value)


def _slower(ours: Side, live: Side, times: float) -> int:
    """The step of the test of speed; none where one of them gave no answer."""
    if ours.fault or live.fault:
        return 0
    slower = ours.latency_ms > times * live.latency_ms and ours.latency_ms - live.latency_ms > FLOOR_MS
    return 1 if slower else -1

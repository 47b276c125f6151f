"""One call, answered: engine after engine until one is sure, decided in words, kept before it leaves.

The server, the batch, the terminal and every measurement go through here: what is measured is what is served.
"""

import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
from msgspec import UNSET

from insource.engines.alarm import Alarm
from insource.engines.base import Engine
from insource.errors import EngineDown, EngineError, EngineSlow, InsourceError, Invalid, Missing, OutputInvalid
from insource.journeys.again import Answers, Tried, again
from insource.journeys.scanned import Scans, Watched, watched
from insource.nouns import (
    CACHED,
    DRAWN,
    WAITS,
    Attempt,
    Decision,
    Intent,
    Outcome,
    Pending,
    Prediction,
    Record,
    Request,
    Task,
    Usage,
    canonical,
    stamp,
)
from insource.nouns.record import tier_of
from insource.review import ANY, eyes, is_disputed, novelty, worth
from insource.route import HUMAN, Choice, Terms, accept, within
from insource.route.need import need
from insource.watch.vocabulary import Vocabulary

Keep = Callable[[Record, Pending | None], Awaitable[None]]
Key = Callable[[str], Awaitable[bytes]]
Intend = Callable[[Intent], Awaitable[None]]
GRACE_S = 60.0  # after a call's deadline, within which its end is on record unless the process is gone
GIVEN = ("answered", "escalated")
STOPPED = "the server stopped before the end"


@dataclass(frozen=True)
class Tier:
    """An engine that may be asked. `release` is what it serves; prices are US dollars per million tokens in, out.

    `threshold` is the confidence demanded of this one; None: the path's. `terms` are what else its answers must keep.
    """

    engine: Engine
    release: str | None = None
    usd_per_million: tuple[float, float] = (0.0, 0.0)
    threshold: float | None = None
    terms: Terms | None = None


@dataclass(frozen=True)
class Path:
    """Who answers a task, in order, and the confidence demanded. Without a task, words are passed through.

    `key` gives the key of a tenant, under which inputs are hashed, and `intend` notes a call before anyone is asked;
    only a measurement, which keeps nothing, has neither.
    `refused` are the engines that the task names but may not use. A call has `deadline` seconds. `scans` look at what
    is asked and answered. Where the task has rules, `choose` gives the path of one request, and `spare` are tiers that
    only rules ask. `rule` says in words why these tiers, empty where the caller named the task or the engine.
    `answers` are those that may be given again, None where none may, and `scope` names what they hang on. The `alarm`
    ends what takes an engine too long. `vocabulary` counts the words of an input that the release was not taught. Of
    the answers given automatically a person looks at the share `audit`, drawn by chance: who looks only at doubtful
    ones never sees a sure one that is wrong. Of what waits two people see the share `double`; labels that are `rare` in
    training are worth more.
    """

    task: Task | None
    tiers: tuple[Tier, ...]
    threshold: float | None = None
    key: Key | None = None
    intend: Intend | None = None
    refused: tuple[Choice, ...] = ()
    deadline: float = 60.0
    scans: Scans | None = None
    choose: Callable[[Request, "Path"], "Path"] | None = None
    spare: tuple[Tier, ...] = ()
    rule: str = ""
    scope: str = ""
    answers: Answers | None = None
    audit: float = 0.0
    double: float = 0.0
    rare: Mapping[str, Mapping[str, float]] = field(default_factory=dict, compare=False)
    vocabulary: Vocabulary | None = None
    alarm: Alarm = field(default_factory=Alarm, compare=False)

    @cached_property
    def prices(self) -> tuple[tuple[float, float], ...]:
        """What each tier asks: US dollars per million tokens in, out."""
        return tuple([tier.usd_per_million for tier in self.tiers])

    @cached_property
    def costs(self) -> bool:
        """Whether one of them asks anything."""
        return any(map(any, self.prices))


def chosen(request: Request, path: Path) -> Path:
    """The path of this one request, by the task's rules; a path that was chosen is its own."""
    return path if path.choose is None else path.choose(request, path)


async def discard(record: Record, pending: Pending | None) -> None:
    """Keeps nothing: for measuring."""


async def answer(request: Request, path: Path, keep: Keep) -> Record:
    """The record of the call, answer included; it was kept, under the request's id, before this returns.

    The call is noted before any engine is asked: of one that was begun, something is on record whatever happens.
    An answer below the threshold, invalid, refused, late or failed passes the call to the next tier. When none is sure
    the outcome is "review", with the provisional answer if there is one. What is out of the task's scope goes to a
    person at once, as "out_of_scope": who is asked next could only choose among answers of which none is right.
    Raises the last `EngineError` when every engine failed (kept as "failed"), `Blocked` or `ScanFailed` where a scan
    lets nothing pass (kept so too), `StoreError` when the record could not be kept, `Invalid` for a task's empty input,
    of which nothing is kept. A cancelled call raises at once.
    """
    began = time.perf_counter()
    if request.task is not path.task:
        request = msgspec.structs.replace(request, task=path.task)
    if path.task is not None:
        check_input(request.input)
    path = chosen(request, path)
    if not path.tiers and not path.rule:
        raise Missing("no engine may answer this", hint="name one in insource.toml, or promote a release")
    hashed = await intended(request, path)
    watch = await watched(request, path.scans)
    if path.answers is None or watch.error:
        attempts, errors = await _tried(path, watch, began)
    else:
        left = request.deadline - (time.perf_counter() - began)
        attempts, errors = await again(request, path, watch, left, lambda: _tried(path, watch, began))
    attempts = attempts or [Attempt(decision=_unasked(path))]
    record = watch.noted(recorded(request, path, watch.ruled(tuple(attempts)), began, hashed))
    await keep(without_text(record, path.task), _pending(record, watch.request, path))
    if record.outcome == "failed":
        raise errors[-1]
    return watch.given(record)


def check_input(text: str) -> None:
    """Raises `Invalid` for an input of a task in which there is nothing but blanks."""
    if not text.strip():
        raise Invalid("the input is empty", hint="give the text that the task is about", at="messages")


async def broken_off(request: Request, path: Path, keep: Keep, reason: str = STOPPED) -> None:
    """Keeps a call that was cancelled on the way as "failed": nobody waits for its answer any longer."""
    request = msgspec.structs.replace(request, task=path.task)
    path = chosen(request, path)
    failure = _failure(path, 0, EngineDown(reason)) if path.tiers else _unasked(path)
    attempt = Attempt(decision=msgspec.structs.replace(failure, reason=reason))
    record = recorded(request, path, (attempt,), time.perf_counter(), await _hash(request, path.key))
    await keep(without_text(record, path.task), None)


async def intended(request: Request, path: Path) -> str:
    """Notes that the call is about to be made, and returns the hash of its input.

    Raises `StoreError`: what cannot be put on record is not asked for.
    """
    hashed = await _hash(request, path.key)
    if path.intend is None:
        return hashed
    now = time.time()
    intent = Intent(
        id=request.id,
        task=path.task.name if path.task else None,
        tenant=request.tenant,
        input_hash=hashed,
        created=stamp(now),
        until=stamp(now + request.deadline + GRACE_S),
        caller=request.caller,
        usd=need(request, path.prices).usd if path.costs else 0.0,
    )
    await path.intend(intent)
    return hashed


def recorded(request: Request, path: Path, attempts: tuple[Attempt, ...], began: float, hashed: str) -> Record:
    """The record of what was tried, under the request's id; `began` is `time.perf_counter` when the call came in.

    `hashed` is the hash of its input.
    """
    if path.costs:
        attempts = _priced(attempts, path.prices)
    if path.vocabulary is not None:
        attempts = _counted(attempts, path.vocabulary, request.input)
    return Record(
        id=request.id,
        task=path.task.name if path.task else None,
        release=path.tiers[tier_of(attempts) - 1].release if path.tiers else None,
        tenant=request.tenant,
        attempts=attempts,
        outcome=_outcome(attempts),
        input_hash=hashed,
        latency_ms=(time.perf_counter() - began) * 1000,
        usd=sum([attempt.usd for attempt in attempts]) if path.costs else 0.0,
        created=stamp(time.time()),
        caller=request.caller,
    )


def without_text(record: Record, task: Task | None) -> Record:
    """The record as it is kept: no words of the caller's or of an engine's, only labels of closed sets."""
    closed = task is not None and task.kind == "classify"
    attempts = tuple([_bare(attempt, closed=closed) for attempt in record.attempts])
    return msgspec.structs.replace(record, attempts=attempts)


def input_hash(key: bytes, text: bytes) -> str:
    """HMAC-SHA-256 of an input under its tenant's key: only who holds the key can tell that two are the same."""
    return hmac.digest(key, text, "sha256").hex()


def _bare(attempt: Attempt, *, closed: bool) -> Attempt:
    said, decision = attempt.prediction, attempt.decision
    # What an engine complains of may quote the text: only the kind of the complaint is kept.
    code, colon, _ = decision.reason.partition(": ")
    if said is not None:
        value = said.value if closed else None
        said = msgspec.structs.replace(said, text="", value=value, tool_calls=(), alternatives={}, served=UNSET)
        if decision.rule == CACHED:  # no engine read or wrote a token; the caller is told what the answer took once
            said = msgspec.structs.replace(said, usage=Usage())
    return Attempt(
        decision=msgspec.structs.replace(decision, reason=code) if colon else decision,
        usd=attempt.usd,
        found=attempt.found,
        withheld=attempt.withheld,
        prediction=said,
    )


async def _tried(path: Path, watch: Watched, began: float) -> Tried:
    """Engine after engine, until an answer is accepted; none where a scan lets none be asked."""
    if watch.error is not None:
        return [*watch.refusal], [watch.error]
    attempts: list[Attempt] = []
    errors: list[InsourceError] = []
    for index in range(len(path.tiers)):
        left = watch.request.deadline - (time.perf_counter() - began)
        asked = await _ask(watch.request, path, index, max(left, 0.0) / (len(path.tiers) - index))
        attempt, error = await watch.heard(*asked)
        attempts.append(attempt)
        errors += [error] if error else []
        if attempt.decision.accepted or attempt.decision.code == "out_of_scope":
            break
    return attempts, errors


async def _ask(request: Request, path: Path, index: int, seconds: float) -> tuple[Attempt, InsourceError | None]:
    engine = path.tiers[index].engine
    error: InsourceError
    try:
        asked = engine.complete(msgspec.structs.replace(request, deadline=seconds))
        prediction = await path.alarm.wait(asked, seconds)
    except TimeoutError:
        error = EngineSlow(f"{engine.name} did not answer within {seconds:.1f} s")
    except EngineError as raised:
        error = raised
    except OutputInvalid as raised:
        if path.task is not None:
            said = Prediction(text="", engine=engine.name, finish="invalid")
            return Attempt(decision=_failure(path, index, raised), prediction=said), None
        error = raised
    else:
        return Attempt(decision=_decide(prediction, path, index), prediction=prediction), None
    return Attempt(decision=_failure(path, index, error)), error


def _decide(prediction: Prediction, path: Path, index: int) -> Decision:
    tier = path.tiers[index]
    threshold = path.threshold if tier.threshold is None else tier.threshold
    accepted, reason = (True, "passed through") if path.task is None else accept(prediction, threshold)
    decision = Decision(
        engine=tier.engine.name,
        rule=_rule(path, index),
        accepted=accepted,
        reason=reason,
        confidence=prediction.confidence,
        threshold=threshold,
    )
    return decision if tier.terms is None else within(decision, prediction, tier.terms)


def _failure(path: Path, index: int, error: InsourceError) -> Decision:
    return Decision(
        engine=path.tiers[index].engine.name,
        rule=_rule(path, index),
        accepted=False,
        reason=f"{error.code}: {error}",
        threshold=path.threshold,
    )


def _unasked(path: Path) -> Decision:
    """A rule, or what the rule names being forbidden, left nobody to ask."""
    reason = "it goes to a person unasked"
    return Decision(engine=HUMAN, rule=path.rule, accepted=False, reason=reason, threshold=path.threshold)


def _rule(path: Path, index: int) -> str:
    return "escalate" if index else path.rule or ("task" if path.task else "passthrough")


def _outcome(attempts: tuple[Attempt, ...]) -> Outcome:
    if attempts[-1].decision.accepted:
        return "answered" if len(attempts) == 1 else "escalated"
    if attempts[-1].decision.code == "out_of_scope" and not attempts[-1].withheld:
        return "out_of_scope"
    waits = any(one.decision.engine == HUMAN or (one.prediction and not one.withheld) for one in attempts)
    return "review" if waits else "failed"


def _pending(record: Record, request: Request, path: Path) -> Pending | None:
    """What a person is to see: an answer that nobody is sure of, or one that was given and drawn by chance."""
    if record.task is None:
        return None
    drawn = record.outcome in GIVEN and not record.cached and _drawn(record.id, path.audit)
    if record.outcome not in WAITS and not drawn:
        return None
    said = record.answer
    return Pending(
        record=record.id,
        task=record.task,
        input=request.input,
        value=said.value if said else None,
        confidence=said.confidence if said else None,
        alternatives=said.alternatives if said else {},
        reason=DRAWN if drawn else record.attempts[-1].decision.reason,
        created=record.created,
        worth=_worth(record, said, path) if record.outcome == "review" else ANY,
        eyes=eyes(record.id, path.double),
    )


def _worth(record: Record, said: Prediction | None, path: Path) -> float:
    novel = novelty(said.value, path.rare) if said else 0.0
    return worth(said.confidence if said else None, novel=novel, disputed=is_disputed(record))


def _drawn(record: str, share: float) -> bool:
    """Whether a call is among a `share` of all, by the chance in its name."""
    return share > 0.0 and int(record[-12:], 16) < share * 2**48


async def _hash(request: Request, key: Key | None) -> str:
    if key is None:
        return ""
    text = request.input.encode() if request.task else canonical(request.messages)
    return input_hash(await key(request.tenant), text)


def _counted(attempts: tuple[Attempt, ...], vocabulary: Vocabulary, text: str) -> tuple[Attempt, ...]:
    """The words of the input, noted with the first answer: a record has no text to count them in later."""
    said = attempts[0].prediction
    if said is None:
        return attempts
    said = msgspec.structs.replace(said, terms=vocabulary.count(text))
    return (msgspec.structs.replace(attempts[0], prediction=said), *attempts[1:])


def _priced(attempts: tuple[Attempt, ...], prices: Sequence[tuple[float, float]]) -> tuple[Attempt, ...]:
    priced = []
    for attempt, (price_in, price_out) in zip(attempts, prices, strict=False):
        said = attempt.prediction
        if said is not None and attempt.decision.rule != CACHED and (price_in or price_out):
            usd = (said.usage.input_tokens * price_in + said.usage.output_tokens * price_out) / 1_000_000
            attempt = msgspec.structs.replace(attempt, usd=usd)
        priced.append(attempt)
    return tuple(priced)

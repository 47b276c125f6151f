"""What happened: one answered call, and what a person said of it.

What a call leaves is read by the thousand and is part of no cycle, so the garbage collector looks at none of it (`gc`).
"""

import os
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from insource.nouns.base import JsonObject, Noun, canonical
from insource.nouns.finding import Hit
from insource.nouns.prediction import Prediction

Outcome = Literal["answered", "escalated", "review", "out_of_scope", "failed", "interrupted"]
Code = Literal["out_of_scope", "fields"]
Verdict = Literal["right", "wrong", "unsure", "none_of_these"]
Fallback = Literal["", "provisional", "escalate", "drop"]
TIMEOUT = "timeout"
CACHED = "cache"
DRAWN = "drawn by chance"  # why a person sees an answer that was given
MOST_EYES = 3
WAITS: tuple[Outcome, ...] = ("review", "out_of_scope")  # outcomes of what waits for a person


class Decision(Noun, frozen=True, kw_only=True, gc=False):
    """Why an engine was asked and what became of its answer.

    `rule` is what chose it: "task", "escalate", "passthrough", a rule of the task ("rule: longer than 4,000
    characters") or the router ("router: tickets at 0.93"); "scan" where a scan let none be asked; "cache" where none
    was, since `engine` had answered the same before. `reason` says in words why the answer was accepted or not;
    `threshold` is the confidence demanded, None where any valid answer is accepted. `code` is left out but where the
    input is "out_of_scope", or "fields" fell short of their own limits: then `short` names them.
    """

    engine: str
    rule: str
    accepted: bool
    reason: str
    confidence: float | None = None
    threshold: float | None = None
    code: Code | UnsetType = UNSET
    short: tuple[str, ...] | UnsetType = UNSET


class Attempt(Noun, frozen=True, kw_only=True, gc=False):
    """One engine asked. `prediction` is None when the engine failed; `decision.reason` then says how.

    `usd` is what it cost at the prices that the settings have. `found` is what a scan found in its answer; where that
    was `withheld`, nothing of it is left but what it cost.
    """

    decision: Decision
    prediction: Prediction | None = None
    usd: float = 0.0
    found: tuple[Hit, ...] = ()
    withheld: bool = False


class Record(Noun, frozen=True, kw_only=True, gc=False):
    """One call, as it is kept: never its text. `input_hash` is HMAC-SHA-256 under the tenant's key.

    `caller` is the name of the key that the call came with, empty where none was asked for. `outcome` "out_of_scope"
    is a call of which the task knows no answer: nothing was given, and it waits for a person. "failed" is a
    call that no engine answered: the caller got an error, the record says why. "interrupted" is one that was begun and
    of which nobody said how it ended: the process was killed. `found` is what a scan found in the input. `spooled` says
    that the store did not take it at the time, and that it came in later from a spool.
    """

    id: str
    task: str | None
    release: str | None
    tenant: str
    attempts: tuple[Attempt, ...]
    outcome: Outcome
    input_hash: str
    latency_ms: float
    usd: float = 0.0
    created: str = ""
    caller: str = ""
    found: tuple[Hit, ...] = ()
    spooled: bool = False

    @property
    def answer(self) -> Prediction | None:
        """The answer, or the provisional one under review: the last prediction that has a value, else the last."""
        if len(self.attempts) == 1:
            return self.attempts[0].prediction
        answering = _answering(self.attempts)
        return None if answering is None else self.attempts[answering].prediction

    @property
    def withheld(self) -> bool:
        """Whether the caller gets no answer though there is a provisional one: of an input that is out of scope."""
        return self.outcome == "out_of_scope"

    @property
    def tier(self) -> int:
        """Which engine of the path gave the answer, counted from 1; the last one asked when none did."""
        return tier_of(self.attempts)

    @property
    def cached(self) -> bool:
        """Whether the answer is one that was given before: then no engine was asked."""
        return bool(self.attempts) and self.attempts[0].decision.rule == CACHED


def tier_of(attempts: tuple[Attempt, ...]) -> int:
    """Which of the attempts gave the answer, counted from 1; the last one when none did."""
    answering = _answering(attempts) if len(attempts) > 1 else None
    return len(attempts) if answering is None else answering + 1


def _answering(attempts: tuple[Attempt, ...]) -> int | None:
    made = [i for i, attempt in enumerate(attempts) if attempt.prediction is not None]
    valid = [i for i in made if (said := attempts[i].prediction) is not None and said.value is not None]
    return max(valid or made, default=None)


class Intent(Noun, frozen=True, kw_only=True):
    """A call as it is noted before any engine is asked. By `until` (UTC, ISO 8601) it has ended, one way or another.

    `usd` is the most that it may cost: what a call is charged of which nobody can say what it did cost. `spooled` as of
    a record.
    """

    id: str
    task: str | None
    tenant: str
    input_hash: str
    created: str
    until: str
    caller: str = ""
    usd: float = 0.0
    spooled: bool = False

    def interrupted(self, now: str) -> Record:
        """The record of this call where nobody is left to say how it ended; seen at `now`."""
        lost = (datetime.fromisoformat(now) - datetime.fromisoformat(self.created)).total_seconds()
        reason = "the process that answered it was killed"
        decision = Decision(engine="", rule="interrupted", accepted=False, reason=reason)
        return Record(
            id=self.id,
            task=self.task,
            release=None,
            tenant=self.tenant,
            attempts=(Attempt(decision=decision),),
            outcome="interrupted",
            input_hash=self.input_hash,
            latency_ms=max(lost, 0.0) * 1000,
            usd=self.usd,
            created=self.created,
            caller=self.caller,
            spooled=self.spooled,
        )


def record_id() -> str:
    """A new name for a call: a UUID of version 7 (RFC 9562), which begin with the time, in 32 hexadecimal digits.

    Rows that are written together lie together in the table's index: fewer pages a commit. So the twelve bits behind
    the milliseconds are of the clock, too (RFC 9562, 6.2, method 3); 62 are chance.
    """
    stamp, rest = divmod(time.time_ns(), 1_000_000)
    chance = int.from_bytes(os.urandom(8)) >> 2
    name = stamp << 80 | 0x7 << 76 | (rest << 12) // 1_000_000 << 64 | 0x2 << 62 | chance
    return name.to_bytes(16).hex()


class Review(Noun, frozen=True, kw_only=True, gc=False):
    """A person's verdict on a record. It points at the record and never changes it.

    "none_of_these" says that no label of the task fits; the `note` may then propose one. `agreed` are those who said
    the same, where more than one had to. With a `fallback` nobody looked in time: the reviewer is `TIMEOUT`, the
    verdict "unsure", and `corrected` what another engine answered then, which is no label of a person.
    """

    record: str
    verdict: Verdict
    corrected: JsonObject | None = None
    note: str = ""
    reviewer: str = ""
    decided: str = ""
    agreed: tuple[str, ...] = ()
    fallback: Fallback = ""


class Pending(Noun, frozen=True, kw_only=True, gc=False):
    """An answer that waits for a person: the record, the text it was about, and what the engines proposed.

    What is `worth` more is seen first. So many people as `eyes` have to see it, blind to each other: 1, or 2 and a
    third where those disagree.
    """

    record: str
    task: str
    input: str
    value: JsonObject | None = None
    confidence: float | None = None
    alternatives: dict[str, tuple[tuple[str, float], ...]] = {}
    reason: str = ""
    created: str = ""
    worth: float = 0.0
    eyes: int = 1


class Waiting(Noun, frozen=True, kw_only=True):
    """How many answers of a task wait for a person, `half` of them with somebody's word already.

    `oldest` is the time of the first that came and waits still, empty where none does.
    """

    answers: int = 0
    half: int = 0
    oldest: str = ""


def agreed(said: Sequence[Review]) -> Review | None:
    """The verdict of two or three people who saw one item, each blind to the others; None while another has to.

    Two who say the same decide, be it the first two or one of them and the third. Three who say three things come to
    "unsure".
    """
    if not said:
        return None
    alike = [one for one in said if _word(one) == _word(said[-1])]
    if len(alike) > 1:
        return msgspec.structs.replace(said[-1], agreed=tuple(one.reviewer for one in alike))
    if len(said) < MOST_EYES:
        return None
    return msgspec.structs.replace(said[-1], verdict="unsure", corrected=None, note="three people said three things")


def _word(said: Review) -> bytes:
    """What a verdict says, without who, when and why."""
    return canonical([said.verdict, said.corrected])

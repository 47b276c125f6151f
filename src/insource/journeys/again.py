"""Answers given again: to the same call of the same tenant, while the same release would answer it.

What is kept lies in this process's memory and nowhere else, under a key that nobody can make without the tenant's own.
Only a whole answer is kept that the first engine of a path gave, that was accepted, and in which, as in its question,
no scan found anything. A call that asks for chance (a temperature without a seed) has no answer that could be its own.
"""

import asyncio
import copy
import hmac
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from insource.errors import InsourceError
from insource.journeys.scanned import Watched
from insource.nouns import CACHED, Attempt, Decision, Noun, Prediction, Request, Task, digest, from_json, to_json
from insource.nouns.sections import CacheSettings
from insource.route.shelf import Shelf

if TYPE_CHECKING:
    from insource.journeys.answer import Path

Tried = tuple[list[Attempt], list[InsourceError]]
ASIDE = ("id", "task", "deadline", "caller", "trace")  # of a request, what changes no answer; a task is in the scope
HIT, MISS, SKIPPED = "hit", "miss", "skipped"
NO_TASK = "-"


class Given(Noun, frozen=True, kw_only=True):
    """An answer as it is kept, and the record of the call that it was given to first."""

    record: str
    prediction: Prediction


class Answers:
    """The answers that one process keeps. `counts` says how often it had one: (task, "hit", "miss" or "skipped")."""

    def __init__(self, settings: CacheSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.shelf = Shelf(entries=settings.max_entries, size=settings.max_bytes, age_s=settings.max_age_s, clock=clock)
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.under_way: dict[bytes, asyncio.Future[None]] = {}
        self._not_for = frozenset(settings.not_for)
        self.gives = True

    def renewing(self) -> "Answers":
        """The same, for a call that wants an answer of its own: none is given to it, but its own is kept."""
        made = copy.copy(self)
        made.gives = False
        return made

    @property
    def kept(self) -> tuple[int, int]:
        """How many answers are kept, and the bytes that they take."""
        self.shelf.clear_old()
        return len(self.shelf), self.shelf.size

    async def turn(self, request: Request, path: "Path", watch: Watched, *, patience_s: float = 0.0) -> "Turn":
        """The turn of one call. It waits `patience_s` for an answer to the same call that is being made already.

        Who has no patience is waited for by nobody either: a stream goes only as fast as its caller reads.
        """
        name = path.task.name if path.task else NO_TASK
        if path.key is None or not path.tiers or not watch.clean or not self._may(request, path.task):
            self.counts[name, SKIPPED] += 1
            return Turn(self, b"", None, leads=False)
        key = key_of(await path.key(request.tenant), request, path.scope, _asked(path))
        found = self._find(key, path)
        if found is None and self.gives and patience_s > 0 and key in self.under_way:
            await asyncio.wait([self.under_way[key]], timeout=patience_s)
            found = self._find(key, path)
        self.counts[name, MISS if found is None else HIT] += 1
        return Turn(self, key, found, leads=patience_s > 0)

    def _may(self, request: Request, task: Task | None) -> bool:
        return request.tenant not in self._not_for and certain(request, task)

    def _find(self, key: bytes, path: "Path") -> Attempt | None:
        found = self.shelf.get(key) if self.gives else None
        if found is None:
            return None
        given = from_json(found[1], Given)
        decision = Decision(
            engine=path.tiers[0].engine.name,
            rule=CACHED,
            accepted=True,
            reason=f"as record {given.record} was answered {found[0]:.0f} s before",
            confidence=given.prediction.confidence,
            threshold=path.threshold,
        )
        return Attempt(decision=decision, prediction=msgspec.structs.replace(given.prediction, latency_ms=0.0))


class Turn:
    """One call's turn. `found` is what it is given again, None where an engine must be asked. `end` it in any case."""

    def __init__(self, answers: Answers, key: bytes, found: Attempt | None, *, leads: bool) -> None:
        self.found = found
        self._answers, self._key = answers, key
        self._told: asyncio.Future[None] | None = None
        if leads and found is None and key not in answers.under_way:
            self._told = answers.under_way[key] = asyncio.get_running_loop().create_future()

    def keep(self, record: str, attempts: Sequence[Attempt]) -> None:
        """Keeps what the engines said to the call on `record`, if it may be given again."""
        said = attempts[0].prediction if len(attempts) == 1 and whole(attempts[0]) else None
        if self._key and self.found is None and said is not None:
            self._answers.shelf.put(self._key, to_json(Given(record=record, prediction=said)))

    def end(self) -> None:
        """Lets those go on who wait for this call's answer."""
        if self._told is not None:
            del self._answers.under_way[self._key]
            self._told.set_result(None)
            self._told = None


async def again(
    request: Request, path: "Path", watch: Watched, left_s: float, ask: Callable[[], Awaitable[Tried]]
) -> Tried:
    """What was answered to the same call before, as a new answer; else what `ask` comes to, which may be kept.

    It waits for one under way as long as its first engine would have of the `left_s` seconds.
    """
    if path.answers is None:
        return await ask()
    turn = await path.answers.turn(request, path, watch, patience_s=left_s / max(len(path.tiers), 1))
    try:
        if turn.found is not None:
            attempt, _ = await watch.heard(turn.found, None)
            if attempt.decision.accepted:
                return [attempt], []
        attempts, errors = await ask()
        turn.keep(request.id, attempts)
        return attempts, errors
    finally:
        turn.end()


def certain(request: Request, task: Task | None) -> bool:
    """Whether the same call is to have the same answer: not one that asks for chance, and names no seed for it."""
    closed = task is not None and task.kind != "generate"
    return closed or request.temperature == 0 or request.seed is not None


def whole(attempt: Attempt) -> bool:
    """Whether an answer may be given again: accepted, whole, not empty, and a scan found nothing in it."""
    said = attempt.prediction
    if said is None or said.finish != "stop" or not attempt.decision.accepted or attempt.found or attempt.withheld:
        return False
    return said.value is not None or bool(said.text or said.tool_calls)


def key_of(tenant_key: bytes, request: Request, scope: str, asked: Sequence[tuple[str, str | None]]) -> bytes:
    """HMAC-SHA-256, under the tenant's key, of everything that can change the answer.

    That is all of the request but what is known to change none, the `scope` (what the path is made of) and who is
    `asked`, in order. The order of names in an object counts: a model writes fields in the order of its schema.
    """
    said = {name: getattr(request, name) for name in request.__struct_fields__ if name not in ASIDE}
    return hmac.digest(tenant_key, to_json([scope, asked, said]), "sha256")


def scope_of(*parts: object) -> str:
    """The name of what answers, by its content: task and policy, release, the settings of engines and scans."""
    return digest(parts)


def wanted(own: bool | None, settings: CacheSettings, *, anywhere: bool) -> bool:
    """Whether answers are kept: as the task or the engine says, else as the workspace does, where text may go anywhere.

    What may not is never switched on by a default.
    """
    return settings.on and anywhere if own is None else own


def _asked(path: "Path") -> list[tuple[str, str | None]]:
    return [(tier.engine.name, tier.release) for tier in path.tiers]

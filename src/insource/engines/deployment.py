"""A server on good days and bad: so many calls at once, few retries, none at all while it is down.

An engine around an engine. What stands before a server belongs to the server, not to a task: all paths of a process
that lead to it share one `Turnstile`. The rules (`Breaker`, `Budget`) are in `route`, which knows nothing of engines.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from time import monotonic
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from insource.engines.base import Embeds, Engine, Piece
from insource.engines.bursts import Coming, Into, after, bursts, one_by_one, streams
from insource.errors import EngineBusy, EngineDown, EngineError, EngineSlow, Outside
from insource.nouns import JsonObject, Prediction, Request, Usage
from insource.settings import EngineSettings

T = TypeVar("T")

TRIES = 3
PAUSE_S = 0.25
LONGEST_PAUSE_S = 2.0  # who is asked to wait longer tells its caller, or asks the next engine
FAIR_S = 0.5  # a call that had less time than this and got no answer says nothing about the server
NEARLY = 0.95  # of its time: a call that was cancelled then was too slow, not given up
FAILURES = (EngineBusy, EngineDown, EngineSlow)  # any other answer, be it a complaint, shows that the server lives

Outcome = Literal["answered", "failed", "unknown"]


class Permit(Protocol):
    """Leave to make one call."""

    def settle(self, outcome: Outcome, /) -> None:
        """Says how it went; "unknown" where nothing can be said of the server."""
        ...


class Breaker(Protocol):
    """Whether the server is asked at all; `route.breaker` is one."""

    @property
    def refuses(self) -> bool:
        """True when no call would be let through now."""
        ...

    @property
    def wait_s(self) -> float:
        """Seconds until the next probe."""
        ...

    def admit(self) -> Permit | None:
        """Leave to call now, or None."""
        ...


class Budget(Protocol):
    """How much may be tried again; `route.retries` is one."""

    def called(self) -> None:
        """There was a call."""
        ...

    def take(self) -> bool:
        """True when one more may be tried again."""
        ...


class Turnstile:
    """What stands before one server. Without a `breaker` every call goes. `under_way` calls are with the server now."""

    def __init__(self, name: str, settings: EngineSettings, breaker: Breaker | None, budget: Budget) -> None:
        self.name, self.breaker, self._budget = name, breaker, budget
        self._settings = settings
        self._queue: deque[asyncio.Future[None]] = deque()
        self.under_way = 0

    @property
    def rests(self) -> bool:
        """True when the server would not be asked now, because it failed lately."""
        return self.breaker is not None and self.breaker.refuses

    def trial(self, until: float) -> "_Trial":
        """One try of a call, a context that tells the breaker how it went. Raises `EngineDown` while the server rests.

        The call has until the time `until` of `monotonic`.
        """
        permit = self.breaker.admit() if self.breaker else None
        if permit is None and self.breaker:
            raise self.resting()
        return _Trial(permit, until, self._settings.slow_s)

    async def enter(self, deadline: float) -> float:
        """Takes a place among the calls at once, and gives the time of `monotonic` at which nobody waits any more.

        It raises at once `EngineDown` while the server rests, and `EngineBusy` when too many wait already;
        `EngineSlow` when no place came free within `deadline` seconds.
        """
        if self.rests:
            raise self.resting()
        until = monotonic() + deadline
        if self.under_way < self._settings.max_concurrent:
            self.under_way += 1
        else:
            await self._given(deadline)
        self._budget.called()
        return until

    def leave(self) -> None:
        """Gives the place back: to who waits longest, where anyone does."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.under_way -= 1

    async def _given(self, deadline: float) -> None:
        """Waits for a place that somebody leaves."""
        if len(self._queue) >= self._settings.max_waiting:
            held = f"{self.under_way} calls are with it and {len(self._queue)} wait"
            raise EngineBusy(f"{self.name} is full: {held}", hint="try again in a second")
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            async with asyncio.timeout(deadline):
                await place
        except BaseException as error:
            if place in self._queue:
                self._queue.remove(place)
            elif not place.cancelled():
                self.leave()  # it was given in the same moment
            if isinstance(error, TimeoutError):
                raise EngineSlow(f"{self.name} had no place free within {deadline:g} s") from error
            raise

    async def pause(self, error: EngineError, number: int, until: float) -> None:
        """Waits until another try may help, after the try with this `number`. Raises `error` when none would."""
        if error.again_s is None or number >= TRIES or self.rests:
            raise error
        pause = max(error.again_s, PAUSE_S * 2 ** (number - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        late = monotonic() + pause >= until
        if late or pause > LONGEST_PAUSE_S or not self._budget.take():
            raise error
        await asyncio.sleep(pause)
        if self.rests:
            raise error

    def resting(self) -> EngineDown:
        """What a call is told while the server rests."""
        wait = self.breaker.wait_s if self.breaker else 0.0
        return EngineDown(f"{self.name} rests after failures", hint=f"it is tried again in {wait:.0f} s")


class _Trial:
    """One try: how long it was given, and how long the server took to say something."""

    __slots__ = ("_began", "_heard", "_permit", "_slow_s", "given")

    def __init__(self, permit: Permit | None, until: float, slow_s: float) -> None:
        self._began = monotonic()
        self.given = max(until - self._began, 0.0)
        self._permit, self._slow_s = permit, slow_s
        self._heard: float | None = None

    def __enter__(self) -> "_Trial":
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: object) -> None:
        if self._permit is not None:
            self._permit.settle(self._outcome(error))

    def _outcome(self, error: BaseException | None) -> Outcome:
        if error is None:
            return "failed" if self.took > self._slow_s else "answered"
        if isinstance(error, EngineError):
            # what was not let out says as little of the server as what had no time
            unasked = isinstance(error, Outside) or (isinstance(error, EngineSlow) and self.given < FAIR_S)
            return "unknown" if unasked else "failed" if isinstance(error, FAILURES) else "answered"
        return "failed" if isinstance(error, asyncio.CancelledError) and self.gave_up else "unknown"

    def heard(self) -> None:
        """The server said something: from here on it is not slow."""
        self._heard = self._heard or monotonic()

    @property
    def took(self) -> float:
        return (self._heard or monotonic()) - self._began

    @property
    def gave_up(self) -> bool:
        """Whether a call that is cancelled now had its time, and heard nothing."""
        return self._heard is None and self.given >= FAIR_S and self.took >= NEARLY * self.given


class Deployment:
    """`engine` behind its turnstile. What may pass is tried again, within the budget, before the first word only."""

    def __init__(self, engine: Engine, turnstile: Turnstile) -> None:
        self.name, self.engine, self.turnstile = engine.name, engine, turnstile

    def complete(self, request: Request) -> Coroutine[Any, Any, Prediction]:
        """The engine's answer. Raises what the engine raises, and what `Turnstile.enter` does."""
        return self._tried(request, self.engine.complete)

    async def embed(self, request: Request, wanted: JsonObject) -> tuple[list[JsonObject], Usage]:
        """The engine's vectors, tried as an answer is. Raises `EngineError` for an engine that has none, too."""
        engine = self.engine
        if not isinstance(engine, Embeds):
            raise EngineError(f"{self.name} has no embeddings")
        return await self._tried(request, lambda request: engine.embed(request, wanted))

    async def _tried(self, request: Request, ask: Callable[[Request], Awaitable[T]]) -> T:
        until, number = await self.turnstile.enter(request.deadline), 0
        try:
            while True:
                number += 1
                try:
                    with self.turnstile.trial(until) as trial:
                        return await ask(_within(request, trial))
                except EngineError as error:
                    await self.turnstile.pause(error, number, until)
        finally:
            self.turnstile.leave()

    def stream(self, request: Request) -> AsyncGenerator[Piece]:
        """The engine's words as they come, then the whole Prediction. From an engine that cannot stream only that."""
        return one_by_one(self.bursts(request))

    async def bursts(self, request: Request) -> Coming:
        """What `stream` gives, together what came together."""
        until, number, said = await self.turnstile.enter(request.deadline), 0, False
        into: Into | None = None
        try:
            while True:
                number += 1
                try:
                    with self.turnstile.trial(until) as trial:
                        async with aclosing(self._pieces(_within(request, trial))) as coming:
                            while burst := await after(coming, into):
                                trial.heard()
                                said = True
                                into = yield burst
                    return
                except EngineError as error:
                    if said:
                        raise
                    await self.turnstile.pause(error, number, until)
        finally:
            self.turnstile.leave()

    async def close(self) -> None:
        """Closes the engine."""
        await self.engine.close()

    def _pieces(self, request: Request) -> Coming:
        return bursts(self.engine, request) if streams(type(self.engine)) else self._alone(request)

    async def _alone(self, request: Request) -> Coming:
        yield [await self.engine.complete(request)]


def _within(request: Request, trial: _Trial) -> Request:
    return msgspec.structs.replace(request, deadline=trial.given)

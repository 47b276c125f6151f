"""A server on good days and bad: so many calls at once, few retries, none at all while it is down.

An engine around an engine. What stands before a server belongs to the server, not to a task: all paths of a process
that lead to it share one `Turnstile`. The rules (`Breaker`, `Budget`) are in `route`, which knows nothing of engines.
An engine may have several servers, its `replicas`: the limits are theirs together, the rest is each one's own.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from time import monotonic
from typing import Any, NoReturn, Protocol, TypeVar

import msgspec

from insource.engines.base import Embeds, Engine, Piece
from insource.engines.bursts import Coming, Into, after, bursts, one_by_one, streams
from insource.engines.replicas import Breaker, Looks, Outcome, Pool, Replica, Seat, prefix_of
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
MOVES = (*FAILURES, Outside)  # with these another replica may do better


class Budget(Protocol):
    """How much may be tried again; `route.retries` is one."""

    def called(self) -> None:
        """There was a call."""
        ...

    def take(self) -> bool:
        """True when one more may be tried again."""
        ...


class Tries:
    """One call at a turnstile: it has until the time `until` of `monotonic`; `tried` replicas failed it already.

    `prefix` names what it begins with.
    """

    __slots__ = ("number", "prefix", "tried", "until")

    def __init__(self, until: float, prefix: str = "") -> None:
        self.until, self.prefix = until, prefix
        self.number, self.tried = 0, set[int]()


class Turnstile:
    """What stands before one server, or before the `pool` of an engine with several: `under_way` calls are with it now.

    Without a `breaker` every call goes to a single one.
    """

    def __init__(
        self, name: str, settings: EngineSettings, breaker: Breaker | None, budget: Budget, pool: Pool | None = None
    ) -> None:
        self.name, self.breaker, self._budget = name, breaker, budget
        self.pool = pool or Pool((Replica(name, breaker),))
        self._settings = settings
        self._queue: deque[asyncio.Future[None]] = deque()
        self.under_way = 0

    @property
    def rests(self) -> bool:
        """True when the server would not be asked now, because it failed lately."""
        return self.pool.rests

    def trial(self, tries: Tries) -> "_Trial":
        """The next try of a call, a context that tells the breaker how it went, `at` the place of a replica.

        Raises `EngineDown` while the server rests, `EngineBusy` while those that do not asked to be left alone.
        """
        tries.number += 1
        seat = self.pool.admit(tries.prefix, tries.tried)
        if seat is None:
            raise self.resting()
        tries.tried.add(seat.at)
        return _Trial(seat, tries.until, self._settings.slow_s)

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

    async def pause(self, error: EngineError, tries: Tries) -> None:
        """Waits until another try may help, after one of `tries` raised `error`; it is raised when none would.

        Another replica is tried at once. All of it is within the budget.
        """
        last = tries.number >= TRIES or self.rests
        paid = (
            error.again_s is None and self._settings.usd_per_million_output > 0
        )  # it may have been answered, and cost
        if not last and not paid and isinstance(error, MOVES) and self.pool.several and self.pool.free(tries.tried):
            if monotonic() < tries.until and self._budget.take():
                return
            raise error
        if error.again_s is None or last:
            self._give_up(error)
        tries.tried.clear()
        pause = max(error.again_s, PAUSE_S * 2 ** (tries.number - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        late = monotonic() + pause >= tries.until
        if late or pause > LONGEST_PAUSE_S or not self._budget.take():
            self._give_up(error)
        await asyncio.sleep(pause)
        if self.rests:
            self._give_up(error)

    def resting(self) -> EngineError:
        """What a call is told while the server rests, or all of several do."""
        wait, pool = self.pool.wait_s, self.pool
        if pool.several and not pool.rests:
            return EngineBusy(f"{self.name} asked to be left alone: {pool.told}", again_s=wait)
        how = f": {pool.told}" if pool.several else ""
        return EngineDown(f"{self.name} rests after failures{how}", hint=f"it is tried again in {wait:.0f} s")

    def _give_up(self, error: EngineError) -> NoReturn:
        """Raises the error; where none of several replicas is left, with how each of them is."""
        if not self.pool.several or not isinstance(error, MOVES) or self.pool.told in str(error):
            raise error
        raise type(error)(f"{error}; replicas: {self.pool.told}", hint=error.hint, again_s=error.again_s) from error


class _Trial:
    """One try: how long it was given, and how long the server took to say something."""

    __slots__ = ("_began", "_heard", "_seat", "_slow_s", "at", "given")

    def __init__(self, seat: Seat, until: float, slow_s: float) -> None:
        self._began = monotonic()
        self.given = max(until - self._began, 0.0)
        self._seat, self._slow_s, self.at = seat, slow_s, seat.at
        self._heard: float | None = None

    def __enter__(self) -> "_Trial":
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: object) -> None:
        self._seat.settle(self._outcome(error), error)

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
    """`engine` behind its turnstile. What may pass is tried again, within the budget, before the first word only.

    With `others` it is one replica of several, in the order of the turnstile's pool.
    """

    def __init__(self, engine: Engine, turnstile: Turnstile, *others: Engine) -> None:
        self.name, self.engine, self.turnstile = engine.name, engine, turnstile
        self._engines = (engine, *others)
        self._looks = Looks(turnstile.pool, self._engines)

    def complete(self, request: Request) -> Coroutine[Any, Any, Prediction]:
        """The engine's answer. Raises what the engine raises, and what `Turnstile.enter` does."""
        return self._tried(request, lambda engine, request: engine.complete(request))

    async def embed(self, request: Request, wanted: JsonObject) -> tuple[list[JsonObject], Usage]:
        """The engine's vectors, tried as an answer is. Raises `EngineError` for an engine that has none, too."""

        async def ask(engine: Engine, request: Request) -> tuple[list[JsonObject], Usage]:
            if not isinstance(engine, Embeds):
                raise EngineError(f"{self.name} has no embeddings")
            return await engine.embed(request, wanted)

        return await self._tried(request, ask)

    async def _tried(self, request: Request, ask: Callable[[Engine, Request], Awaitable[T]]) -> T:
        tries = await self._entered(request)
        try:
            while True:
                try:
                    with self.turnstile.trial(tries) as trial:
                        return await ask(self._engines[trial.at], _within(request, trial))
                except EngineError as error:
                    await self.turnstile.pause(error, tries)
        finally:
            self.turnstile.leave()

    def stream(self, request: Request) -> AsyncGenerator[Piece]:
        """The engine's words as they come, then the whole Prediction. From an engine that cannot stream only that."""
        return one_by_one(self.bursts(request))

    async def bursts(self, request: Request) -> Coming:
        """What `stream` gives, together what came together."""
        tries, said = await self._entered(request), False
        into: Into | None = None
        try:
            while True:
                try:
                    with self.turnstile.trial(tries) as trial:
                        async with aclosing(_pieces(self._engines[trial.at], _within(request, trial))) as coming:
                            while burst := await after(coming, into):
                                trial.heard()
                                said = True
                                into = yield burst
                    return
                except EngineError as error:
                    if said:
                        raise
                    await self.turnstile.pause(error, tries)
        finally:
            self.turnstile.leave()

    async def close(self) -> None:
        """Closes the engine."""
        await self._looks.close()
        for engine in self._engines:
            await engine.close()

    async def _entered(self, request: Request) -> Tries:
        until = await self.turnstile.enter(request.deadline)
        if not self.turnstile.pool.several:
            return Tries(until)
        self._looks.begin()
        return Tries(until, prefix_of(request))


def _pieces(engine: Engine, request: Request) -> Coming:
    return bursts(engine, request) if streams(type(engine)) else _alone(engine, request)


async def _alone(engine: Engine, request: Request) -> Coming:
    yield [await engine.complete(request)]


def _within(request: Request, trial: _Trial) -> Request:
    return msgspec.structs.replace(request, deadline=trial.given)

"""The servers of one engine: which of them is asked, how many calls each has, and which are left alone for a while.

    a call ──▶ Pool.admit ──▶ a Seat at one replica ──▶ Seat.settle says how it went, to its breaker and its counts

An engine with one server is a pool of one. Of several, one that fails is left alone by itself; before a call is risked
on it again it is asked for its health, where it has a word for that. Who is chosen is said by `Picks`.
"""

import asyncio
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from time import monotonic
from typing import Literal, Protocol, runtime_checkable

from insource.decode.prompt import system
from insource.errors import EngineBusy, EngineDown, EngineError, EngineSlow, Outside
from insource.nouns import Request, to_json
from insource.nouns.request import text_of

Outcome = Literal["answered", "failed", "unknown"]

LONGEST_REST_S = 30.0  # a server may ask to be left alone for so long; then it is asked whether it still means it
ECHO_S = 1.0  # an error keeps its place for so long, or who fails fastest would have the fewest calls and get all
IDLE_S = 10.0  # who was not heard of for so long is asked for its health beside the next call
APART_S = 1.0  # between two such questions to one server
LONG = 1_000  # characters, some 250 tokens: a shorter beginning is read again sooner than it is worth a queue
REASONS = ((EngineBusy, "full"), (EngineDown, "down"), (EngineSlow, "too slow"), (Outside, "outside the networks"))


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
    def state(self) -> str:
        """Where it stands; "closed" lets every call through."""
        ...

    @property
    def wait_s(self) -> float:
        """Seconds until the next probe."""
        ...

    def admit(self) -> Permit | None:
        """Leave to call now, or None."""
        ...


class Picks(Protocol):
    """Who of several is asked; `route.spread` is one."""

    def pick(self, loads: Sequence[int], ready: Sequence[int], prefix: str = "") -> int:
        """The place of one of `ready`, by how many calls each has; `prefix` names the beginning of the call."""
        ...


@runtime_checkable
class Checked(Protocol):
    """An engine whose server can say whether it is well."""

    async def well(self) -> bool | None:
        """Whether it says so, within seconds; None where it has no word for it, or was not asked."""
        ...


class Replica:
    """One server: `under_way` calls are with it. `ailing` until it has said that it is well, where it can say so."""

    __slots__ = ("ailing", "breaker", "busy_until", "heard", "looked", "looking", "name", "speaks", "under_way", "why")

    def __init__(self, name: str, breaker: Breaker | None) -> None:
        self.name, self.breaker = name, breaker
        self.under_way, self.why = 0, ""
        self.ailing = self.looking = False
        self.speaks = True
        self.busy_until = self.looked = 0.0
        self.heard = monotonic()

    @property
    def rests(self) -> bool:
        """True while it is not asked because it failed."""
        return self.breaker is not None and self.breaker.refuses

    @property
    def due(self) -> bool:
        """Whether the next call would be its probe."""
        return self.breaker is not None and self.breaker.state != "closed" and not self.breaker.refuses

    @property
    def wait_s(self) -> float:
        """Seconds until it may be asked."""
        return max(self.breaker.wait_s if self.breaker else 0.0, self.busy_until - monotonic(), 0.0)

    @property
    def told(self) -> str:
        """Its name and how it is, in words that come from no server."""
        rests = "rests" if self.rests or self.busy_until > monotonic() else ""
        return f"{self.name} {', '.join(filter(None, (self.why, rests))) or 'well'}"


class Pool:
    """The replicas of an engine. Of several, `picks` says who is asked; one alone needs none."""

    def __init__(self, replicas: Sequence[Replica], picks: Picks | None = None) -> None:
        self.replicas, self._picks = tuple(replicas), picks

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return self._picks is not None

    @property
    def rests(self) -> bool:
        """True when nobody would be asked now, since all failed."""
        return all(one.rests for one in self.replicas)

    @property
    def wait_s(self) -> float:
        """Seconds until somebody may be asked."""
        return min(one.wait_s for one in self.replicas)

    @property
    def told(self) -> str:
        """How each is."""
        return "; ".join(one.told for one in self.replicas)

    def free(self, tried: Container[int] = ()) -> list[int]:
        """The places of those that may be asked now, without the `tried`."""
        now = monotonic()
        every = enumerate(self.replicas)
        return [at for at, one in every if at not in tried and not one.rests and one.busy_until <= now]

    def admit(self, prefix: str, tried: Container[int]) -> "Seat | None":
        """A place at one of them, None where nobody may be asked. Who is due for a probe gets it first.

        Who is ailing is asked only where nobody else is left.
        """
        if self._picks is None:
            return self._seat(0)
        free = self.free(tried)
        well = [at for at in free if not self.replicas[at].ailing]
        due = next((at for at in well if self.replicas[at].due), None)
        if due is not None:
            return self._seat(due)
        ready = well or free
        loads = [one.under_way for one in self.replicas]
        return self._seat(self._picks.pick(loads, ready, prefix)) if ready else None

    def unsure(self) -> Iterator[int]:
        """The places of those whose health is to be asked for now, each marked as `looking`."""
        now = monotonic()
        for at, one in enumerate(self.replicas if self.several else ()):
            wanted = one.speaks and not one.looking and (one.ailing or now - one.heard > IDLE_S)
            if wanted and not one.rests and now - one.looked > APART_S:
                one.looking = True
                yield at

    def looked(self, at: int, *, well: bool | None) -> None:
        """What it said of its health; None: nothing, then the next call tells."""
        one = self.replicas[at]
        one.looked = monotonic()
        one.ailing = well is False
        one.speaks = well is not None
        if well is False:
            one.why = "down"
            if one.due and one.breaker is not None and (permit := one.breaker.admit()) is not None:
                permit.settle("failed")
        elif well:
            one.heard = one.looked

    def _seat(self, at: int) -> "Seat | None":
        one = self.replicas[at]
        permit = one.breaker.admit() if one.breaker else None
        return None if permit is None and one.breaker else Seat(self, at, permit)


class Seat:
    """Leave to call the replica at the place `at`. Settle it once."""

    __slots__ = ("_permit", "_pool", "at")

    def __init__(self, pool: Pool, at: int, permit: Permit | None) -> None:
        self._pool, self.at, self._permit = pool, at, permit
        pool.replicas[at].under_way += 1

    def settle(self, outcome: Outcome, error: BaseException | None) -> None:
        """Says how the call went. The calls of an engine with one server are not held against it any longer."""
        one = self._pool.replicas[self.at]
        if self._permit is not None:
            self._permit.settle(outcome)
        if not self._pool.several or not isinstance(error, EngineError):
            one.under_way -= 1
        else:
            asyncio.get_running_loop().call_later(ECHO_S, _leave, one)
        if not self._pool.several or outcome == "unknown":
            return
        one.heard = monotonic()
        one.why = next((words for kind, words in REASONS if isinstance(error, kind)), "")
        if isinstance(error, EngineBusy | EngineDown) and error.again_s:
            one.busy_until = one.heard + min(error.again_s, LONGEST_REST_S)
        if outcome == "failed":
            one.ailing = one.speaks and (one.breaker is None or one.rests)
        else:
            one.ailing = False


class Looks:
    """Asks the replicas of `pool`, which are these `engines`, for their health, beside the calls."""

    def __init__(self, pool: Pool, engines: Sequence[object]) -> None:
        self._pool, self._engines = pool, engines
        self._under_way: set[asyncio.Task[None]] = set()
        self._closed = False

    def begin(self) -> None:
        """Asks those that there is something to ask of."""
        for at in () if self._closed else self._pool.unsure():
            task = asyncio.create_task(self._look(at))
            self._under_way.add(task)
            task.add_done_callback(partial(self._ended, at))

    async def close(self) -> None:
        """Asks nobody any more."""
        self._closed, under_way = True, tuple(self._under_way)
        for task in under_way:
            task.cancel()
        for task in under_way:
            with suppress(asyncio.CancelledError):
                await task

    async def _look(self, at: int) -> None:
        engine = self._engines[at]
        self._pool.looked(at, well=await engine.well() if isinstance(engine, Checked) else None)

    def _ended(self, at: int, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._pool.replicas[at].looking = False  # where it was cut off, another may ask


def prefix_of(request: Request) -> str:
    """A name for what this call begins with, and others do; "" where that is too short to matter.

    A task's calls begin with its instruction. Those of a conversation begin with all up to its first user message,
    and one conversation has the same at each of its turns.
    """
    if request.task is not None:
        told = system(request.task)
        return _digest(told.encode()) if len(told) >= LONG else ""
    turns = request.messages
    if sum(len(text_of(turn.content)) for turn in turns) < LONG:
        return ""
    first = next((at for at, turn in enumerate(turns) if turn.role == "user"), len(turns))
    return _digest(to_json(turns[: first + 1]))


def _leave(one: Replica) -> None:
    one.under_way -= 1


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()

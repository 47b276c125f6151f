"""One engine on many machines: each holds the engine itself, and is given requests as soon as it has room.

A request is pure, so one whose machine is lost is asked again of another. Machines that come while the crew is at work
are taken on; what is known of a request stays here, and nothing is kept on a machine.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from threading import Semaphore
from typing import NamedTuple, Protocol

import msgspec

from insource.engines.aside import aside
from insource.engines.crew_wire import Answer, answers_of, batch_of, fault_of
from insource.errors import EngineDown, EngineError, EngineSlow, InsourceError
from insource.nouns import Prediction, Request

AHEAD = 2  # batches that a machine has: one is read while the next is on its way
GROWTH = 2  # so many times the first machines are kept busy, should more come
LOST = 3  # so many machines end over one request, and no more
CRASHES = 10  # of one machine without an answer between
LOOK_S, TOUCH_S, ALONE_S, AGAIN_S, PARTING_S = 1.0, 10.0, 30.0, 60.0, 10.0
TOGETHER = 256  # hired at a time


class Hand(Protocol):
    """A machine that holds the engine, and reads `reads` requests at once."""

    reads: int

    async def ask(self, batch: bytes) -> bytes | None:
        """Answers to a batch (`crew_wire`), in its order; None where the machine was lost meanwhile."""
        ...

    def dismiss(self) -> None:
        """Frees what it holds."""
        ...


class Staff(Protocol):
    """Where machines come from. A place is a machine, or a part of one that takes an engine of its own."""

    def places(self) -> list[str]:
        """The places there are now. Raises `EngineDown`."""
        ...

    def hire(self, place: str) -> Hand:
        """Has the engine opened there; takes as long as it takes. Raises what stands in the way."""
        ...

    def close(self) -> None:
        """Dismisses every hand, and whoever is being hired."""
        ...


@dataclass(eq=False)
class _Call:
    request: Request
    future: asyncio.Future[Prediction]
    began: float = field(default_factory=time.perf_counter)
    lost: int = 0  # machines

    def now(self) -> Request:
        """The request, with what is left of its time."""
        left = self.request.deadline - (time.perf_counter() - self.began)
        return msgspec.structs.replace(self.request, deadline=max(left, 0.001))


@dataclass(eq=False)
class _Seat:
    place: str
    hand: Hand
    out: int = 0  # requests
    batches: int = 0
    alone: bool = False  # with a request over which a machine was lost


class _Unfit(NamedTuple):
    """Why a place was not taken on, and the time of `monotonic` from which it may be tried again."""

    why: InsourceError
    again: float


class Crew:
    """Answers as the engine itself does. It is open once one machine is; the others come as they are ready.

    A request that was under way on a machine that is lost is asked again, by itself: one that ends machine after
    machine takes no other with it, and is an `EngineError` after the third. Raises `EngineDown` where no machine takes
    work, and what opening the engine raises where every one says so; later calls that find none for `alone_s` seconds
    too. `tell` hears of machines that are lost, in words.
    """

    def __init__(
        self, name: str, staff: Staff, *, tell: Callable[[str], None] = lambda _: None, alone_s: float = ALONE_S
    ) -> None:
        self.name = name
        self._staff, self._tell, self._alone_s = staff, tell, alone_s
        self._hiring = Semaphore(TOGETHER)
        self._seats: dict[str, _Seat] = {}
        self._coming: dict[str, Future[Hand]] = {}
        self._unfit: dict[str, _Unfit] = {}
        self._crashes: dict[str, int] = {}
        self._open_calls: set[_Call] = set()
        self._fresh: deque[_Call] = deque()
        self._suspects: deque[_Call] = deque()
        self._at_work: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._due = False
        self._down: InsourceError | None = None
        try:
            self._open()
        except BaseException:
            self._staff.close()
            raise

    def _open(self) -> None:
        places = self._staff.places()
        self._look(places)
        while not self._seats and self._coming:
            wait(self._coming.values(), return_when=FIRST_COMPLETED)
            self._look(places)
        if not self._seats:
            raise self._why()
        self.reads_at_once = GROWTH * len(places) * min(seat.hand.reads for seat in self._seats.values())

    @property
    def size(self) -> tuple[int, int]:
        """How many places answer, and how many there are."""
        return len(self._seats), len({*self._seats, *self._coming, *self._unfit})

    async def complete(self, request: Request) -> Prediction:
        """The engine's answer. Raises what it raises, and `EngineSlow` past the request's deadline."""
        loop = asyncio.get_running_loop()
        if self._watching is None:
            self._watching = loop.create_task(self._watch())
            self._watching.add_done_callback(lambda _: self._fail(EngineDown("the engine is closed")))
        if self._down is not None:
            raise _same(self._down)
        call = _Call(request, loop.create_future())
        self._open_calls.add(call)
        self._fresh.append(call)
        self._soon()
        try:
            async with asyncio.timeout(request.deadline):
                said = await call.future
        except TimeoutError as error:
            raise EngineSlow(f"{self.name} gave no answer within {request.deadline:g} s") from error
        finally:
            self._open_calls.discard(call)
        return msgspec.structs.replace(said, latency_ms=(time.perf_counter() - call.began) * 1000)

    async def close(self) -> None:
        """Dismisses the machines; what still waits gets `EngineDown`."""
        for task in filter(None, (self._watching, *self._at_work)):
            task.cancel()
        self._fail(EngineDown("the engine is closed"))
        await asyncio.wait([asyncio.wrap_future(aside(self._staff.close))], timeout=PARTING_S)

    async def _watch(self) -> None:
        """Takes on whoever comes, and lets those wait no longer who wait for nobody.

        Where nothing is heard of the machines they count as gone: whoever could say so may be gone itself.
        """
        seen = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            places = await self._in_touch()
            if places is not None:
                self._forgive()
                self._look(places)
                self._hand_out()
            if places is not None and (self._seats or self._coming):
                seen, self._down = time.monotonic(), None
            elif time.monotonic() - seen > self._alone_s:
                self._down = self._why()
                self._fail(self._down)

    async def _in_touch(self) -> list[str] | None:
        """The places there are; None where that is not to be learnt now."""
        try:
            async with asyncio.timeout(TOUCH_S):
                return await asyncio.wrap_future(aside(self._staff.places))
        except Exception:  # noqa: BLE001 - whatever it was, where it lasts nobody is heard of
            return None

    def _forgive(self) -> None:
        """Lets places be tried again, as long as others are at work: nobody waits for one that never comes."""
        now = time.monotonic()
        if self._seats:
            self._unfit = {place: unfit for place, unfit in self._unfit.items() if unfit.again > now}

    def _reject(self, place: str, why: InsourceError) -> None:
        self._unfit[place] = _Unfit(why, time.monotonic() + AGAIN_S)

    def _look(self, places: Sequence[str]) -> None:
        """Hires in every place that is new, and seats those who are ready."""
        self._unfit = {place: unfit for place, unfit in self._unfit.items() if place in places}
        self._seats = {place: seat for place, seat in self._seats.items() if place in places or seat.batches}
        for place in places:
            if place not in self._seats and place not in self._coming and place not in self._unfit:
                self._coming[place] = aside(partial(self._hire, place))
        for place, future in [(place, future) for place, future in self._coming.items() if future.done()]:
            del self._coming[place]
            try:
                self._seats[place] = _Seat(place, future.result())
            except InsourceError as error:
                self._reject(place, error)
            except Exception as error:  # noqa: BLE001 - one machine's fault is no other's
                self._reject(place, fault_of(error).error)

    def _hire(self, place: str) -> Hand:
        with self._hiring:
            return self._staff.hire(place)

    def _why(self) -> InsourceError:
        """What to say where nobody takes work."""
        hint = "ray status says which there are; run the same command again"
        nobody = EngineDown("no machine of the cluster takes work", hint=hint)
        return next((unfit.why for unfit in self._unfit.values()), nobody)

    def _soon(self) -> None:
        """Hands out once what is called in this turn of the loop is all there: the more, the fuller the batches."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._due = False
        while self._suspects and self._suspects[0].future.done():
            self._suspects.popleft()
        seats = sorted(self._seats.values(), key=lambda seat: seat.out)
        if self._suspects and seats:  # the idlest is kept for them, and for nothing else meanwhile
            kept = next((seat for seat in seats if seat.alone), seats[0])
            seats.remove(kept)
            if not kept.batches:
                kept.alone = True
                self._send(kept, [self._suspects.popleft()])
        while self._fresh and (free := [seat for seat in seats if seat.batches < AHEAD and not seat.alone]):
            seat = min(free, key=lambda seat: seat.out)
            share = -(-len(self._fresh) // len(free))
            some = [self._fresh.popleft() for _ in range(min(share, seat.hand.reads, len(self._fresh)))]
            if calls := [call for call in some if not call.future.done()]:
                self._send(seat, calls)

    def _send(self, seat: _Seat, calls: list[_Call]) -> None:
        seat.out += len(calls)
        seat.batches += 1
        task = asyncio.get_running_loop().create_task(self._ask(seat, calls))
        self._at_work.add(task)
        task.add_done_callback(partial(self._ended, calls))

    def _ended(self, calls: list[_Call], task: asyncio.Task[None]) -> None:
        """Whatever went wrong with a batch, nobody waits for it any longer."""
        self._at_work.discard(task)
        error = None if task.cancelled() else task.exception()
        for call in calls if error is not None else []:
            if not call.future.done():
                call.future.set_exception(fault_of(error).error)  # type: ignore[arg-type]

    async def _ask(self, seat: _Seat, calls: list[_Call]) -> None:
        try:
            said = await seat.hand.ask(batch_of([call.now() for call in calls]))
        finally:  # whatever goes wrong, the machine's place is free again
            seat.out -= len(calls)
            seat.batches -= 1
            seat.alone = False
            self._soon()
        if said is None:
            self._lose(seat, calls)
        else:
            self._crashes.pop(seat.place, None)
            for call, answer in zip(calls, answers_of(said, len(calls)), strict=True):
                _settle(call, answer)

    def _lose(self, seat: _Seat, calls: list[_Call]) -> None:
        """The machine is gone, or what answered on it: its requests are asked again, one at a time on a machine."""
        if self._seats.get(seat.place) is seat:
            del self._seats[seat.place]
            seat.hand.dismiss()
            times = self._crashes[seat.place] = self._crashes.get(seat.place, 0) + 1
            if times >= CRASHES:
                self._reject(seat.place, EngineDown(f"the engine ended {times} times in a row on {seat.place}"))
        self._tell(f"{self.name}: lost {seat.place}, {len(calls):,} requests are asked again")
        for call in calls:
            call.lost += 1
            if call.lost < LOST:
                self._suspects.append(call)
            elif not call.future.done():
                call.future.set_exception(EngineError(
                    f"{call.lost} machines were lost over this request", hint="it is asked again by another run"
                ))  # fmt: skip

    def _fail(self, error: InsourceError) -> None:
        """Whoever waits hears of it."""
        self._fresh.clear()
        self._suspects.clear()
        for call in self._open_calls:
            if not call.future.done():
                call.future.set_exception(_same(error))


def _same(error: InsourceError) -> InsourceError:
    """The error for one more caller: one that is raised again and again would keep every place it was raised at."""
    return type(error)(str(error), hint=error.hint)


def _settle(call: _Call, answer: Answer) -> None:
    if call.future.done():
        return
    if answer.prediction is not None:
        call.future.set_result(answer.prediction)
    elif answer.fault is not None:
        call.future.set_exception(answer.fault.error)

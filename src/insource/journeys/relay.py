"""An engine's words passed on as they come, with no task: the record is kept before the last of them."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from insource.engines.base import Engine
from insource.engines.bursts import Burst, Coming, Into, after, bursts, one_by_one
from insource.engines.patience import Patience
from insource.errors import Blocked, EngineError, EngineSlow, InsourceError, OutputInvalid, ScanFailed
from insource.journeys.again import Turn
from insource.journeys.answer import Keep, Path, Tier, intended, recorded, without_text
from insource.journeys.scanned import Watched, watched
from insource.nouns import Attempt, CallPiece, Decision, Prediction, Record, Request, Usage, canonical

LEFT = "the caller left, or the server stopped, before the end"
PASSED_ON = (EngineError, OutputInvalid, Blocked, ScanFailed)  # to the next engine, as long as no word has gone out


class Begun(NamedTuple):
    """Who answers, known with the first piece: which engine of the path, from 1, and its release, or its name."""

    tier: int
    release: str
    cached: bool = False


Told = str | CallPiece | Record
Onward = Callable[[list[Told]], bool]
Telling = AsyncGenerator[list[Told], Onward | None]
Begins = Callable[[Begun], None]


def unheard(_: Begun) -> None:
    """For whom it is all the same who answers."""


def relay(request: Request, path: Path, keep: Keep, begins: Begins = unheard) -> AsyncGenerator[Told]:
    """What `relay_bursts` gives, each piece by itself."""
    return one_by_one(relay_bursts(request, path, keep, begins))


async def relay_bursts(request: Request, path: Path, keep: Keep, begins: Begins = unheard) -> Telling:
    """Pieces of text and of calls, then the Record, which is durable by then. Close it (`aclosing`) to stop the engine.

    What came from the engine at once is one list, and goes on at once; the Record is alone in the last. `begins` hears
    who answers before the first piece. Calls of functions come in pieces where no scan is to look at them first; else
    the Record alone has them. A list that was given out may be answered with where the next ones are to go at once, as
    `engines.bursts` has it; where a scan looks at them they are given out nevertheless.

    An engine that fails before its first piece passes the call to the next of the path; after it nothing can be taken
    back. A call that breaks off, by the engine or by the caller, is kept too, with what was said until then. The first
    piece must come within the engine's share of the request's deadline, each other within the deadline. Raises the last
    `EngineError` when no engine is left, or one fails between pieces.
    """
    hashed = await intended(request, path)
    call = _Call(request, path, await watched(request, path.scans), hashed)
    try:
        call.check()
        if path.answers is not None:
            call.turn = await path.answers.turn(request, path, call.watch)
        with Patience() as patience:
            while call.prediction is None:
                try:
                    async with aclosing(call.source()) as coming:
                        into: Into | None = None
                        while burst := await call.hear(coming, patience, into):
                            said = call.passing(burst)
                            if said:
                                if not call.sent:
                                    call.sent = True
                                    begins(call.who)
                                into = call.into((yield said), patience)
                            call.go_on()
                except InsourceError as raised:
                    error = call.watch.hushed(raised)
                    if call.sent or not isinstance(raised, PASSED_ON) or not call.next(error):
                        call.error = error
                        raise error from raised.__cause__
    finally:
        # The caller's going must not take the record with it.
        record = await asyncio.shield(call.keep(keep))
    yield [call.watch.given(record)]


class _Call:
    """What is known of a call while it is being answered."""

    def __init__(self, request: Request, path: Path, watch: Watched, hashed: str) -> None:
        self.request, self.path, self.watch, self.hashed = request, path, watch, hashed
        self.watching = watch.stream()
        self.began = time.perf_counter()
        self.failed: list[Attempt] = []
        self.pieces = 0
        self.begun = self.sent = False
        self.prediction: Prediction | None = None
        self.error: InsourceError | None = None
        self.stop: InsourceError | None = None
        self.last: Prediction | None = None
        self.reason = LEFT
        self.turn: Turn | None = None

    @property
    def engine(self) -> Engine:
        """Who is asked now."""
        return self._tier.engine

    @property
    def share(self) -> float:
        """The seconds until its first piece: what is left, by those who can still be asked."""
        left = self.request.deadline - (time.perf_counter() - self.began)
        return max(left, 0.0) / (len(self.path.tiers) - len(self.failed))

    @property
    def hit(self) -> Attempt | None:
        """The answer that is given again, where there is one and it can be."""
        return self.turn.found if self.turn is not None and not self.failed else None

    @property
    def who(self) -> Begun:
        """Who answers now."""
        return Begun(len(self.failed) + 1, self._tier.release or self.engine.name, self.hit is not None)

    def source(self) -> Coming:
        """What is said, by the engine or once more."""
        if self.hit is not None and self.hit.prediction is not None:
            return _once_more(self.hit.prediction)
        return bursts(self.engine, self.watch.request)

    @property
    def _tier(self) -> Tier:
        return self.path.tiers[len(self.failed)]

    def check(self) -> None:
        """Raises what a scan has against the question."""
        if self.watch.error is not None:
            raise self.watch.error

    async def hear(self, coming: Coming, patience: Patience, into: Into | None) -> Burst | None:
        """What the engine says next, None at its end. Raises `EngineSlow` when it says nothing for too long."""
        seconds = self.request.deadline if self.begun else self.share
        try:
            burst = await patience.wait(after(coming, into), seconds)
        except TimeoutError as error:
            raise EngineSlow(f"the engine said nothing for {seconds:.0f} s") from error
        self.begun = self.begun or burst is not None
        return burst

    def passing(self, burst: Burst) -> list[Told]:
        """What may go on now that an engine has said this; `go_on` says what becomes of the rest."""
        if self.watching.plain and not isinstance(burst[-1], Prediction):
            self.pieces += len(burst)
            return [piece for piece in burst if piece and not isinstance(piece, Prediction)]
        gone: list[Told] = []
        try:
            for piece in burst:
                if isinstance(piece, str):
                    self.pieces += 1
                    self._say(self.watching.feed(piece), gone)
                elif isinstance(piece, CallPiece):
                    self.pieces += 1
                    gone += (piece,) if self.watching.plain else ()
                else:
                    self._say(self.watching.close(piece), gone)
        except InsourceError as error:
            self.stop = error
        return gone

    def into(self, onward: Onward | None, patience: Patience) -> Into | None:
        """Where the engine is to put what it says next, if it goes on to `onward` as it is."""
        if onward is None or not self.watching.plain:
            return None

        def heard(burst: Burst) -> bool:
            patience.more(self.request.deadline)
            said = self.passing(burst)
            return not said or onward(said)

        return heard

    def go_on(self) -> None:
        """The last burst has gone out: the call is answered if that was its end. Raises what a scan had against it."""
        if self.stop is not None:
            error, self.stop = self.stop, None
            raise error
        if self.last is not None:
            self.prediction, self.reason = self.last, self.hit.decision.reason if self.hit else "passed through"

    def _say(self, said: Iterable[str | Prediction], gone: list[Told]) -> None:
        for one in said:
            if isinstance(one, Prediction):
                self.last = one
            else:
                gone.append(one)

    def next(self, error: InsourceError) -> bool:
        """Goes on to the next engine of the path, if there is one."""
        if len(self.failed) + 1 == len(self.path.tiers):
            return False
        self.failed.append(self._attempt(error))
        self.watching, self.pieces, self.begun = self.watch.stream(), 0, False
        return True

    async def keep(self, keep: Keep) -> Record:
        """Keeps the call as it stands and returns its whole record."""
        attempts = self.watch.refusal or (*self.failed, self._attempt(self.error))
        if self.turn is not None:
            self.turn.keep(self.request.id, attempts)
        record = self.watch.noted(recorded(self.request, self.path, attempts, self.began, self.hashed))
        if self.prediction is None:  # words that break off wait for nobody's review
            record = msgspec.structs.replace(record, outcome="failed")
        await keep(without_text(record, None), None)
        return record

    def _attempt(self, error: InsourceError | None) -> Attempt:
        said = self.prediction
        if said is None and self.pieces:
            # What broke off has no count: a piece is about a token, and so are four bytes of what was asked. It is
            # charged, else who leaves before the last word would pay nothing for the question.
            usage = Usage(input_tokens=len(canonical(self.request.messages)) // 4, output_tokens=self.pieces)
            said = Prediction(text="", engine=self.engine.name, usage=usage, finish="length")
        decision = Decision(
            engine=self.engine.name,
            rule=self.hit.decision.rule if self.hit else self.path.rule or "passthrough",
            accepted=self.prediction is not None,
            reason=f"{error.code}: {error}" if error else self.reason,
        )
        withheld = isinstance(error, Blocked | ScanFailed)
        return Attempt(decision=decision, prediction=said, found=self.watching.found, withheld=withheld)


async def _once_more(said: Prediction) -> Coming:
    yield [said.text, said] if said.text else [said]

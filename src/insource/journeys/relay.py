"""An engine's words passed on as they come, with no task: the record is kept before the last of them."""

import asyncio
import time
from collections.abc import AsyncGenerator

from insource.engines.base import Streams
from insource.errors import Blocked, EngineSlow, InsourceError, ScanFailed
from insource.journeys.answer import Keep, Path, answer, intended, recorded, without_text
from insource.journeys.scanned import Watched, watched
from insource.nouns import Attempt, Decision, Prediction, Record, Request, Usage, canonical

LEFT = "the caller left, or the server stopped, before the end"


async def relay(request: Request, path: Path, keep: Keep) -> AsyncGenerator[str | Record]:
    """Pieces of text, then the Record, which is durable by then. Close it (`aclosing`) to stop the engine.

    A call that breaks off, by the engine or by the caller, is kept too, with what was said until then. Each piece
    must come within the request's deadline. Raises `EngineError` when the engine fails, before or between pieces.
    """
    engine = path.tiers[0].engine
    if not isinstance(engine, Streams):
        record = await answer(request, path, keep)
        if record.answer is not None and record.answer.text:
            yield record.answer.text
        yield record
        return
    await intended(request, path)
    watch = await watched(request, path.scans)
    call = _Call(request, path, watch)
    try:
        async for piece in _said(call, engine):
            yield piece
    except InsourceError as error:
        call.error = watch.hushed(error)
        raise call.error from error.__cause__
    finally:
        # The caller's going must not take the record with it.
        record = await asyncio.shield(call.keep(keep))
    yield watch.given(record)


async def _said(call: "_Call", engine: Streams) -> AsyncGenerator[str]:
    """What may go on of what the engine says."""
    if call.watch.error:
        raise call.watch.error
    async for piece in _pieces(engine, call.watch.request):
        call.pieces += isinstance(piece, str)
        for said in call.watching.feed(piece) if isinstance(piece, str) else call.watching.close(piece):
            if isinstance(said, str):
                yield said
            else:
                call.prediction, call.reason = said, "passed through"


async def _pieces(engine: Streams, request: Request) -> AsyncGenerator[str | Prediction]:
    stream = engine.stream(request)
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream), request.deadline)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise EngineSlow(f"the engine said nothing for {request.deadline:.0f} s") from error
        yield piece


class _Call:
    """What is known of a call while it is being answered."""

    def __init__(self, request: Request, path: Path, watch: Watched) -> None:
        self.request, self.path, self.watch = request, path, watch
        self.watching = watch.stream()
        self.began = time.perf_counter()
        self.pieces = 0
        self.prediction: Prediction | None = None
        self.error: InsourceError | None = None
        self.reason = LEFT

    async def keep(self, keep: Keep) -> Record:
        """Keeps the call as it stands and returns its whole record."""
        name = self.path.tiers[0].engine.name
        said = self.prediction
        if said is None and self.pieces:
            # What broke off has no count: a piece is about a token, and so are four bytes of what was asked. It is
            # charged, else who leaves before the last word would pay nothing for the question.
            usage = Usage(input_tokens=len(canonical(self.request.messages)) // 4, output_tokens=self.pieces)
            said = Prediction(text="", engine=name, usage=usage, finish="length")
        reason = f"{self.error.code}: {self.error}" if self.error else self.reason
        decision = Decision(engine=name, rule="passthrough", accepted=self.prediction is not None, reason=reason)
        withheld = isinstance(self.error, Blocked | ScanFailed)
        attempt = Attempt(decision=decision, prediction=said, found=self.watching.found, withheld=withheld)
        attempts = self.watch.refusal or (attempt,)
        record = self.watch.noted(await recorded(self.request, self.path, attempts, self.began))
        await keep(without_text(record, None), None)
        return record

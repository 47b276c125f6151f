"""Texts to vectors by an engine, recorded as any call is: noted before, kept after, never the texts."""

import asyncio
import time

from insource.engines.base import Embeds
from insource.errors import EngineDown, EngineError, EngineSlow, Invalid
from insource.journeys.answer import Keep, Path, intended, recorded, without_text
from insource.journeys.relay import LEFT
from insource.journeys.scanned import watched
from insource.nouns import Attempt, Decision, JsonObject, Prediction, Record, Request


async def embed(request: Request, path: Path, keep: Keep, wanted: JsonObject) -> tuple[Record, list[JsonObject]]:
    """The record, which is durable by then, and a vector for each message, in OpenAI's form.

    Raises `Invalid` for an engine that has none, `EngineError` when it fails, `Blocked` or `ScanFailed` where a scan
    lets no text pass: the record says so. `wanted` goes to the engine as it is.
    """
    engine = path.tiers[0].engine
    if not isinstance(engine, Embeds):
        raise Invalid(f"{engine.name} has no embeddings", hint="name an engine of a server that has", at="model")
    hashed = await intended(request, path)
    watch = await watched(request, path.scans)
    began, vectors = time.perf_counter(), list[JsonObject]()
    error = watch.error
    said: Prediction | None = None
    reason = LEFT
    try:
        if error is None:
            async with asyncio.timeout(request.deadline):
                vectors, usage = await engine.embed(watch.request, wanted)
            said, reason = Prediction(text="", engine=engine.name, usage=usage), "passed through"
    except TimeoutError:
        error = EngineSlow(f"{engine.name} did not answer within {request.deadline:.0f} s")
    except EngineError as raised:
        error = watch.hushed(raised)
    finally:
        decision = Decision(engine=engine.name, rule="passthrough", accepted=said is not None,
                            reason=(error or EngineDown(reason)).code if said is None else reason)  # fmt: skip
        attempts = watch.refusal or (Attempt(decision=decision, prediction=said),)
        record = watch.noted(recorded(request, path, attempts, began, hashed))
        await asyncio.shield(keep(without_text(record, None), None))
    if error is not None:
        raise error
    return record, vectors

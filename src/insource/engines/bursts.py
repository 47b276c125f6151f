"""An engine's words as they come in: what arrived at once goes on at once, and nothing waits for more.

Who takes a burst may answer it with an `Into`: a function that takes the next ones as soon as they are there, without a
turn of the loop, and says whether it takes another. An engine that cannot use it, or that is told no, goes on giving
them out one after the other. The last burst, which ends with the Prediction, is always given out.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import lru_cache
from typing import Any, Protocol, TypeVar, runtime_checkable

from insource.engines.base import Engine, Piece, Streams
from insource.nouns import Request

T = TypeVar("T")
S = TypeVar("S")
Burst = list[Piece]
Into = Callable[[Burst], bool]
Coming = AsyncGenerator[Burst, Into | None]


@runtime_checkable
class Bursts(Protocol):
    """An engine that knows which of its pieces arrived together."""

    def bursts(self, request: Request) -> Coming:
        """What `Streams.stream` gives, those pieces in one list that came at once; no list is empty."""
        ...


def bursts(engine: Engine, request: Request) -> Coming:
    """What the engine says as it comes; in one piece where it cannot stream. Closing it stops the engine."""
    return _way(type(engine))(engine, request)


@lru_cache(maxsize=64)
def streams(engine: type) -> bool:
    """Whether engines of this class can answer piece by piece; remembered, for to look is slow."""
    return issubclass(engine, Streams)


async def after(coming: AsyncGenerator[T, S | None], into: S | None) -> T | None:
    """What is given out next by who may use `into` until then, None at the end. `into` answers something given out."""
    try:
        return await coming.asend(into)
    except StopAsyncIteration:
        return None


async def one_by_one(coming: AsyncGenerator[list[T], Any]) -> AsyncGenerator[T]:
    """Each piece by itself. Closing it closes `coming`."""
    async with aclosing(coming) as many:
        async for burst in many:
            for piece in burst:
                yield piece


@lru_cache(maxsize=64)
def _way(engine: type) -> Callable[[Any, Request], Coming]:
    if issubclass(engine, Bursts):
        return engine.bursts
    return _singly if issubclass(engine, Streams) else _whole


async def _singly(engine: Streams, request: Request) -> Coming:
    async with aclosing(engine.stream(request)) as pieces:
        async for piece in pieces:
            yield [piece]


async def _whole(engine: Engine, request: Request) -> Coming:
    prediction = await engine.complete(request)
    yield [prediction.text, prediction] if prediction.text else [prediction]

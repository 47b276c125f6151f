"""An engine's words as they come in: what arrived at once goes on at once, and nothing waits for more."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import lru_cache
from typing import Any, Protocol, TypeVar, runtime_checkable

from insource.engines.base import Engine, Piece, Streams
from insource.nouns import Request

T = TypeVar("T")
Burst = list[Piece]


@runtime_checkable
class Bursts(Protocol):
    """An engine that knows which of its pieces arrived together."""

    def bursts(self, request: Request) -> AsyncGenerator[Burst]:
        """What `Streams.stream` gives, those pieces in one list that came at once; no list is empty."""
        ...


def bursts(engine: Engine, request: Request) -> AsyncGenerator[Burst]:
    """What the engine says as it comes; in one piece where it cannot stream. Closing it stops the engine."""
    return _way(type(engine))(engine, request)


@lru_cache(maxsize=64)
def streams(engine: type) -> bool:
    """Whether engines of this class can answer piece by piece; remembered, for to look is slow."""
    return issubclass(engine, Streams)


async def one_by_one(coming: AsyncGenerator[list[T]]) -> AsyncGenerator[T]:
    """Each piece by itself. Closing it closes `coming`."""
    async with aclosing(coming) as many:
        async for burst in many:
            for piece in burst:
                yield piece


@lru_cache(maxsize=64)
def _way(engine: type) -> Callable[[Any, Request], AsyncGenerator[Burst]]:
    if issubclass(engine, Bursts):
        return engine.bursts
    return _singly if issubclass(engine, Streams) else _whole


async def _singly(engine: Streams, request: Request) -> AsyncGenerator[Burst]:
    async with aclosing(engine.stream(request)) as pieces:
        async for piece in pieces:
            yield [piece]


async def _whole(engine: Engine, request: Request) -> AsyncGenerator[Burst]:
    prediction = await engine.complete(request)
    yield [prediction.text, prediction] if prediction.text else [prediction]

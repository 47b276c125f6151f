"""An engine's words as they come in: what arrived at once goes on at once, and nothing waits for more."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol, TypeVar, runtime_checkable

from insource.engines.base import Engine, Streams
from insource.nouns import Prediction, Request

T = TypeVar("T")
Burst = list[str | Prediction]


@runtime_checkable
class Bursts(Protocol):
    """An engine that knows which of its pieces arrived together."""

    def bursts(self, request: Request) -> AsyncGenerator[Burst]:
        """What `Streams.stream` gives, those pieces in one list that came at once; no list is empty."""
        ...


def bursts(engine: Engine, request: Request) -> AsyncGenerator[Burst]:
    """What the engine says as it comes; in one piece where it cannot stream. Closing it stops the engine."""
    if isinstance(engine, Bursts):
        return engine.bursts(request)
    return _singly(engine, request) if isinstance(engine, Streams) else _whole(engine, request)


async def one_by_one(coming: AsyncGenerator[list[T]]) -> AsyncGenerator[T]:
    """Each piece by itself. Closing it closes `coming`."""
    async with aclosing(coming) as many:
        async for burst in many:
            for piece in burst:
                yield piece


async def _singly(engine: Streams, request: Request) -> AsyncGenerator[Burst]:
    async with aclosing(engine.stream(request)) as pieces:
        async for piece in pieces:
            yield [piece]


async def _whole(engine: Engine, request: Request) -> AsyncGenerator[Burst]:
    prediction = await engine.complete(request)
    yield [prediction.text, prediction] if prediction.text else [prediction]

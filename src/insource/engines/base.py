"""The one seam every model stands behind."""

from collections.abc import AsyncGenerator
from typing import Protocol, runtime_checkable

from insource.nouns import CallPiece, JsonObject, Prediction, Request, Task, Usage

Piece = str | CallPiece | Prediction


class Engine(Protocol):
    """Whatever turns a Request into a Prediction.

    `complete` raises `EngineError` (or a subclass) when no answer can be had, never returns malformed output as
    finish "stop", and is safe to call concurrently: an engine batches by itself. `close` frees what it holds.
    """

    name: str

    async def complete(self, request: Request) -> Prediction:
        """The answer to one request."""
        ...

    async def close(self) -> None:
        """Frees threads, sockets and memory; the engine is not used afterwards."""
        ...


@runtime_checkable
class Streams(Protocol):
    """An engine that can also answer piece by piece."""

    def stream(self, request: Request) -> AsyncGenerator[Piece]:
        """Pieces of text as they come, then the whole Prediction as the last item. Closing it stops the engine.

        Calls of functions may come in pieces too: then all of what the Prediction says of them.
        """
        ...


@runtime_checkable
class Embeds(Protocol):
    """An engine that has vectors for texts."""

    async def embed(self, request: Request, wanted: JsonObject) -> tuple[list[JsonObject], Usage]:
        """A vector for each message of the request, in OpenAI's form, and the tokens that were read.

        `wanted` are OpenAI's own fields (`dimensions`, `encoding_format`). Raises `EngineError`.
        """
        ...


@runtime_checkable
class Bounded(Protocol):
    """An engine that reads only so much of a text at once; `engines.windowed` gives it a long one in windows."""

    def room(self, task: Task, /) -> int:
        """How many tokens of an input of `task` are read."""
        ...

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """For each token of the text the characters [start, stop) it spells, by the model's own tokenizer."""
        ...

"""Server-sent events that notice when the caller leaves."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.types import Receive, Scope, Send

from insource.errors import InsourceError
from insource.nouns import to_json
from insource.serve.faults import Stopping, error_body

DONE = b"data: [DONE]\n\n"


def event(value: object) -> bytes:
    """One event of JSON."""
    return b"data: " + to_json(value) + b"\n\n"


class EventStream:
    """An ASGI answer that sends `first` and then what `events` yields.

    When the caller leaves, `events` is closed at once and waited for. One of our errors ends the stream with an error
    event and without [DONE], so that no client takes the answer for whole.
    """

    def __init__(self, first: bytes, events: AsyncGenerator[bytes], headers: dict[str, str]) -> None:
        self._first = first
        self._events = events
        self._headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"} | headers

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer."""
        async with aclosing(self._events):
            raw = [(name.encode(), value.encode("latin-1")) for name, value in self._headers.items()]
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            sending = asyncio.create_task(self._send(send))
            leaving = asyncio.create_task(_left(receive))
            stopping = None
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError as error:
                stopping = error
            finally:
                leaving.cancel()
                gone = not sending.done() and sending.cancel()
                results = await asyncio.gather(sending, leaving, return_exceptions=True)
            if stopping is not None:
                await _end(send, Stopping())
                raise stopping
            if not gone and isinstance(results[0], Exception):
                raise results[0]

    async def _send(self, send: Send) -> None:
        await _body(send, self._first)
        try:
            async for data in self._events:
                await _body(send, data)
            await _body(send, DONE)
        except InsourceError as error:
            await _end(send, error)
        else:
            await _end(send)


async def _end(send: Send, error: InsourceError | None = None) -> None:
    if error is not None:
        await _body(send, event(error_body(error)))
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _body(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""Server-sent events that notice when the caller leaves."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from starlette.types import Receive, Scope, Send

from insource.errors import InsourceError
from insource.nouns import to_json
from insource.serve.exchange import exchange_of
from insource.serve.faults import Stopping, error_body
from insource.serve.leaving import Gone, WhileThere

DONE = b"data: [DONE]\n\n"
BREAK = b"\n"
GAP = msgspec.Raw(BREAK)  # where a text is to stand; compact JSON has no line feed of its own


def event(value: object) -> bytes:
    """One event of JSON."""
    return b"data: " + to_json(value) + b"\n\n"


class Words:
    """Events that differ in one text: `form` holds `GAP` in its place, and is serialised once."""

    def __init__(self, form: object) -> None:
        self._before, _, self._after = event(form).partition(BREAK)

    def event(self, text: str) -> bytes:
        """The event with this text."""
        return self._before + to_json(text) + self._after


class EventStream:
    """An ASGI answer that sends `first` and then what `events` yields, each as soon as it is there.

    When the caller leaves, `events` is closed and waited for. One of our errors ends the stream with an error event and
    without [DONE], so that no client takes the answer for whole. A caller who reads slowly stops `events` meanwhile.
    """

    def __init__(self, first: bytes, events: AsyncGenerator[bytes], headers: dict[str, str]) -> None:
        self._first = first
        self._events = events
        self._headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"} | headers

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Sends the answer."""
        async with aclosing(self._events):
            raw = [(name.encode(), value.encode("latin-1")) for name, value in self._headers.items()]
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            try:
                with WhileThere(exchange_of(scope)):
                    await self._send(send)
            except Gone:
                return
            except asyncio.CancelledError:
                await _end(send, event(error_body(Stopping())))
                raise

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        try:
            async for data in self._events:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except InsourceError as error:
            await _end(send, event(error_body(error)))
        else:
            await _end(send, DONE)


async def _end(send: Send, last: bytes) -> None:
    await send({"type": "http.response.body", "body": last, "more_body": False})

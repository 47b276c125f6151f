"""Server-sent events that notice when the caller leaves."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing

import msgspec
from starlette.types import Receive, Scope, Send

from insource.engines.bursts import after
from insource.errors import InsourceError
from insource.journeys.relay import Onward, Telling, Told
from insource.nouns import Record, to_json
from insource.serve.exchange import exchange_of
from insource.serve.faults import Stopping, error_body
from insource.serve.leaving import Gone, WhileThere

DONE = b"data: [DONE]\n\n"
BREAK = b"\n"
GAP = msgspec.Raw(BREAK)  # where a text is to stand; compact JSON has no line feed of its own
Events = AsyncGenerator[bytes, Callable[[bytes], bool] | None]


def event(value: object) -> bytes:
    """One event of JSON."""
    return b"data: " + to_json(value) + b"\n\n"


class Last(bytes):
    """The events that end an answer: what comes behind them is [DONE]."""


class Words:
    """Events that differ in one text: `form` holds `GAP` in its place, and is serialised once."""

    def __init__(self, form: object) -> None:
        self._before, _, self._after = event(form).partition(BREAK)

    def event(self, text: str) -> bytes:
        """The event with this text."""
        return self._before + to_json(text) + self._after


async def events_of(relayed: AbstractAsyncContextManager[Telling], said: Callable[[list[Told]], bytes]) -> Events:
    """What is told, each list as the events that `said` makes of it: none where that is empty."""
    async with relayed as coming:
        onward: Onward | None = None
        while told := await after(coming, onward):
            data = said(told)
            if isinstance(told[-1], Record):
                yield Last(data)
            elif data:
                onward = _onward((yield data), said)


def _onward(write: Callable[[bytes], bool] | None, said: Callable[[list[Told]], bytes]) -> Onward | None:
    if write is None:
        return None

    def told(burst: list[Told]) -> bool:
        data = said(burst)
        return not data or write(data)

    return told


class EventStream:
    """An ASGI answer that sends `first` and then what `events` yields, each as soon as it is there.

    Where `first` is what `events` began with (`begun`), the rest may go out as it comes, without a turn of the loop.

    When the caller leaves, `events` is closed and waited for. One of our errors ends the stream with an error event and
    without [DONE], so that no client takes the answer for whole. A caller who reads slowly stops `events` meanwhile.
    """

    def __init__(self, first: bytes, events: Events, headers: dict[str, str], *, begun: bool = False) -> None:
        self._first = first
        self._events = events
        self._begun = begun
        self._headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"} | headers

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Sends the answer."""
        exchange = exchange_of(scope)
        async with aclosing(self._events):
            raw = [(name.encode(), value.encode("latin-1")) for name, value in self._headers.items()]
            await exchange.begin(raw, self._first)
            try:
                with WhileThere(exchange):
                    await self._send(send, exchange.put if self._begun else None)
            except Gone:
                return
            except asyncio.CancelledError:
                await _end(send, event(error_body(Stopping())))
                raise

    async def _send(self, send: Send, write: Callable[[bytes], bool] | None) -> None:
        last = DONE
        try:
            while data := await after(self._events, write):
                if isinstance(data, Last):
                    last = data + DONE
                    break
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except InsourceError as error:
            last = event(error_body(error))
        await _end(send, last)


async def _end(send: Send, last: bytes) -> None:
    await send({"type": "http.response.body", "body": last, "more_body": False})

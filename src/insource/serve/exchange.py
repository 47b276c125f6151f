"""One call that came over a connection, and its answer: ASGI's `receive` and `send`, and shorter words for both.

Every ASGI server hands an app a scope and two functions. Ours puts itself into the scope as well, as the extension
`insource`: who leaves is heard of at once instead of being listened for, and an answer that is whole goes out at once.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope

NAME = "insource"
Headers = Iterable[tuple[bytes, bytes]]
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OK, FORM = b"HTTP/1.1 200 OK\r\n", b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
NO_BODY = (204, 304)
FAILED = b"Internal Server Error"
FAILED_HEAD: Headers = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(FAILED)))


class Wire(Protocol):
    """The connection below a call."""

    write_paused: bool

    def write(self, data: bytes, /) -> None:
        """Sends."""
        ...

    async def drained(self) -> None:
        """Returns when the caller has taken what had piled up, or is gone."""
        ...

    def resume_reading(self) -> None:
        """Goes on taking in what the caller sends."""
        ...

    def every_head(self) -> bytes:
        """The header lines that all answers have."""
        ...

    def answered(self, exchange: "Exchange", /) -> None:
        """Hears that a call has its whole answer."""
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...


class Exchange:
    """A call, whose head has come, and its answer.

    `more_body` says that not all of its body has come, `begun` that some of the answer has left, `complete` that all of
    it has, `gone` that nobody waits for it any more. `keeps` says that the connection serves further calls.
    """

    __slots__ = (
        "_chunked", "_event", "_expects", "_leaving", "_left", "_news", "_pieces", "_taken", "_wire",
        "begun", "complete", "counted", "gone", "keeps", "more_body", "scope", "waiting_bytes",
    )  # fmt: skip

    def __init__(self, wire: Wire, scope: Scope, *, keeps: bool, expects: bool) -> None:
        self._wire, self.scope, self.keeps, self._expects = wire, scope, keeps, expects
        self.more_body = True
        self.begun = self.complete = self.gone = self.counted = self._news = self._taken = False
        self.waiting_bytes = 0
        self._pieces: list[bytes] = []
        self._event: asyncio.Event | None = None
        self._leaving: list[Callable[[], None]] = []
        self._chunked, self._left = False, 0
        scope["extensions"] = {NAME: self}

    async def run(self, app: ASGIApp) -> None:
        """Has the call answered. Whatever the app does, the connection is sound afterwards or closed."""
        try:
            await app(self.scope, self.receive, self.send)
            if not self.complete and not self.gone:
                logging.getLogger("insource.serve").error("an answer was not brought to its end")
        except Exception:
            logging.getLogger("insource.serve").exception("a call failed")
            if not self.begun:
                await self.send({"type": "http.response.start", "status": 500, "headers": FAILED_HEAD})
                await self.send({"type": "http.response.body", "body": FAILED})
        finally:
            del self.scope["extensions"]  # each held the other, and all of the call until the collector came by
            if not self.complete:
                self._wire.close()

    # what the connection tells

    def feed(self, data: bytes) -> None:
        """Some of the body came."""
        self._pieces.append(data)
        self.waiting_bytes += len(data)
        self._tell()

    def end(self) -> None:
        """All of the body came."""
        self.more_body = False
        self._tell()

    def leave(self) -> None:
        """The caller left."""
        self.gone = True
        self._tell()
        for hear in tuple(self._leaving):
            hear()

    # what the app asks

    def on_leaving(self, hear: Callable[[], None]) -> None:
        """From now on `hear` is called when the caller leaves; at once where it has."""
        self._leaving.append(hear)
        if self.gone:
            hear()
        else:
            self._wire.resume_reading()

    def not_leaving(self, hear: Callable[[], None]) -> None:
        """From now on it is not."""
        self._leaving.remove(hear)

    def whole(self) -> bytes | None:
        """The call's whole body, where it has come and nobody took any of it; else None."""
        if self.more_body or len(self._pieces) != 1 or self._taken:
            return None
        self._news, self.waiting_bytes, self._taken = False, 0, True
        return self._pieces.pop()

    async def receive(self) -> Message:
        """What came of the body since the last time, or that nobody waits for an answer any more."""
        if self._expects and not self.begun and not self.gone:
            self._wire.write(CONTINUE)
        self._expects = False
        if not (self._news or self.complete or self.gone):
            self._wire.resume_reading()
            self._event = self._event or asyncio.Event()
            while not (self._news or self.complete or self.gone):
                self._event.clear()
                await self._event.wait()
        if self.complete or self.gone:
            return {"type": "http.disconnect"}
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._news, self.waiting_bytes, self._taken = [], False, 0, True
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """A part of the answer. Raises `RuntimeError` for what is no answer, which is a bug of the app."""
        if self._wire.write_paused and not self.gone:
            await self._wire.drained()
        if self.gone:
            return
        if not self.begun:
            self._begin(message["status"], message.get("headers", ()))
        elif self.complete:
            raise RuntimeError("more is said than the answer")
        else:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))

    async def answer(self, headers: Mapping[str, str], body: bytes) -> None:
        """The whole of a JSON answer with status 200; `headers` are those beside the ones of its form.

        Raises `RuntimeError` where a header holds the end of a line.
        """
        if self._wire.write_paused and not self.gone:
            await self._wire.drained()
        if self.gone:
            return
        self._expects, self.begun = False, True
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")
        _check(lines, len(headers))
        closes = b"" if self.keeps else b"connection: close\r\n"
        whole = (OK, self._wire.every_head(), lines, closes, FORM % len(body), body)
        self._wire.write(b"".join(whole))
        self._finish()

    async def begin(self, headers: Headers, first: bytes) -> None:
        """The head of an answer in chunks, with status 200, and the first of them; `send` and `put` say the rest.

        Raises `RuntimeError` as `answer` does.
        """
        if self._wire.write_paused and not self.gone:
            await self._wire.drained()
        if not self.gone:
            self._begin(200, headers, _chunk(first))

    def put(self, data: bytes) -> bool:
        """A chunk of an answer that goes on, at once. Says whether the next may be put too, and need not be sent.

        It may not where the caller left, or takes nothing more for now.
        """
        if self.gone:
            return False
        self._wire.write(_chunk(data))
        return not self._wire.write_paused

    def _begin(self, status: int, headers: Headers, first: bytes = b"") -> None:
        self._expects, self.begun = False, True
        said = {name.lower(): value for name, value in headers}
        closes = b"close" in said.get(b"connection", b"").lower()
        self.keeps = self.keeps and not closes
        lines = [b"%b: %b\r\n" % (name.lower(), value) for name, value in headers]
        no_body = self.scope["method"] == "HEAD" or status in NO_BODY
        if b"content-length" in said:
            self._left = 0 if no_body else int(said[b"content-length"])
        elif not no_body:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keeps and not closes:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        _check(head, len(lines))
        self._wire.write(b"".join((_status_line(status), self._wire.every_head(), head, b"\r\n", first)))

    def _go_on(self, body: bytes, *, more: bool) -> None:
        if self._chunked:
            last = b"" if more else b"0\r\n\r\n"
            self._wire.write(_chunk(body) + last if body else last)
        elif self.scope["method"] != "HEAD":
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the answer is not as long as it says")
            self._wire.write(body)
        if not more:
            self._finish()

    def _finish(self) -> None:
        self.complete = True
        if self._event is not None:
            self._event.set()
        self._wire.answered(self)

    def _tell(self) -> None:
        self._news = True
        if self._event is not None:
            self._event.set()


def exchange_of(scope: Scope) -> Exchange:
    """The call that the scope is of."""
    found: Exchange = scope["extensions"][NAME]
    return found


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _check(head: bytes, lines: int) -> None:
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise RuntimeError("a header holds the end of a line")


@lru_cache(maxsize=64)
def _status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())

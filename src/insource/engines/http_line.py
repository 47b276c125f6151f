"""One HTTP/1.1 connection that makes one call at a time: written here, parsed by httptools (llhttp, as in Node).

An answer is whole or an error: a body that ends before its length, its last chunk or, where it has neither, before the
connection was closed in order, is never taken for a whole one (RFC 9112 sections 6 and 8).
"""

import asyncio
from collections.abc import Callable
from typing import Any

import httptools

from insource.engines.http_faults import Broken
from insource.engines.outbox import Outbox
from insource.engines.patience import Timer
from insource.errors import EngineError

MOST_BUFFERED = 256 * 1024  # of an answer's bytes that nobody has read yet; then the server waits
MOST_POURED = 4 * 1024  # bytes that go on at once; what they are written as cannot be stopped on its way
MOST_HEAD = 64 * 1024
INTERIM = range(100, 200)
FRAMES = (b"content-length", b"transfer-encoding")


class Line(asyncio.Protocol):
    """A connection. `ask` sends a call and returns with the head of the answer; `piece` gives its body.

    `fresh` says that it has made no call yet: one that has may have been closed by the server meanwhile. `ended` says
    that all of the answer has come: what is left of it is `taken` without waiting. Calls leave together with those of
    the other connections that have the same `outbox`.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox, self._unsent = outbox, b""
        self.fresh = True
        self.ended = False
        self.status, self.reason = 0, ""
        self._fields: list[tuple[bytes, bytes]] = []
        self._transport: Any = None
        self._parser: Any = None
        self._loop = asyncio.get_running_loop()
        self._timer = Timer(self._loop, self._late)
        self._waiter: asyncio.Future[None] | None = None
        self._into: Callable[[bytes], bool] | None = None
        self._body = bytearray()
        self._head = self._for_head = self._asked = self._paused = self._keeps = False
        self._size = 0
        self._lost: Exception | None = None

    @property
    def usable(self) -> bool:
        """Whether another call can be made: the last answer came whole, and nothing behind it."""
        return self._lost is None and not self._asked

    def ask(self, call: bytes, until: float) -> "asyncio.Future[None]":
        """Sends `call`, head and body; await the head of the answer. Raises `Broken`, be it while that is awaited.

        Raises `TimeoutError` at the loop's time `until`. One call or piece is awaited at a time.
        """
        if self._lost is not None:
            raise self._lost
        self._begin()
        self._asked, self.ended, self._unsent = True, False, call
        self._outbox.put(self)
        return self._wait(until)

    def send(self) -> None:
        """Sends the call that was asked for last, unless the connection has ended."""
        if self._lost is None and not self._transport.is_closing():
            self._transport.write(self._unsent)
        self._unsent = b""

    async def piece(self, until: float) -> bytes:
        """The bytes that have come, or the next that come until then; b"" at the end. Raises as `ask` does."""
        if not self._body and not self.ended:
            await self._wait(until)
        return self.taken()

    def taken(self) -> bytes:
        """The bytes that have come."""
        data = bytes(self._body)
        self._body.clear()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    def header(self, name: str) -> str:
        """The field of the head with this name; "" where there is none."""
        wanted = name.encode()
        return next((value.decode("latin-1") for key, value in reversed(self._fields) if key.lower() == wanted), "")

    async def pour(self, into: Callable[[bytes], bool], until: Callable[[], float]) -> None:
        """Gives the bytes to `into` as they come, until it says no; many at once, and the last, are left to `piece`.

        Raises the `EngineError` that `into` raises, and as `ask` does: `TimeoutError` when `until` has passed, which is
        asked anew then.
        """
        self._into = into
        try:
            while self._into is not None and not self._body and not self.ended:
                by = until()
                try:
                    await self._wait(by)
                except TimeoutError:
                    if until() <= by:
                        raise
        finally:
            self._into = None

    def finish(self) -> bool:
        """Ends the call: True when the connection can make another; else it is closed."""
        self.fresh = False
        whole = self.ended and not self._body and self._keeps and self._lost is None
        if whole and not self._transport.get_write_buffer_size():
            self._asked = False
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """Closes at once; the server sees that nobody waits any longer."""
        self._lost = self._lost or Broken("closed")
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        if not self._asked or self.ended or self._unsent:
            self.abort()  # nobody asked for this: whose answer the next bytes are could not be told
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, Broken) as error:
            self._lost = Broken(f"what it says is no HTTP: {error}")
            self._transport.abort()
        if not self.ended and len(self._body) > MOST_BUFFERED and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: in order, which ends a body that has no length, or not."""
        framed = any(name.lower() in FRAMES for name, _ in self._fields)
        if self._asked and self._head and not framed and exc is None and self._lost is None:
            self.ended = True
        self._keeps = False
        self._timer.stop()
        self._lost = self._lost or Broken(str(exc) if exc else "it closed the connection")
        self._wake()

    # httptools

    def on_message_begin(self) -> None:
        """An answer begins. One behind the one that was asked for is nobody's."""
        if self.ended:
            raise Broken("it says more than was asked")

    def on_status(self, reason: bytes) -> None:
        """The words behind the status."""
        self.reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of the head, or a trailer."""
        self._size += len(name) + len(value) + len(b": \r\n")
        if self._size > MOST_HEAD:
            raise Broken(f"its head has more than {MOST_HEAD:,} bytes")
        if not self._head:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self.status = self._parser.get_status_code()
        self._keeps = self._parser.should_keep_alive()
        self._head = self.status not in INTERIM

    def on_body(self, data: bytes) -> None:
        """Some of the body."""
        self._body += data

    def on_message_complete(self) -> None:
        """The answer is whole, or was only an interim one."""
        if self._head:
            self.ended = True
        else:
            self._begin()

    def _begin(self) -> None:
        self.status, self.reason, self._fields = 0, "", []
        self._head, self._size = False, 0

    def _wait(self, until: float) -> "asyncio.Future[None]":
        """Done when the head has come; once it has, when more has. Raises what ended the connection."""
        if self._lost is not None:
            raise self._lost
        self._for_head = not self._head
        self._waiter = self._loop.create_future()
        self._timer.move(until)
        return self._waiter

    def _late(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if self._into is not None and 0 < len(self._body) <= MOST_POURED and not self.ended and self._lost is None:
            self._pour(self._into, self._waiter)
        elif self._body or self.ended or (self._for_head and self._head):
            self._waiter.set_result(None)
        elif self._lost is not None:
            self._waiter.set_exception(self._lost)

    def _pour(self, into: Callable[[bytes], bool], waiter: "asyncio.Future[None]") -> None:
        try:
            more = into(self.taken())
        except EngineError as error:  # it is who waits that learns of it
            waiter.set_exception(error)
        else:
            if not more:
                self._into = None
                waiter.set_result(None)

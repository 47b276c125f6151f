"""A connection to the gateway: HTTP/1.1, parsed by httptools (llhttp, as in Node), one call after the other.

uvicorn listens, starts and stops; this is the protocol that it speaks, in the place of its own, which costs a call more
than all that the gateway does with it. What a connection may cost before there is a call has bounds (`patience`), and a
call too many is refused by its first bytes (`door`).
"""

import asyncio
from collections import deque
from typing import Any, cast
from urllib.parse import unquote

import httptools
import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from insource.engines.outbox import Outbox
from insource.errors import InsourceError
from insource.nouns import to_json
from insource.serve.door import UNTOLD, Door, unread
from insource.serve.exchange import Exchange
from insource.serve.faults import error_body
from insource.serve.patience import LINES, MOST_HEAD, HeadTooLarge, NotHttp

MOST_WAITING = 65_536  # bytes of a body that nobody has asked for yet; then its caller waits
FRAMING = (b"content-length", b"transfer-encoding")
END = b"\r\n\r\n"
PLAIN = b"/v1/chat/completions"  # where nearly all calls go
TO_CHAT = {"path": PLAIN.decode(), "raw_path": PLAIN, "query_string": b""}
ASGI = {"version": "3.0", "spec_version": "2.3"}
REFUSAL = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncache-control: no-store\r\nconnection: close\r\n"


class Connection(asyncio.Protocol):
    """One connection. `calls` counts those that came over it, `taken` how often its caller took what had piled up.

    `exchange` is the call that is being answered, or was last; `idle` says that nothing came since. What `about` holds
    stands in the scope of every call.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._app = cast("ASGIApp", config.loaded_app)
        self._door: Door = config.app.state.door  # type: ignore[union-attr]
        self._outbox: Outbox = config.app.state.outbox  # type: ignore[union-attr]
        self._unsent: list[bytes] = []
        self._state, self._app_state = server_state, app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        # what comes behind the last call of a connection is passed over, and costs that call nothing
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._transport: Any = None
        self.about: Scope = {}
        self._headers: list[tuple[bytes, bytes]] = []
        self._url = b""
        self._waiting: deque[Exchange] = deque()
        self._expects = self._read_paused = False
        self._between = True  # no call is being read
        self._head = 0  # bytes of a head without an end
        self._pass_over = 0  # bytes of the body of a call that was refused
        self._writable: asyncio.Event | None = None
        self._every: tuple[object, bytes] = (None, b"")
        self._newest: Exchange | None = None  # of which the body is being read
        self.exchange: Exchange | None = None
        self.calls = self.taken = 0
        self.idle = self.write_paused = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = transport
        of = cast("asyncio.Transport", transport)
        self.about = {"server": get_local_addr(of), "client": get_remote_addr(of)}
        self.about["scheme"] = "https" if is_ssl(of) else "http"
        self._state.connections.add(self)  # type: ignore[arg-type]  # of what uvicorn asks, it has all

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        self.idle = False
        if self._pass_over:
            passed = min(self._pass_over, len(data))
            self._pass_over -= passed
            data = data[passed:]
            if not data:
                return
        if self._door.full_now and self._between and self._free and (rest := unread(data)) != UNTOLD:
            self._pass_over = rest
            self.write(self._door.refusal(self.every_head()))
            self.send()
            return
        before = self._newest
        between = before is None or not before.more_body
        if between and self._head + len(data) > MOST_HEAD and END not in data[: max(0, MOST_HEAD - self._head)]:
            self.refuse(HeadTooLarge(f"the headers are larger than {MOST_HEAD:,} bytes", hint="send fewer"))
            return
        self._parse(data)
        self._head = 0 if self._newest is not before else self._head + len(data) * between

    def eof_received(self) -> None:
        """The caller says no more: it is gone."""

    def connection_lost(self, _: Exception | None) -> None:
        """The caller is gone."""
        self._state.connections.discard(self)
        for exchange in (self.exchange, *self._waiting):
            if exchange is not None and not exchange.complete:
                self._count(exchange, under_way=False)
                exchange.leave()
        self._waiting.clear()
        self.resume_writing()
        self._parser = None  # each holds the other

    def pause_writing(self) -> None:
        """The caller does not take what is written."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """It took what had piled up."""
        self.taken += 1
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()

    # httptools

    def on_message_begin(self) -> None:
        """A call begins."""
        self._between = self._expects = False
        self._url, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        """Some of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of the head."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """A call has come but for its body."""
        version, keeps = self._parser.get_http_version(), self._parser.should_keep_alive()
        scope: Scope = {
            "type": "http",
            "asgi": ASGI,
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "root_path": "",
            "headers": self._headers,
            "state": self._app_state.copy(),
            **self.about,
            **(TO_CHAT if self._url == PLAIN else _place(self._url)),
        }
        exchange = Exchange(self, scope, keeps=keeps and version != "1.0", expects=self._expects)
        self.calls += 1
        self._newest = exchange
        if self._free:
            self._start(exchange)
        else:
            self.pause_reading()
            self._waiting.append(exchange)

    def on_body(self, body: bytes) -> None:
        """Some of a call's body."""
        exchange = self._newest
        if exchange is None or exchange.complete:
            return
        exchange.feed(body)
        if exchange.waiting_bytes > MOST_WAITING:
            self.pause_reading()

    def on_message_complete(self) -> None:
        """All of a call was read."""
        self._between = True
        exchange = self._newest
        if exchange is not None and not exchange.complete:
            exchange.end()
            if exchange is self.exchange:
                self._count(exchange, under_way=True)

    # what a call asks

    def write(self, data: bytes) -> None:
        """Sends with the end of this turn of the loop."""
        self._unsent.append(data)
        if len(self._unsent) == 1:
            self._outbox.put(self)

    def send(self) -> None:
        """Sends what was written, now."""
        unsent, self._unsent = self._unsent, []
        if unsent and not self._transport.is_closing():
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    async def drained(self) -> None:
        """Returns when the caller has taken what had piled up, or is gone."""
        while self.write_paused:
            self._writable = asyncio.Event()
            await self._writable.wait()

    def pause_reading(self) -> None:
        """Lets the caller wait with what it sends."""
        if not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Goes on taking in what the caller sends."""
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()

    def every_head(self) -> bytes:
        """The header lines that all answers have."""
        headers = self._state.default_headers  # a new list once a second
        if self._every[0] is not headers:
            self._every = headers, b"".join([b"%b: %b\r\n" % header for header in headers])
        return self._every[1]

    def answered(self, exchange: Exchange) -> None:
        """A call has its whole answer: the next one is begun, or waited for."""
        self._state.total_requests += 1
        self._count(exchange, under_way=False)
        if not exchange.keeps:
            self.close()
        if self._transport.is_closing():
            return
        self.resume_reading()
        if self._waiting:
            self._start(self._waiting.popleft())
        else:
            self.idle = True

    def close(self) -> None:
        """Ends the connection, behind what was written."""
        self.send()
        self._transport.close()

    # what the server asks

    @property
    def closing(self) -> bool:
        """Whether nothing is taken in any more."""
        return bool(self._transport.is_closing())

    def shutdown(self) -> None:
        """Ends the connection, after the call that is being answered."""
        if self._free or self.exchange is None:
            self.close()
        else:
            self.exchange.keeps = False

    def abort(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    def refuse(self, error: InsourceError) -> None:
        """Says why nothing more is taken, and closes; a call that came whole before that is answered first."""
        if self._transport.is_closing():
            return
        exchange = self.exchange
        if exchange is not None and not exchange.complete and (exchange.begun or not exchange.more_body):
            exchange.keeps = False  # a call that came whole is answered; what came behind it is not
            self.pause_reading()
            return
        body = to_json(error_body(error))
        self.write(REFUSAL % LINES[error.status] + b"content-length: %d\r\n\r\n" % len(body) + body)
        self.close()

    @property
    def _free(self) -> bool:
        return self.exchange is None or self.exchange.complete

    def _start(self, exchange: Exchange) -> None:
        self.exchange = exchange
        if not exchange.more_body:
            self._count(exchange, under_way=True)
        task = self._loop.create_task(exchange.run(self._app))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    def _count(self, exchange: Exchange, *, under_way: bool) -> None:
        """Who sends slowly keeps nobody out, and who has an answer may ask again: calls between count, each once."""
        if exchange.counted is not under_way:
            exchange.counted = under_way
            self._door.under_way += 1 if under_way else -1

    def _parse(self, data: bytes) -> None:
        before = self._newest
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                if self._newest is None or self._newest is before:
                    raise
                self._stay(self._newest, data[offer.args[0] :])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.refuse(NotHttp("this is no HTTP request", hint="HTTP/1.1 is spoken here"))

    def _stay(self, exchange: Exchange, rest: bytes) -> None:
        """Goes on in HTTP/1.1 with a call that offers another protocol, of which the parser leaves the body unread.

        Left to itself it would take that body for the next request.
        """
        exchange.keeps, exchange.more_body = False, True
        framing = b"".join(b"%b: %b\r\n" % line for line in self._headers if line[0] in FRAMING)
        self._parser = httptools.HttpRequestParser(_Rest(self))
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n" + rest)


class _Rest:
    """Hears the body of a call whose head was read, and nothing else."""

    def __init__(self, of: Connection) -> None:
        self.on_body, self.on_message_complete = of.on_body, of.on_message_complete


def _place(url: bytes) -> dict[str, Any]:
    """Where a call goes. Raises `UnicodeDecodeError` or an error of the parser for what is no address."""
    parts: Any = httptools.parse_url(url)  # its types know no None
    path = parts.path.decode("ascii")
    return {"path": unquote(path), "raw_path": parts.path, "query_string": parts.query or b""}

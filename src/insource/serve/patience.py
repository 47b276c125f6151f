"""What a connection may cost before there is a call: how long its bytes may take, and how many a head may have.

uvicorn waits without end for a head, a body, and a caller that does not read; and takes a head of any size. Here each
has an end, and what is no HTTP is told so in the form of every other error. On the way of a call that keeps to this,
nothing is added: a look at all connections once a second finds those that stand still.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from insource.errors import InsourceError
from insource.nouns import to_json
from insource.serve.faults import error_body

HURRIED_S = 1.0
MOST_HEAD = 65_536  # bytes of a request line and headers, as uvicorn's other parser has it
FRAMING = (b"content-length", b"transfer-encoding")
END = b"\r\n\r\n"
LINES = {400: b"400 Bad Request", 408: b"408 Request Timeout", 431: b"431 Request Header Fields Too Large"}


class Patience(NamedTuple):
    """Seconds: for a head to be whole, for a body to be whole, for a caller to take what was written."""

    head_s: float = 30.0
    body_s: float = 120.0
    taken_s: float = 60.0


class NotHttp(InsourceError):
    """What came is no HTTP request that can be answered."""

    status, exit_code, code = 400, 2, "bad_request"


class HeadTooLarge(NotHttp):
    """The request line and headers are larger than 64 KiB."""

    status, code = 431, "headers_too_large"


class HeadTooSlow(NotHttp):
    """The request line and headers were not whole in time."""

    status, code = 408, "request_timeout"


class Patient(HttpToolsProtocol):
    """uvicorn's HTTP with an end to what it takes in. `taken` counts how often its caller took what had piled up."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.taken = 0
        self._head = 0

    @property
    def in_head(self) -> bool:
        """Whether the next thing to come is a request line, or the rest of a head."""
        return self.cycle is None or (self.cycle.response_complete and self.timeout_keep_alive_task is None)

    def data_received(self, data: bytes) -> None:
        """Takes in what came. A head without an end is refused before it is kept."""
        before = self.cycle
        between = before is None or not before.more_body
        if between and self._head + len(data) > MOST_HEAD and END not in data[: max(0, MOST_HEAD - self._head)]:
            self.refuse(HeadTooLarge(f"the headers are larger than {MOST_HEAD:,} bytes", hint="send fewer"))
            return
        self._unset_keepalive_if_required()
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                self._stay(before, data[offer.args[0] :])
        except httptools.HttpParserError:
            self.refuse(NotHttp("this is no HTTP request", hint="HTTP/1.1 is spoken here"))
        self._head = 0 if self.cycle is not before else self._head + len(data) * between

    def resume_writing(self) -> None:
        """Goes on: the caller took what had piled up."""
        self.taken += 1
        super().resume_writing()

    def refuse(self, error: InsourceError) -> None:
        """Says why nothing more is taken, and closes; a call that came whole before that is answered first."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body):
            cycle.keep_alive = False  # a call that came whole is answered; what came behind it is not
            self.flow.pause_reading()
            return
        body = to_json(error_body(error))
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncache-control: no-store\r\nconnection: close\r\n"
        self.transport.write(head % LINES[error.status] + b"content-length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()

    def _stay(self, before: object, rest: bytes) -> None:
        """Goes on in HTTP/1.1 with a call that offers another protocol, of which the parser leaves the body unread.

        Left to itself it would take that body for the next request.
        """
        cycle = self.cycle
        if cycle is None or cycle is before:
            self.refuse(NotHttp("no other protocol is spoken here", hint="HTTP/1.1 is"))
            return
        cycle.keep_alive, cycle.more_body = False, True
        cycle.message_event.clear()
        framing = b"".join(b"%s: %s\r\n" % line for line in self.headers if line[0] in FRAMING)
        self.parser = httptools.HttpRequestParser(_Rest(self))
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n" + rest)


class _Rest:
    """Hears the body of a call whose head was read, and nothing else."""

    def __init__(self, of: Patient) -> None:
        self.on_body, self.on_message_complete = of.on_body, of.on_message_complete


class Watch:
    """Looks at all connections now and then, and ends those that stand still for longer than `patience`.

    Once there are half as many as `room` says that there can be, heads are waited for a second only: who opens
    connections and says nothing takes nobody's place.
    """

    def __init__(self, patience: Patience, room: Callable[[], int]) -> None:
        self._patience, self._room = patience, room
        self._still: dict[Patient, tuple[object, float]] = {}

    def look(self, connections: Collection[object], now: float) -> None:
        """`now` is in seconds, of any clock that goes on."""
        still: dict[Patient, tuple[object, float]] = {}
        waits = self._patience
        if len(connections) >= self._room() / 2:
            waits = waits._replace(head_s=min(HURRIED_S, waits.head_s))
        for one in connections:
            stage = _stage(one) if isinstance(one, Patient) else None
            if stage is None or not isinstance(one, Patient):
                continue
            seen, since = self._still.get(one, (None, now))
            still[one] = (stage, since if seen == stage else now)
            if now - still[one][1] >= getattr(waits, stage[0]):
                _end(one, stage[0])
        self._still = still


def _stage(one: Patient) -> tuple[str, object, int] | None:
    """What it waits for: which patience that takes, in which call, and how far it came. None where for nothing."""
    if one.transport.is_closing() or one.flow.write_paused:
        return ("taken_s", id(one.cycle), one.taken)
    if one.in_head:
        return ("head_s", id(one.cycle), 0)
    if one.cycle.more_body and not one.cycle.response_complete:
        return ("body_s", id(one.cycle), 0)
    return None


def _end(one: Patient, stage: str) -> None:
    if stage == "head_s":
        one.refuse(HeadTooSlow("the request was not whole in time", hint="send it at once"))
    else:
        one.transport.abort()

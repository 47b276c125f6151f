"""What a connection may cost before there is a call: how long its bytes may take, and how many a head may have.

Each wait for a caller has an end, and what is no HTTP is told so in the form of every other error. On the way of a call
that keeps to this, nothing is added: a look at all connections once a second finds those that stand still.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol, cast

from insource.errors import InsourceError
from insource.serve.exchange import Exchange

HURRIED_S = 1.0
MOST_HEAD = 65_536  # bytes of a request line and headers, as other servers have it
LINES = {400: b"400 Bad Request", 408: b"408 Request Timeout", 431: b"431 Request Header Fields Too Large"}


class Patience(NamedTuple):
    """Seconds: for a head to be whole, for a body to be whole, for a caller to take what was written, between calls."""

    head_s: float = 30.0
    body_s: float = 120.0
    taken_s: float = 60.0
    idle_s: float = 75.0


class Stage(NamedTuple):
    """What a connection waits for: by which patience (`name`), in which call, and how far it came."""

    name: str
    call: int
    came: int


class NotHttp(InsourceError):
    """What came is no HTTP request that can be answered."""

    status, exit_code, code = 400, 2, "bad_request"


class HeadTooLarge(NotHttp):
    """The request line and headers are larger than 64 KiB."""

    status, code = 431, "headers_too_large"


class HeadTooSlow(NotHttp):
    """The request line and headers were not whole in time."""

    status, code = 408, "request_timeout"


class Waits(Protocol):
    """What is looked at of a connection."""

    exchange: Exchange | None
    calls: int
    taken: int
    idle: bool
    write_paused: bool

    @property
    def closing(self) -> bool:
        """Whether nothing is taken in any more."""
        ...

    def refuse(self, error: InsourceError, /) -> None:
        """Says why nothing more is taken, and closes."""
        ...

    def close(self) -> None:
        """Closes."""
        ...

    def abort(self) -> None:
        """Closes at once."""
        ...


class Watch:
    """Looks at all connections now and then, and ends those that stand still for longer than `patience`.

    Once there are half as many as `room` says that there can be, heads are waited for a second only: who opens
    connections and says nothing takes nobody's place.
    """

    def __init__(self, patience: Patience, room: Callable[[], int]) -> None:
        self._patience, self._room = patience, room
        self._still: dict[Waits, tuple[Stage, float]] = {}

    def look(self, connections: Collection[object], now: float) -> None:
        """`now` is in seconds, of any clock that goes on."""
        still: dict[Waits, tuple[Stage, float]] = {}
        waits = self._patience
        if len(connections) >= self._room() / 2:
            waits = waits._replace(head_s=min(HURRIED_S, waits.head_s))
        for one in cast("Collection[Waits]", connections):
            stage = _stage(one)
            if stage is None:
                continue
            seen, since = self._still.get(one, (None, now))
            still[one] = (stage, since if seen == stage else now)
            if now - still[one][1] >= getattr(waits, stage.name):
                _end(one, stage.name)
        self._still = still


def _stage(one: Waits) -> Stage | None:
    """What it waits for; None where for nothing."""
    exchange = one.exchange
    if one.closing or one.write_paused:
        return Stage("taken_s", one.calls, one.taken)
    if exchange is None or exchange.complete:
        return Stage("idle_s" if one.idle else "head_s", one.calls, 0)
    return Stage("body_s", one.calls, 0) if exchange.more_body else None


def _end(one: Waits, name: str) -> None:
    if name == "head_s":
        one.refuse(HeadTooSlow("the request was not whole in time", hint="send it at once"))
    elif name == "idle_s":
        one.close()
    else:
        one.abort()

"""Calls that come by the clock, whether or not the last ones were answered, and a server of fixed speed behind them.

An answer's time counts from when its call was due, not from when it was sent: where the load itself comes late, that
is in the figures. Sockets are bare: a call costs a write, its answer a look for the length. One loop does it all.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 30.0
TICK_S = 0.001
MOST_CONNECTIONS = 1500  # fewer than wait to be accepted: a connection that is not taken is tried again after a second
OK, FULL = 200, 429


@dataclass(slots=True)
class Call:
    """One call: when it was due, sent and answered, in seconds of `time.perf_counter`; status 0 where it broke off."""

    due: float
    sent: float = 0.0
    done: float = 0.0
    status: int = 0

    @property
    def ms(self) -> float:
        """From when it was due to the end of its answer."""
        return (self.done - self.due) * 1000


class Line(asyncio.Protocol):
    """A connection that is kept, with one call at a time. `free` is told when it can take another."""

    def __init__(self, free: "Callable[[Line], None]") -> None:
        self._free = free
        self.call: Call | None = None
        self._need = 0
        self._had = bytearray()
        self.transport: Any = None  # uvloop has classes of its own

    def connection_made(self, transport: Any) -> None:
        """It is open."""
        self.transport = transport

    def ask(self, call: Call, data: bytes) -> None:
        """Sends a call."""
        self.call, call.sent = call, time.perf_counter()
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Some of the answer came."""
        if not self._had and not self._need:
            self._begin(data)
        else:
            self._had += data
            if not self._need:
                whole, self._had = bytes(self._had), bytearray()
                self._begin(whole)
                return
            self._end_if_whole()

    def _begin(self, data: bytes) -> None:
        head = data.find(b"\r\n\r\n")
        if head < 0:
            self._had += data
            return
        at = data.lower().find(b"content-length: ")
        length = int(data[at + 16 : data.find(b"\r\n", at)])
        assert self.call is not None
        self.call.status, self._need = int(data[9:12]), head + 4 + length
        self._had += data
        self._end_if_whole()

    def _end_if_whole(self) -> None:
        if len(self._had) >= self._need:
            self._had.clear()
            self._need = 0
            call, self.call = self.call, None
            assert call is not None
            call.done = time.perf_counter()
            self._free(self)

    def connection_lost(self, _: Exception | None) -> None:
        """A call that was under way keeps status 0."""
        if self.call is not None:
            self.call.status = 0
        self.transport = None


@dataclass
class Load:
    """Calls to one gateway at `port`, each of them `data`."""

    port: int
    data: bytes
    lines: list[Line] = field(default_factory=list)
    idle: list[Line] = field(default_factory=list)
    late: deque[Call] = field(default_factory=deque)  # calls that are due and have no connection

    async def line(self, free: Callable[[Line], None]) -> Line:
        """A new connection."""
        _, made = await asyncio.get_running_loop().create_connection(lambda: Line(free), "127.0.0.1", self.port)
        self.lines.append(made)
        return made

    async def closed(self, connections: int, seconds: float, pause_s: float) -> list[Call]:
        """So many callers, each with one call after another; one that is refused waits `pause_s`."""
        calls: list[Call] = []
        loop, until = asyncio.get_running_loop(), time.perf_counter() + seconds

        def again(line: Line) -> None:
            if calls_of[line].status == OK:
                ask(line)
            else:
                loop.call_later(pause_s, ask, line)

        def ask(line: Line) -> None:
            now = time.perf_counter()
            if now < until and line.transport is not None:
                calls_of[line] = call = Call(now)
                calls.append(call)
                line.ask(call, self.data)

        calls_of: dict[Line, Call] = {}
        lines = [await self.line(again) for _ in range(connections)]
        until = time.perf_counter() + seconds
        for line in lines:
            ask(line)
        await asyncio.sleep(seconds)
        await _ended(calls)
        for line in lines:
            if line.transport is not None:
                line.transport.close()
        self.lines = [line for line in self.lines if line not in calls_of]
        return calls

    async def open(self, per_s: float, seconds: float, seed: int) -> list[Call]:
        """Calls at random moments, so many a second on average (a Poisson process), for so many seconds."""
        dice = random.Random(seed)  # noqa: S311 - moments, no secret
        began, calls = time.perf_counter() + 0.01, list[Call]()
        due = began + dice.expovariate(per_s)
        waiting: set[asyncio.Task[None]] = set()
        while due < began + seconds:
            now = time.perf_counter()
            while due <= now and due < began + seconds:
                call = Call(due)
                calls.append(call)
                due += dice.expovariate(per_s)
                line = self._idle_line()
                if line is not None:
                    line.ask(call, self.data)
                elif len(self.lines) + len(waiting) < MOST_CONNECTIONS:
                    task = asyncio.ensure_future(self._on_new_line(call))
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
                else:
                    self.late.append(call)
            await asyncio.sleep(TICK_S)
        await asyncio.gather(*waiting)
        await _ended(calls)
        return calls

    def _free(self, line: Line) -> None:
        if self.late:
            line.ask(self.late.popleft(), self.data)
        else:
            self.idle.append(line)

    def _idle_line(self) -> Line | None:
        while self.idle:
            line = self.idle.pop()
            if line.transport is not None and not line.transport.is_closing():
                return line
        return None

    async def _on_new_line(self, call: Call) -> None:
        try:
            line = await self.line(self._free)
        except OSError:
            return
        line.ask(call, self.data)


async def _ended(calls: list[Call]) -> None:
    """Waits for the answers that are under way, for as long as a caller has patience."""
    until = time.perf_counter() + PATIENCE_S
    while any(not call.done and call.sent for call in calls) and time.perf_counter() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


class Served(asyncio.Protocol):
    """One connection to the server: each call is answered after so many seconds."""

    def __init__(self, after_s: float, answer: bytes) -> None:
        self._after_s, self._answer = after_s, answer
        self._had = bytearray()
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None  # uvloop has classes of its own

    def connection_made(self, transport: Any) -> None:
        """It is open."""
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        """Nobody waits any longer."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Some of a call came."""
        self._had += data
        head = self._had.find(b"\r\n\r\n")
        if head < 0:
            return
        low = self._had[:head].lower()
        at = low.find(b"content-length: ")
        end = low.find(b"\r\n", at)
        length = int(low[at + 16 : end if end >= 0 else None])
        if len(self._had) >= head + 4 + length:
            self._had.clear()
            self._loop.call_later(self._after_s, self._say)

    def _say(self) -> None:
        if self._transport is not None:
            self._transport.write(self._answer)


@asynccontextmanager
async def served(after_s: float, body: bytes) -> AsyncIterator[int]:
    """The port of a server that answers every call with `body` after so many seconds."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Served(after_s, head.encode() + body), "127.0.0.1", 0, backlog=4096)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()

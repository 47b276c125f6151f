"""The connections to one server: each goes to an address that was looked at by the way out, and is kept for the next.

Redirects, cookies, compression, proxies and netrc of the environment: there are none.
"""

import asyncio
import ipaddress
import socket
import ssl
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from insource import __version__
from insource.engines.http_faults import NoLine
from insource.engines.http_line import Line
from insource.engines.outbox import Outbox
from insource.engines.outward import PORTS, Outward, destination_of

KEPT_S = 15.0  # servers close what is idle for longer; 5 s are usual behind Node, 75 s behind nginx
UNQUOTED = "/%:@!$&'()*+,;=~-._"


class Place(NamedTuple):
    """Where a server is, of its http(s) address. `destination` is HOST:PORT."""

    secure: bool
    host: str
    port: int
    destination: str

    @classmethod
    def of(cls, url: str) -> "Place":
        """Raises `ValueError` for what is no such address, or has a user or a password."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc:
            raise ValueError("not an http(s) address")
        host = parts.hostname.rstrip(".")
        host = host if host.isascii() else host.encode("idna").decode()
        return cls(parts.scheme == "https", host, parts.port or PORTS[parts.scheme], destination_of(url))


class Through(Protocol):
    """A proxy at `place`: `tunnel` makes of a connection to it one to a server."""

    @property
    def place(self) -> Place:
        """Where it is."""
        ...

    async def tunnel(self, sock: socket.socket, to: Place) -> None:
        """Raises `EngineDown` where the proxy does not let us."""
        ...


def head(place: Place, url: str, headers: dict[str, str], *, whole: bool = False, method: str = "POST") -> bytes:
    """The head of a call to `url`, up to the length of its body, which `framed` adds; a proxy is told the `whole` URL.

    Raises `ValueError` where a header holds what none may (RFC 9110 section 5.5).
    """
    parts = urlsplit(url)
    target = quote(parts.path or "/", UNQUOTED) + (f"?{quote(parts.query, UNQUOTED + '?')}" if parts.query else "")
    host = f"[{place.host}]" if ":" in place.host else place.host
    host += f":{place.port}" if place.port != PORTS[parts.scheme] else ""
    target = f"{parts.scheme}://{host}{target}" if whole else target
    fixed = {"Host": host, "User-Agent": f"insource/{__version__}", "Accept-Encoding": "identity"}
    lines = [f"{method} {target} HTTP/1.1"] + [f"{name}: {_value(value)}" for name, value in (fixed | headers).items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n"


def framed(head: bytes, body: bytes, more: str = "") -> bytes:
    """The whole call; `more` is one more header line."""
    last = f"{more}\r\n" if more else ""
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, last.encode("latin-1"), len(body), body)


class Lines:
    """Connections to `place`, by a proxy where one is given, as many as calls at once. Used in one loop only."""

    def __init__(self, place: Place, outward: Outward, connect_s: float, proxy: Through | None = None) -> None:
        self._proxy = proxy
        self._place, self._outward, self._connect_s = place, outward, connect_s
        self._idle: list[tuple[Line, float]] = []
        self._taken: set[Line] = set()
        self._loop, self._outbox = asyncio.get_running_loop(), Outbox()
        self._ageing: asyncio.TimerHandle | None = None
        self._context = ssl.create_default_context() if place.secure else None

    async def take(self, until: float) -> Line:
        """A connection that is free. Raises `NoLine`, `ssl.SSLError`, `Outside` where no address may be called.

        Raises `TimeoutError` at the loop's time `until`.
        """
        return self.kept() or await self.made(until)

    def kept(self) -> Line | None:
        """A connection that made a call before and is free, where there is one."""
        while self._idle:
            line, _ = self._idle.pop()
            if line.usable:
                self._taken.add(line)
                return line
        return None

    async def made(self, until: float) -> Line:
        """A new connection; raises as `take` does."""
        by = self._loop.time() + self._connect_s
        try:
            async with asyncio.timeout_at(min(by, until)):
                line = await self._connected()
        except TimeoutError as error:
            if until < by:
                raise
            raise NoLine(f"no connection within {self._connect_s:g} s", late=True) from error
        self._taken.add(line)
        return line

    def give(self, line: Line) -> None:
        """Takes a connection back whose call has ended."""
        self._taken.discard(line)
        if not line.finish():
            return
        self._idle.append((line, self._loop.time()))
        if self._ageing is None:
            self._ageing = self._loop.call_later(KEPT_S, self._age)

    def drop(self, line: Line) -> None:
        """Closes a connection whose call has not ended."""
        self._taken.discard(line)
        line.abort()

    def close(self) -> None:
        """Closes them all; calls under way raise `Broken`. The end of their loop has closed them, too."""
        if self._loop.is_closed():
            return
        if self._ageing is not None:
            self._ageing.cancel()
        for line, _ in self._idle:
            line.abort()
        for line in self._taken:
            line.abort()
        self._idle.clear()

    def _age(self) -> None:
        before = self._loop.time() - KEPT_S
        for line, since in self._idle:
            if since <= before:
                line.abort()
        self._idle = [(line, since) for line, since in self._idle if line.usable]
        oldest = min((since for _, since in self._idle), default=None)
        self._ageing = None if oldest is None else self._loop.call_at(oldest + KEPT_S, self._age)

    async def _connected(self) -> Line:
        infos = await self._found()
        there = self._outward.admitted(self._place.destination, [str(info[4][0]) for info in infos])
        infos = [info for info in infos if str(info[4][0]) in there]
        error: OSError = NoLine(f"{self._place.host} has no address")
        for number, info in enumerate(infos):
            self._outward.leaving(self._place.destination, str(info[4][0]))
            try:
                async with asyncio.timeout(self._connect_s / (len(infos) - number)):
                    return await self._line(info)
            except ssl.SSLError:
                raise
            except OSError as raised:  # a timeout is one, too
                error = raised
        raise NoLine(str(error), late=isinstance(error, TimeoutError)) from error

    async def _found(self) -> list[Any]:
        """The addresses of the host; a literal one is its own."""
        place = self._proxy.place if self._proxy else self._place
        with suppress(ValueError):
            version = ipaddress.ip_address(place.host).version
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            return [(family, socket.SOCK_STREAM, 0, "", (place.host, place.port))]
        wanted = (place.host, place.port, socket.AF_UNSPEC, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        try:
            return await asyncio.to_thread(self._outward.look_up, *wanted)
        except UnicodeError as error:
            raise NoLine(f"{place.host} is no name that DNS could know") from error
        except OSError as error:
            raise NoLine(str(error)) from error

    async def _line(self, info: Any) -> Line:
        family, kind, proto, _, address = info
        sock = socket.socket(family, kind, proto)
        try:
            sock.setblocking(False)  # noqa: FBT003 - its name in the standard library is positional
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(sock, address)
            if self._proxy and self._context:
                await self._proxy.tunnel(sock, self._place)
            name = self._place.host if self._context else None
            made = partial(Line, self._outbox)
            _, line = await self._loop.create_connection(made, sock=sock, ssl=self._context, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        return line


def _value(text: str) -> str:
    if any(letter < " " or letter == "\x7f" or letter > "\xff" for letter in text):
        raise ValueError("a header may hold no control character and nothing outside Latin-1")
    return text

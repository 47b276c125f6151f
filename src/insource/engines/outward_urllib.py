"""urllib's connections by the way out. What began at a public address is not sent on to a private one."""

import http.client
import socket
import urllib.request
from collections.abc import Callable
from typing import Any

from insource.engines.outward import Outward, destination_of
from insource.nouns import is_public

Dial = Callable[..., socket.socket]


def handlers(outward: Outward) -> tuple[urllib.request.BaseHandler, urllib.request.BaseHandler]:
    """What opens http and https addresses, for one request and what it is sent on to. Raises `Outside`."""
    way = _Way(outward)
    return _Plain(way), _Safe(way)


class _Way:
    """The connections of one request. One that led to the public network leads nowhere else afterwards."""

    def __init__(self, outward: Outward) -> None:
        self._outward, self._abroad = outward, False

    def dial(self, request: urllib.request.Request) -> Dial:
        """What connects `request`; the address it is given is that of a proxy where there is one."""
        wanted = destination_of(request.full_url)

        def made(to: tuple[str, int], timeout: float | None, *_: object) -> socket.socket:
            through = destination_of(f"//{_bracketed(to[0])}:{to[1]}")
            destination = wanted if through == wanted else f"{wanted} via {through}"
            line = self._outward.connect(destination, to, timeout, abroad=self._abroad)
            self._abroad = is_public(str(line.getpeername()[0]))
            return line

        return made


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, way: _Way) -> None:
        super().__init__()
        self._way = way

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Opens an http address."""
        return self.do_open(_lines(http.client.HTTPConnection, self._way.dial(req)), req)


class _Safe(urllib.request.HTTPSHandler):
    def __init__(self, way: _Way) -> None:
        super().__init__()
        self._way = way

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Opens an https address."""
        return self.do_open(_lines(http.client.HTTPSConnection, self._way.dial(req)), req)


def _lines(kind: type[http.client.HTTPConnection], dial: Dial) -> Any:
    def made(host: str, **more: Any) -> http.client.HTTPConnection:
        line = kind(host, **more)
        line._create_connection = dial  # type: ignore[attr-defined]  # noqa: SLF001 - the one place to put it
        return line

    return made


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

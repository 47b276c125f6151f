"""Keeps web pages out of a gateway that has no keys yet: it answers only calls addressed to this machine.

A page elsewhere can point a name of its own at 127.0.0.1 (DNS rebinding) and would then read our answers.
"""

import ipaddress
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from insource.errors import Denied
from insource.serve.faults import error_response


class OnlyHosts:
    """Passes calls on whose Host is localhost or a loopback address; the others get 403."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers or passes on."""
        if scope["type"] == "http" and not is_loopback(host_of(Headers(scope=scope).get("host", ""))):
            error = Denied("this gateway answers this machine only", hint="call it as 127.0.0.1 or localhost")
            await error_response(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def host_of(header: str) -> str:
    """The host of a Host header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses."""
    if host.lower() == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False

"""Keeps web pages out of a gateway that may ask for no key.

A page elsewhere can point a name of its own at 127.0.0.1 (DNS rebinding) and would then read our answers; or post a
plain form to it, whose text would wait in the review queue. So on this machine only calls addressed to it are
answered, and never one that a browser sends for a page of another host.
"""

import ipaddress
import re
from contextlib import suppress
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from insource.errors import Denied
from insource.serve.faults import error_response

LONGEST = 300  # of a name in DNS 253 letters are left; what is longer is none, and is not remembered
AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:@/\[\]]+))(?::\d{1,5})?")


class OnlyHosts:
    """Passes calls that no foreign page can have sent; the others get 403.

    The Origin, where there is one, must be the host that was called, or this machine. Without `network` that host
    must be localhost or a loopback address.
    """

    def __init__(self, app: ASGIApp, *, network: bool) -> None:
        self.app, self.network = app, network

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers or passes on."""
        try:
            if scope["type"] == "http":
                check(scope, network=self.network)
        except Denied as error:
            scope["app"].state.desk.seeing.refused(error)
            await error_response(error)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def check(scope: Scope, *, network: bool) -> None:
    """Raises `Denied` for a call that a foreign page can have sent."""
    hosts = given(scope, b"host")
    host = host_of(hosts[0][:LONGEST]) if len(hosts) == 1 else ""
    if not network and not is_loopback(host):
        raise Denied("this gateway answers this machine only", hint="call it as 127.0.0.1 or localhost")
    for origin in given(scope, b"origin"):
        page = host_of(origin.partition("://")[2][:LONGEST])
        if not page or (page != host and not is_loopback(page)):
            raise Denied("this gateway answers no page of another host", hint="call it from a program")


def given(scope: Scope, name: bytes) -> list[str]:
    """The values of the call's headers called `name`, which is in lower case."""
    return [value.decode("latin-1") for header, value in scope["headers"] if header == name]


@lru_cache(maxsize=256)
def host_of(authority: str) -> str:
    """The host of HOST[:PORT], without brackets and in lower case; "" when it is none."""
    found = AUTHORITY.fullmatch(authority)
    return (found[1] or found[2]).lower() if found else ""


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses."""
    if host.lower() == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False

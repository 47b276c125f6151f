"""aiohttp's connections by the way out: looked up, looked at, and connected to what was looked at."""

import asyncio
import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from insource.engines.outward import Outward


def session(outward: Outward, url: str, *, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    """A session for the host of `url` alone. Cookies are not kept; proxies and netrc of the environment are not read.

    Its requests raise `Outside` where the host's address may not be called. They must not follow redirects.
    """
    return aiohttp.ClientSession(
        connector=connector(outward, url), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, timeout=timeout
    )


def connector(outward: Outward, url: str) -> aiohttp.TCPConnector:
    """Connections to the host of `url`, each to an address that was looked at."""
    destination = destination_of(url)

    def made(info: tuple[Any, ...]) -> socket.socket:
        """The socket that aiohttp then connects to the very address of `info`; a literal one comes here unresolved."""
        family, kind, proto, _, address = info
        outward.leaving(destination, str(address[0]))
        return socket.socket(family, kind, proto)

    # no limit here: `max_concurrent` is the limit, and nobody waits unseen
    return aiohttp.TCPConnector(limit=0, resolver=_Admitting(outward, destination), socket_factory=made)


def destination_of(url: str) -> str:
    """HOST:PORT of `url` as aiohttp reads it, without user, path and query. Raises `ValueError` where it reads none."""
    read = URL(url)
    host = (read.raw_host or "").rstrip(".")
    return f"{f'[{host}]' if ':' in host else host}:{read.port}"


class _Admitting(AbstractResolver):
    """Finds the addresses of a name, and hands on those that may be called."""

    def __init__(self, outward: Outward, destination: str) -> None:
        self._outward, self._destination = outward, destination

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host` that may be called. Raises `Outside` when it has others only."""
        look_up = self._outward.look_up
        infos = await asyncio.to_thread(look_up, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        there = self._outward.admitted(self._destination, [str(info[4][0]) for info in infos])
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
            )
            for kind, _, proto, _, address in infos
            if str(address[0]) in there
        ]

    async def close(self) -> None:
        """Nothing is open."""

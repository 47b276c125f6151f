"""The way out: every connection that leaves this process is made here, to an address that was looked at before.

The address that is looked at is the one that is connected to; there is no second look-up between the two. Proxies of
the environment are not used, but for model downloads. What went out, or was not let out, is counted in the journal.
"""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from insource.errors import Outside
from insource.nouns import Networks, is_public
from insource.store import egress
from insource.store.egress import Egress, Journal

PORTS = {"http": 80, "https": 443}
LookUp = Callable[..., list[Any]]


class Outward:
    """The way out for one purpose, "engine NAME" say, to one region under the rules of `networks`.

    `look_up` finds the addresses of a name, as `socket.getaddrinfo` does. Where connections go through a proxy, set
    `via` to its host:port: its address is then looked at, and it is asked only for what the region names.
    """

    def __init__(
        self, purpose: str, region: str = "", *, networks: Networks = Networks(), journal: Path | None = None,  # noqa: B008 - frozen
        look_up: LookUp = socket.getaddrinfo,
    ) -> None:  # fmt: skip
        self.via = ""
        self.purpose, self.region, self.networks, self.look_up = purpose, region, networks, look_up
        self._refusal = lru_cache(maxsize=256)(networks.refusal)  # asked twice for every connection, a crowd of them
        self._journal, self._bytes, self._told = Journal(journal), Counter[str](), time.monotonic()

    def admitted(self, destination: str, addresses: Iterable[str]) -> set[str]:
        """Which of the addresses of `destination` (host:port) may be connected to. Raises `Outside` when none may."""
        if self.via and (why := self.networks.beyond(self.region, host_of(destination))):
            raise self.refused(destination, "", why)
        host = host_of(self.via or destination)
        whys = {address: self._refusal(self.region, host, address) for address in addresses}
        there = {address for address, why in whys.items() if not why}
        if whys and not there:
            raise self.refused(destination, *next(iter(whys.items())))
        return there

    def leaving(self, destination: str, address: str) -> None:
        """Counts a connection that is about to be made to `address`. Raises `Outside` where it may not be."""
        self.admitted(destination, [address])
        self._note(destination, address, connections=1)

    def refused(self, destination: str, address: str, why: str) -> Outside:
        """The error for a connection that is not made; it is counted."""
        self._note(destination, address, refused=1, why=why)
        mended = self.networks.held(self.region) and not why.endswith("never called")
        places = ", ".join(
            f'"{place}"' for place in (*self.networks.listed(self.region), address or host_of(destination))
        )
        hint = f"; where it belongs there, say so under [networks] of insource.toml: {self.region} = [{places}]"
        hint = f"nothing was sent{hint * mended}"
        return Outside(f"{self.purpose}: {destination} is not called: {why}", hint=hint)

    def connect(
        self, destination: str, to: tuple[str, int], timeout: float | None, *, abroad: bool = False
    ) -> socket.socket:
        """A connection to the first address of `to` that may be called and answers. Raises `Outside`, `OSError`.

        With `abroad` only addresses of the public network may be.
        """
        infos = self.look_up(*to, 0, socket.SOCK_STREAM, 0, 0)
        there = self.admitted(destination, [str(info[4][0]) for info in infos])
        if abroad and (private := next((one for one in there if not is_public(one)), "")):
            raise self.refused(destination, private, f"{private} is private, and a public host led to it")
        last = OSError(f"{to[0]} has no address")
        for family, kind, proto, _, address in infos:
            if str(address[0]) not in there:
                continue
            self.leaving(destination, str(address[0]))
            line = socket.socket(family, kind, proto)
            try:
                line.settimeout(timeout)
                line.connect(address)
            except OSError as error:
                line.close()
                last = error
            else:
                return line
        raise last

    def sent(self, destination: str, count: int) -> None:
        """Counts `count` bytes of a request's body."""
        self._bytes[destination] += count
        if time.monotonic() - self._told >= egress.LATE_S:
            self._tell()

    def handed_over(self, destination: str) -> None:
        """Counts a connection that another program makes for us, which chooses and looks at the address itself."""
        self._note(destination, "", connections=1)

    def close(self) -> None:
        """Writes what was counted."""
        self._tell()
        self._journal.flush()

    def _tell(self) -> None:
        self._told = time.monotonic()
        for destination, count in self._bytes.items():
            self._note(destination, "", sent=count)
        self._bytes.clear()

    def _note(self, destination: str, address: str, *, connections: int = 0, refused: int = 0, sent: int = 0,
              why: str = "") -> None:  # fmt: skip
        at = egress.now()
        self._journal.note(
            Egress(
                purpose=self.purpose, destination=destination, region=self.region, address=address, first=at, last=at,
                connections=connections, refused=refused, sent=sent, why=why, via=self.via,
            )
        )  # fmt: skip


def destination_of(url: str) -> str:
    """HOST:PORT of an http address, without user, password, path or query."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or PORTS.get(parts.scheme, 0)}"


def host_of(destination: str) -> str:
    """The host of HOST:PORT."""
    return destination.rpartition(":")[0].strip("[]")

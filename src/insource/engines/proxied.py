"""The way to a server through a proxy that the settings name: CONNECT for https, the whole address for http.

Sources: RFC 9110 sections 9.3.6 and 11.7.2; RFC 9112 section 3.2.2; RFC 7617. The proxy's password goes to the proxy
alone: inside a tunnel the server gets none of it.
"""

import asyncio
import re
import socket
from base64 import b64encode
from typing import NamedTuple

from insource.engines.http_lines import Place
from insource.errors import EngineDown, Invalid
from insource.settings import EngineSettings, secret

ONLY_HOST = re.compile(r"http://[^/?#\s]+/?")
MOST_HEAD = 16_384
PASSING = (502, 503, 504)  # what may be over at the next try
ASKS = 407


class Proxy(NamedTuple):
    """The proxy of one engine. `credentials` is "USER:PASSWORD", empty where it asks for none."""

    engine: str
    place: Place
    credentials: str = ""

    @classmethod
    def of(cls, engine: str, settings: EngineSettings) -> "Proxy | None":
        """The proxy that the settings name, None where they name none. Raises `Invalid` on an address that is none."""
        if not settings.proxy:
            return None
        words = f"engines.{engine}: proxy must be http://HOST:PORT, without path, user or password"
        hint = "USER:PASSWORD is read from the environment variable that proxy_auth_env names"
        try:
            place = Place.of(settings.proxy)
        except ValueError:
            raise Invalid(words, hint=hint) from None
        if place.secure or not ONLY_HOST.fullmatch(settings.proxy):
            raise Invalid(words, hint=hint)
        return cls(engine, place, secret(settings.proxy_auth_env) if settings.proxy_auth_env else "")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be in no message: the password, and the form in which it is sent."""
        return tuple(filter(None, (self.credentials.partition(":")[2], self._token)))

    @property
    def headers(self) -> dict[str, str]:
        """What the proxy is told with a call that it reads itself."""
        return {"Proxy-Authorization": f"Basic {self._token}"} if self.credentials else {}

    @property
    def advice(self) -> str:
        """What to do when it asks for a password."""
        return f'name the variable that holds its USER:PASSWORD: proxy_auth_env = "…" under [engines.{self.engine}]'

    async def tunnel(self, sock: socket.socket, to: Place) -> None:
        """Makes of a connection to the proxy one to `to`. Raises `EngineDown` where it does not let us."""
        loop = asyncio.get_running_loop()
        host = f"[{to.host}]:{to.port}" if ":" in to.host else f"{to.host}:{to.port}"
        lines = [f"CONNECT {host} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in self.headers.items()), "", ""]
        await loop.sock_sendall(sock, "\r\n".join(lines).encode("latin-1"))
        head = b""
        while b"\r\n\r\n" not in head:
            piece = await loop.sock_recv(sock, 4096)
            head += piece
            if not piece or len(head) > MOST_HEAD:
                raise self._refused("ended the connection", again_s=0.0 if not piece else None)
        said, _, more = head.partition(b"\r\n\r\n")
        version, _, rest = said.partition(b"\r\n")[0].partition(b" ")
        status = int(rest[:3]) if version.startswith(b"HTTP/1.") and rest[:3].isdigit() else 0
        if status // 100 != 2 or more:  # TLS begins with us: who speaks first here is not the server
            said_no = bool(status) and status // 100 != 2
            answered = f"answered HTTP {status}" if said_no else "answered what is no HTTP"
            raise self._refused(answered, self.advice if status == ASKS else "", 0.0 if status in PASSING else None)

    @property
    def _token(self) -> str:
        return b64encode(self.credentials.encode()).decode() if self.credentials else ""

    def _refused(self, what: str, hint: str = "", again_s: float | None = None) -> EngineDown:
        words = f"{self.engine}: its proxy {self.place.destination} {what}"
        return EngineDown(words, hint=hint or "may the proxy be asked for this server?", again_s=again_s)

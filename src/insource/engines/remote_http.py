"""The connection to one server: posts, bounds every wait, turns its faults into our errors.

An error says in `again_s` whether another try may help: no connection, and what the server's dialect calls busy or
down, always before any byte of an answer. The key goes to `base_url` and nowhere else: redirects are not followed, and
whatever the server says is cleaned of the key before it is repeated.
"""

import asyncio
import time
from collections.abc import Coroutine
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from insource.engines.dialects import Dialect
from insource.engines.outward import Outward
from insource.engines.outward_aiohttp import destination_of, session
from insource.errors import EngineBusy, EngineDown, EngineError, EngineSlow, Invalid, Outside
from insource.nouns import JsonObject, JsonValue, to_json
from insource.settings import EngineSettings

T = TypeVar("T")
LARGEST_COMPLAINT = 64_000
SHOWN = 300
LATE = 408


class Rejected(Exception):
    """The server finds fault with the request itself; the text is its complaint."""


class Spoiled(Exception):
    """The server says that the model broke the schema it was given; the text is what it says of it."""


class Waits:
    """How long a server is waited for: for the whole call, for the first byte of an answer, and between its bytes.

    `until` is the loop's time at which nobody waits any more. Begin it anew with each try.
    """

    def __init__(self, name: str, settings: EngineSettings, deadline: float) -> None:
        self._name, self._settings = name, settings
        self._whole_s = min(deadline, settings.timeout_s)
        self._loop = asyncio.get_running_loop()
        self.until = self._loop.time() + self._whole_s
        self.begin()

    def begin(self) -> None:
        """From now on the first byte is waited for."""
        self._silence_s = self._settings.first_byte_s
        self._by = self._loop.time() + self._silence_s

    def heard(self) -> None:
        """Some bytes came: from now on the next ones are waited for."""
        self._silence_s = self._settings.idle_s
        self._by = self._loop.time() + self._silence_s

    async def wait(self, coming: Coroutine[Any, Any, T]) -> T:
        """What comes, in time. Raises `EngineSlow`."""
        try:
            async with asyncio.timeout_at(min(self.until, self._by)):
                return await coming
        except TimeoutError as error:
            if self.until <= self._by:
                raise EngineSlow(f"{self._name} did not answer within {self._whole_s:g} s") from error
            raise EngineSlow(f"{self._name} said nothing for {self._silence_s:g} s") from error


class Incoming:
    """An answer that was opened. Use it as a context: leaving it before its end closes the connection."""

    def __init__(self, name: str, response: aiohttp.ClientResponse, waits: Waits) -> None:
        self._name, self._response, self._waits = name, response, waits

    async def __aenter__(self) -> "Incoming":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._response.__aexit__(kind, error, trace)

    async def piece(self) -> bytes:
        """The next bytes of the body, b"" at its end. Raises `EngineDown` when it breaks off, `EngineSlow`."""
        try:
            data = await self._waits.wait(self._response.content.readany())
        except (aiohttp.ClientError, ConnectionError) as error:
            raise EngineDown(f"{self._name} broke off in the middle of its answer") from error
        self._waits.heard()
        return data

    async def read(self, most: int) -> bytes:
        """The whole body. Raises `EngineDown` when it breaks off or is longer than `most` bytes, `EngineSlow`."""
        whole = bytearray()
        while piece := await self.piece():
            whole += piece
            if len(whole) > most:
                raise EngineDown(f"{self._name}: the answer has more than {most:,} bytes")
        return bytes(whole)


class Upstream:
    """One server, reached by `outward`. Raises `Invalid` on a `base_url` that is none."""

    def __init__(self, name: str, settings: EngineSettings, key: str, dialect: Dialect, outward: Outward) -> None:
        try:
            parts, self._destination = urlsplit(settings.base_url), destination_of(settings.base_url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            words = f"engines.{name}: base_url must be http(s)://HOST[:PORT], with its path, without user or password"
            raise Invalid(words, hint=f'for example base_url = "{dialect.address}" under [engines.{name}]')
        self._name, self._settings, self._key, self._dialect = name, settings, key, dialect
        self._base, self._path = settings.base_url.rstrip("/"), dialect.path
        self._outward = outward
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def post(self, sent: JsonObject, waits: Waits, path: str = "") -> "Incoming":
        """The opened 200 answer to `sent`, at another `path` than the dialect's where one is given.

        Raises `Rejected`, `Spoiled`, or the `EngineError` that says what is up: `Outside` for an address that may not
        be called.
        """
        waits.begin()
        response = await waits.wait(self._opened(sent, self._base + (path or self._path)))
        if response.status == 200:
            return Incoming(self._name, response, waits)
        async with response:
            raise await self._fault(response, waits)

    async def close(self) -> None:
        """Closes the connections; a later `post` raises `EngineDown`."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
        self._outward.close()

    def clean(self, said: JsonValue) -> str:
        """What the server said, short, on one line and without the key."""
        text = said if isinstance(said, str) else to_json(said).decode()
        text = text.replace(self._key, "***") if self._key else text
        text = "".join(letter if letter.isprintable() else " " for letter in text)
        return text if len(text) <= SHOWN else text[:SHOWN] + "…"

    async def _opened(self, sent: JsonObject, url: str) -> aiohttp.ClientResponse:
        headers = {"Content-Type": "application/json", **self._dialect.headers}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            return await self._post(url, to_json(sent), headers)
        except (aiohttp.ClientSSLError, aiohttp.InvalidURL) as error:
            words = f"{self._name}: no safe connection to {urlsplit(url).hostname}: {self.clean(str(error))}"
            raise EngineDown(words, hint="is base_url right, and its certificate known here?") from error
        except (aiohttp.ClientError, ConnectionError, OSError) as error:
            late = isinstance(error, TimeoutError)  # the next try would only wait as long again
            what = f"{self._name}: {urlsplit(url).netloc} cannot be reached"
            raise EngineDown(what, hint="is it running?", again_s=None if late else 0.0) from error

    async def _post(self, url: str, data: bytes, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """The opened answer. What left is counted, whatever became of it; without a connection nothing did."""
        left = len(data)
        try:
            return await self._open_session().post(url, data=data, headers=headers, allow_redirects=False)
        except (Outside, EngineDown, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL):
            left = 0
            raise
        finally:
            if left:
                self._outward.sent(self._destination, left)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise EngineDown(f"{self._name} is closed")
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            connect_s = self._settings.connect_s
            patience = aiohttp.ClientTimeout(total=None, connect=connect_s, sock_connect=connect_s)
            self._session = session(self._outward, self._base, timeout=patience)
            self._loop = loop
        return self._session

    async def _fault(self, response: aiohttp.ClientResponse, waits: Waits) -> Exception:
        """What a status other than 200 means."""
        status, dialect = response.status, self._dialect
        said, code = await self._complaint(response, waits)
        what = f"{self._name} answered HTTP {status}: {said}"
        if code in dialect.spoiled:
            return Spoiled(said)
        if status in dialect.rejects:
            return Rejected(said)
        pause = _pause(response.headers.get("Retry-After", ""))
        if status in dialect.busy:
            return EngineBusy(what, again_s=pause)
        if status in dialect.down:
            return (EngineSlow if status == LATE else EngineDown)(what, again_s=pause)
        return EngineError(what, hint=self._advice(status))

    def _advice(self, status: int) -> str:
        if status in self._dialect.denied:
            variable = self._settings.api_key_env
            if not variable:
                return f'name the variable that holds the key: api_key_env = "…" under [engines.{self._name}]'
            return f"the key is taken from ${variable}, which is {'set' if self._key else 'not set'}"
        if 300 <= status < 400:
            return "redirects are not followed; write the address it leads to as base_url"
        if status == 404:
            return f'is the model "{self._settings.model}" there, and is base_url like {self._dialect.address}?'
        return ""

    async def _complaint(self, response: aiohttp.ClientResponse, waits: Waits) -> tuple[str, str]:
        """What the server complains of, and the code it gives to that."""
        try:
            data = await waits.wait(response.content.read(LARGEST_COMPLAINT))
        except (aiohttp.ClientError, ConnectionError, EngineSlow):
            data = b""  # the status says enough
        try:
            whole = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.clean(data.decode("utf-8", "replace") or response.reason or "nothing more"), ""
        error = whole.get("error", whole) if isinstance(whole, dict) else whole
        code = str(error.get("code") or "") if isinstance(error, dict) else ""
        if isinstance(error, dict) and "message" in error:
            error = f"{error['message']}" + (f" ({error['param']})" if error.get("param") else "")
        return self.clean(error), code


def _pause(after: str) -> float:
    """Seconds that a Retry-After header asks for: a number, or a date (RFC 9110 section 10.2.3)."""
    if after.isascii() and after.strip().isdecimal():
        return float(after)
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, OSError):
        return 0.0

"""The connection to one server: posts, tries again what may pass, turns its faults into our errors.

Tried again, a few times with growing random pauses (or the pause that Retry-After asks for): no connection, and what
the server's dialect calls busy or down, always before any byte of an answer. The key goes to `base_url` and nowhere
else: redirects are not followed, and whatever the server says is cleaned of the key before it is repeated.
"""

import asyncio
import random
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
import msgspec

from insource.engines.dialects import Dialect
from insource.errors import EngineBusy, EngineDown, EngineError, EngineSlow, InsourceError, Invalid
from insource.nouns import JsonObject, JsonValue, to_json
from insource.settings import EngineSettings

LARGEST_COMPLAINT = 64_000
SHOWN = 300
TRIES = 3
PAUSE_S = 0.25
LATE = 408


class Rejected(Exception):
    """The server finds fault with the request itself; the text is its complaint."""


class Spoiled(Exception):
    """The server says that the model broke the schema it was given; the text is what it says of it."""


class _Passing(Exception):
    """A fault that may pass. `error` is what the caller gets if it does not; `pause_s` is what the server asked for."""

    def __init__(self, error: InsourceError, pause_s: float = 0.0) -> None:
        super().__init__(str(error))
        self.error, self.pause_s = error, pause_s


class Upstream:
    """One server. Raises `Invalid` on a `base_url` that is none."""

    def __init__(self, name: str, settings: EngineSettings, key: str, dialect: Dialect) -> None:
        try:
            parts = urlsplit(settings.base_url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            words = f"engines.{name}: base_url must be http(s)://HOST[:PORT], with its path, without user or password"
            raise Invalid(words, hint=f'for example base_url = "{dialect.address}" under [engines.{name}]')
        self._name, self._settings, self._key, self._dialect = name, settings, key, dialect
        self._base, self._path = settings.base_url.rstrip("/"), dialect.path
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def post(self, sent: JsonObject, until: float, path: str = "") -> aiohttp.ClientResponse:
        """The opened 200 answer to `sent`, at another `path` than the dialect's where one is given.

        `until` is the loop's time at which nobody waits any more. Raises `Rejected`, `Spoiled`, or the `EngineError`
        that says what is wrong.
        """
        for number in range(1, TRIES + 1):
            try:
                return await self._once(sent, self._base + (path or self._path))
            except _Passing as fault:
                pause = max(fault.pause_s, PAUSE_S * 2 ** (number - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
                if number == TRIES or self._closed or asyncio.get_running_loop().time() + pause >= until:
                    raise fault.error from fault
                await asyncio.sleep(pause)
        raise EngineDown(f"{self._name} cannot be reached")

    async def read(self, response: aiohttp.ClientResponse, most: int) -> bytes:
        """The whole body. Raises `EngineDown` when it breaks off or is longer than `most` bytes."""
        whole = bytearray()
        while piece := await self.piece(response):
            whole += piece
            if len(whole) > most:
                raise EngineDown(f"{self._name}: the answer has more than {most:,} bytes")
        return bytes(whole)

    async def piece(self, response: aiohttp.ClientResponse) -> bytes:
        """The next bytes of the body, b"" at its end. Raises `EngineDown` when it breaks off."""
        try:
            return await response.content.readany()
        except (aiohttp.ClientError, ConnectionError) as error:
            raise EngineDown(f"{self._name} broke off in the middle of its answer") from error

    async def close(self) -> None:
        """Closes the connections; a later `post` raises `EngineDown`."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def clean(self, said: JsonValue) -> str:
        """What the server said, short, on one line and without the key."""
        text = said if isinstance(said, str) else to_json(said).decode()
        text = text.replace(self._key, "***") if self._key else text
        text = "".join(letter if letter.isprintable() else " " for letter in text)
        return text if len(text) <= SHOWN else text[:SHOWN] + "…"

    async def _once(self, sent: JsonObject, url: str) -> aiohttp.ClientResponse:
        headers = {"Content-Type": "application/json", **self._dialect.headers}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        session = self._open_session()
        try:
            response = await session.post(url, data=to_json(sent), headers=headers, allow_redirects=False)
        except (aiohttp.ClientSSLError, aiohttp.InvalidURL) as error:
            words = f"{self._name}: no safe connection to {urlsplit(url).hostname}: {self.clean(str(error))}"
            raise EngineDown(words, hint="is base_url right, and its certificate known here?") from error
        except (aiohttp.ClientError, ConnectionError, OSError) as error:
            host = urlsplit(url).netloc
            raise _Passing(EngineDown(f"{self._name}: {host} cannot be reached", hint="is it running?")) from error
        if response.status == 200:
            return response
        async with response:
            raise await self._fault(response)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise EngineDown(f"{self._name} is closed")
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)
            )
            self._loop = loop
        return self._session

    async def _fault(self, response: aiohttp.ClientResponse) -> Exception:
        """What a status other than 200 means."""
        status, dialect = response.status, self._dialect
        said, code = await self._complaint(response)
        what = f"{self._name} answered HTTP {status}: {said}"
        if code in dialect.spoiled:
            return Spoiled(said)
        if status in dialect.rejects:
            return Rejected(said)
        pause = _pause(response.headers.get("Retry-After", ""))
        if status in dialect.busy:
            return _Passing(EngineBusy(what), pause)
        if status in dialect.down:
            return _Passing(EngineSlow(what) if status == LATE else EngineDown(what), pause)
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

    async def _complaint(self, response: aiohttp.ClientResponse) -> tuple[str, str]:
        """What the server complains of, and the code it gives to that."""
        try:
            data = await response.content.read(LARGEST_COMPLAINT)
        except (aiohttp.ClientError, ConnectionError):
            data = b""
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

"""The connection to one server: posts, bounds every wait, turns its faults into our errors.

An error says in `again_s` whether another try may help: no connection, and what the server's dialect calls busy or
down, always before any byte of an answer. The key goes to `base_url` and nowhere else: redirects are not followed, and
whatever the server says is cleaned of the key before it is repeated.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from types import TracebackType

import msgspec

from insource.engines.dialects import Dialect
from insource.engines.http_faults import Broken, NoLine
from insource.engines.http_line import Line
from insource.engines.http_lines import Lines, Place, framed, head
from insource.engines.outward import Outward
from insource.engines.proxied import ASKS, Proxy
from insource.errors import EngineBusy, EngineDown, EngineError, EngineSlow, Invalid
from insource.nouns import JsonObject, JsonValue, to_json
from insource.settings import EngineSettings

LARGEST_COMPLAINT = 64_000
SHOWN = 300
LATE = 408
NO_WORD = (401, 403, 404, 405, 501)  # of a server's health


class Rejected(Exception):
    """The server finds fault with the request itself; the text is its complaint."""


class Spoiled(Exception):
    """The server says that the model broke the schema it was given; the text is what it says of it."""


class Waits:
    """How long a server is waited for: for the whole call, for the first byte of an answer, and between its bytes.

    `until` is the time of `loop`, the running one, at which nobody waits any more. Begin it with each try.
    """

    __slots__ = ("_by", "_name", "_settings", "_silence_s", "_whole_s", "loop", "until")

    def __init__(self, name: str, settings: EngineSettings, deadline: float) -> None:
        self._name, self._settings = name, settings
        self._whole_s = min(deadline, settings.timeout_s)
        self.loop = asyncio.get_running_loop()
        self.until = self.loop.time() + self._whole_s
        self._silence_s = self._by = 0.0

    def begin(self) -> None:
        """From now on the first byte is waited for."""
        self._silence_s = self._settings.first_byte_s
        self._by = self.loop.time() + self._silence_s

    def heard(self) -> None:
        """Some bytes came: from now on the next ones are waited for."""
        self._silence_s = self._settings.idle_s
        self._by = self.loop.time() + self._silence_s

    @property
    def by(self) -> float:
        """The loop's time at which the next byte must have come."""
        return min(self.until, self._by)

    def slow(self) -> EngineSlow:
        """The error when it has not."""
        if self.until <= self._by:
            return EngineSlow(f"{self._name} did not answer within {self._whole_s:g} s")
        return EngineSlow(f"{self._name} said nothing for {self._silence_s:g} s")


class Incoming:
    """An answer that was opened. Use it as a context: leaving it before its end closes the connection."""

    __slots__ = ("_line", "_lines", "_name", "_waits")

    def __init__(self, name: str, line: Line, lines: Lines, waits: Waits) -> None:
        self._name, self._line, self._lines, self._waits = name, line, lines, waits

    def __enter__(self) -> "Incoming":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.give(self._line)

    async def piece(self) -> bytes:
        """The next bytes of the body, b"" at its end. Raises `EngineDown` when it breaks off, `EngineSlow`."""
        try:
            data = await self._line.piece(self._waits.by)
        except TimeoutError as error:
            raise self._waits.slow() from error
        except Broken as error:
            raise EngineDown(f"{self._name} broke off in the middle of its answer") from error
        self._waits.heard()
        return data

    async def pour(self, into: Callable[[bytes], bool]) -> None:
        """Gives the bytes to `into` as they come, until it says no; many at once, and the last, are left to `piece`.

        Raises the `EngineError` that `into` raises, and as `piece` does.
        """

        def heard(data: bytes) -> bool:
            self._waits.heard()
            return into(data)

        try:
            await self._line.pour(heard, lambda: self._waits.by)
        except TimeoutError as error:
            raise self._waits.slow() from error
        except Broken as error:
            raise EngineDown(f"{self._name} broke off in the middle of its answer") from error

    async def read(self, most: int) -> bytes:
        """The whole body. Raises `EngineDown` when it breaks off or is longer than `most` bytes, `EngineSlow`."""
        whole = self._line.taken() if self._line.ended else await self._gathered(most)
        if len(whole) > most:
            raise EngineDown(f"{self._name}: the answer has more than {most:,} bytes")
        return whole

    async def _gathered(self, most: int) -> bytes:
        """The body as it comes, until it is longer than `most` bytes."""
        whole = bytearray()
        while len(whole) <= most and (piece := await self.piece()):
            whole += piece
        return bytes(whole)


class Upstream:
    """One server, reached by `outward`. Raises `Invalid` on a `base_url` that is none."""

    def __init__(self, name: str, settings: EngineSettings, key: str, dialect: Dialect, outward: Outward) -> None:
        try:
            self._place = Place.of(settings.base_url)
        except ValueError:
            words = f"engines.{name}: base_url must be http(s)://HOST[:PORT], with its path, without user or password"
            raise Invalid(words, hint=f'for example base_url = "{dialect.address}" under [engines.{name}]') from None
        self._name, self._settings, self._key, self._dialect = name, settings, key, dialect
        self._proxy = Proxy.of(name, settings)
        outward.via = self._proxy.place.destination if self._proxy else ""
        self._base = settings.base_url.rstrip("/")
        self._outward = outward
        self._heads: dict[str, bytes] = {}
        self._lines: Lines | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def post(self, sent: JsonObject, waits: Waits, path: str = "", trace: str = "") -> "Incoming":
        """The opened 200 answer to `sent`, at another `path` than the dialect's where one is given.

        `trace` goes along as traceparent. Raises `Rejected`, `Spoiled`, or the `EngineError` that says what is up:
        `Outside` for an address that may not be called.
        """
        waits.begin()
        lines, data = self._open_lines(waits.loop), to_json(sent)
        call = framed(self._heads.get(path) or self._head(path), data, f"traceparent: {trace}" if trace else "")
        try:
            line = lines.kept() or await lines.made(waits.by)
            try:
                self._outward.sent(self._place.destination, len(data))
                await line.ask(call, waits.by)
            except BaseException:
                lines.drop(line)
                raise
        except OSError as error:
            raise self._unreached(error, waits) from error
        incoming = Incoming(self._name, line, lines, waits)
        if line.status == 200:
            return incoming
        with incoming:
            raise await self._fault(incoming, line)

    async def well(self, waits: Waits) -> bool | None:
        """Whether the server says that it is well, by the dialect's address for that; None where there is none.

        It is asked without the key. A server that does not know the address, or wants a key for it, has none.
        """
        if not self._dialect.health:
            return None
        waits.begin()
        url = self._base.removesuffix("/v1") + self._dialect.health
        whole = self._proxy is not None and not self._place.secure
        headers = self._proxy.headers if self._proxy and whole else {}
        try:
            lines = self._open_lines(waits.loop)
            line = await lines.made(waits.by)
            try:
                await line.ask(head(self._place, url, headers, whole=whole, method="GET") + b"\r\n", waits.by)
            finally:
                lines.drop(line)
        except (OSError, EngineError):
            return False
        return None if line.status in NO_WORD else line.status == 200

    async def close(self) -> None:
        """Closes the connections; calls under way and later ones get `EngineDown`."""
        self._closed = True
        if self._lines is not None:
            self._lines.close()
        self._outward.close()

    def clean(self, said: JsonValue) -> str:
        """What the server said, short, on one line and without the key."""
        text = said if isinstance(said, str) else to_json(said).decode()
        for secret in (self._key, *(self._proxy.secrets if self._proxy else ())):
            text = text.replace(secret, "***") if secret else text
        text = "".join(letter if letter.isprintable() else " " for letter in text)
        return text if len(text) <= SHOWN else text[:SHOWN] + "…"

    def _unreached(self, error: OSError, waits: Waits) -> EngineError:
        """The error where no head of an answer came."""
        if isinstance(error, ssl.SSLError):
            words = f"{self._name}: no safe connection to {self._place.host}: {self.clean(str(error))}"
            return EngineDown(words, hint="is base_url right, and its certificate known here?")
        if isinstance(error, TimeoutError):
            return waits.slow()
        late = isinstance(error, NoLine) and error.late  # the next try would only wait as long again
        what = f"{self._name}: {self._place.destination} cannot be reached"
        return EngineDown(what, hint="is it running?", again_s=None if late else 0.0)

    def _head(self, path: str) -> bytes:
        """What every call to `path`, or to the dialect's, begins with."""
        key = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        headers = {"Content-Type": "application/json", **self._dialect.headers, **key}
        try:
            whole = self._proxy is not None and not self._place.secure
            headers |= self._proxy.headers if self._proxy and whole else {}
            self._heads[path] = head(self._place, self._base + (path or self._dialect.path), headers, whole=whole)
        except ValueError as error:
            raise EngineDown(f"{self._name}: its key cannot be sent: {error}", hint=self._key_from()) from error
        return self._heads[path]

    def _open_lines(self, loop: asyncio.AbstractEventLoop) -> Lines:
        if self._closed:
            raise EngineDown(f"{self._name} is closed")
        if self._lines is None or self._loop is not loop:
            self._lines = Lines(self._place, self._outward, self._settings.connect_s, self._proxy)
            self._loop = loop
        return self._lines

    async def _fault(self, incoming: Incoming, line: Line) -> Exception:
        """What a status other than 200 means."""
        status, dialect = line.status, self._dialect
        said, code = await self._complaint(incoming, line.reason)
        what = f"{self._name} answered HTTP {status}: {said}"
        if code in dialect.spoiled:
            return Spoiled(said)
        if status in dialect.rejects:
            return Rejected(said)
        pause = _pause(line.header("retry-after"))
        if status in dialect.busy:
            return EngineBusy(what, again_s=pause)
        if status in dialect.down:
            return (EngineSlow if status == LATE else EngineDown)(what, again_s=pause)
        return EngineError(what, hint=self._advice(status))

    def _advice(self, status: int) -> str:
        if status == ASKS and self._proxy:
            return self._proxy.advice
        if status in self._dialect.denied:
            variable = self._settings.api_key_env
            if not variable:
                return f'name the variable that holds the key: api_key_env = "…" under [engines.{self._name}]'
            return self._key_from()
        if 300 <= status < 400:
            return "redirects are not followed; write the address it leads to as base_url"
        if status == 404:
            return f'is the model "{self._settings.model}" there, and is base_url like {self._dialect.address}?'
        return ""

    def _key_from(self) -> str:
        return f"the key is taken from ${self._settings.api_key_env}, which is {'set' if self._key else 'not set'}"

    async def _complaint(self, incoming: Incoming, reason: str) -> tuple[str, str]:
        """What the server complains of, and the code it gives to that."""
        data = b""
        try:
            while len(data) < LARGEST_COMPLAINT and (piece := await incoming.piece()):
                data += piece
        except (EngineDown, EngineSlow):
            data = b""  # the status says enough
        try:
            whole = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.clean(data.decode("utf-8", "replace") or reason or "nothing more"), ""
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

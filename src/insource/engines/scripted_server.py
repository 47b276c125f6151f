"""A server that answers from a script in a vendor's own wire: for tests, demonstrations and rehearsing an outage.

    async with ScriptedServer([Reply(match="refund", text="refund"), Reply(fault="reset")]) as server:
        settings = EngineSettings(kind="openai", base_url=server.base_url, model="scripted")

`kind` is that of a dialect; it serves the address of that dialect, plain and streamed, `/v1/models`, and whether it is
well where the dialect has an address for that. It listens on this machine only.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from urllib.parse import urlsplit

from aiohttp import web

from insource.engines.dialects import dialect
from insource.engines.scripted import Rule
from insource.engines.scripted_faults import PLAYS, Sound, Step
from insource.engines.scripted_wires import SAID, SCRIPTS, Piece, Reply, Told, Written
from insource.nouns import JsonObject, from_json, to_json
from insource.nouns.request import text_of

__all__ = ["Reply", "ScriptedServer", "Written"]
LONG = "x" * (1 << 16)
LOOK_S = 0.005
SSE = "text/event-stream"


class ScriptedServer:
    """The server, at `base_url` while it is entered. `seen` holds the bodies and `keys` the Authorization headers.

    `well` is what it says of its health, `looked` how often it was asked for that.
    `left` holds when (`time.monotonic`) the connection of a played answer was found closed, by its place in `seen`.
    """

    def __init__(self, replies: Sequence[Reply], *, model: str = "scripted", kind: str = "openai") -> None:
        self.seen: list[JsonObject] = []
        self.keys: list[str] = []
        self.left: dict[int, float] = {}
        self.well, self.looked = True, 0
        self._replies = tuple(replies)
        self._left = [reply.times or -1 for reply in self._replies]
        self._model = model
        self._dialect = dialect(kind)
        self._script = SCRIPTS[self._dialect.wire]
        self._root = urlsplit(self._dialect.address).path
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def base_url(self) -> str:
        """What goes into `base_url` of insource.toml."""
        return f"{self.address}{self._root}"

    @property
    def address(self) -> str:
        """The same without a path."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> "ScriptedServer":
        app = web.Application()
        app.router.add_post(self._root + self._dialect.path, self._chat)
        app.router.add_get("/v1/models", self._models)
        if self._dialect.health:
            app.router.add_get(self._dialect.health, self._health)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, shutdown_timeout=0.1)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        model = {"id": self._model, "object": "model", "created": 0, "owned_by": "insource"}
        return _json({"object": "list", "data": [model]})

    async def _health(self, _: web.Request) -> web.Response:
        self.looked += 1
        return web.Response(status=200 if self.well else 503)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers.get("Authorization", ""))
        asked = from_json(await request.read(), dict[str, object])
        self.seen.append(asked)
        place = len(self.seen)  # others may come while this one waits
        reply = self._reply(asked)
        await asyncio.sleep(reply.delay_s)
        refused = [name for name in reply.rejects if name in asked]
        if refused:
            return self._error(Reply(status=400), f"Unsupported parameter: {refused[0]}", refused[0])
        if reply.status != 200:
            return self._error(reply, SAID, None)
        if reply.fault == "redirect":
            raise web.HTTPTemporaryRedirect("http://127.0.0.1:9/v1/chat/completions")
        if reply.fault == "reset":
            _cut(request)
            return web.Response()
        told = Told(reply, asked, self._dialect, self._model, place)
        # without a word about it Ollama streams; the others do not
        streamed = asked.get("stream", self._script.lines)
        if reply.play:
            return await self._played(request, told, streamed=bool(streamed))
        try:
            return await (self._stream(request, told) if streamed else self._whole(request, told))
        except ConnectionError:
            return web.Response()  # the caller has left

    def _reply(self, asked: JsonObject) -> Reply:
        users = [message for message in asked["messages"] if message["role"] == "user"]
        text = text_of(users[-1]["content"]) if users else ""
        for index, reply in enumerate(self._replies):
            if self._left[index] and Rule(match=reply.match).applies(text):
                self._left[index] -= 1
                return reply
        return Reply(status=404)

    def _error(self, reply: Reply, message: str, param: str | None) -> web.Response:
        body = self._script.error(self._dialect, reply.status, message, param, reply.code)
        return _json(body, reply.status, {"Retry-After": reply.retry_after} if reply.retry_after else {})

    async def _whole(self, request: web.Request, told: Told) -> web.StreamResponse:
        answer, fault = self._script.whole(told), told.reply.fault
        data = to_json(answer)
        if fault == "bad_json":
            return web.Response(body=data[:-9], content_type="application/json")
        if fault not in ("half", "endless"):
            return _json(answer)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if fault == "half":
            response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        while fault == "endless":
            await response.write(b" " * (1 << 20))
        _cut(request)
        return response

    async def _stream(self, request: web.Request, told: Told) -> web.StreamResponse:
        kind = "application/x-ndjson" if self._script.lines else SSE
        response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-cache"})
        await response.prepare(request)
        for block in _sliced(self._blocks(told), told.reply, lines=self._script.lines):
            await response.write(block)
            await asyncio.sleep(0)
        while told.reply.fault == "endless":
            await response.write(LONG.encode())
        if told.reply.fault == "half":
            _cut(request)
        return response

    async def _played(self, request: web.Request, told: Told, *, streamed: bool) -> web.Response:
        """The answer as its fault has it, written to the connection past all that would put it right."""
        whole = to_json(self._script.whole(told))
        part = len(whole) // 4 + 1
        pieces = (
            tuple(block.encode() for block in self._blocks(told))
            if streamed
            else tuple(whole[at : at + part] for at in range(0, len(whole), part))
        )
        error = self._block(self._script.failed, "\n").encode() if streamed else to_json(self._script.failed[1])
        end = (self._script.end + "\n\n").encode() if streamed and self._script.end else b""
        kind = "application/json" if not streamed else "application/x-ndjson" if self._script.lines else SSE
        sound = Sound(kind, pieces, error, end, streamed)
        if request.transport is not None:
            await _play(request.transport, PLAYS[told.reply.play](sound, told.reply.at))
            if request.transport is None or request.transport.is_closing():
                self.left[told.number - 1] = time.monotonic()
        return _Said()

    def _blocks(self, told: Told) -> list[str]:
        """The events as they are written, faults included."""
        script, fault = self._script, told.reply.fault
        pieces = script.pieces(told)
        if fault == "error_event":
            pieces[1:] = [script.failed]
        if fault in ("no_end", "endless") and script.closing:
            pieces = pieces[: -script.closing]
        if fault == "half":
            pieces = pieces[: len(pieces) // 2]
        blocks = [self._block(piece, told.reply.newline) for piece in pieces]
        if fault == "bad_json":
            blocks[-1] = self._block(pieces[-1], told.reply.newline, cut=9)
        unended = ("no_end", "endless", "half")
        return [*blocks, script.end + told.reply.newline * 2] if script.end and fault not in unended else blocks

    def _block(self, piece: Piece, newline: str, *, cut: int = 0) -> str:
        name, event = piece
        data = to_json(event).decode()
        data = data[: len(data) - cut]
        if self._script.lines:
            return data + newline
        return (f"event: {name}{newline}" if name else "") + f"data: {data}{newline}{newline}"


class _Said(web.Response):
    """An answer whose bytes are on the connection already."""

    async def prepare(self, _: web.BaseRequest) -> None:
        """There is nothing to say before."""

    async def write_eof(self, _: bytes = b"") -> None:
        """There is nothing to say after."""

    @property
    def keep_alive(self) -> bool:
        """The connection is left as it is."""
        return True


async def _play(transport: asyncio.Transport, steps: Iterator[Step]) -> None:
    for step in steps:
        if transport.is_closing():
            return
        if isinstance(step, bytes):
            transport.write(step)
            await _unsent(transport, len(LONG))
        elif isinstance(step, float):
            await asyncio.sleep(step)
        elif step == "hang":
            await _unsent(transport, -1)
        else:
            (transport.abort if step == "reset" else transport.close)()


async def _unsent(transport: asyncio.Transport, most: int) -> None:
    """Waits until no more than `most` bytes are unsent, or the caller left."""
    while transport.get_write_buffer_size() > most and not transport.is_closing():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(LOOK_S)


def _sliced(blocks: list[str], reply: Reply, *, lines: bool) -> list[bytes]:
    """The bytes to write one after another: event by event, or cut wherever the script says."""
    if not reply.slice_bytes:
        return [block.encode() for block in blocks]
    comment = "" if lines else f": a comment{reply.newline}{reply.newline}"
    whole = (comment + "".join(blocks)).encode()
    return [whole[at : at + reply.slice_bytes] for at in range(0, len(whole), reply.slice_bytes)]


def _json(body: JsonObject, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=to_json(body), status=status, headers=headers, content_type="application/json")


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()

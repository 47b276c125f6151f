"""A server that speaks the OpenAI chat wire from a script: for tests, demonstrations and rehearsing an outage.

    async with ScriptedServer([Reply(match="refund", text="refund"), Reply(fault="reset")]) as server:
        settings = EngineSettings(kind="openai", base_url=server.base_url, model="scripted")

It serves `/v1/chat/completions`, plain and streamed, and `/v1/models`. What it answers without a fault parses in the
official client. Source: OpenAI API reference, chat completions. It listens on this machine only.
"""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Annotated, Literal

from aiohttp import web
from msgspec import Meta

from insource.engines.scripted import Rule
from insource.nouns import JsonObject, Noun, from_json, to_json
from insource.nouns.request import text_of

Fault = Literal["", "reset", "half", "bad_json", "no_end", "redirect", "endless", "error_event"]
STATUS_TYPES = {401: "authentication_error", 429: "rate_limit_exceeded"}


class Reply(Noun, frozen=True, kw_only=True):
    """One line of the script: for which input (`match` as in `scripted.Rule`), what is said, and what goes wrong.

    `status` other than 200 answers with an error body, `retry_after` with that header. `rejects` answers 400 while
    the request has one of these fields. Faults: reset (no answer), half (cut in the middle), bad_json, no_end (a
    stream without [DONE]), redirect, endless (an answer without end), error_event (an error in the stream).
    `logprob` is given to every token, None sends none; `usage` False leaves the counts out. `times` uses the reply
    up. A stream is written in slices of `slice_bytes` (0 = event by event), with `newline` ends.
    """

    match: str = "*"
    text: str = "ok"
    refusal: str | None = None
    finish: str = "stop"
    tool_calls: tuple[JsonObject, ...] = ()
    delay_s: Annotated[float, Meta(ge=0.0)] = 0.0
    status: int = 200
    retry_after: str = ""
    rejects: tuple[str, ...] = ()
    fault: Fault = ""
    logprob: float | None = -0.01
    usage: bool = True
    times: int = 0
    slice_bytes: int = 0
    newline: str = "\n"


class ScriptedServer:
    """The server, at `base_url` while it is entered. `seen` holds the bodies and `keys` the Authorization headers."""

    def __init__(self, replies: Sequence[Reply], *, model: str = "scripted") -> None:
        self.seen: list[JsonObject] = []
        self.keys: list[str] = []
        self._replies = tuple(replies)
        self._left = [reply.times or -1 for reply in self._replies]
        self._model = model
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def base_url(self) -> str:
        """What goes into `base_url` of insource.toml."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self) -> "ScriptedServer":
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
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

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers.get("Authorization", ""))
        asked = from_json(await request.read(), dict[str, object])
        self.seen.append(asked)
        reply = self._reply(asked)
        await asyncio.sleep(reply.delay_s)
        refused = [name for name in reply.rejects if name in asked]
        if refused:
            return _error(400, f"Unsupported parameter: {refused[0]}", refused[0], "")
        if reply.status != 200:
            return _error(reply.status, "as the script says", None, reply.retry_after)
        if reply.fault == "redirect":
            raise web.HTTPTemporaryRedirect("http://127.0.0.1:9/v1/chat/completions")
        if reply.fault == "reset":
            _cut(request)
            return web.Response()
        try:
            return await (self._stream(request, asked, reply) if asked.get("stream") else self._whole(request, reply))
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

    async def _whole(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        message: JsonObject = {"role": "assistant", "content": reply.text or None, "refusal": reply.refusal}
        if reply.tool_calls:
            message["tool_calls"] = list(reply.tool_calls)
        choice = {"index": 0, "message": message, "logprobs": _logprobs(reply, reply.text)}
        answer = self._head("chat.completion") | {"choices": [choice | {"finish_reason": reply.finish}]}
        if reply.usage:
            answer["usage"] = _usage(reply)
        data = to_json(answer)
        if reply.fault == "bad_json":
            return web.Response(body=data[:-9], content_type="application/json")
        if reply.fault not in ("half", "endless"):
            return _json(answer)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if reply.fault == "half":
            response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        while reply.fault == "endless":
            await response.write(b" " * (1 << 20))
        _cut(request)
        return response

    async def _stream(self, request: web.Request, asked: JsonObject, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        wants_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        events = self._events(reply, wants_usage=wants_usage)
        if reply.fault == "half":
            events = events[: len(events) // 2]
        end = reply.newline
        blocks = [f"data: {event}{end}{end}".encode() for event in events]
        if reply.slice_bytes:
            whole = f": a comment{end}{end}".encode() + b"".join(blocks)
            blocks = [whole[at : at + reply.slice_bytes] for at in range(0, len(whole), reply.slice_bytes)]
        for block in blocks:
            await response.write(block)
            await asyncio.sleep(0)
        while reply.fault == "endless":
            await response.write(b"x" * (1 << 16))
        if reply.fault == "half":
            _cut(request)
        return response

    def _events(self, reply: Reply, *, wants_usage: bool) -> list[str]:
        pieces = [reply.text[at : at + 4] for at in range(0, len(reply.text), 4)]
        deltas: list[JsonObject] = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)]
        if reply.refusal:
            deltas.append({"refusal": reply.refusal})
        if reply.tool_calls:
            deltas.append({"tool_calls": [{"index": i, **call} for i, call in enumerate(reply.tool_calls)]})
        chunks = [self._chunk(delta, None, _logprobs(reply, str(delta.get("content") or ""))) for delta in deltas]
        chunks.append(self._chunk({}, reply.finish, None))
        if wants_usage and reply.usage:
            chunks.append(self._head("chat.completion.chunk") | {"choices": [], "usage": _usage(reply)})
        events = [to_json(chunk).decode() for chunk in chunks]
        if reply.fault == "bad_json":
            events[1] = events[1][:-9]
        if reply.fault == "error_event":
            events[1:] = ['{"error": {"message": "as the script says", "type": "server_error"}}']
        return events if reply.fault in ("no_end", "endless") else [*events, "[DONE]"]

    def _chunk(self, delta: JsonObject, finish: str | None, logprobs: JsonObject | None) -> JsonObject:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def _head(self, kind: str) -> JsonObject:
        number = len(self.seen)
        return {"id": f"chatcmpl-{number}", "object": kind, "created": int(time.time()), "model": self._model}


def _logprobs(reply: Reply, text: str) -> JsonObject | None:
    """One token per four letters, each with the script's log probability."""
    if reply.logprob is None or not text:
        return None
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    tokens = [{"token": p, "logprob": reply.logprob, "bytes": list(p.encode()), "top_logprobs": []} for p in pieces]
    return {"content": tokens, "refusal": None}


def _usage(reply: Reply) -> JsonObject:
    out = -(-len(reply.text) // 4)
    return {"prompt_tokens": 10, "completion_tokens": out, "total_tokens": 10 + out}


def _error(status: int, message: str, param: str | None, retry_after: str) -> web.Response:
    kind = STATUS_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": param, "code": None}}
    return _json(body, status, {"Retry-After": retry_after} if retry_after else {})


def _json(body: JsonObject, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=to_json(body), status=status, headers=headers, content_type="application/json")


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()

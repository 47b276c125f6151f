"""A gateway on a real socket before scripted servers, servers with outages, and callers that leave."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import uvicorn
from aiohttp import web

from insource.engines.scripted_server import Reply, ScriptedServer
from insource.nouns import Record
from insource.serve.app import create_app
from insource.serve.connection import Connection
from insource.serve.desk import Desk
from insource.serve.run import address, listen
from insource.settings import EngineSettings, Settings
from insource.store import Store

TEXT = "the whole of the answer, from its first word to its last"
PLACES = ("before", "middle", "late")
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 12, "total_tokens": 22},
}


@asynccontextmanager
async def gateway(root: Path, *urls: str, **more: Any) -> AsyncIterator[tuple[str, Store, Desk]]:
    """Its URL, store and desk. Engine "s0" is at the first of `urls` and goes on to "s1", and so forth."""
    engines = {}
    for number, url in enumerate(urls):
        then = (f"s{number + 1}",) if number + 1 < len(urls) else ()
        given = {"kind": "openai", "base_url": url, "model": "m"} | more
        engines[f"s{number}"] = EngineSettings(**given, otherwise=then)
    settings = Settings(root=root, cache=root, engines=engines)
    async with await Store.open(settings) as store:
        app = create_app(settings, store, {})
        bound = listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", http=Connection))
        running = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
        try:
            yield address(bound), store, app.state.desk
        finally:
            server.should_exit = True
            await running


def say(text: str, *, stream: bool = False) -> dict[str, Any]:
    """A call to the first engine."""
    return {"model": "s0", "messages": [{"role": "user", "content": text}], "stream": stream}


Mode = Literal["sound", "reset", "503", "hang"]


@dataclass
class Switched:
    """A server that is sound, or out in one of three ways; `calls` holds from when to when each call was with it."""

    mode: Mode = "sound"
    calls: list[list[float]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        span = [time.monotonic(), float("inf")]
        self.calls.append(span)
        try:
            await request.read()
            if self.mode == "sound":
                return web.json_response(ANSWER)
            transport = request.transport
            while self.mode == "hang" and transport is not None and not transport.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            if self.mode == "reset" and transport is not None:
                transport.abort()
            return web.json_response({"error": {"message": "out"}}, status=503)
        finally:
            span[1] = time.monotonic()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its base URL."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()


@dataclass
class Left:
    """What became of callers that left: the seconds until the server saw it, and what is on record.

    `never_asked` had left before the server was asked for them; one that it never saw leaving took infinite seconds.
    """

    seconds: list[float]
    never_asked: int
    records: list[Record]
    in_flight: int
    places_kept: int


async def cut(url: str, body: dict[str, Any], after_s: float) -> float:
    """Sends a call and closes the connection after so many seconds; the time at which it was closed."""
    host, port = url.removeprefix("http://").split(":")
    data = json.dumps(body).encode()
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    await asyncio.sleep(after_s)
    writer.close()
    return time.monotonic()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for it, ten seconds at most."""
    for _ in range(500):
        if await condition():
            return
        await asyncio.sleep(0.02)


async def cuts(root: Path, number: int, seed: int, at_once: int = 1) -> Left:
    """Callers that leave at any moment of plain and streamed calls, before the first word and after it."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    ways = [(at, stream) for stream in (True, False) for at in PLACES]
    replies = [Reply(match=f"<{at}>", text=TEXT, play="hang", at=at) for at in PLACES]
    times: list[tuple[str, float]] = []
    seats = asyncio.Semaphore(at_once)
    async with (
        ScriptedServer(replies) as server,
        gateway(root, server.base_url, idle_s=60.0) as (url, store, desk),
    ):

        async def one(turn: int, after_s: float) -> None:
            at, stream = ways[turn % len(ways)]
            text = f"<{at}> {turn} times"
            async with seats:
                times.append((text, await cut(url, say(text, stream=stream), after_s)))

        await asyncio.gather(*[one(turn, dice.uniform(0.03, 0.6)) for turn in range(number)])

        async def gone() -> bool:
            all_left = len(server.left) == len(server.seen) and not desk.in_flight
            return all_left and len(await store.records(limit=100_000)) >= number

        await until(gone)
        asked = {body["messages"][-1]["content"]: place for place, body in enumerate(server.seen)}
        never = float("inf")
        seconds = [server.left.get(asked[text], never) - closed for text, closed in times if text in asked]
        turnstile = desk._bases.turnstiles["s0"]  # noqa: SLF001 - what is to be measured has no public name
        kept = desk.in_flight, turnstile.under_way
        return Left(seconds, number - len(seconds), await store.records(limit=100_000), *kept)

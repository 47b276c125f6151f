"""A gateway that is watched: its numbers, the lines of its log, and a collector that takes its spans."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from serving import RULES, path_of, socket_of, tickets, workspace

from insource.engines.scripted import Scripted
from insource.nouns import Observe
from insource.serve.app import create_app
from insource.settings import EngineSettings, Settings
from insource.store import Store


class Collector:
    """Takes OTLP over HTTP, as a collector does; `spans` are those that came, with their attributes as a dict."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    async def take(self, http: web.Request) -> web.Response:
        self.bodies.append(await http.read())
        self.headers.append(dict(http.headers))
        return web.Response(body=b"", content_type="application/x-protobuf")

    @property
    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        found = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [s for one in found for of in one.resource_spans for scope in of.scope_spans for s in scope.spans]


def attributes(span: Any) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        kind = value.WhichOneof("value")
        return [plain(v) for v in value.array_value.values] if kind == "array_value" else getattr(value, kind)

    return {pair.key: plain(pair.value) for pair in span.attributes}


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    made, app = Collector(), web.Application()
    app.router.add_post("/v1/traces", made.take)
    async with serving(app) as url:
        made.url = f"{url}/v1/traces"
        yield made


@asynccontextmanager
async def watched(
    root: Path, observe: Observe | None = None, engines: dict[str, EngineSettings] | None = None, **serve: int
) -> AsyncIterator[tuple[str, Store, Any, list[dict[str, Any]]]]:
    """URL, store, desk and the lines of the log of a gateway on a socket."""
    settings: Settings = workspace(root, **serve)
    settings = msgspec.structs.replace(
        settings, observe=observe or Observe(log_json=True), engines=settings.engines | (engines or {})
    )
    lines: list[dict[str, Any]] = []
    async with await Store.open(settings) as store:
        app = create_app(settings, store, {"tickets": path_of(store, tickets(), Scripted("one", RULES))})
        desk = app.state.desk
        if desk.seeing._write is not None:
            desk.seeing._write = lambda line: lines.append(msgspec.json.decode(line))
        async with socket_of(app) as url:
            yield url, store, desk, lines
        await asyncio.sleep(0)

"""The gateway: its table of routes, and what lives as long as it does."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from insource import __version__
from insource.engines.shared_base import Bases
from insource.errors import InsourceError, Missing, StoreError
from insource.journeys.answer import Path
from insource.nouns import to_json
from insource.serve.books import close_books, keep_books
from insource.serve.chat import chat
from insource.serve.desk import Desk
from insource.serve.ends import Ends
from insource.serve.faults import on_bug, on_http, on_ours
from insource.serve.hosts import OnlyHosts
from insource.settings import Settings
from insource.store import Store

FOLLOW_S = 2.0


def create_app(
    settings: Settings,
    store: Store,
    paths: dict[str, Path],
    *,
    follow: bool = False,
    network: bool = False,
    bases: Bases | None = None,
) -> Starlette:
    """The ASGI app that answers with `paths` (task → path). The caller closes the store, the app the paths.

    `bases` are those that the paths were opened with. With `follow` it loads what is promoted meanwhile, and signs
    checkpoints of the audit. Without `network` it answers only calls addressed to this machine. No web page of another
    host can reach it.
    """

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        desk: Desk = app.state.desk
        beside = (_follow(desk), keep_books(settings, store)) if follow else ()
        running = [asyncio.create_task(each) for each in beside]
        try:
            yield
        finally:
            for each in running:
                each.cancel()
                with suppress(asyncio.CancelledError):
                    await each
            await desk.close()
            if follow:
                await close_books(settings, store)

    app = Starlette(
        routes=ROUTES,
        lifespan=life,
        middleware=[Middleware(Ends), Middleware(OnlyHosts, network=network)],
        exception_handlers={InsourceError: on_ours, HTTPException: on_http, Exception: on_bug},
    )
    app.state.desk = Desk(settings, store, paths, bases=bases)
    app.state.began = int(time.time())
    app.state.broken_off = 0
    return app


async def home(_: HttpRequest) -> Response:
    """What this is."""
    routes = [route.path for route in ROUTES]
    return _json({"name": "insource", "version": __version__, "api": "OpenAI, at /v1", "routes": routes})


async def models(http: HttpRequest) -> Response:
    """Every model a call may name."""
    names = await http.app.state.desk.models()
    return _json({"object": "list", "data": [_model(http, name, owner) for name, owner in sorted(names.items())]})


async def model(http: HttpRequest) -> Response:
    """One model. Raises `Missing`."""
    name = http.path_params["id"]
    names = await http.app.state.desk.models()
    if name not in names:
        raise Missing(f"there is no model {name!r}", hint="GET /v1/models lists what there is", at="model")
    return _json(_model(http, name, names[name]))


async def alive(_: HttpRequest) -> Response:
    """The process runs."""
    return _json({"status": "ok"})


async def ready(http: HttpRequest) -> Response:
    """Whether calls can be answered now: the store takes rows, and every live release is loaded."""
    faults = await http.app.state.desk.faults()
    return _json({"status": "not ready" if faults else "ready", "faults": faults}, 503 if faults else 200)


ROUTES = [
    Route("/", home),
    Route("/healthz", alive),
    Route("/readyz", ready),
    Route("/v1/models", models),
    Route("/v1/models/{id:path}", model),
    Route("/v1/chat/completions", chat, methods=["POST"]),
]


async def _follow(desk: Desk) -> None:
    log, said = logging.getLogger("insource.serve"), list[str]()
    while True:
        await asyncio.sleep(FOLLOW_S)
        with suppress(StoreError):  # /readyz says so; the next look may succeed
            problems = await desk.follow()
            for problem in problems if problems != said else ():
                log.warning("not loaded: %s", problem)
            said = problems


def _model(http: HttpRequest, id: str, owner: str) -> dict[str, object]:
    return {"id": id, "object": "model", "created": http.app.state.began, "owned_by": owner}


def _json(value: object, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")

"""The gateway: its table of routes, and what lives as long as it does."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from insource import __version__
from insource.engines.outbox import Outbox
from insource.engines.shared_base import Bases
from insource.errors import InsourceError, Missing, StoreError
from insource.journeys.answer import Path
from insource.journeys.trial import advance
from insource.nouns import to_json
from insource.serve import batches, files
from insource.serve.auth import ANY_KEY, ANYONE, CALLER, FEEDBACK, OPERATOR, Guarded, all_guarded, key_of, may_call
from insource.serve.batch_work import BatchWork
from insource.serve.books import close_books, keep_books
from insource.serve.chat import chat
from insource.serve.completions import completions
from insource.serve.described import described
from insource.serve.desk import Desk
from insource.serve.door import Door
from insource.serve.embeddings import embeddings
from insource.serve.ends import Ends
from insource.serve.faults import NOT_KEPT, on_bug, on_http, on_ours
from insource.serve.feedback import take_feedback
from insource.serve.gateway import CHAT, Gateway
from insource.serve.hosts import OnlyHosts
from insource.serve.keyring import LOOK_S, Keyring
from insource.serve.late import settle_late
from insource.serve.metrics_page import metrics
from insource.serve.readiness import Readiness
from insource.serve.sharing import Sharing
from insource.settings import Settings
from insource.store import Store
from insource.store.opened import IN_FILE

FOLLOW_S, ADVANCE_S = 0.5, 5.0
Work = Callable[[], Coroutine[Any, Any, None]]


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
    checkpoints of the audit. Without `network` it answers only calls addressed to this machine, and asks for no key as
    long as the store has none. No web page of another host can reach it. Raises `Conflict` when a route does not
    declare who may use it.
    """

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        desk: Desk = app.state.desk
        await app.state.keyring.look()
        if desk.outage is not None:
            await desk.outage.begin(app.state.keyring.tenants | set(settings.tenants))
        sharing = await _limits(desk, settings, store)
        shares = () if sharing is None else (sharing.work,)
        beside = (*shares, *(_beside(desk, settings, store, sharing) if follow else ()))
        always = (partial(_follow_keys, app.state.keyring), app.state.batches.work, *beside)
        running = [asyncio.create_task(_kept_up(each)) for each in always]
        try:
            yield
        finally:
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await desk.close()
            if follow:
                await close_books(settings, store)

    app = Gateway(
        network=network,
        routes=all_guarded(ROUTES),
        lifespan=life,
        middleware=[Middleware(Ends), Middleware(OnlyHosts, network=network)],
        exception_handlers={InsourceError: on_ours, HTTPException: on_http, Exception: on_bug},
    )
    desk = app.state.desk = Desk(settings, store, paths, bases=bases)
    _furnish(app, desk, Keyring(store, network=network))
    return app


def _furnish(app: Starlette, desk: Desk, keyring: Keyring) -> None:
    """Puts into the app what lives as long as it does."""
    app.state.keyring = keyring
    app.state.door, app.state.outbox = Door(desk.settings.serve.queue, desk.seeing.metrics), Outbox()
    app.state.readiness = Readiness(desk.faults)
    app.state.batches = BatchWork(desk, keyring)
    app.state.began = int(time.time())
    app.state.broken_off, app.state.siblings = 0, None


async def _limits(desk: Desk, settings: Settings, store: Store) -> Sharing | None:
    """Where limits are shared with other gateways, what shares them; else the ledger learns what was used so far."""
    if settings.serve.workers == 1 and settings.store.url in ("", IN_FILE):
        await desk.meter.remember(store)
        return None
    sharing = desk.meter.room = Sharing(settings, store, desk.meter.ledger)
    await sharing.begin()
    return sharing


def _beside(desk: Desk, settings: Settings, store: Store, sharing: Sharing | None) -> tuple[Work, ...]:
    """What goes on beside the calls. Of several gateways one moves releases, and settles what waits too long."""
    alone = (lambda: True) if sharing is None else (lambda: sharing.duty)
    always = partial(_follow, desk), desk.trying.work, partial(keep_books, settings, store)
    return *always, partial(_advance, desk, alone), partial(settle_late, settings, store, alone)


async def _kept_up(work: Work) -> None:
    """Has it done until it is cancelled. A fault of ours ends one round of it: nobody else would go on with it."""
    while True:
        try:
            await work()
        except Exception as bug:
            logging.getLogger("insource.serve").error("a fault of ours beside the calls", exc_info=bug)
        await asyncio.sleep(FOLLOW_S)


async def home(_: HttpRequest) -> Response:
    """What this is."""
    routes = [route.path for route in ROUTES]
    return _json({"name": "insource", "version": __version__, "api": "OpenAI, at /v1", "routes": routes})


async def models(http: HttpRequest) -> Response:
    """Every model that the caller may name."""
    names = await _models(http)
    return _json({"object": "list", "data": [_model(http, name, owner) for name, owner in sorted(names.items())]})


async def model(http: HttpRequest) -> Response:
    """One model. Raises `Missing`."""
    name = http.path_params["id"]
    names = await _models(http)
    if name not in names:
        raise Missing(f"there is no model {name!r}", hint="GET /v1/models lists what there is", at="model")
    return _json(_model(http, name, names[name]))


async def openapi(_: HttpRequest) -> Response:
    """A description of all this, for clients that are made from one."""
    return _json(described(ROUTES))


async def alive(_: HttpRequest) -> Response:
    """The process runs."""
    return _json({"status": "ok"})


async def ready(http: HttpRequest) -> Response:
    """Whether calls can be answered now: every live release is loaded, and they can be put on record.

    "degraded" where that is in the spool, or a release does not come from the place that hosts share and the one before
    answers: calls are answered, and somebody should see to it.
    """
    desk: Desk = http.app.state.desk
    faults = await http.app.state.readiness.faults()
    odd = [*(desk.outage.faults() if desk.outage is not None else []), *desk.waiting]
    status = "not ready" if faults else "degraded" if odd else "ready"
    return _json({"status": status, "faults": faults + odd, "resting": desk.resting}, 503 if faults else 200)


ROUTES = [
    Guarded("/", home, ANYONE),
    Guarded("/openapi.json", openapi, ANYONE),
    Guarded("/healthz", alive, ANYONE),
    Guarded("/readyz", ready, ANYONE),
    Guarded("/metrics", metrics, OPERATOR),
    Guarded("/v1/models", models, ANY_KEY),
    Guarded("/v1/models/{id:path}", model, ANY_KEY),
    Guarded(CHAT, chat, CALLER, methods=["POST"]),
    Guarded("/v1/completions", completions, CALLER, methods=["POST"]),
    Guarded("/v1/embeddings", embeddings, CALLER, methods=["POST"]),
    Guarded("/v1/files", files.files, CALLER, methods=["GET", "POST"]),
    Guarded("/v1/files/{id}", files.file, CALLER, methods=["GET", "DELETE"]),
    Guarded("/v1/files/{id}/content", files.content, CALLER),
    Guarded("/v1/batches", batches.batches, CALLER, methods=["GET", "POST"]),
    Guarded("/v1/batches/{id}", batches.batch, CALLER),
    Guarded("/v1/batches/{id}/cancel", batches.cancel, CALLER, methods=["POST"]),
    Guarded("/v1/feedback", take_feedback, FEEDBACK, methods=["POST"]),
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


async def _advance(desk: Desk, alone: Callable[[], bool]) -> None:
    """Moves releases on their way when that is due: as a trial tells more, else every few seconds."""
    log, said = logging.getLogger("insource.serve"), list[str]()
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(ADVANCE_S):
                await desk.trying.noted.wait()
        desk.trying.noted.clear()
        problems = []
        for task in desk.live() if alone() else ():
            try:
                for change in await advance(task, desk.settings, desk.store):
                    log.warning("%s: %s to %s: %s", change.release, change.before, change.after, change.why)
                    await desk.follow()
            except InsourceError as error:
                problems.append(f"{task}: {error}")
        for problem in problems if problems != said else ():
            log.warning("not moved: %s", problem)
        said = problems


async def _follow_keys(keyring: Keyring) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        with suppress(StoreError):  # without a store no call is answered
            await keyring.look()


async def _models(http: HttpRequest) -> dict[str, str]:
    desk: Desk = http.app.state.desk
    names = await desk.models()
    return {name: owner for name, owner in names.items() if may_call(key_of(http), desk.names(name))}


def _model(http: HttpRequest, id: str, owner: str) -> dict[str, object]:
    return {"id": id, "object": "model", "created": http.app.state.began, "owned_by": owner}


def _json(value: object, status: int = 200) -> Response:
    return Response(to_json(value), status, NOT_KEPT, "application/json")

"""The console: its table of pages, signing in and out, and what a page says when something is wrong."""

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from insource.console import calls, drift, governance, move, overview, reports, review, task
from insource.console.guard import (
    OPERATOR,
    READER,
    REVIEWER,
    House,
    Page,
    Sealed,
    Visit,
    check_origin,
    own_path,
    read_form,
    to,
    token_of,
)
from insource.console.pages import STATIC, asset, render
from insource.console.sessions import Ring
from insource.errors import InsourceError, Unauthorized
from insource.nouns import without_folders
from insource.settings import Settings
from insource.store import Store

FOR_GOOD = {"cache-control": "public, max-age=31536000, immutable"}


def create_console(settings: Settings, store: Store, ring: Ring) -> Starlette:
    """The ASGI app that stands at /console. The caller closes the store, and keeps foreign pages out."""
    app = Starlette(
        routes=[*OPEN, *PAGES],
        middleware=[Middleware(Sealed, on_bug=_on_bug)],
        exception_handlers={InsourceError: _on_ours, HTTPException: _on_http},
    )
    app.state.house = House(settings, store, ring)
    return app


async def sign_in(http: HttpRequest) -> Response:
    """Asks for a key."""
    return _asking(own_path(http.query_params.get("next", "/console")))


async def signed_in(http: HttpRequest) -> Response:
    """Takes a key, and gives a session for it."""
    check_origin(http)
    form = await read_form(http)
    house: House = http.app.state.house
    back = own_path(form.get("next", "/console"))
    try:
        key = await house.ring.holder(form.get("key", "").strip())
    except Unauthorized:
        return _asking(back, "That is no valid key. insource keys list shows the keys there are, not their text.", 401)
    session = house.sessions.begin(house.sessions.of(token_of(http)), key.id or None)
    return to(back, session=session, scope=http.scope)


async def sign_out(visit: Visit) -> Response:
    """Ends the session."""
    visit.house.sessions.end(visit.session)
    return to("/console/login")


async def look(visit: Visit) -> Response:
    """Sets the theme, and whether single keys are shortcuts."""
    theme = visit.form.get("theme", visit.session.theme)
    visit.session.theme = "dark" if theme == "dark" else "light" if theme == "light" else ""
    if "shortcuts" in visit.form:
        visit.session.shortcuts = visit.form["shortcuts"] == "on"
    return to(own_path(visit.form.get("back", "/console")))


async def static(http: HttpRequest) -> Response:
    """The style sheet and the script."""
    name = http.path_params["name"]
    if name not in STATIC:
        raise HTTPException(404)
    return Response(asset(name), headers=FOR_GOOD, media_type=STATIC[name])


def _asking(back: str, wrong: str = "", status: int = 200) -> Response:
    return HTMLResponse(render("login.html", {"back": back, "wrong": wrong}), status)


async def _on_ours(http: HttpRequest, error: Exception) -> Response:
    ours = error if isinstance(error, InsourceError) else InsourceError("internal error")
    return _wrong(http, ours.status, str(ours), ours.hint)


async def _on_http(http: HttpRequest, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = "there is no such page" if status == 404 else "that is not done this way"
    return _wrong(http, status, words, "the overview leads everywhere")


async def _on_bug(http: HttpRequest, error: Exception) -> Response:
    logging.getLogger("insource.console").error("a fault of ours", exc_info=error)
    return _wrong(http, 500, "internal error", "the gateway's log says more")


def _wrong(http: HttpRequest, status: int, words: str, hint: str) -> Response:
    house: House = http.app.state.house
    session = house.sessions.of(token_of(http))
    theme = session.theme if session is not None else ""
    words, hint = without_folders(words), without_folders(hint)
    return HTMLResponse(render("wrong.html", {"words": words, "hint": hint, "status": status, "theme": theme}), status)


OPEN = [
    Route("/login", sign_in, methods=["GET"]),
    Route("/login", signed_in, methods=["POST"]),
    Route("/static/{digest}/{name}", static, methods=["GET"]),
]
PAGES = [
    Page("/", overview.overview, READER),
    Page("/logout", sign_out, READER, post=True),
    Page("/look", look, READER, post=True),
    Page("/tasks/{task}", task.show, READER),
    Page("/tasks/{task}/move", move.ask, OPERATOR),
    Page("/tasks/{task}/move", move.make, OPERATOR, post=True),
    Page("/tasks/{task}/review", review.show, REVIEWER),
    Page("/tasks/{task}/review", review.decide, REVIEWER, post=True),
    Page("/tasks/{task}/labels", review.labels, REVIEWER),
    Page("/tasks/{task}/drift", drift.show, READER),
    Page("/calls", calls.find, READER),
    Page("/calls/{record}", calls.show, READER),
    Page("/reports", reports.listed, READER),
    Page("/reports/{report}", reports.show, READER),
    Page("/governance", governance.show, OPERATOR),
]

"""Who may see a page: each declares it. What comes in by a form is read here, and what goes out is held to itself."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from insource.console.sessions import COOKIE, Ring, Session, Sessions, cookie
from insource.errors import Denied, Invalid, Missing
from insource.nouns import ANYBODY, Key, Role, Task
from insource.settings import Settings, load_task, task_names
from insource.store import Store

READER: tuple[Role, ...] = ("reviewer", "operator", "admin")
REVIEWER: tuple[Role, ...] = ("reviewer", "admin")
OPERATOR: tuple[Role, ...] = ("operator", "admin")
MOST_FORM = 256 * 1024
MOST_FIELDS = 1_000
LONGEST_NUMBER = 19  # digits: what is longer is no number of a row
MOST_QUERY = 200  # letters of a parameter of the address
SAME = ("same-origin", "none", "")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with "no-referrer" browsers hide the Origin of a form
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class House:
    """What every page works with."""

    settings: Settings
    store: Store
    ring: Ring
    sessions: Sessions = field(default_factory=Sessions)
    verifying: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class Visit:
    """One call of somebody who may make it. `form` are the fields of a form that was sent."""

    http: HttpRequest
    house: House
    session: Session
    key: Key
    form: dict[str, str]

    @property
    def store(self) -> Store:
        """The store."""
        return self.house.store

    @property
    def settings(self) -> Settings:
        """The workspace."""
        return self.house.settings

    @property
    def tenant(self) -> str | None:
        """Whose calls may be seen: tenants see nothing of each other, who runs the whole sees all (None)."""
        return None if "admin" in self.key.roles else self.key.tenant

    @property
    def tasks(self) -> list[str]:
        """The tasks that may be seen."""
        names = task_names(self.settings)
        return [name for name in names if not self.key.scopes or name in self.key.scopes]

    @property
    def here(self) -> str:
        """The path and query of the page."""
        return _here(self.http)

    def query(self, name: str) -> str:
        """A parameter of the address, cut to `MOST_QUERY` letters; "" where it is not there."""
        return self.http.query_params.get(name, "").replace("\0", "").strip()[:MOST_QUERY]

    def place(self) -> int:
        """The place in a list that the address asks for, 0 for its beginning."""
        before = self.query("before")
        return int(before) if before.isdecimal() and len(before) < LONGEST_NUMBER else 0

    def task(self) -> Task:
        """The task that the address names. Raises `Missing`: also for one that may not be seen."""
        name = self.http.path_params["task"]
        if name not in self.tasks:
            raise Missing(f"there is no task {name!r}", hint="the overview lists the tasks")
        return load_task(self.settings, name)

    def can(self, roles: tuple[Role, ...]) -> bool:
        """Whether the key has one of the roles."""
        return not set(roles).isdisjoint(self.key.roles)


Endpoint = Callable[[Visit], Awaitable[Response]]


class Page(Route):
    """A page for keys that have one of `roles`. Who brought none is asked to sign in; a form must be one of ours."""

    def __init__(self, path: str, endpoint: Endpoint, roles: tuple[Role, ...], *, post: bool = False) -> None:
        async def answer(http: HttpRequest) -> Response:
            visit = await _visit(http, roles, post=post)
            return visit if isinstance(visit, Response) else await endpoint(visit)

        answer.__doc__ = endpoint.__doc__
        super().__init__(path, answer, methods=["POST" if post else "GET"], name=endpoint.__name__)
        self.roles = roles


class Sealed:
    """Adds to every answer what keeps a browser from going elsewhere with it; a page may say a policy of its own.

    So it does to what `on_bug` answers of a fault of ours, which goes no further: the gateway knows nothing of pages.
    """

    def __init__(self, app: ASGIApp, on_bug: Callable[[HttpRequest, Exception], Awaitable[Response]]) -> None:
        self.app, self.on_bug = app, on_bug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the call on."""
        begun = False

        async def sealed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                said: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
                names = {name for name, _ in said}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in names]
                message = {**message, "headers": said + more}
            await send(message)

        try:
            await self.app(scope, receive, sealed)
        except Exception as error:
            if begun:
                raise
            await (await self.on_bug(HttpRequest(scope), error))(scope, receive, sealed)


def to(path: str, *, session: Session | None = None, scope: Scope | None = None) -> Response:
    """Sends a browser on, with its cookie where the session is new."""
    answer = RedirectResponse(path, 303)
    if session is not None and scope is not None:
        answer.headers["set-cookie"] = cookie(session, scope)
    return answer


def own_path(text: str) -> str:
    """A path of this console, for going back there; the overview where the text is none."""
    try:
        found = urlsplit(text)
    except ValueError:  # brackets that are no address
        return "/console"
    ours = found.path == "/console" or found.path.startswith("/console/")
    plain = not (found.scheme or found.netloc or "\\" in text or any(ord(letter) < 33 for letter in text))
    return text if ours and plain else "/console"


def token_of(http: HttpRequest) -> str:
    """The session's name in the call's cookies, "" where there is none."""
    return http.cookies.get(COOKIE, "")  # cookies of other ports of this machine come along, however odd they are


async def read_form(http: HttpRequest) -> dict[str, str]:
    """The fields of a form; of a repeated one the last. Raises `Invalid` for what is no form or too large."""
    if http.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Invalid("that is no form", hint="use the page")
    body = b""
    async for piece in http.stream():
        body += piece
        if len(body) > MOST_FORM:
            raise Invalid(f"a form holds {MOST_FORM // 1024} KiB at most", hint="shorten the text")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise Invalid("that form cannot be read", hint="use the page") from error


def check_origin(http: HttpRequest) -> None:
    """Raises `Denied` for what a page of another origin asks, as browsers say of it (Fetch Metadata)."""
    if http.headers.get("sec-fetch-site", "") not in SAME:
        raise Denied("that came from another page", hint="go to the console and try again")


async def _visit(http: HttpRequest, roles: tuple[Role, ...], *, post: bool) -> Visit | Response:
    house: House = http.app.state.house
    session = house.sessions.of(token_of(http))
    key = _key(house, session)
    if key is None:
        return to(f"/console/login?next={quote('/console' if post else _here(http))}")
    if session is None or (session.key is None and key.id):
        check_origin(http)  # to a page elsewhere the browser would not show the new session either
        return to("/console" if post else own_path(_here(http)), session=house.sessions.begin(), scope=http.scope)
    if set(roles).isdisjoint(key.roles):
        raise Denied("this key may not see that", hint=f"it takes the role {' or '.join(roles)}")
    form: dict[str, str] = {}
    if post:
        check_origin(http)
        form = await read_form(http)
        if not session.sent_by(form.pop("form", "")):
            raise Denied("that form is none of this session's", hint="reload the page and try again")
    return Visit(http, house, session, key, form)


def _here(http: HttpRequest) -> str:
    """The path and query that were asked for: not of `http.url`, which begins with what the caller says is our host."""
    query = http.scope["query_string"].decode("latin-1")
    return str(http.scope["path"]) + (f"?{query}" if query else "")


def _key(house: House, session: Session | None) -> Key | None:
    """Whose session it is; None where a key is asked for and there is none that holds."""
    if house.ring.open:
        return ANYBODY
    return house.ring.still(session.key) if session is not None and session.key else None

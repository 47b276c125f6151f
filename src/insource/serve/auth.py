"""Who may use a route: each declares it, and one that does not stops the start."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import lru_cache

from starlette.requests import Request as HttpRequest
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from insource.errors import Conflict, Denied
from insource.nouns import Key, Role
from insource.serve.hosts import given
from insource.serve.keyring import Keyring
from insource.serve.tls import PEER

ANYONE: tuple[Role, ...] = ()
CALLER: tuple[Role, ...] = ("caller",)
FEEDBACK: tuple[Role, ...] = ("caller", "reviewer")
OPERATOR: tuple[Role, ...] = ("operator", "admin")
ANY_KEY: tuple[Role, ...] = ("caller", "reviewer", "operator", "admin")


class Guarded(Route):
    """A route for keys that have one of `roles`; none are needed for `ANYONE`. The method is looked at after that."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[[HttpRequest], Awaitable[ASGIApp]],
        roles: tuple[Role, ...],
        *,
        methods: Collection[str] | None = None,
    ) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.roles = roles

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers who may ask. Raises `Unauthorized` without a valid key, `Denied` with one that lacks the role."""
        if self.roles:
            await admit(scope, self.roles)
        await super().handle(scope, receive, send)


async def admit(scope: Scope, roles: tuple[Role, ...]) -> None:
    """Puts the call's key into the scope. Raises `Unauthorized` without one, `Denied` where it lacks `roles`.

    Raises `EngineBusy`, before all that, for a caller's call that is one too many.
    """
    state = scope["app"].state
    ring: Keyring = state.keyring
    if roles is CALLER:
        state.door.check(state.desk.in_flight)
    state.desk.seeing.arrived(scope)
    scope["key"] = key = await _holder(ring, scope)
    if not _shares(key.roles, roles):
        raise Denied("this key may not do that", hint=f"it takes the role {' or '.join(roles)}")


def all_guarded(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """The routes. Raises `Conflict` when one does not declare who may use it."""
    found = list(routes)
    for route in found:
        if not isinstance(route, Guarded):
            raise Conflict(f"the route {getattr(route, 'path', route)} does not declare who may use it")
    return found


def key_of(http: HttpRequest) -> Key:
    """The key that the call came with."""
    key: Key = http.scope["key"]
    return key


def may_call(key: Key, names: Collection[str]) -> bool:
    """Whether the key's scopes hold one of a model's `names`."""
    return not key.scopes or not set(key.scopes).isdisjoint(names)


@lru_cache(maxsize=64)
def _shares(roles: tuple[Role, ...], wanted: tuple[Role, ...]) -> bool:
    return not set(roles).isdisjoint(wanted)


async def _holder(ring: Keyring, scope: Scope) -> Key:
    """Whose call it is: by its key or, where it brings none at all, by the certificate of its connection."""
    said = given(scope, b"authorization")
    name = scope.get(PEER, "")
    if name and not said:
        return ring.named(name)
    text = _bearer(said)
    return ring.known(text) or await ring.holder(text)


def _bearer(said: list[str]) -> str:
    """The key that stands in the one Authorization header; "" where there is none, or more than one."""
    scheme, _, text = said[0].partition(" ") if len(said) == 1 else ("", "", "")
    return text.strip() if scheme.lower() == "bearer" else ""

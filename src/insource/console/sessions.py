"""Who sits before the browser: a cookie names a session, a session names a key, and the key must still hold.

Sessions live in memory: none outlives the gateway, and no file holds one. A key's text is used once, to sign in.
"""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from starlette.types import Scope

from insource.nouns import Key

COOKIE = "insource_console"
MOST, EACH, IDLE_S = 1_000, 50, 12 * 3600.0
Theme = Literal["", "light", "dark"]


class Ring(Protocol):
    """The gateway's keys."""

    @property
    def open(self) -> bool:
        """Whether nobody is asked for a key."""

    async def holder(self, text: str) -> Key:
        """The key that a text is. Raises `Unauthorized`."""

    def still(self, id: str) -> Key | None:
        """The key called `id`, None where it no longer holds."""


@dataclass
class Session:
    """One browser. `token` is the cookie's value, `form` what every form must bring, `key` the id of the key.

    `skipped` are records that the person left for later, `last` the one settled last, by task; `said` is told once.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    form: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    key: str | None = None
    until: float = 0.0
    theme: Theme = ""
    shortcuts: bool = True
    skipped: dict[str, list[str]] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)
    settled: dict[str, int] = field(default_factory=dict)
    said: str = ""

    def sent_by(self, form: str) -> bool:
        """Whether a form is one of ours, made for this session."""
        return hmac.compare_digest(self.form.encode(), form.encode(errors="replace"))


class Sessions:
    """The browsers that were here lately, `MOST` of them, `EACH` of one key; the one that was away longest goes first.

    So who holds one key cannot send away the holders of others by signing in over and over.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, Session] = OrderedDict()

    def of(self, token: str) -> Session | None:
        """The session that a cookie names; None where it is unknown or was idle for twelve hours."""
        session = self._known.get(token)
        if session is None or session.until < self._clock():
            self._known.pop(token, None)
            return None
        session.until = self._clock() + IDLE_S
        self._known.move_to_end(token)
        return session

    def begin(self, before: Session | None = None, key: str | None = None) -> Session:
        """A new session, whose names nobody can have known before; it looks as the one before it."""
        session = Session(key=key, until=self._clock() + IDLE_S)
        if before is not None:
            session.theme, session.shortcuts = before.theme, before.shortcuts
            self.end(before)
        same = [one for one in self._known.values() if one.key == key] if key else []
        for one in same[: max(0, len(same) + 1 - EACH)]:
            self.end(one)
        self._known[session.token] = session
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return session

    def end(self, session: Session) -> None:
        """The session is over."""
        self._known.pop(session.token, None)


def cookie(session: Session, scope: Scope) -> str:
    """The header that gives a browser its session: for this console alone, and for no script."""
    secure = "; Secure" if scope["scheme"] == "https" else ""
    return f"{COOKIE}={session.token}; Path=/console; HttpOnly; SameSite=Strict; Max-Age={IDLE_S:.0f}{secure}"

"""API keys: made, replaced while both work for a time, and ended."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from insource.errors import Missing
from insource.nouns import Key, digest, key_text
from insource.nouns.key import ALPHABET, SECRET_BYTES
from insource.route import AUTO
from insource.settings import Settings, task_names
from insource.store import Store

ID_DIGITS = 8


async def create(store: Store, wanted: Key, *, lasts: timedelta | None = None) -> tuple[Key, str]:
    """A key that may what `wanted` says, and its text, which is not kept.

    Raises `Conflict` while another key of that name can still be used.
    """
    key, text = _made(wanted, lasts)
    await store.add_key(key)
    return key, text


async def rotate(store: Store, id: str, *, overlap: timedelta, lasts: timedelta | None = None) -> tuple[Key, str]:
    """A key that stands for the same as the key `id`, which works for `overlap` more. Raises `Missing`, `Conflict`.

    It has no end unless `lasts` says one.
    """
    key, text = _made(await store.key(id), lasts)
    await store.replace_key(id, key, moment(overlap))
    return key, text


async def revoke(store: Store, id: str) -> Key:
    """Ends the key. Raises `Missing`, or `Conflict` when it was revoked already."""
    return await store.revoke_key(id, moment())


def check_scopes(scopes: Iterable[str], settings: Settings) -> None:
    """Raises `Missing` for a scope that names no task of the workspace and no engine."""
    engines = {name for engine, of in settings.engines.items() for name in (engine, of.model)}
    known = sorted({*task_names(settings), *engines, AUTO} - {""})
    for scope in scopes:
        if scope not in known and scope.partition("@")[0] not in known:
            hint = f"there are {', '.join(known)}" if known else "insource collect TASK FILE makes a task"
            raise Missing(f"there is no task or engine {scope!r} to call", hint=hint, at="scope")


def moment(ahead: timedelta = timedelta()) -> str:
    """The time now, or `ahead` of it, as keys say it: UTC, to the second."""
    return (datetime.now(UTC) + ahead).isoformat(timespec="seconds")


def _made(wanted: Key, lasts: timedelta | None) -> tuple[Key, str]:
    name = "".join(secrets.choice(ALPHABET) for _ in range(ID_DIGITS))
    text = key_text(name, secrets.token_bytes(SECRET_BYTES))
    key = msgspec.structs.replace(
        wanted,
        id=name,
        digest=digest(text.encode()),
        created=moment(),
        expires="" if lasts is None else moment(lasts),
        revoked="",
    )
    return key, text

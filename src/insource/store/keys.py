"""API keys in SQL. A key is never deleted: whether there was ever one decides whether the gateway asks for them."""

import msgspec
from sqlalchemy import Connection, func, select, update

from insource.errors import Conflict, Missing
from insource.nouns import Key, to_json
from insource.store.stored import stored
from insource.store.tables import API_KEY


def add(connection: Connection, key: Key) -> None:
    """Keeps a new key. Raises `Conflict` while another that stands for the same name can still be used."""
    named = connection.execute(select(API_KEY.c.body).where(API_KEY.c.name == key.name)).scalars()
    active = [other.id for other in (stored(body, Key) for body in named) if other.state(key.created) == "active"]
    if active:
        hint = f"insource keys rotate {active[-1]}, or another name"
        raise Conflict(f"{key.name} has a key already, {active[-1]}", hint=hint)
    _insert(connection, key)


def replace(connection: Connection, id: str, key: Key, until: str) -> None:
    """Keeps `key`, and lets the key `id` that it replaces expire at `until`, if it does not sooner."""
    old = _active(connection, id, key.created)
    _insert(connection, key)
    expires = min(old.expires, until) if old.expires else until
    _change(connection, msgspec.structs.replace(old, expires=expires))


def revoke(connection: Connection, id: str, now: str) -> Key:
    """Ends the key `id` and returns it. Raises `Missing`, or `Conflict` when it was revoked already."""
    key = find(connection, id)
    if key.revoked:
        raise Conflict(f"{id} was revoked already, at {key.revoked}")
    revoked = msgspec.structs.replace(key, revoked=now)
    _change(connection, revoked)
    return revoked


def find(connection: Connection, id: str) -> Key:
    """The key `id`. Raises `Missing`."""
    body = connection.execute(select(API_KEY.c.body).where(API_KEY.c.id == id)).scalar()
    if body is None:
        raise Missing(f"there is no key {id}", hint="insource keys list")
    return stored(body, Key)


def changed(connection: Connection, after: int) -> tuple[list[Key], int]:
    """The keys that are new or changed since the number `after` (0: all), oldest first, and the number now."""
    found = connection.execute(
        select(API_KEY.c.body, API_KEY.c.changed).where(API_KEY.c.changed > after).order_by(API_KEY.c.seq)
    ).all()
    return [stored(row.body, Key) for row in found], max((row.changed for row in found), default=after)


def _active(connection: Connection, id: str, now: str) -> Key:
    key = find(connection, id)
    if (state := key.state(now)) != "active":
        raise Conflict(f"{id} is {state}", hint=f"insource keys create {key.name}")
    return key


def _insert(connection: Connection, key: Key) -> None:
    body = to_json(key).decode()
    connection.execute(API_KEY.insert().values(id=key.id, name=key.name, changed=_next(connection), body=body))


def _change(connection: Connection, key: Key) -> None:
    values = {"changed": _next(connection), "body": to_json(key).decode()}
    connection.execute(update(API_KEY).where(API_KEY.c.id == key.id).values(values))


def _next(connection: Connection) -> int:
    return int(connection.execute(select(func.max(API_KEY.c.changed))).scalar() or 0) + 1

"""`insource keys`: who may call the gateway, for what, and how much."""

import re
from datetime import timedelta
from typing import Any, get_args

import click
import msgspec

from insource.cli.door import Door, InOrder, verb
from insource.cli.numbers import Number
from insource.cli.stored import with_store
from insource.cli.words import dim, table
from insource.errors import Invalid
from insource.journeys import keys
from insource.nouns import JsonObject, Key, Limits, Role
from insource.nouns.key import LIMIT_WORDS
from insource.settings import Settings
from insource.store import Store

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
EXAMPLE = """
\b
Examples:
  insource keys create helpdesk --scope tickets --requests-per-minute 600
  insource keys list
  insource keys rotate 3fK9aQ1z --overlap 24h
"""


class Duration(click.ParamType[timedelta]):
    """30m, 24h or 90d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The time span that the words say."""
        found = re.fullmatch(r"(\d{1,6})([mhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is no time span like 30m, 24h or 90d", param, ctx)
        return timedelta(**{UNITS[found[2]]: int(found[1])})


@click.group("keys", cls=InOrder, epilog=EXAMPLE)
def command() -> None:
    """Make, list, replace and end API keys.

    Without any key the gateway answers every program on this machine, and nobody else. From the first key on it asks
    for one.
    """


@verb("create", epilog="\b\nExample:\n  insource keys create helpdesk --scope tickets --expires 90d")
@click.argument("name")
@click.option("--tenant", default="local", show_default=True, help="Who pays; tenants see nothing of each other.")
@click.option("--role", "roles", multiple=True, type=click.Choice(get_args(Role)), help="What it may do (caller).")
@click.option("--scope", "scopes", multiple=True, metavar="MODEL", help="A task or engine it may call (all).")
@click.option("--expires", "lasts", type=Duration(), help="After how long it ends: 30m, 24h, 90d (never).")
@click.option("--requests-per-minute", type=click.IntRange(1), help="In any 60 seconds.")
@click.option("--tokens-per-minute", type=click.IntRange(1), help="In and out, in any 60 seconds.")
@click.option("--concurrent", type=click.IntRange(1), help="Calls at once.")
@click.option("--usd-per-day", type=Number(0, min_open=True), help="By the prices of insource.toml.")
@click.option("--usd-per-month", type=Number(0, min_open=True), help="Days and months are those of UTC.")
def create(door: Door, name: str, lasts: timedelta | None, **given: Any) -> None:
    """Make a key for NAME and show it once."""
    limits = _checked({limit: given.pop(limit) for limit in LIMIT_WORDS})
    tenant = given["tenant"]
    roles: tuple[Role, ...] = given["roles"] or ("caller",)
    for word, said in (("a name", name), ("a tenant", tenant)):
        if not NAME.fullmatch(said):
            raise Invalid(f"{said!r} is not {word}", hint="small letters, digits, dot, dash and underscore, 64 at most")
    wanted = Key(id="", name=name, tenant=tenant, roles=roles, scopes=given["scopes"], limits=limits)

    async def work(settings: Settings, store: Store) -> tuple[Key, str]:
        keys.check_scopes(wanted.scopes, settings)
        return await keys.create(store, wanted, lasts=lasts)

    _show_text(door, *with_store(door, work))


@verb("list", epilog="\b\nExample:\n  insource keys list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many, the newest.")
def show(door: Door, limit: int) -> None:
    """The keys there are and were, oldest first; never their text."""
    every, _ = with_store(door, lambda _, store: store.keys())
    found = every[-limit:]
    now = keys.moment()
    rows = [
        [key.id, key.name, key.tenant, _may(key), "; ".join(_limits(key.limits)) or "no limits", _until(key, now)]
        for key in found
    ]
    words = table(["id", "name", "tenant", "may", "limits", ""], rows) if rows else "there is no key"
    earlier = len(every) - len(found)
    words += f"\n{earlier:,} earlier: --limit {len(every)}" if earlier else ""
    door.show({"keys": [_plain(key, now) for key in found]} | ({"earlier": earlier} if earlier else {}), words)


@verb("revoke", epilog="\b\nExample:\n  insource keys revoke 3fK9aQ1z")
@click.argument("id")
def revoke(door: Door, id: str) -> None:
    """End the key ID now. A running gateway refuses it within 2 seconds."""
    key = with_store(door, lambda _, store: keys.revoke(store, id))
    door.show(_plain(key, key.revoked), f"{id} of {key.name} is revoked")


@verb("rotate", epilog="\b\nExample:\n  insource keys rotate 3fK9aQ1z --overlap 24h")
@click.argument("id")
@click.option("--overlap", type=Duration(), default="24h", show_default=True, help="How long the old one works on.")
@click.option("--expires", "lasts", type=Duration(), help="After how long the new one ends (never).")
def rotate(door: Door, id: str, overlap: timedelta, lasts: timedelta | None) -> None:
    """Make a key that stands for the same as the key ID, and let that one end. Both share one set of limits."""

    async def work(_: Settings, store: Store) -> tuple[Key, str]:
        return await keys.rotate(store, id, overlap=overlap, lasts=lasts)

    _show_text(door, *with_store(door, work))


def _checked(limits: JsonObject) -> Limits:
    try:
        return msgspec.convert(limits, Limits)  # not a number is above no limit: the noun's own bounds refuse it
    except msgspec.ValidationError as error:
        raise Invalid(f"no such limit: {error}") from error


def _show_text(door: Door, key: Key, text: str) -> None:
    limits = ", ".join(_limits(key.limits)) or "no limits"
    door.say(f"{key.id}: {key.name} of {key.tenant} may {_may(key)}; {limits}; {_until(key, key.created)}")
    door.say("This is the only time that the key is shown:")
    door.show(_plain(key, key.created) | {"key": text}, text)


def _plain(key: Key, now: str) -> JsonObject:
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "roles": list(key.roles),
        "scopes": list(key.scopes),
        "limits": key.limits,
        "created": key.created,
        "expires": key.expires or None,
        "revoked": key.revoked or None,
        "state": key.state(now),
    }


def _may(key: Key) -> str:
    calls = f"call {', '.join(key.scopes) or 'everything'}"
    return ", ".join(calls if role == "caller" else role for role in key.roles)


def _limits(limits: Limits) -> list[str]:
    return [
        words.format(value) for limit, words in LIMIT_WORDS.items() if (value := getattr(limits, limit)) is not None
    ]


def _until(key: Key, now: str) -> str:
    state = key.state(now)
    if state == "active":
        return f"until {key.expires[:16]}" if key.expires else "no end"
    return dim(f"{state} {(key.revoked or key.expires)[:16]}")


for _verb in (create, show, revoke, rotate):
    command.add_command(_verb)

"""A store moves: all that one database keeps is written into another, and compared row by row."""

from urllib.parse import urlsplit

import msgspec

from insource.errors import Invalid
from insource.journeys.audit import BOOKS
from insource.journeys.lineup import Progress, quiet
from insource.settings import Settings, StoreSettings
from insource.store import Store
from insource.store.copied import Copied
from insource.store.files import alone
from insource.store.opened import IN_FILE, database

SHARED = "postgresql"


async def copy_store(settings: Settings, source: str, target: str, *, progress: Progress = quiet) -> Copied:
    """Copies the store to another place: "sqlite" (the workspace's file), "postgresql" (`store.url`), or a url.

    What is written to `source` meanwhile stays behind. Raises `Conflict` where `target` holds anything and while a
    gateway of this workspace runs, `Invalid` for a place that is none, `StoreError`.
    """
    there = _at(settings, target)
    if (here := _at(settings, source)).store == there.store:
        raise Invalid("a store cannot be copied to where it is", hint="insource store copy sqlite postgresql")
    with alone(settings.state / BOOKS, "insource serve"):  # what it wrote meanwhile would stay behind
        async with await Store.open(here) as store:
            return await store.copy(database(there), progress)


def _at(settings: Settings, place: str) -> Settings:
    url = settings.store.url if place == SHARED else place
    if place != SHARED and urlsplit(place).password:
        hint = f"everybody on this machine can read it there: {SHARED}, with the url in INSOURCE_STORE_URL"
        raise Invalid("a password does not belong on the command line", hint=hint)
    if not url or (place == SHARED and url == IN_FILE):
        raise Invalid("no shared database is named", hint="store.url in insource.toml, or INSOURCE_STORE_URL")
    return msgspec.structs.replace(settings, store=StoreSettings(url=url))

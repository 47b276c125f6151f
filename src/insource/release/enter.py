"""A finished artefact becomes a release: it gets a version, the folder that goes with it, and its line in the store.

Where hosts share a place, every file is there before the line is: who reads the line can have the files.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from insource.errors import Conflict, StoreError
from insource.nouns import Release
from insource.release.register import next_version
from insource.release.shared import share
from insource.settings import Settings
from insource.store import Store

RELEASES = "releases"
TRIES = 5


async def enter(made: Release, folder: Path, settings: Settings, store: Store, *, step: str = "minor") -> Release:
    """Moves `folder` to its place and registers `made` as the next version, one `step` on.

    Raises `StoreError` when the store takes no row, or the shared place no file; `folder` is then where it was, and the
    same call can be made again. Another host that took the version meanwhile is given way to.
    """
    await asyncio.to_thread(share, folder, made.artefact, store.place)
    home = settings.state / RELEASES / made.task
    for left in reversed(range(TRIES)):
        version = next_version(await store.releases(made.task), step, besides=_taken(home))
        place = Path(RELEASES) / made.task / version
        _move(folder, settings.state / place)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        release = msgspec.structs.replace(made, version=version, folder=place.as_posix(), created=created)
        try:
            await store.add_release(release)
        except (StoreError, Conflict) as error:
            _move(settings.state / place, folder)
            if isinstance(error, StoreError) or not left:
                raise
        else:
            break
    return release


def _taken(home: Path) -> list[str]:
    home.mkdir(parents=True, exist_ok=True)
    return [path.name for path in home.iterdir()]


def _move(folder: Path, place: Path) -> None:
    folder.replace(place)

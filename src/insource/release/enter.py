"""A finished artefact becomes a release: it gets a version, the folder that goes with it, and its line in the store."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from insource.errors import StoreError
from insource.nouns import Release
from insource.release.register import next_version
from insource.settings import Settings
from insource.store import Store

RELEASES = "releases"


async def enter(made: Release, folder: Path, settings: Settings, store: Store, *, step: str = "minor") -> Release:
    """Moves `folder` to its place and registers `made` as the next version, one `step` on.

    Raises `StoreError` when the store takes no row; `folder` is then where it was, and the same call can be made again.
    """
    version = next_version(await store.releases(made.task), step, besides=_taken(settings.state / RELEASES / made.task))
    place = Path(RELEASES) / made.task / version
    _move(folder, settings.state / place)
    release = msgspec.structs.replace(
        made, version=version, folder=place.as_posix(), created=datetime.now(UTC).isoformat(timespec="seconds")
    )
    try:
        await store.add_release(release)
    except StoreError:
        _move(settings.state / place, folder)
        raise
    return release


def _taken(home: Path) -> list[str]:
    home.mkdir(parents=True, exist_ok=True)
    return [path.name for path in home.iterdir()]


def _move(folder: Path, place: Path) -> None:
    folder.replace(place)

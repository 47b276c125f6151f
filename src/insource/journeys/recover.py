"""What was spooled while the store was down comes into the store: each call once, in order, then its file goes.

    the folder → files whose process is gone → whole? → page by page into the store → the file is removed

A file of a process that lives is its own matter (`serve.outage`). Stopped anywhere, the same again adds the rest.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from insource.errors import Invalid
from insource.nouns import Noun
from insource.settings import Settings
from insource.store import Store, spool, spool_file
from insource.store.spool_file import Line, Place
from insource.store.spooled import Came

Tell = Callable[[Sequence[Line], int], None]


class Refused(Noun, frozen=True, kw_only=True):
    """A file that was kept, and why, with what to do about it."""

    file: str
    why: str


class Recovered(Noun, frozen=True, kw_only=True):
    """What came into the store, from how many files. Each of `torn` ends with a line that a kill cut off."""

    files: int = 0
    came: Came = Came()
    torn: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()


class Carried(NamedTuple):
    """What came of a part of a file: how far, what was new, and the bytes of a line cut off at the end."""

    end: Place
    came: Came
    torn: int


def spool_folder(settings: Settings) -> Path | None:
    """Where this workspace's calls go while the store takes none; None where they get 503."""
    return settings.root / settings.audit.spool if settings.audit.spool else None


async def recover(store: Store, folder: Path | None) -> Recovered:
    """Carries in every file of `folder` whose process is gone. Of one that was changed nothing is taken; it is kept.

    Raises `StoreError` where the store takes nothing, or the folder cannot be read.
    """
    found = Recovered()
    for path in await asyncio.to_thread(spool_file.in_folder, folder) if folder else ():
        with spool.nobodys(path) as ours:
            if ours:
                found = await _file(store, path, found)
    return found


async def carry(
    store: Store, path: Path, process: str, place: Place, upto: int | None = None, tell: Tell = lambda _, __: None
) -> Carried:
    """Takes the lines of a file from `place` on, in order, each once. Raises `Invalid` at one that was changed.

    Hears `tell` of every page that the store has, and of how many lines are before it.
    """
    came = Came()
    while True:
        page = await asyncio.to_thread(spool_file.page, path, place, upto)
        if page.lines:
            came = added(came, await store.take_spooled(page.lines, process))
            tell(page.lines, place.lines)
        place = page.end
        if page.torn or not page.lines:
            return Carried(place, came, page.torn)


async def end_calls(settings: Settings, store: Store) -> list[str]:
    """Ends the calls that nobody will end, as `Store.interrupt` does, but those that a spool may yet tell of."""
    folder = spool_folder(settings)
    return await store.interrupt((lambda process: spool_file.speaks_of(folder, process)) if folder else None)


def added(one: Came, other: Came) -> Came:
    """Both together."""
    return Came(**{name: getattr(one, name) + getattr(other, name) for name in Came.__struct_fields__})


def words(found: Recovered) -> Iterator[str]:
    """What is said of it, a line each; none where there was nothing."""
    came = found.came
    if found.files:
        known = f", {came.known:,} of its lines were here already" if came.known else ""
        yield f"carried in from the spool: {came.ended:,} calls, {came.begun:,} begun{known}"
    yield from (f"its last line was cut off by a kill: {one}" for one in found.torn)
    yield from (f"kept: {one.why}" for one in found.refused)


async def _file(store: Store, path: Path, found: Recovered) -> Recovered:
    try:
        start = await asyncio.to_thread(_checked, path)
        process, place = start or ("", Place())
        carried = await carry(store, path, process, place) if start else Carried(place, Came(), 0)
    except Invalid as error:
        return msgspec.structs.replace(found, refused=(*found.refused, changed(path, error)))
    refused = overtaken(path, carried.came)
    if not refused:
        await asyncio.to_thread(spool.remove, path)
    return Recovered(
        files=found.files + 1,
        came=added(found.came, carried.came),
        torn=(*found.torn, *([f"{path.name}: {carried.torn} bytes"] if carried.torn else ())),
        refused=(*found.refused, *refused),
    )


def changed(path: Path, error: Invalid) -> Refused:
    """A file with something in it that was not written by us, or that we do not read."""
    return Refused(file=str(path), why=f"{error}; {error.hint}")


def overtaken(path: Path, came: Came) -> list[Refused]:
    """A file that knows more of some calls than the store does, where there are such."""
    names = ", ".join(came.overtaken[:3])
    why = f"{path}: {len(came.overtaken)} calls are on record as interrupted, and how they ended stands there: {names}"
    return [Refused(file=str(path), why=why)] if came.overtaken else []


def _checked(path: Path) -> tuple[str, Place] | None:
    """Whose file it is and where its calls begin, once every line was looked at. Raises `Invalid`."""
    start = spool_file.opened(path)
    for _ in spool_file.pages(path, start[1]) if start else ():
        pass
    return start

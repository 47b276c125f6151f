"""Between this host and the place that hosts share: all that is here goes there, or all that is there comes here.

What is there already, or here, is left. So the second run does nothing, and one that was killed goes on where it was.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from insource.engines.artefact import MANIFEST, must_be_released, read_manifest
from insource.errors import InsourceError, Invalid, Missing, Refused
from insource.journeys.lineup import Progress, quiet
from insource.nouns import Noun, Release
from insource.release.shared import at_hand, fetch, is_sound, share_signature
from insource.release.signature import signature_file
from insource.settings import Settings, task_names
from insource.store import Store
from insource.store.place import ARTEFACTS, BLOBS, KEY, Place, bring, key_of, signature_key

AT_ONCE = 4
MEGABYTE = 1_000_000


class Shared(Noun, frozen=True, kw_only=True):
    """What a push or a pull did: `files` of `bytes` in all went to `place`, or came from it; `there` were already.

    `releases` are whole there, or here, now. `faults` say what could not be, in words.
    """

    place: str
    files: int
    bytes: int
    there: int
    releases: int
    faults: tuple[str, ...] = ()


class _File(Noun, frozen=True, kw_only=True):
    """A file on this host, the key it has in the place, and of what it is a part."""

    key: str
    path: Path
    size: int
    of: str = "a blob"


class _Moved(Noun, frozen=True, kw_only=True):
    files: int = 0
    bytes: int = 0
    faults: dict[str, str] = {}  # key → what is wrong, in words


async def push(settings: Settings, store: Store, *, check: bool = False, progress: Progress = quiet) -> Shared:
    """Puts the rows, releases and signatures of this host into the place; a manifest when all that it names is there.

    With `check` every file that is there is read, and put again where it is not what it should be. Raises `Invalid`
    without a place, `StoreError` where that is down.
    """
    place = _place(store)
    there = await asyncio.to_thread(place.listed)
    releases, faults = await _releases(settings, store), list[str]()
    files, manifests = await asyncio.to_thread(_blobs, store.blobs.folder), list[_File]()
    for release in releases:
        try:
            parts, manifest = await asyncio.to_thread(_files, release, settings.state)
        except InsourceError as error:
            if key_of(ARTEFACTS, release.artefact) not in there:
                faults.append(f"{release.name}: {error}")
            continue
        files, manifests = files + parts, [*manifests, manifest]

    def put(one: _File) -> bool:
        if there.get(one.key) != one.size:
            return place.put(one.key, one.path)
        return check and not is_sound(place, one.key) and place.put(one.key, one.path, again=True)

    first = await asyncio.to_thread(_moved, _once(files), put, progress, f"push to {place.name} (MB)")
    half = {one.of for one in files if one.key in first.faults}
    rest = [one for one in manifests if one.of not in half]
    last = await asyncio.to_thread(_moved, _once(rest), put, quiet, "")
    signed = [one for one in releases if signature_file(settings.state, one).is_file()]
    new = [one for one in signed if check or signature_key(one.artefact) not in there]
    for release in new:
        await asyncio.to_thread(share_signature, release, settings.state, place)
    moved = first.files + last.files + len(new)
    return Shared(
        place=place.name,
        files=moved,
        bytes=first.bytes + last.bytes,
        there=len(_once([*files, *manifests])) + len(signed) - moved,
        releases=len(rest) - len(last.faults),
        faults=(*faults, *first.faults.values(), *last.faults.values()),
    )


async def pull(settings: Settings, store: Store, *, progress: Progress = quiet) -> Shared:
    """Fetches the rows and releases that the registry knows and this host lacks. Raises as `push` does."""
    place = _place(store)
    there = await asyncio.to_thread(place.listed)
    rows = {key: store.blobs.folder / key.removeprefix(f"{BLOBS}/") for key in there if key.startswith(f"{BLOBS}/")}
    lacks = [_File(key=key, path=path, size=there[key]) for key, path in rows.items() if not path.is_file()]

    def take(one: _File) -> bool:
        return bring(place, one.key, one.path) >= 0

    moved = await asyncio.to_thread(_moved, lacks, take, progress, f"pull from {place.name} (MB)")
    releases, faults, came = await _releases(settings, store), list[str](), 0
    away = [one for one in releases if not at_hand(one, settings, place)]
    for release in away:
        try:
            came += await asyncio.to_thread(fetch, release, settings.state, place, progress)
        except (Missing, Refused) as error:
            faults.append(str(error))
    return Shared(
        place=place.name,
        files=moved.files + len(away) - len(faults),
        bytes=moved.bytes + came,
        there=len(rows) - len(lacks) + len(releases) - len(away),
        releases=len(releases) - len(faults),
        faults=(*moved.faults.values(), *faults),
    )


async def gather(settings: Settings, store: Store, *, progress: Progress = quiet) -> None:
    """Fetches what a backup of this host would lack; nothing without a place. Raises `Refused` where it cannot."""
    if store.place is None:
        return
    found = await pull(settings, store, progress=progress)
    if found.faults:
        raise Refused(f"a backup would not be whole: {'; '.join(found.faults)}", hint="insource store push elsewhere")


def _place(store: Store) -> Place:
    if store.place is None:
        raise Invalid("no place is set that hosts share", hint='place = "…" under [artefacts] of insource.toml')
    return store.place


async def _releases(settings: Settings, store: Store) -> list[Release]:
    """Every release of the registry: of the tasks that there are, and of those whose files went."""
    folder = settings.state / "releases"
    gone = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return [release for name in sorted({*task_names(settings), *gone}) for release in await store.releases(name)]


def _blobs(folder: Path) -> list[_File]:
    found = {f"{BLOBS}/{path.parent.name}/{path.name}": path for path in folder.glob("??/*")}
    return [_File(key=key, path=path, size=path.stat().st_size) for key, path in found.items() if KEY.fullmatch(key)]


def _files(release: Release, state: Path) -> tuple[list[_File], _File]:
    """The files of the release on this host, and its manifest."""
    folder = state / release.folder
    must_be_released(folder, release.artefact)
    names = {name: sha for name, sha in read_manifest(folder).files.items() if (folder / name).is_file()}
    parts = [_file(folder / name, sha, release) for name, sha in names.items()]
    return parts, _file(folder / MANIFEST, release.artefact, release)


def _file(path: Path, sha: str, release: Release) -> _File:
    return _File(key=key_of(ARTEFACTS, sha), path=path, size=path.stat().st_size, of=release.name)


def _once(files: Sequence[_File]) -> list[_File]:
    """Each key once: releases of one base have files in common."""
    return list({one.key: one for one in files}.values())


def _moved(files: Sequence[_File], move: Callable[[_File], bool], progress: Progress, what: str) -> _Moved:
    """Moves some files at once. What is amiss with one does not keep the others; a place that is down does."""
    total, done, moved = sum(one.size for one in files), 0, list[_File]()
    faults: dict[str, str] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        under_way = {pool.submit(move, one): one for one in files}
        try:
            for future in as_completed(under_way):
                one = under_way[future]
                try:
                    moved += [one] if future.result() else []
                except (Missing, Refused) as error:
                    faults[one.key] = f"{one.of}: {error}"
                done += one.size
                progress(what, done // MEGABYTE, total // MEGABYTE)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return _Moved(files=len(moved), bytes=sum(one.size for one in moved), faults=faults)

"""A release in the place that several hosts share: there before it is registered, and fetched by who lacks it.

What is fetched lies under the name of its artefact until every file has the digest that the manifest gives it, and the
manifest the one that the registry gives it. Then it takes its place in one step; killed before, the next call goes on.
"""

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from insource.engines.artefact import MANIFEST, SAFE, Manifest, file_digest, must_be_released, read_manifest
from insource.errors import InsourceError, Missing, Refused
from insource.nouns import Release, digest, from_json
from insource.release.integrity import damage
from insource.release.signature import signature_file
from insource.settings import Settings
from insource.store.files import disk, settle, turn
from insource.store.place import ARTEFACTS, Place, bring, digest_in, key_of, signature_key

FETCHING = "fetching"
Progress = Callable[[str, int, int], None]


def quiet(what: str, done: int, total: int) -> None:
    """A progress that says nothing."""


def share(folder: Path, artefact: str, place: Place | None) -> None:
    """Puts the artefact in `folder` where all hosts find it, its manifest last; nothing without a place.

    Raises `Refused` where its files are not what the manifest says, `StoreError`.
    """
    if place is None:
        return
    must_be_released(folder, artefact)
    for name, sha in read_manifest(folder).files.items():
        if (folder / name).is_file():  # what stayed elsewhere is not here
            place.put(key_of(ARTEFACTS, sha), folder / name)
    place.put(key_of(ARTEFACTS, artefact), folder / MANIFEST)


def share_signature(release: Release, state: Path, place: Place | None) -> None:
    """Puts the newest signature of the release where all hosts find it."""
    if place is not None:
        place.put(signature_key(release.artefact), signature_file(state, release), again=True)


def at_hand(release: Release, settings: Settings, place: Place | None) -> bool:
    """Whether the release is on this host, or nowhere else to be had."""
    return place is None or (settings.state / release.folder / MANIFEST).is_file()


async def here(release: Release, settings: Settings, place: Place | None, progress: Progress = quiet) -> Path:
    """The folder of the release on this host; what it lacks is fetched first, and the newest signature with it.

    Raises `Refused` where something in the place is not what was released, `Missing` where it is not there, and
    `StoreError`. Each names the release and the file. What was here before is left as it was.
    """
    if place is not None:
        if not at_hand(release, settings, place):
            await asyncio.to_thread(fetch, release, settings.state, place, progress)
        if settings.signing.trusted:
            await asyncio.to_thread(_signature, release, settings.state, place)
    return settings.state / release.folder


def fetch(release: Release, state: Path, place: Place, progress: Progress = quiet) -> int:
    """Brings the release to this host; returns how many bytes came. Another process that does so is waited for.

    Raises as `here` does.
    """
    folder, work = _inside(release, state), state / FETCHING / release.artefact
    with turn(state / "locks" / f"fetch-{digest(release.artefact)[:16]}"):
        if (folder / MANIFEST).is_file():
            return 0
        try:
            size = _fill(work, release, place, progress)
            said = damage(work, release.artefact, release.left)
        except InsourceError as error:
            raise type(error)(f"{release.name} cannot be fetched: {error}", hint=error.hint) from error
        if said:
            shutil.rmtree(work, ignore_errors=True)
            raise Refused(f"{release.name} as fetched from {place.name}: {'; '.join(said)}", hint="fetch it again")
        with disk(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)  # without a manifest it is no release
            work.rename(folder)
            settle(folder.parent)
        _signature(release, state, place)
    return size


def there(release: Release, place: Place, manifest: Manifest | None = None) -> list[str]:
    """Every way in which the release in the place is not what was released, in words; each byte of it is read."""
    files = {MANIFEST: release.artefact, **(manifest.files if manifest else {})}
    said = []
    for name, sha in files.items():
        try:
            said += [] if is_sound(place, key_of(ARTEFACTS, sha)) else [f"{name} in {place.name} was changed"]
        except Missing:
            said += [f"{name} is missing in {place.name}"] * (name not in release.left)
    return said


def is_sound(place: Place, key: str) -> bool:
    """Whether what lies under `key` has the digest that the key says; every byte is read. Raises `Missing`."""
    taken = hashlib.sha256()
    for piece in place.get(key):
        taken.update(piece)
    return taken.hexdigest() == digest_in(key)


def _fill(work: Path, release: Release, place: Place, progress: Progress) -> int:
    """Brings into `work` what it lacks of the release; how many bytes came."""
    size = _bring(place, release.artefact, work / MANIFEST)
    manifest = from_json((work / MANIFEST).read_bytes(), Manifest)
    strangers = [path for path in work.rglob("*") if path.is_file() and _under(work, path) not in manifest.files]
    for path in strangers:
        if path.name != MANIFEST:
            path.unlink()  # half a file, of a fetch that was killed
    for done, (name, sha) in enumerate(manifest.files.items()):
        progress(f"fetch {release.name} (files)", done, len(manifest.files))
        try:
            size += _bring(place, sha, _file(work, name))
        except Missing:
            if name not in release.left:
                raise
    progress(f"fetch {release.name} (files)", len(manifest.files), len(manifest.files))
    return size


def _bring(place: Place, sha: str, path: Path) -> int:
    """Brings one file that is not there as it should be."""
    return 0 if path.is_file() and file_digest(path) == sha else bring(place, key_of(ARTEFACTS, sha), path)


def _under(work: Path, path: Path) -> str:
    return path.relative_to(work).as_posix()


def _file(work: Path, name: str) -> Path:
    """Where the file that a manifest calls `name` lies. Raises `Refused` for a name that leads elsewhere."""
    parts = PurePosixPath(name).parts
    plain = name == "/".join(parts) and not {"..", ".", "/"} & set(parts) and "\\" not in name and name.isprintable()
    if not plain or name.startswith("/") or PurePosixPath(name).suffix not in SAFE or parts[-1] == MANIFEST:
        raise Refused(f"its manifest names {name!r}, which is no file of an artefact", hint="use it for nothing")
    return work.joinpath(*parts)


def _inside(release: Release, state: Path) -> Path:
    """The folder of the release. Raises `Refused` where the registry names another place than one for releases."""
    parts = PurePosixPath(release.folder).parts
    if len(parts) != 3 or parts[0] != "releases" or {"..", "."} & set(parts):
        raise Refused(f"{release.name} is not to lie in {release.folder!r}", hint="the registry was changed")
    return state.joinpath(*parts)


def _signature(release: Release, state: Path, place: Place) -> None:
    """The newest signature. Without a place that answers the one that is here stays."""
    out = signature_file(state, release)
    with suppress(InsourceError):
        bring(place, signature_key(release.artefact), out)

"""Where files lie that several hosts share: bytes under a key, whole or not there at all.

A key under `blobs/` or `artefacts/` ends in the SHA-256 of what lies there, so it is written once and never changes; a
signature lies under the artefact that it is of, and may be made anew. No key says more than digests do.
"""

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

from insource.errors import Missing, Outside, Refused, StoreError
from insource.nouns import PREMISES
from insource.nouns.artefacts import Artefacts
from insource.settings import Settings, task_file, task_names
from insource.store import egress
from insource.store.files import disk, settle
from insource.store.outward import Outward

KEY = re.compile(r"(?:blobs|artefacts)/([0-9a-f]{2})/\1[0-9a-f]{62}|signatures/[0-9a-f]{64}\.sig")
BLOBS, ARTEFACTS = "blobs", "artefacts"
PIECE = 1 << 20
PARTS, DAY_S = ".parts", 86_400


class Place(Protocol):
    """What is put here is there for every host. `name` says where, without anything secret."""

    name: str

    def put(self, key: str, file: Path, *, again: bool = False) -> bool:
        """Puts `file` under `key`, whole and durable, and says whether it was not there before.

        What is there stays, unless its size is another, or `again` is given. Raises `StoreError`; `Refused` where the
        bytes of `file` are not those of the key.
        """
        ...

    def get(self, key: str) -> Iterator[bytes]:
        """The bytes, in pieces; nobody has checked them. Raises `Missing`, `StoreError`."""
        ...

    def listed(self) -> dict[str, int]:
        """Every key that there is, with its size in bytes. Raises `StoreError`."""
        ...

    def remove(self, key: str) -> None:
        """Removes what lies under `key`, if anything does: a blob that nothing names any more. Raises `StoreError`."""
        ...


def key_of(kind: str, sha: str) -> str:
    """The key of the bytes with this SHA-256."""
    return f"{kind}/{sha[:2]}/{sha}"


def signature_key(artefact: str) -> str:
    """The key of the signature on the artefact with this SHA-256."""
    return f"signatures/{artefact}.sig"


def digest_in(key: str) -> str:
    """The SHA-256 that the bytes under `key` must have; "" where the key does not say. Raises `Missing` for no key."""
    if not KEY.fullmatch(key):
        raise Missing(f"{key!r} is no key of a shared place")
    return "" if key.endswith(".sig") else key.rpartition("/")[2]


def place_of(settings: Settings) -> Place | None:
    """The place that `[artefacts]` names, None where it names none.

    Raises `Outside` where data may not go there that a task of the workspace has.
    """
    said = settings.artefacts
    if not said.place:
        return None
    if not said.bucket:
        return Folder(settings.root / said.place)
    _must_be_open_to(said, settings)
    from insource.store.place_s3 import Bucket

    journal = settings.state / egress.FILE
    outward = Outward("artefacts", said.region, networks=settings.networks, journal=journal)
    return Bucket(said, settings.root, outward)


def bring(place: Place, key: str, path: Path) -> int:
    """Writes what lies under `key` to `path`, whole, checked and durable or not at all; returns its size in bytes.

    Raises `Refused` where it is not what was put there, `Missing`, and `StoreError` for a full disk here, or a place
    that is down.
    """
    sha, taken, size = digest_in(key), hashlib.sha256(), 0
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                for piece in place.get(key):
                    size += len(piece)
                    taken.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            if sha and taken.hexdigest() != sha:
                raise spoiled(place, key, size)
            part.replace(path)
            settle(path.parent)
        finally:
            part.unlink(missing_ok=True)
    return size


def spoiled(place: Place, key: str, size: int) -> Refused:
    """The error for bytes that are not those of their key."""
    return Refused(
        f"{key} in {place.name} is not what was put there ({size:,} bytes)",
        hint="insource store push --check, on a host that has it, puts it there again",
    )


class Folder:
    """A place in a folder that all hosts see, on NFS say. It is never made: a disk that is not mounted is no place."""

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, str(root)

    def put(self, key: str, file: Path, *, again: bool = False) -> bool:
        """As `Place` says."""
        sha, path = digest_in(key), self._there() / key
        with _read(file):
            if not again and _size(path) == file.stat().st_size:
                return False
        part = self.root / PARTS / uuid.uuid4().hex
        with disk(path):
            part.parent.mkdir(exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with file.open("rb") as source, part.open("xb") as target:
                    taken = hashlib.sha256()
                    while piece := source.read(PIECE):
                        taken.update(piece)
                        target.write(piece)
                    target.flush()
                    os.fsync(target.fileno())
                if sha and taken.hexdigest() != sha:
                    raise changed(file, sha)
                part.replace(path)
                settle(path.parent)
            finally:
                part.unlink(missing_ok=True)
        return True

    def get(self, key: str) -> Iterator[bytes]:
        """As `Place` says."""
        digest_in(key)
        path = self._there() / key
        with _read(path, key, self.name), path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def listed(self) -> dict[str, int]:
        """As `Place` says. What killed processes left half written a day ago goes; what goes meanwhile is left out."""
        root = self._there()
        with _read(root):
            for part in (root / PARTS).glob("*"):
                with suppress(FileNotFoundError):
                    if time.time() - part.stat().st_mtime > DAY_S:
                        part.unlink()
            keys = {path.relative_to(root).as_posix(): path for path in root.glob("*/**/*")}
            sizes = {key: _size(path) for key, path in keys.items() if KEY.fullmatch(key)}
            return {key: size for key, size in sizes.items() if size >= 0}

    def remove(self, key: str) -> None:
        """As `Place` says."""
        digest_in(key)
        path = self._there() / key
        with disk(path):
            path.unlink(missing_ok=True)

    def _there(self) -> Path:
        with _read(self.root):
            if self.root.is_dir():
                return self.root
        raise StoreError(f"there is no folder {self.root} to share artefacts in", hint="mount it, or make it")


def changed(file: Path, sha: str) -> Refused:
    """The error for a file here that is not, or is no longer, what its digest says."""
    return Refused(f"{file} does not have the SHA-256 {sha}: it was changed", hint="restore it from a backup")


@contextmanager
def _read(path: Path, key: str = "", name: str = "") -> Iterator[None]:
    """Turns a failed look at `path` into a `StoreError`, or `Missing` where there is nothing under `key`."""
    try:
        yield
    except OSError as error:
        if key and isinstance(error, FileNotFoundError):
            raise Missing(f"{key} is missing in {name}", hint="insource store push, on a host that has it") from error
        raise StoreError(f"{path} cannot be read: {error.strerror}", hint="is it mounted?") from error


def _size(path: Path) -> int:
    """The bytes of the file, -1 where there is none. Raises `StoreError`."""
    with _read(path):
        try:
            found = path.stat()
        except FileNotFoundError:
            return -1
        return found.st_size if S_ISREG(found.st_mode) else -1


def _must_be_open_to(said: Artefacts, settings: Settings) -> None:
    """Raises `Outside` where a task's data may not go to the region of the place."""
    if said.region == PREMISES:
        return
    for name in task_names(settings):
        may = task_file(settings, name)[1].sensitivity
        if may != "any" and said.region not in ([may] if isinstance(may, str) else may):
            where = said.region or "a region without a name"
            raise Outside(
                f"data of {name} may not go to {where}, where [artefacts] are",
                hint=f"sensitivity in tasks/{name}.toml says where it may; a place on the premises takes all",
            )

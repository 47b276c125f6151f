"""Files for another machine, by their digests: sent in pieces, unpacked whole or not at all.

A parcel lies on the machine under its own name, which is what its files are, and is sent to it once. It stays until
nothing has asked for it for a month.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from insource.engines.artefact import file_digest
from insource.errors import Refused
from insource.nouns import Noun, digest
from insource.store.files import disk, settle, turn

PIECE = 16 * 2**20  # bytes
LOCK = ".lock"
KEPT_S, CUT_OFF_S = 30 * 86_400.0, 86_400.0  # a parcel that nothing asks for; one that came in part


class Item(Noun, frozen=True, kw_only=True):
    """A file: its path within the parcel, its SHA-256, its size in bytes."""

    path: str
    sha256: str
    bytes: int


class Parcel(Noun, frozen=True, kw_only=True):
    """What files there are. `id` is the SHA-256 of their paths and digests."""

    id: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Packed:
    """A parcel, and where each of its files is read: a file of this machine, or the bytes themselves."""

    parcel: Parcel
    sources: Mapping[str, Path | bytes]

    def pieces(self, path: str) -> Iterator[bytes]:
        """The file in pieces of at most `PIECE` bytes; one empty piece of an empty file."""
        source = self.sources[path]
        if isinstance(source, bytes):
            yield source
            return
        with source.open("rb") as file:
            yield file.read(PIECE)
            while piece := file.read(PIECE):
                yield piece


def pack(sources: Mapping[str, Path | bytes]) -> Packed:
    """The parcel of these files, by their paths in it. Every byte is read."""
    items = tuple(_item(path, sources[path]) for path in sorted(sources))
    return Packed(Parcel(id=_named(items), items=items), sources)


def _named(items: Sequence[Item]) -> str:
    """The name of a parcel, by its files."""
    return digest([[item.path, item.sha256] for item in items])


def _item(path: str, source: Path | bytes) -> Item:
    if isinstance(source, bytes):
        return Item(path=path, sha256=digest(source), bytes=len(source))
    return Item(path=path, sha256=file_digest(source), bytes=source.stat().st_size)


class Unpacking:
    """A parcel on its way into the folder `home`. Of two at once neither disturbs the other: the first one is kept."""

    def __init__(self, parcel: Parcel, home: Path) -> None:
        self._parcel, self.folder = parcel, home / parcel.id
        self._work: Path | None = None
        for item in parcel.items:
            path = PurePosixPath(item.path)
            if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in item.path:
                raise Refused(f"a parcel names {item.path!r}, which is no file within it", hint="use it for nothing")
        if parcel.id != _named(parcel.items):
            raise Refused("a parcel's name is not that of its files", hint="use it for nothing")

    @property
    def lacks(self) -> bool:
        """Whether it is to be sent: a file of it is not there, or is another. Every byte is read."""
        return any(not _is_whole(self.folder / item.path, item.sha256) for item in self._parcel.items)

    def take(self, path: str, piece: bytes) -> None:
        """Writes the next piece of a file. Raises `StoreError`, and `Refused` for one that the parcel has not."""
        if path not in {item.path for item in self._parcel.items}:
            raise Refused(f"a parcel has no file {path!r}", hint="use it for nothing")
        with disk(self.folder):
            if self._work is None:
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                self._work = Path(tempfile.mkdtemp(prefix=f"{self._parcel.id[:16]}-", dir=self.folder.parent))
            file = self._work / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab") as out:
                out.write(piece)

    def finish(self) -> None:
        """Puts what was taken in its place, in one step. Raises `Refused` unless each file is what it was to be."""
        if self._work is None:
            return
        work, self._work = self._work, None
        try:
            wrong = [item.path for item in self._parcel.items if not _is_whole(work / item.path, item.sha256)]
            if wrong:
                raise Refused(f"{', '.join(wrong)} came otherwise than it was sent", hint="run the same command again")
            with turn(self.folder.parent / LOCK), disk(self.folder):
                if self.lacks:
                    shutil.rmtree(self.folder, ignore_errors=True)
                    work.rename(self.folder)
                    settle(self.folder.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def sweep(home: Path, asked: Sequence[Parcel]) -> None:
    """Removes from the folder `home` what nothing has asked for in `KEPT_S`, and what a cut-off transfer left.

    The parcels that are `asked` for now stay. Raises `StoreError`.
    """
    if not home.is_dir():
        return
    with turn(home / LOCK), disk(home):
        for parcel in asked:
            if (home / parcel.id).is_dir():
                os.utime(home / parcel.id)
        for folder in [path for path in home.iterdir() if path.is_dir() and not path.is_symlink()]:
            limit = CUT_OFF_S if "-" in folder.name else KEPT_S
            if time.time() - folder.stat().st_mtime > limit:
                shutil.rmtree(folder, ignore_errors=True)


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and not path.is_symlink() and file_digest(path) == sha256

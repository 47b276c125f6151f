"""Bytes by their SHA-256: files under `blobs/ab/abcd…`, whole or not there at all.

Where there is a place that several hosts share, what is kept here is there before it has a name, and what is not here
is fetched from there.
"""

import os
import re
import uuid
from pathlib import Path

from insource.errors import Missing, StoreError
from insource.nouns import digest
from insource.store.files import settle
from insource.store.place import BLOBS, Place, bring, key_of


class Blobs:
    """The blobs below `folder`, and in the `place`. Safe to use from several threads and processes at once."""

    def __init__(self, folder: Path, place: Place | None = None) -> None:
        self.folder, self._place = folder, place

    def path(self, sha: str) -> Path:
        """Where the blob lies. Raises `Missing` when `sha` is no SHA-256 in 64 lower-case hex digits."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha):
            raise Missing(f"{sha!r} is not the SHA-256 of a blob")
        return self.folder / sha[:2] / sha

    def put(self, data: bytes) -> str:
        """Keeps `data` and returns its SHA-256. It is on the disk, and in the place, when this returns.

        Raises `StoreError`.
        """
        sha = digest(data)
        path = self.path(sha)
        if not path.exists():
            self._write(path, sha, data)
        if self._place is not None:
            self._place.put(key_of(BLOBS, sha), path)
        return sha

    def get(self, sha: str) -> bytes:
        """The bytes. Raises `Missing` when there are none, `StoreError` when they are no longer what was put."""
        path = self.path(sha)
        if self._place is not None and not path.exists():
            bring(self._place, key_of(BLOBS, sha), path)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise Missing(f"there is no blob {sha}", hint="insource store restore FILE brings a backup back") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        if digest(data) != sha:
            raise StoreError(f"{path} was damaged", hint="insource store restore FILE brings a backup back")
        return data

    def remove(self, sha: str) -> None:
        """Removes a blob that nothing names any more, here and in the place; one that is not there is removed.

        Raises `StoreError`.
        """
        path = self.path(sha)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot remove {path}: {error.strerror}", hint="check who may write there") from error
        if self._place is not None:
            self._place.remove(key_of(BLOBS, sha))

    def _write(self, path: Path, sha: str, data: bytes) -> None:
        part = path.with_name(f"{sha}.{uuid.uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            settle(path.parent)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StoreError(
                f"cannot write {path}: {error.strerror}", hint="free some space, or check who may write there"
            ) from error

"""The whole workspace in one file.

A tar of the database (a snapshot of one moment), the blobs, releases and their signatures, what left, and the
workspace's settings, tasks and what these name.
"""

import contextlib
import io
import os
import shutil
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from insource.errors import Conflict, Invalid, Missing, StoreError
from insource.nouns import Noun
from insource.store import egress
from insource.store.files import alone, placed, write_whole
from insource.store.thread import sqlite_engine, translated
from insource.store.workspace import workspace_files

DATABASE = "insource.db"
FOLDERS = ("blobs", "releases", "signatures", "loads")
WORKSPACE = "workspace"
LOCK, IGNORE = ".restoring", ".gitignore"


class Restored(Noun, frozen=True, kw_only=True):
    """Where the former state lies now, None when there was none; and the workspace's files.

    `made` were absent and are as in the backup, `differ` are others here than there: they are left, and those of the
    backup lie below `workspace` in the state.
    """

    former: str | None
    made: tuple[str, ...] = ()
    differ: tuple[str, ...] = ()


def snapshot(database: Path, file: Path) -> None:
    """Writes the database as it is at one moment to the new file `file`, while others write. Raises `StoreError`."""
    import pysqlite3.dbapi2 as sqlite

    # A connection of its own: the backup of a connection that is in a write transaction waits for itself for ever.
    try:
        with (
            contextlib.closing(sqlite.connect(str(database))) as source,
            contextlib.closing(sqlite.connect(str(file))) as target,
        ):
            source.backup(target)
    except sqlite.Error as error:
        raise StoreError(f"{file} could not be written: {error}", hint="free disk space") from error


def pack(state: Path, database: Path, out: Path) -> int:
    """Writes `out`, whole or not at all, and returns its size in bytes. Raises `Conflict` when `out` exists.

    `database` is a snapshot; the workspace is the folder that `state` lies in. Blobs and releases never change once
    written, so they may be read as they lie. Raises `Missing` when there is no folder for `out`, `StoreError` when the
    disk is full.
    """
    if out.exists():
        raise Conflict(f"{out} exists already", hint="give the backup another name")
    with placed(out) as part, tarfile.open(part, "w") as tar:
        tar.add(database, DATABASE)
        about = tarfile.TarInfo(egress.FILE)
        about.size = len(left := egress.whole(state / egress.FILE))
        tar.addfile(about, io.BytesIO(left))
        for folder in FOLDERS:
            if (state / folder).is_dir():
                tar.add(state / folder, folder, filter=_finished)
        for place, path in workspace_files(state.parent).items():
            tar.add(path.resolve(), f"{WORKSPACE}/{place}", recursive=False)
    return out.stat().st_size


def unpack(file: Path, state: Path, *, replace: bool = False) -> Restored:
    """Puts a backup in the place of `state`, and what is absent of the workspace around it.

    The backup is unpacked and its database checked before anything is moved. Raises `Conflict` when there is a state
    and `replace` is not given, `Invalid` for a file that is no whole backup.
    """
    if not file.is_file():
        raise Missing(f"there is no backup {file}")
    if (state / DATABASE).exists() and not replace:
        raise Conflict(
            f"{state} has a store already", hint="--replace moves it aside first; stop insource serve before"
        )
    members = _members(file)
    _sweep(state)
    fresh = state.with_name(f"{state.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with alone(fresh / LOCK, "insource store restore"):
            _hide(fresh)
            _extract(file, members, fresh)
            check(fresh / DATABASE)
            made, differ = _put_back(fresh / WORKSPACE, state.parent)
            aside = _swap(fresh, state)
        (state / LOCK).unlink(missing_ok=True)
        return Restored(former=str(aside) if aside else None, made=made, differ=differ)
    except OSError as error:
        raise StoreError(f"{state} could not be written: {error.strerror}", hint="free disk space") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check(database: Path) -> None:
    """Raises `Invalid` unless `database` is a whole store of ours."""
    if not database.is_file():
        raise Invalid("the file is no backup: it has no database in it")
    engine = sqlite_engine(database)
    try:
        with translated(database), engine.connect() as connection, connection.begin():
            said = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
            connection.exec_driver_sql("SELECT max(number) FROM migration").scalar()
    except StoreError as error:
        raise Invalid(f"the backup's database is damaged: {error}") from error
    finally:
        engine.dispose()
    if said != "ok":
        raise Invalid(f"the backup's database is damaged: {said}")


def _members(file: Path) -> list[tarfile.TarInfo]:
    """What is in the backup, all of it where we put things."""
    with _read(file) as tar:
        members = tar.getmembers()
    odd = [member.name for member in members if not _ours(member)]
    if odd:
        raise Invalid(f"{file} is no backup of ours: it holds {odd[0]!r}")
    if sum(member.size for member in members) > file.stat().st_size:
        raise Invalid(f"{file} is no backup of ours: it holds more than its own size")
    return members


def _extract(file: Path, members: list[tarfile.TarInfo], folder: Path) -> None:
    """Unpacks the backup. `TarFile.extractall` is safe with a filter only, which Debian 12's Python does not have."""
    try:
        with _read(file) as tar:
            for member in members:
                _put(tar, member, folder / member.name)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise Invalid(f"{file} is no backup of ours: a file in it is a folder as well") from error


@contextlib.contextmanager
def _read(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, "r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise Invalid(f"{file} is no whole backup: {error}") from error


def _ours(member: tarfile.TarInfo) -> bool:
    """Whether it is a plain file or folder, at a place where we put some."""
    parts = member.name.split("/")
    plain = (member.isreg() or member.isdir()) and not member.issparse()
    hidden = parts[0] == WORKSPACE and any(part.startswith(".") for part in parts[1:])
    known = parts[0] in (DATABASE, egress.FILE, WORKSPACE, *FOLDERS)
    return plain and known and not hidden and {"", ".", ".."}.isdisjoint(parts) and member.name.isprintable()


def _put_back(kept: Path, root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Writes the files of the workspace that are absent; which these were, and which are others here."""
    made, differ = [], []
    for path in sorted(one for one in kept.rglob("*") if one.is_file()):
        place = path.relative_to(kept)
        there = root / place
        if not there.exists():
            write_whole(there, path.read_bytes())
            made.append(place.as_posix())
        elif not there.is_file() or there.read_bytes() != path.read_bytes():
            differ.append(place.as_posix())
    return tuple(made), tuple(differ)


def _put(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = tar.extractfile(member)
    if data is None:
        path.mkdir(exist_ok=True)
    else:
        with data, path.open("wb") as file:
            shutil.copyfileobj(data, file)
    path.chmod(member.mode & 0o755 | (0o700 if member.isdir() else 0o600))
    os.utime(path, (member.mtime, member.mtime))


def _swap(fresh: Path, state: Path) -> Path | None:
    aside = None
    if state.exists():
        _hide(state)
        aside = state.with_name(f"{state.name}.before-{uuid.uuid4().hex[:8]}")
        state.rename(aside)
    fresh.rename(state)
    return aside


def _hide(folder: Path) -> None:
    """Keeps a copy of the state that lies beside it out of Git: what a workspace ignores is `.insource/` alone."""
    write_whole(folder / IGNORE, "*\n")


def _sweep(state: Path) -> None:
    """Removes what a restore that was killed has left; one that runs holds its lock."""
    for old in state.parent.glob(f"{state.name}.*.part"):
        with contextlib.suppress(Conflict), alone(old / LOCK, "insource store restore"):
            shutil.rmtree(old, ignore_errors=True)


def _finished(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if info.name.endswith(".part") else info

"""The newest backups, each restored once to see that it can be.

A backup is proved by a file beside it with its SHA-256, as `sha256sum -c` reads it, written when what was unpacked from
it held. Older ones go only after that. So a kill at any step leaves those that were proved, and the next call goes on.
"""

import asyncio
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from insource.engines.artefact import file_digest
from insource.errors import InsourceError, Refused, StoreError
from insource.journeys.artefacts import gather
from insource.nouns import Noun
from insource.settings import Settings
from insource.store import Store, backup
from insource.store.files import alone, disk, settle, write_whole

FORM, PROOF, DAMAGED = "insource-%Y%m%dT%H%M%SZ.tar", ".sha256", ".damaged"
DAY_S = 86_400
EARLY = timedelta(hours=4)  # a night's job does not begin at the same second
ROOM = 2.1  # of the state: the backup, and what is unpacked from it


class Kept(Noun, frozen=True, kw_only=True):
    """The newest backup that was proved, its size in bytes and its SHA-256; whether it was `made` now; how many went.

    `proved` counts those that there are.
    """

    file: str
    bytes: int
    sha256: str
    made: bool
    gone: int
    proved: int


async def keep_backups(settings: Settings, store: Store, now: datetime | None = None) -> Kept | None:
    """Makes the backup that is due, proves what is not proved, and lets older ones go; None where none is kept.

    Raises `StoreError` where the disk has no room for it, `Refused` for a backup that cannot be restored: it is kept
    as `NAME.damaged`, and those before it stay; `Conflict` while another process makes one.
    """
    now, wanted, folder = now or datetime.now(UTC), settings.backup, folder_of(settings)
    if not wanted.keep:
        return None
    with alone(folder / ".lock", "a backup"):
        newest = max(_whole(folder), default=None)
        made = newest is None or now - _when(newest) > timedelta(days=wanted.days) - EARLY
        workplace = await asyncio.to_thread(_cleared, settings.state, folder)
        if made:
            newest = folder / now.strftime(FORM)
            await gather(settings, store)
            await asyncio.to_thread(_room, settings.state, folder)
            await store.backup(workplace / newest.name)
            (workplace / newest.name).replace(newest)
        if newest is not None and not _proof(newest).is_file():
            await asyncio.to_thread(_prove, newest, workplace)
        return await asyncio.to_thread(_tidied, folder, wanted.keep, made)


def folder_of(settings: Settings) -> Path:
    """Where this workspace's backups lie."""
    return settings.root / settings.backup.folder if settings.backup.folder else settings.state / "backups"


def proved(folder: Path) -> list[Path]:
    """The backups in `folder` that were restored once, oldest first."""
    return sorted(file for file in _whole(folder) if _proof(file).is_file())


def sum_of(file: Path) -> str:
    """The SHA-256 that the proof of a backup names. Raises `OSError` where it has none."""
    return _proof(file).read_text("utf-8").partition(" ")[0]


def _whole(folder: Path) -> Sequence[Path]:
    return [file for file in folder.glob("insource-*.tar") if _named(file)]


def _named(file: Path) -> bool:
    try:
        _when(file)
    except ValueError:
        return False
    return True


def _when(file: Path) -> datetime:
    return datetime.strptime(file.name, FORM).replace(tzinfo=UTC)


def _proof(file: Path) -> Path:
    return file.with_name(file.name + PROOF)


def _cleared(state: Path, folder: Path) -> Path:
    """An empty folder for what is not done yet; what killed processes left of theirs goes."""
    workplace = folder / ".making"
    shutil.rmtree(workplace, ignore_errors=True)
    for old in state.glob("backup-*"):
        if time.time() - old.stat().st_mtime > DAY_S:
            shutil.rmtree(old, ignore_errors=True)
    with disk(workplace):
        workplace.mkdir()
    return workplace


def _room(state: Path, folder: Path) -> None:
    """Raises `StoreError` unless there is room for a backup and what is unpacked from it."""
    kept = [state / backup.DATABASE, *(state / name for name in backup.FOLDERS)]
    files = [each for one in kept for each in ([one] if one.is_file() else one.rglob("*")) if each.is_file()]
    need, free = int(ROOM * sum(each.stat().st_size for each in files)), shutil.disk_usage(folder).free
    if free < need:
        said = f"{folder} has room for {free / 1e6:,.0f} MB, a backup and its proof take {need / 1e6:,.0f}"
        raise StoreError(said, hint="name another disk: [backup] folder of insource.toml")


def _prove(file: Path, workplace: Path) -> None:
    """Unpacks the backup, looks at all of it, and writes its proof. Raises `Refused`."""
    try:
        backup.unpack(file, workplace / "state")
        blobs = (workplace / "state" / "blobs").rglob("*")
        odd = [one for one in blobs if one.is_file() and file_digest(one) != one.name]
        if odd:
            raise Refused(f"the blob {odd[0].name} in it was damaged")
    except StoreError:
        raise  # the disk, and not the backup
    except InsourceError as error:
        file.rename(file.with_name(file.name + DAMAGED))
        raise Refused(f"{file} cannot be restored: {error}", hint="insource store backup FILE makes another") from error
    with disk(file):
        settle(file)
        write_whole(_proof(file), f"{file_digest(file)}  {file.name}\n")
        settle(file.parent)


def _tidied(folder: Path, keep: int, made: bool) -> Kept:
    """What is kept, once all but the newest went."""
    shutil.rmtree(folder / ".making", ignore_errors=True)
    there = proved(folder)
    for old in there[:-keep]:
        old.unlink(missing_ok=True)
        _proof(old).unlink(missing_ok=True)
    newest = there[-1]
    sha = sum_of(newest)
    gone = max(0, len(there) - keep)
    size = newest.stat().st_size
    return Kept(file=str(newest), bytes=size, sha256=sha, made=made, gone=gone, proved=len(there) - gone)

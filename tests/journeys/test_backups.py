"""Backups that were restored once: the newest stay, a damaged one is told, and a kill at any step loses none."""

import os
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import folder, release

from insource.engines.artefact import file_digest
from insource.errors import Conflict, Refused, StoreError
from insource.journeys import backups
from insource.journeys.backups import keep_backups, proved
from insource.nouns.watching import Backups
from insource.store import Store
from insource.store.backup import unpack
from insource.store.files import alone

NIGHT = datetime(2026, 11, 27, 3, 0, 5, tzinfo=UTC)


def kept(root, **more):
    return msgspec.structs.replace(folder(root), backup=Backups(**({"folder": "safe", "keep": 2} | more)))


async def test_one_a_night_is_made_and_proved_and_the_newest_stay(tmp_path):
    settings = kept(tmp_path)
    async with await Store.open(settings) as store:
        await release(settings, store)
        for night in range(4):
            at = NIGHT + timedelta(days=night, seconds=-night)
            found = await keep_backups(settings, store, at)
            assert found.made
            again = await keep_backups(settings, store, at + timedelta(hours=2))
            assert (again.made, again.file) == (False, found.file)
        assert (found.gone, found.proved) == (1, 2)
        live = await store.releases("tickets")
    files = proved(tmp_path / "safe")
    assert [file.name for file in files] == ["insource-20261129T030003Z.tar", "insource-20261130T030002Z.tar"]
    assert found.sha256 == file_digest(files[-1])
    assert sorted(one.name for one in (tmp_path / "safe").iterdir() if one.name != ".lock") == sorted(
        name for file in files for name in (file.name, f"{file.name}.sha256")
    )
    unpack(files[-1], tmp_path / "two" / ".insource")
    other = msgspec.structs.replace(settings, root=tmp_path / "two")
    async with await Store.open(other) as store:
        assert await store.releases("tickets") == live


async def test_what_killed_processes_left_goes(tmp_path):
    settings = kept(tmp_path)
    async with await Store.open(settings) as store:
        left = [tmp_path / "safe" / ".making" / "state", settings.state / "backup-old", settings.state / "backup-new"]
        for one in left:
            one.mkdir(parents=True)
        os.utime(left[1], (1, 1))
        await keep_backups(settings, store, NIGHT)
    assert [one.exists() for one in left] == [False, False, True]


async def test_none_is_made_where_none_is_kept(tmp_path):
    settings = kept(tmp_path, keep=0)
    async with await Store.open(settings) as store:
        assert await keep_backups(settings, store, NIGHT) is None
    assert not (tmp_path / "safe").exists()


async def test_one_that_was_damaged_is_told_and_those_before_stay(tmp_path, monkeypatch):
    settings = kept(tmp_path, keep=1)
    async with await Store.open(settings) as store:
        store.blobs.put(b"some rows")
        good = (await keep_backups(settings, store, NIGHT)).file

        async def damaged(out):
            size = await Store.backup(store, out)
            with tarfile.open(out) as tar:
                at = next(one.offset_data for one in tar.getmembers() if one.isfile() and one.name.startswith("blobs"))
            with out.open("r+b") as file:
                file.seek(at)
                file.write(b"S")
            return size

        monkeypatch.setattr(store, "backup", damaged)
        with pytest.raises(Refused, match="cannot be restored"):
            await keep_backups(settings, store, NIGHT + timedelta(days=1))
        assert [str(file) for file in proved(tmp_path / "safe")] == [good]
        assert (tmp_path / "safe" / "insource-20261128T030005Z.tar.damaged").is_file()
        monkeypatch.undo()
        later = await keep_backups(settings, store, NIGHT + timedelta(days=1, hours=1))
    assert later.made
    assert later.proved == 1


@pytest.mark.parametrize("step", ["_room", "_prove", "_tidied"])
async def test_a_kill_at_any_step_is_made_good_by_the_next_night(tmp_path, monkeypatch, step):
    settings = kept(tmp_path, keep=1)
    async with await Store.open(settings) as store:
        first = (await keep_backups(settings, store, NIGHT)).file

        def killed(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(backups, step, killed)
        with pytest.raises(KeyboardInterrupt):
            await keep_backups(settings, store, NIGHT + timedelta(days=1))
        assert first in [str(file) for file in proved(tmp_path / "safe")]
        monkeypatch.undo()
        after = await keep_backups(settings, store, NIGHT + timedelta(days=1, minutes=5))
    assert after.made == (step == "_room")
    assert [str(file) for file in proved(tmp_path / "safe")] == [after.file]
    assert after.file != first


async def test_no_room_and_another_that_makes_one_are_said_before_anything_is_written(tmp_path, monkeypatch):
    settings = kept(tmp_path)
    async with await Store.open(settings) as store:
        monkeypatch.setattr(backups, "ROOM", 1e12)
        with pytest.raises(StoreError, match="has room for"):
            await keep_backups(settings, store, NIGHT)
        with alone(tmp_path / "safe" / ".lock", "a backup"), pytest.raises(Conflict, match="is running already"):
            await keep_backups(settings, store, NIGHT)
    assert proved(tmp_path / "safe") == []

"""A restore drill finds what a backup lost or changed, and says that a whole one answers the same."""

import asyncio
import json
import sys
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "release"))
from bundle_parts import home, released
from release_parts import keep_rows, rows

from insource.cli.main import main
from insource.errors import Conflict, Missing
from insource.journeys.backups import keep_backups
from insource.journeys.drill import FILE, Drilled, drill
from insource.journeys.promote import promote
from insource.journeys.train import train
from insource.nouns import Check, Gate, from_json
from insource.release.signature import make_key
from insource.settings import load_settings, load_task
from insource.store import Store
from insource.store.files import alone

PASSED = Check(name="n", demanded="d", found="f", passed=True)


async def backed_up(settings, out):
    async with await Store.open(settings) as store:
        await released(settings, store)
        await store.backup(out)


async def test_a_whole_backup_answers_the_same_rows_in_the_same_way(tmp_path):
    settings = home(tmp_path / "home")
    await backed_up(settings, tmp_path / "b.tar")
    async with await Store.open(settings) as store:
        found = await drill(settings, store, file=tmp_path / "b.tar", rows=50)
    assert found.whole
    assert (found.answers, found.releases) == (50, 1)
    assert found.upper95 == pytest.approx(1 - 0.05 ** (1 / 50))
    assert from_json((settings.state / FILE).read_bytes(), Drilled) == found


async def test_the_newest_nightly_backup_is_taken_where_none_is_named(tmp_path):
    settings = home(tmp_path / "home")
    async with await Store.open(settings) as store:
        await released(settings, store)
        with pytest.raises(Missing, match="no backup yet"):
            await drill(settings, store)
        kept = await keep_backups(settings, store)
        assert (await drill(settings, store, rows=5)).sha256 == kept.sha256


async def test_a_backup_that_answers_otherwise_is_told(tmp_path):
    """Whole by every digest, and of another workspace: the answers alone tell."""
    settings, other = home(tmp_path / "home"), home(tmp_path / "other")
    async with await Store.open(other) as store:
        await keep_rows(store, rows(shuffled=True))
        release = await train(load_task(other, "defects"), other, store, base="linear")
        await store.save_gate(Gate(release=release.name, artefact=release.artefact, checks=(PASSED,), report="r"))
        await promote(release, other, store)
        await store.backup(tmp_path / "b.tar")
    async with await Store.open(settings) as store:
        await released(settings, store)
        found = await drill(settings, store, file=tmp_path / "b.tar", rows=20)
    assert not found.faults
    assert len(found.differ) > 10
    assert not found.whole and found.upper95 is None


def test_a_backup_without_a_release_is_not_whole(tmp_path):
    settings = home(tmp_path / "home")
    asyncio.run(backed_up(settings, tmp_path / "b.tar"))
    with tarfile.open(tmp_path / "b.tar") as source, tarfile.open(tmp_path / "less.tar", "w") as target:
        for member in source.getmembers():
            if not member.name.endswith(".safetensors"):
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
    said = CliRunner().invoke(
        main, ["-C", str(settings.root), "store", "drill", str(tmp_path / "less.tar"), "--rows", "5", "--json"]
    )
    assert said.exit_code == 1
    found = json.loads(said.stdout)
    assert found["whole"] is False
    assert any(".safetensors is missing" in fault for fault in found["faults"])


def less(source: Path, out: Path, name: str) -> Path:
    """The backup without one of its files."""
    with tarfile.open(source) as old, tarfile.open(out, "w") as new:
        for member in old.getmembers():
            if member.name != name:
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
    return out


async def test_a_live_release_whose_task_is_not_in_the_backup_is_a_fault(tmp_path):
    settings = home(tmp_path / "home")
    await backed_up(settings, tmp_path / "b.tar")
    file = less(tmp_path / "b.tar", tmp_path / "less.tar", "workspace/tasks/defects.toml")
    async with await Store.open(settings) as store:
        found = await drill(settings, store, file=file, rows=5)
    assert not found.whole and found.answers == 0
    assert any("no tasks/defects.toml" in fault for fault in found.faults)


async def test_a_release_that_only_the_backup_has_is_a_fault_and_so_is_a_backup_of_nothing(tmp_path):
    settings, other = home(tmp_path / "home"), home(tmp_path / "other")
    await backed_up(settings, tmp_path / "b.tar")
    async with await Store.open(other) as store:
        found = await drill(other, store, file=tmp_path / "b.tar", rows=5)
        assert not found.whole and "no such release here" in found.faults[0]
        await store.backup(tmp_path / "empty.tar")
        assert not (await drill(other, store, file=tmp_path / "empty.tar")).whole


async def test_whom_we_trust_is_said_here_and_not_in_the_backup(tmp_path):
    settings = home(tmp_path / "home")
    await backed_up(settings, tmp_path / "b.tar")
    make_key(tmp_path / "key")
    (settings.root / "insource.toml").write_text(f'[signing]\ntrusted = ["{tmp_path}/key.pub"]\n')
    settings = load_settings(settings.root, {"INSOURCE_CACHE": str(settings.cache)})
    async with await Store.open(settings) as store:
        found = await drill(settings, store, file=tmp_path / "b.tar", rows=5)
    assert not found.whole
    assert "it is not signed" in found.faults[0]


async def test_what_a_killed_drill_left_goes_and_two_at_once_are_one(tmp_path):
    settings = home(tmp_path / "home")
    await backed_up(settings, tmp_path / "b.tar")
    left = settings.state / "drill-left"
    left.mkdir()
    (left / "insource.db").write_text("texts")
    async with await Store.open(settings) as store:
        with alone(settings.state / "locks" / "drill", "another"), pytest.raises(Conflict):
            await drill(settings, store, file=tmp_path / "b.tar", rows=1)
        assert left.exists()
        await drill(settings, store, file=tmp_path / "b.tar", rows=1)
    assert not list(settings.state.glob("drill-*"))


def test_the_command_line_says_what_was_compared(tmp_path):
    settings = home(tmp_path / "home")
    asyncio.run(backed_up(settings, tmp_path / "b.tar"))
    said = CliRunner().invoke(
        main, ["-C", str(settings.root), "store", "drill", str(tmp_path / "b.tar"), "--rows", "9"]
    )
    assert said.exit_code == 0
    assert "9 answers compared, 0 differ" in said.stdout

"""A backup holds the workspace: settings, tasks and what they name come back where they are absent."""

import asyncio
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from insource.cli.main import main
from insource.errors import Invalid
from insource.settings import load_settings
from insource.store import Store
from insource.store.backup import LOCK, unpack
from insource.store.files import alone
from insource.store.workspace import workspace_files

TASK = 'name = "tickets"\nkind = "classify"\n[outputs.intent]\nlabels = "labels/intent.txt"\n'
PEM = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


def workspace(root: Path) -> Path:
    """One task whose labels lie in a file, a private key, and files that nothing names."""
    for folder in ("tasks", "labels", "keys", ".git"):
        (root / folder).mkdir(parents=True)
    (root / "insource.toml").write_text('[signing]\ntrusted = ["keys/server.pem", "keys/server.key"]\n')
    (root / "tasks" / "tickets.toml").write_text(TASK)
    (root / "labels" / "intent.txt").write_text("refund\nlate\n")
    (root / "keys" / "server.key").write_text(PEM)
    (root / "keys" / "server.pem").write_text("public")
    (root / ".git" / "config").write_text("no")
    (root / "rows.csv").write_text("a,b\n")
    return root


async def _backup(root: Path, out: Path) -> None:
    async with await Store.open(load_settings(root, {})) as store:
        await store.backup(out)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A backup of that workspace."""
    out = tmp_path / "b.tar"
    asyncio.run(_backup(workspace(tmp_path / "one"), out))
    return out


def test_what_the_settings_name_is_in_it_and_no_private_key(tmp_path: Path) -> None:
    root = workspace(tmp_path)
    (tmp_path.parent / "outside.txt").write_text("x\ny\n")
    (root / "tasks" / "odd.toml").write_text('name = "odd"\nlabels = "../outside.txt"\nkey = ".git/config"\nbroken = [')
    (root / "tasks" / "far.toml").write_text('name = "far"\nlabels = "../outside.txt"\nkey = ".git/config"\n')
    assert list(workspace_files(root)) == [
        "insource.toml", "keys/server.pem", "labels/intent.txt", "tasks/far.toml", "tasks/odd.toml",
        "tasks/tickets.toml",
    ]  # fmt: skip


def test_a_link_that_leads_out_is_left(tmp_path: Path) -> None:
    root = workspace(tmp_path / "one")
    (tmp_path / "secret").write_text("s")
    (root / "labels" / "intent.txt").unlink()
    (root / "labels" / "intent.txt").symlink_to(tmp_path / "secret")
    assert "labels/intent.txt" not in workspace_files(root)


def test_settings_that_are_links_are_in_it_and_a_secret_of_that_name_is_not(tmp_path: Path) -> None:
    """As a cluster mounts them: insource.toml -> ..data/insource.toml, and tasks from elsewhere."""
    root = workspace(tmp_path / "one")
    (root / "..data").mkdir()
    (root / "insource.toml").rename(root / "..data" / "insource.toml")
    (root / "insource.toml").symlink_to("..data/insource.toml")
    (root / "tasks" / "tickets.toml").rename(tmp_path / "tickets.toml")
    (root / "tasks" / "tickets.toml").symlink_to(tmp_path / "tickets.toml")
    (tmp_path / "shadow").write_text("root:$6$abc:19000:0:99999:7:::\n")
    (root / "tasks" / "shadow.toml").symlink_to(tmp_path / "shadow")
    assert list(workspace_files(root)) == [
        "insource.toml", "keys/server.pem", "labels/intent.txt", "tasks/tickets.toml",
    ]  # fmt: skip


def test_an_empty_folder_becomes_the_workspace(tmp_path: Path, backup: Path) -> None:
    two = tmp_path / "two"
    two.mkdir()
    said = CliRunner().invoke(main, ["-C", str(two), "store", "restore", str(backup)])
    assert said.exit_code == 0, said.output
    assert "made insource.toml, keys/server.pem, labels/intent.txt, tasks/tickets.toml" in said.output
    assert (two / "labels" / "intent.txt").read_text() == "refund\nlate\n"
    assert not (two / "keys" / "server.key").exists()
    assert CliRunner().invoke(main, ["-C", str(two), "status", "--json"]).exit_code == 0


def test_what_is_another_here_is_left_and_named(tmp_path: Path, backup: Path) -> None:
    one = tmp_path / "one"
    (one / "tasks" / "tickets.toml").write_text(TASK + "# changed since\n")
    said = CliRunner().invoke(main, ["-C", str(one), "store", "restore", str(backup), "--replace"])
    assert said.exit_code == 0, said.output
    assert "tasks/tickets.toml; its own lie in" in said.output
    assert "changed since" in (one / "tasks" / "tickets.toml").read_text()
    assert (one / ".insource" / "workspace" / "tasks" / "tickets.toml").read_text() == TASK


@pytest.mark.parametrize(
    "name",
    [
        "workspace/../x",
        "workspace/.git/hooks/x",
        "workspace//x",
        "elsewhere/x",
        "workspace/\x1b]0;x\x07",
        "workspace/\udcff",
        "workspace/a\u202eb",
    ],
)
def test_a_tar_that_writes_elsewhere_is_refused(tmp_path: Path, backup: Path, name: str) -> None:
    odd = tmp_path / "odd.tar"
    odd.write_bytes(backup.read_bytes())
    with tarfile.open(odd, "a") as tar:
        info = tarfile.TarInfo(name)
        tar.addfile(info)
    with pytest.raises(Invalid, match="no backup of ours") as told:
        unpack(odd, tmp_path / "three" / ".insource")
    assert str(told.value).isprintable()
    assert not (tmp_path / "three").exists()


@pytest.mark.parametrize("name", ["workspace", "insource.db/x", "workspace/insource.toml/x"])
def test_a_file_that_is_a_folder_as_well_is_the_backups_fault(tmp_path: Path, backup: Path, name: str) -> None:
    odd = tmp_path / "odd.tar"
    odd.write_bytes(backup.read_bytes())
    with tarfile.open(odd, "a") as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(Invalid, match="a file in it is a folder"):
        unpack(odd, tmp_path / "three" / ".insource")
    assert not list((tmp_path / "three").iterdir())


def test_git_takes_in_neither_the_state_nor_a_copy_of_it(tmp_path: Path, backup: Path) -> None:
    """They hold texts and the keys of tenants; `insource init` has Git ignore `.insource/`, and no name beside it."""
    one = tmp_path / "one"
    unpack(backup, one / ".insource", replace=True)
    shutil.rmtree(one / ".git")
    subprocess.run(["git", "init", "-q"], cwd=one, check=True)
    said = subprocess.run(["git", "add", "-An"], cwd=one, check=True, capture_output=True, text=True).stdout
    assert "insource.toml" in said
    assert ".insource" not in said
    assert list(one.glob(".insource.before-*"))


def test_what_a_killed_restore_left_goes_and_what_one_at_work_holds_stays(tmp_path: Path, backup: Path) -> None:
    dead, alive = tmp_path / "two" / ".insource.dead.part", tmp_path / "two" / ".insource.alive.part"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "insource.db").write_text("rows")
    with alone(alive / LOCK, "a restore"):
        unpack(backup, tmp_path / "two" / ".insource")
    assert (alive / "insource.db").exists() and not dead.exists()
    assert not (tmp_path / "two" / ".insource" / LOCK).exists()

"""A backup holds the workspace: settings, tasks and what they name come back where they are absent."""

import asyncio
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from insource.cli.main import main
from insource.errors import Invalid
from insource.settings import load_settings
from insource.store import Store
from insource.store.backup import unpack
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


@pytest.mark.parametrize("name", ["workspace/../x", "workspace/.git/hooks/x", "workspace//x", "elsewhere/x"])
def test_a_tar_that_writes_elsewhere_is_refused(tmp_path: Path, backup: Path, name: str) -> None:
    odd = tmp_path / "odd.tar"
    odd.write_bytes(backup.read_bytes())
    with tarfile.open(odd, "a") as tar:
        info = tarfile.TarInfo(name)
        tar.addfile(info)
    with pytest.raises(Invalid, match="no backup of ours"):
        unpack(odd, tmp_path / "three" / ".insource")
    assert not (tmp_path / "three").exists()

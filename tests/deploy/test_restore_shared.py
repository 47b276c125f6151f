"""The runbook's way back of a shared database: a backup becomes a workspace in a file, that a schema of the server."""

import shutil
import sys
from pathlib import Path

import pytest
from test_balancers import run

from postgres import Postgres

pytestmark = pytest.mark.slow
ENGINE = '[engines.hub]\nkind = "scripted"\nscript = "hub.jsonl"\n'


def insource(root: Path, *words: str) -> str:
    """What a command puts on stdout."""
    done = run(sys.executable, "-m", "insource", "-C", str(root), *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def told(root: Path) -> tuple[str, str]:
    """What is to be the same again: who may call, and what every call cost whom."""
    return insource(root, "keys", "list", "--json"), insource(root, "audit", "usage", "--json")


def test_a_shared_database_comes_back_from_a_backup_on_another_machine(tmp_path: Path, postgres: Postgres) -> None:
    before, after, tar = tmp_path / "before", tmp_path / "after", tmp_path / "monday.tar"
    before.mkdir()
    after.mkdir()
    (before / "insource.toml").write_text(f'{ENGINE}[store]\nurl = "{postgres.url}?schema=monday"\n', "utf-8")
    for name in ("helpdesk", "shop"):
        insource(before, "keys", "create", name)
    insource(before, "store", "backup", str(tar))
    was = told(before)

    (after / "insource.toml").write_text(ENGINE, "utf-8")
    insource(after, "store", "restore", str(tar))
    assert told(after) == was
    (after / "insource.toml").write_text(f'{ENGINE}[store]\nurl = "{postgres.url}?schema=tuesday"\n', "utf-8")
    insource(after, "store", "copy", "sqlite", "postgresql")
    (after / ".insource" / "insource.db").unlink()
    shutil.rmtree(before)
    assert told(after) == was
    insource(after, "audit", "verify")

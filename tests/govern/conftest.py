"""One governed workspace for all tests, of which each works on a copy."""

import sys
from pathlib import Path

import pytest

from copied_workspace import copied
from insource.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from governed import TASK, built, workspace


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """The workspace, in a folder with its checkpoints beside it."""
    folder = tmp_path_factory.mktemp("governed")
    built(folder / "plant")
    return folder


@pytest.fixture
def settings(home: Path, tmp_path: Path) -> Settings:
    copied(home, tmp_path / "copy", "plant")
    return workspace(tmp_path / "copy" / "plant", TASK)

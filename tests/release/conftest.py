"""A workspace with one task, as `insource init` leaves it."""

import sys
from pathlib import Path

import pytest

from insource.nouns import Task
from insource.settings import Settings, load_task

sys.path.insert(0, str(Path(__file__).parent))
from release_parts import workspace


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return workspace(tmp_path)


@pytest.fixture
def task(settings: Settings) -> Task:
    return load_task(settings, "defects")

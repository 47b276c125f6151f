"""A workspace with one task, as `insource init` leaves it."""

import asyncio
import sys
from pathlib import Path

import pytest

from insource.nouns import Task
from insource.settings import Settings, load_task
from insource.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from bundle_parts import home, released, written
from release_parts import workspace


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return workspace(tmp_path)


@pytest.fixture
def task(settings: Settings) -> Task:
    return load_task(settings, "defects")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A bundle of defects@1.0.0, made at `home`."""
    root = tmp_path_factory.mktemp("home")

    async def make():
        settings = home(root)
        async with await Store.open(settings) as store:
            return await written(settings, store, await released(settings, store), root / "defects.bundle")

    return Path(asyncio.run(make()).file)

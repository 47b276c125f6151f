"""A workspace with one task, as `insource init` leaves it."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from buckets import KEYS, Server, settings_of
from insource.nouns import Task
from insource.settings import Settings, load_task
from insource.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from bundle_parts import home, released, written
from release_parts import workspace
from sharing import host


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


@pytest.fixture(scope="module")
def server():
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def prefix(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A part of the server's bucket that nobody else has."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    server.client()
    return os.urandom(4).hex()


@pytest.fixture
def hosts(tmp_path: Path, server: Server, prefix: str) -> tuple[Settings, Settings]:
    """Two hosts that share a registry and a bucket."""
    ours = host(tmp_path / "a", settings_of(server.url, prefix))
    return ours, host(tmp_path / "b", settings_of(server.url, prefix), ours.root)


@pytest.fixture(params=["folder", "bucket"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Settings, Settings]:
    """Two hosts that share a registry and a folder, then a bucket."""
    if request.param == "bucket":
        return request.getfixturevalue("hosts")
    (tmp_path / "share").mkdir()
    text = f'[artefacts]\nplace = "{tmp_path}/share"\n'
    ours = host(tmp_path / "a", text)
    return ours, host(tmp_path / "b", text, ours.root)

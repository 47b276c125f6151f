"""What every test shares: an `async def` test runs on its own event loop."""

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings as hypothesis_settings

from file_only import FILE_ONLY
from insource.store.database import Database
from postgres import Postgres, programs, server

SHARED = Path(__file__).parents[2] / "shared" / "data"
# files whose slow tests take longest: begun last, one of them would keep half of the machine waiting
LONGEST = (
    "test_demo.py", "test_docs.py", "test_real_servers.py", "test_ray.py", "test_shared_base.py", "test_copies.py",
    "test_ranks.py", "test_sizing_measured.py", "test_ranks_verb.py", "test_extract.py", "test_qlora.py",
)  # fmt: skip


def pytest_configure() -> None:
    """How long an example takes says how busy the machine is, and nothing of what it shows."""
    hypothesis_settings.register_profile("insource", deadline=None)
    hypothesis_settings.load_profile("insource")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs coroutine tests, with no plugin and no mode to set."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--store postgresql` runs everything on a server: the same tests, another database."""
    parser.addoption("--store", choices=("sqlite", "postgresql"), default="sqlite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first. Leaves out, on a server, what is about the file that SQLite keeps."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    if config.getoption("--store") != "postgresql":
        return
    for item in items:
        why = next((why for name, why in FILE_ONLY.items() if name in item.nodeid), None)
        if why is not None:
            item.add_marker(pytest.mark.skip(reason=f"SQLite alone: {why}"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; skips where there is none to start."""
    if programs() is None:
        pytest.skip("no PostgreSQL on this machine")
    with server() as found:
        yield found


@pytest.fixture(scope="session", autouse=True)
def on_a_server(request: pytest.FixtureRequest) -> Iterator[None]:
    """With `--store postgresql` each workspace that names no store has a schema of its own on a server."""
    if request.config.getoption("--store") != "postgresql":
        yield
        return
    url = request.getfixturevalue("postgres").url + "?schema=w_{workspace}"
    from insource.settings import Settings, StoreSettings
    from insource.store import store
    from insource.store.opened import database

    def shared(settings: Settings) -> Database:
        return database(msgspec.structs.replace(settings, store=StoreSettings(url=settings.store.url or url)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSOURCE_STORE_URL", url)
        patch.setattr(store, "database", shared)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets beside the project; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data beside the project")
    return SHARED


@pytest.fixture
def interpreted() -> None:
    """For tests that put something in the place of a method: skipped where the package is machine code."""
    from insource.store import group

    if not str(group.__file__).endswith(".py"):
        pytest.skip("methods of machine code cannot be replaced")


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of base models that goes with the tests; the user's own takes no models made for a test."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("INSOURCE_CACHE", str(folder))
        yield folder

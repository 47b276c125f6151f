"""What every test shares: an `async def` test runs on its own event loop."""

import asyncio
import inspect
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs coroutine tests, with no plugin and no mode to set."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets beside the project; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data beside the project")
    return SHARED

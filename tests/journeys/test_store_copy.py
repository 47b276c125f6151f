"""A store is not copied from under a gateway: what that writes meanwhile would stay behind."""

import pytest

from insource.errors import Conflict
from insource.journeys.audit import BOOKS
from insource.journeys.store_copy import copy_store
from insource.settings import load_settings
from insource.store import Store
from insource.store.files import alone


async def test_while_a_gateway_runs_no_store_is_copied(tmp_path):
    (tmp_path / "insource.toml").touch()
    settings = load_settings(tmp_path)
    async with await Store.open(settings):
        pass
    with alone(settings.state / BOOKS, "a gateway"), pytest.raises(Conflict, match="insource serve is running") as told:
        await copy_store(settings, "sqlite", "postgresql://127.0.0.1:9/nowhere")
    assert told.value.hint

"""The bench of growth: what it fills in is a store, and its rows hold by their bar and not beside it."""

import asyncio
import importlib
import sys
from pathlib import Path

import pytest

from insource.settings import load_settings
from insource.store import Store

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module
    for name in ("growth_fill", "growth_rows"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_what_is_filled_in_is_whole_and_as_much_as_was_asked(bench, tmp_path):
    growth = bench("growth_fill")
    filled = asyncio.run(growth.fill(tmp_path, growth.Size(records=600, items=60, releases=20)))

    async def looked():
        async with await Store.open(load_settings(tmp_path)) as store:
            assert (await store.verify_chain()).faults == ()
            await store.tally.fold()
            assert sum(one.calls for one in await store.tally.used("task", None)) == 600
            assert 30 <= sum((await store.queues()).values()) + len(await _said(store)) <= 90
            assert (await store.record(filled.record)).id == filled.record
            assert (await store.report(filled.report)).id == filled.report
            assert (await store.live("tickets")).name == "tickets@1.0.0"
            assert await store.listings.looked_at("tickets@1.0.0", "", "")

    async def _said(store):
        return [one for task in growth.TASKS for one in await store.reviews(task)]

    asyncio.run(looked())


def document(page_ms: float, listing_ms: float, *, whole: bool = True):
    def size(records: int, factor: float):
        page = {"p50_ms": page_ms * factor, "p95_ms": page_ms * factor, "n": 20}
        listing = {"p50_ms": listing_ms * factor, "p95_ms": listing_ms * factor, "n": 20, "typed_ms": 900.0}
        pages = {"tasks/{task}": page, "calls": page | {"p95_ms": 1.0}}
        return {"records": records, "items": records // 10, "releases": records // 100, "bytes": records * 2000,
                "pages": pages, "listings": {"status {task}": listing},
                "help_ms": 100.0, "first_usage_ms": 9000.0,
                "whole": {"audit verify": {"p50_ms": 60_000.0}}}  # fmt: skip

    return {"sizes": [size(10_000, 0.5), size(1_000_000, 1.0)], "chain_whole": whole, "load": 0.1}


@pytest.mark.parametrize(
    ("given", "hold"),
    [
        (document(299, 10), [True, True, True, True, True]),
        (document(301, 10), [False, True, True, True, True]),
        (document(10, 301), [True, False, True, True, True]),
        (document(10, 10, whole=False), [True, True, True, True, False]),
    ],
)
def test_a_row_holds_within_its_bar_alone(bench, given, hold):
    rows = list(bench("growth_rows").growth(given))
    assert [row[3] for row in rows] == hold
    assert "/console/tasks/TASK" in rows[0][2]
    assert "10,000: " in rows[0][2] and "1,000,000: " in rows[0][2], "the curve"
    assert "insource status TASK" in rows[2][2]

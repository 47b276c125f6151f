"""The end of a store in the middle of its commits."""

import asyncio

import pytest
from test_store import record, settings

from insource.store import Store


@pytest.mark.usefixtures("interpreted")
def test_ctrl_c_inside_a_commit_costs_no_row_and_the_store_is_closed(tmp_path, monkeypatch):
    """It is raised wherever the loop's thread is. Verbs close their store while it passes through them."""
    kept = []

    async def run():
        async with await Store.open(settings(tmp_path)) as store:
            kept.append(store)
            true, times = store._group._transact, []

            def stopped(taken):
                times.append(len(taken))
                if len(times) == 1:
                    raise KeyboardInterrupt
                true(taken)

            monkeypatch.setattr(store._group, "_transact", stopped)
            await asyncio.gather(*[store.append(record(str(i))) for i in range(3)])

    with asyncio.Runner() as runner, pytest.raises(KeyboardInterrupt):
        runner.run(run())

    async def rows():
        async with await Store.open(settings(tmp_path)) as store:
            return len(await store.records(limit=10))

    assert asyncio.run(rows()) == 3


def test_closing_waits_for_a_commit_that_outlives_the_emptying_of_the_log(tmp_path):
    async def run():
        async with await Store.open(settings(tmp_path)) as store:
            await store.append(record("first"))
            emptied = asyncio.create_task(asyncio.sleep(0))
            await emptied
            waiting = asyncio.create_task(store.append(record("second")))
            await asyncio.sleep(0)
            store._group._emptying, store._group._due = emptied, True
            await asyncio.sleep(0)
            await asyncio.gather(waiting, store.close())

    async def timed():
        async with asyncio.timeout(5):
            await run()

    asyncio.run(timed())

"""What teaching costs: a bill that never exceeds the budget, whatever fails, and a plan that somebody agrees to."""

import sys
from pathlib import Path

import pytest
from teaching import PAID, fill, label_of, lesson, place, right_label, text

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from insource.errors import Conflict, Invalid
from insource.journeys import asking
from insource.journeys.teach import teach
from insource.journeys.teach_plan import Wanted
from insource.settings import load_task
from insource.store import Store
from paid_server import Day, PaidServer


async def rows_of(store):
    found = await store.dataset("tickets")
    return await store.examples(found.id) if found else []


async def test_bad_days_are_tried_again_and_end_where_they_do_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "PAUSE_S", 0.001)
    async with PaidServer(label_of, Day(busy=0.3, broken=0.1)) as server:
        settings = place(tmp_path, PAID.format(name="large", url=server.base_url, more=""))
        async with await Store.open(settings) as store:
            await fill(settings, store, 30)
            taught = await lesson(settings, store, budget=5.0)
            while taught.became and taught.plan.rows != 0:
                taught = await lesson(settings, store, budget=5.0)
            assert {row.input: row.target["intent"] for row in await rows_of(store)} == {
                text(n): right_label(n) for n in range(30)
            }
            assert server.calls > 30
            server.day = Day(broken=1.0)
            await fill(settings, store, 90)
            taught = await lesson(settings, store, budget=5.0)
            assert taught.stopped.startswith("large failed 20 times in a row")
            assert taught.usd == taught.usd_unknown > 0
            assert server.billed <= taught.spent <= 5.0


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("budget", [0.02, 0.2, 0.5])
async def test_the_bill_never_exceeds_the_budget_whatever_fails(tmp_path, budget, greedy, monkeypatch):
    monkeypatch.setattr(asking, "PAUSE_S", 0.001)
    day = Day(busy=0.1, broken=0.1, late=0.02, garbage=0.1, late_s=1.0)
    async with PaidServer(label_of, day, greedy=greedy, seed=int(budget * 100)) as server:
        paid = [PAID.format(name=name, url=server.base_url, more="") for name in ("large", "other")]
        settings = place(tmp_path, *[one.replace("timeout_s = 2.0", "timeout_s = 0.5") for one in paid])
        async with await Store.open(settings) as store:
            await fill(settings, store, 120)
            for _ in range(3):
                taught = await lesson(settings, store, budget=budget, second="other", share=0.2, at_once=16)
            assert server.billed <= taught.spent <= budget
            assert (len(server.answered) >= 20) == (budget > 0.05)


class Liar(PaidServer):
    """Counts more tokens than there are bytes."""

    def _usage(self, asked, said):
        return 10**9, 10**9


async def test_who_counts_more_than_a_call_can_have_is_asked_no_further(tmp_path):
    async with Liar(label_of) as server:
        settings = place(tmp_path, PAID.format(name="large", url=server.base_url, more=""))
        async with await Store.open(settings) as store:
            await fill(settings, store, 40)
            taught = await lesson(settings, store, budget=1e6, at_once=2)
            assert taught.stopped.startswith("large counts $10,000.0000 for a call that can cost $0.0")
            assert server.calls <= 2


async def test_without_what_is_reserved_the_bill_would_exceed_it(tmp_path, monkeypatch):
    """The negative control of the test above: calls under way are not held."""
    monkeypatch.setattr(asking.Purse, "take", lambda self, call, most, beside=0.0: self.spent < 0.05)
    async with PaidServer(label_of, greedy=True) as server:
        settings = place(tmp_path, PAID.format(name="large", url=server.base_url, more=""))
        async with await Store.open(settings) as store:
            await fill(settings, store, 120)
            await lesson(settings, store, budget=0.05, at_once=16)
            assert server.billed > 0.05


async def test_a_budget_that_cannot_be_kept_is_refused(tmp_path):
    free = PAID.format(name="large", url="http://127.0.0.1:9/v1", more="")
    free = free.replace("2.0\nusd_per_million_output = 8.0", "0.0").replace('region = "premises"', 'region = "eu"')
    priced = PAID.format(name="other", url="http://127.0.0.1:9/v1", more="")
    settings = place(tmp_path, free, priced, more='sensitivity = "any"')
    async with await Store.open(settings) as store:
        with pytest.raises(Conflict, match="no inputs without a label"):
            await lesson(settings, store)
        await fill(settings, store, 5)
        with pytest.raises(Invalid, match="no budget can be kept for large"):
            await lesson(settings, store, budget=1.0)
        with pytest.raises(Invalid, match="costs up to"):
            await lesson(settings, store, teacher="other")
        with pytest.raises(Invalid, match="another engine"):
            await lesson(settings, store, second="large")
        assert await store.lessons.of("tickets") == []


async def test_nobody_is_asked_where_nobody_agrees(tmp_path):
    async with PaidServer(label_of) as server:
        settings = place(tmp_path, PAID.format(name="large", url=server.base_url, more=""))
        async with await Store.open(settings) as store:
            await fill(settings, store, 5)
            task, plans = load_task(settings, "tickets"), []
            taught = await teach(task, settings, store, Wanted(teacher="large"), agree=plans.append)
            assert (taught.done, server.calls) == (False, 0)
            plan = plans[0]
            assert (plan.rows, plan.pool, plan.spent) == (5, 5, 0.0)
            assert 0 < plan.usd < plan.usd_most

"""Documents of a batch are known by text, release and policy: what is answered once is answered for every run."""

import asyncio
import json
import time
from dataclasses import replace

import msgspec
import pytest
from test_batch import RULES, Counting, opened, path, read, write

from insource.engines.scripted import Rule, Scripted
from insource.errors import EngineDown, Invalid
from insource.journeys.answer import Tier
from insource.journeys.batch import Wish, batch, dead
from insource.journeys.batch_keys import policy
from insource.nouns import Risk

SURE = Rule(match="*", value={"label": "a"}, confidence=0.95)


def lines(tmp_path, texts, name="in.jsonl"):
    return write(tmp_path / name, [{"id": f"r{i}", "input": text} for i, text in enumerate(texts)])


async def test_a_run_into_another_file_asks_for_nothing_that_was_answered(tmp_path):
    source = lines(tmp_path, ["x", "y", "x", "in doubt"])
    engine = Counting("one", RULES)
    async with await opened(tmp_path) as store:
        first = await batch(source, tmp_path / "a.jsonl", path(store, engine), store)
        assert (engine.asked, first.reused) == (4, 0)
        turned = lines(tmp_path, ["in doubt", "x", "x", "y", "new"], "turned.jsonl")
        second = await batch(turned, tmp_path / "b.jsonl", path(store, engine), store)
        assert (engine.asked, second.reused, second.rows, second.review) == (5, 4, 5, 1)
        a, b = read(tmp_path / "a.jsonl"), read(tmp_path / "b.jsonl")
        assert [row["id"] for row in b] == ["r0", "r1", "r2", "r3", "r4"]
        assert [row["record"] for row in b[:4]] == [a[3]["record"], a[0]["record"], a[2]["record"], a[1]["record"]]
        assert len({row["record"] for row in b}) == 5, "two documents of one text have an answer each"


async def test_another_release_or_policy_answers_anew_and_another_owner_does_not(tmp_path):
    source = lines(tmp_path, ["x", "y"])
    engine = Counting("one", RULES)
    async with await opened(tmp_path) as store:
        way = path(store, engine)
        other = msgspec.structs.replace
        ways = {
            "release": replace(way, tiers=(Tier(engine, "t@1.1.0"),)),
            "risk": replace(way, task=other(way.task, risk=Risk(threshold=0.9))),
            "threshold": replace(way, threshold=0.9),
        }
        await batch(source, tmp_path / "out.jsonl", way, store)
        owned = replace(way, task=other(way.task, owner="q@plant.example", acceptance={"accuracy": 0.9}))
        assert (await batch(source, tmp_path / "out.jsonl", owned, store)).reused == 2
        for name, one in ways.items():
            assert (await batch(source, tmp_path / "out.jsonl", one, store)).reused == 0, name
        assert engine.asked == 8
        assert (await batch(source, tmp_path / "out.jsonl", way, store)).reused == 2
        assert policy(way) != policy(way, "another model behind an engine's name")


async def test_two_runs_at_once_share_the_work_and_each_has_all_of_it(tmp_path):
    source = lines(tmp_path, [f"text {i}" for i in range(3000)])
    engine = Counting("one", [SURE])
    async with await opened(tmp_path) as store, await opened(tmp_path) as beside:
        way = replace(path(store, engine), tiers=(Tier(engine, "t@1.0.0"),))
        runs = [
            batch(source, tmp_path / "a.jsonl", way, store, wish=Wish(at_once=64)),
            batch(source, tmp_path / "b.jsonl", replace(way, key=beside.tenant_key), beside, wish=Wish(at_once=64)),
        ]
        one, two = await asyncio.gather(*runs)
        assert engine.asked == 3000
        assert one.reused + two.reused == 3000
        assert one.reused > 0 < two.reused
        assert read(tmp_path / "a.jsonl") == read(tmp_path / "b.jsonl")
        assert len(await store.records(limit=5000)) == 3000


async def test_what_another_holds_is_free_when_it_no_longer_says_so(tmp_path):
    async with await opened(tmp_path) as store:
        batches = store.batches
        await batches.beat("elsewhere boot 1 2#a", 0.2)
        await batches.beat("me", 60)
        assert all(claim.mine for claim in (await batches.claim(["k", "l"], "t", "elsewhere boot 1 2#a", 3)).values())
        assert not (await batches.claim(["k"], "t", "me", 3))["k"].mine
        await batches.beat("elsewhere boot 1 2#a", 0.5)
        await asyncio.sleep(0.3)
        assert not (await batches.claim(["k"], "t", "me", 3))["k"].mine, "it said so again"
        await asyncio.sleep(0.3)
        assert (await batches.claim(["k"], "t", "me", 3))["k"].mine
        await batches.beat("elsewhere boot 1 2#a", 60)
        assert not (await batches.claim(["k"], "t", "elsewhere boot 1 2#a", 3))["k"].mine
        assert (await batches.claim(["l"], "t", "elsewhere boot 1 2#a", 3))["l"].mine
        await batches.leave("elsewhere boot 1 2#a")
        assert (await batches.claim(["l"], "t", "me", 3))["l"].mine


async def test_a_document_that_failed_three_times_is_given_up_until_it_is_to_be_tried_again(tmp_path):
    source = lines(tmp_path, ["odd one", "plain", "y"])
    engine = Counting("one", RULES)
    async with await opened(tmp_path) as store:
        runs = []
        for i in range(5):
            lines(tmp_path, ["odd one", "plain", "y", *[f"new {i}"]])
            runs.append(await batch(source, tmp_path / "out.jsonl", path(store, engine), store, wish=Wish(at_once=1)))
        odd = [run.failed for run in runs]
        assert odd == [1] * 5
        assert [run.dead for run in runs] == [0, 0, 0, 1, 1]
        (given_up,) = await dead("t", store)
        assert (given_up.id, given_up.tries) == ("r0", 3)
        assert "no valid answer" in given_up.error
        assert read(tmp_path / "out.jsonl")[0]["error"] == given_up.error
        asked = engine.asked
        assert await store.batches.retry("t") == 1
        assert await dead("t", store) == []
        again = await batch(source, tmp_path / "out.jsonl", path(store, engine), store)
        assert (engine.asked - asked, again.dead, again.failed) == (1, 0, 1)


async def test_an_engine_that_is_down_gives_no_document_up(tmp_path):
    source = lines(tmp_path, ["x", "y"])
    async with await opened(tmp_path) as store:
        down = path(store, Scripted("one", [Rule(match="*", error="down")]))
        for _ in range(4):
            summary = await batch(source, tmp_path / "out.jsonl", down, store)
            assert (summary.failed, summary.dead) == (2, 0)
        assert (await batch(source, tmp_path / "out.jsonl", path(store), store)).answered == 2


async def test_an_engine_that_goes_down_in_the_midst_gives_no_document_up(tmp_path):
    class Lost(Counting):
        async def complete(self, request):
            if self.asked >= 2:
                raise EngineDown("no machine takes work")
            return await super().complete(request)

    source = lines(tmp_path, [f"x {i}" for i in range(9)])
    async with await opened(tmp_path) as store:
        for run in range(4):
            summary = await batch(
                source, tmp_path / "out.jsonl", path(store, Lost("one", RULES)), store, wish=Wish(at_once=1)
            )
            assert (summary.answered, summary.dead) == (2 * run + 2, 0)
        assert await dead("t", store, tries=1) == []
        assert (await batch(source, tmp_path / "out.jsonl", path(store), store)).answered == 9


async def test_one_that_brings_the_engine_down_alone_is_given_up(tmp_path):
    class Falls(Counting):
        async def complete(self, request):
            if request.input == "poison":
                raise EngineDown("it fell")
            return await super().complete(request)

    source = lines(tmp_path, ["poison"])
    async with await opened(tmp_path) as store:
        for run in range(4):
            lines(tmp_path, ["poison", *[f"other text {i}" for i in range(run + 1)]])
            fallen = path(store, Falls("one", RULES))
            summary = await batch(source, tmp_path / "out.jsonl", fallen, store, wish=Wish(at_once=1))
        assert (summary.failed, summary.dead) == (1, 1)


async def test_a_run_ends_before_it_may_cost_more_and_goes_on_with_more_money(tmp_path):
    source = lines(tmp_path, [f"text {i}" for i in range(40)])
    engine = Counting("one", [Rule(match="*", value={"label": "a"}, confidence=0.95, delay_s=0.01)])
    async with await opened(tmp_path) as store:
        way = replace(path(store, engine), tiers=(Tier(engine, "t@1.0.0", usd_per_million=(10_000.0, 0.0)),))
        summary = await batch(source, tmp_path / "o.jsonl", way, store, wish=Wish(at_once=8, max_usd=0.5))
        spent = sum(record.usd for record in await store.records(limit=100))
        assert summary.usd == pytest.approx(spent)
        assert 0 < spent <= 0.5
        assert "budget" in summary.stopped
        assert summary.rows == engine.asked == 40 - summary.left
        assert 0 < summary.left < 40
        assert not (tmp_path / "o.jsonl").exists()
        assert len(read(tmp_path / "o.jsonl.part")) == summary.rows
        done = await batch(source, tmp_path / "o.jsonl", way, store, wish=Wish(max_usd=100.0))
        assert (done.rows, done.reused, done.stopped, engine.asked) == (40, summary.rows, "", 40)
        assert [row["id"] for row in read(tmp_path / "o.jsonl")] == [f"r{i}" for i in range(40)]


async def test_a_run_begins_nothing_after_its_time(tmp_path):
    source = lines(tmp_path, [f"text {i}" for i in range(200)])
    slow = Counting("one", [Rule(match="*", value={"label": "a"}, confidence=0.95, delay_s=0.1)])
    async with await opened(tmp_path) as store:
        began = time.monotonic()
        wish = Wish(at_once=2, max_minutes=0.5 / 60)
        summary = await batch(source, tmp_path / "o.jsonl", path(store, slow), store, wish=wish)
        assert time.monotonic() - began < 5
        assert "time" in summary.stopped
        assert summary.rows == slow.asked < 100
        assert summary.rows + summary.left == 200


async def test_what_it_tells_meanwhile_is_rate_and_cost(tmp_path):
    source = lines(tmp_path, [f"text {i}" for i in range(20)])
    told = []
    async with await opened(tmp_path) as store:
        engine = Scripted("one", [SURE])
        way = replace(path(store), tiers=(Tier(engine, "t@1.0.0", usd_per_million=(10_000.0, 0.0)),))
        await batch(source, tmp_path / "o.jsonl", way, store, progress=lambda *said: told.append(said))
    words, done, total = told[-1]
    assert (done, total) == (20, 20)
    assert "a second" in words
    assert "USD" in words


async def test_answers_go_with_their_records(tmp_path):
    source = lines(tmp_path, ["x", "y", "z"])
    engine = Counting("one", [SURE])
    async with await opened(tmp_path) as store:
        await batch(source, tmp_path / "o.jsonl", path(store, engine), store)
        assert (await store.prune("", 1)).records == 2
        summary = await batch(source, tmp_path / "o.jsonl", path(store, engine), store)
        assert (summary.reused, engine.asked) == (1, 5)


async def test_nothing_of_a_text_is_in_a_key(tmp_path):
    source = lines(tmp_path, ["a text that nobody may see"])
    async with await opened(tmp_path / "one") as store:
        await batch(source, tmp_path / "o.jsonl", path(store), store)
        one = await store._thread.look(lambda c: c.exec_driver_sql("SELECT * FROM batch_item").all())
    async with await opened(tmp_path / "two") as store:
        await batch(source, tmp_path / "o.jsonl", path(store), store)
        two = await store._thread.look(lambda c: c.exec_driver_sql("SELECT * FROM batch_item").all())
    assert one[0].key != two[0].key
    assert "nobody" not in json.dumps([list(row) for row in one])


async def test_a_batch_needs_a_task(tmp_path):
    async with await opened(tmp_path) as store:
        with pytest.raises(Invalid, match="task"):
            await batch(lines(tmp_path, ["x"]), tmp_path / "o.jsonl", replace(path(store), task=None), store)

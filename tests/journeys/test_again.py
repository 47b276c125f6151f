"""An answer is given again to the very same call of the same tenant, and to no other."""

import asyncio
from dataclasses import replace

import msgspec
import pytest
from counting import USAGE, Clock, Counting, Kept, answers, path, request

from insource.errors import EngineDown
from insource.journeys.answer import Path, answer, discard
from insource.nouns import (
    Record,
    Usage,
)


async def test_the_same_call_is_answered_again_and_no_engine_is_asked():
    engine, kept, clock = Counting(), Kept(), Clock()
    way = path(engine, answers=answers(clock))
    first = await answer(request("r1"), way, kept)
    clock.now = 7.0
    again = await answer(request("r2", caller="bob"), way, kept)
    assert engine.asked == 1
    assert (again.id, again.outcome, again.tier, again.release) == ("r2", "answered", 1, "t@1.0.0")
    assert (again.answer.value, again.answer.confidence) == ({"label": "a"}, 0.9)
    assert again.answer == msgspec.structs.replace(first.answer, latency_ms=0.0)
    assert again.answer.usage == USAGE
    assert (first.cached, again.cached) == (False, True)
    (decision,) = [one.decision for one in again.attempts]
    assert (decision.engine, decision.rule, decision.accepted) == ("one", "cache", True)
    assert decision.reason == "as record r1 was answered 7 s before"
    assert (decision.confidence, decision.threshold) == (0.9, 0.85)


async def test_the_record_of_it_says_so_and_costs_nothing():
    kept = Kept()
    way = path(Counting(), answers=answers())
    for name in ("r1", "r2"):
        await answer(request(name), way, kept)
    first, again = kept.rows
    assert (first.usd, first.answer.usage) == (14e-6, USAGE)
    assert (again.usd, again.attempts[0].usd, again.answer.usage) == (0.0, 0.0, Usage())
    assert again.attempts[0].decision.reason == "as record r1 was answered 0 s before"
    assert again.input_hash == first.input_hash != ""
    assert (again.answer.text, again.answer.value, again.answer.latency_ms) == ("", {"label": "a"}, 0.0)


async def test_it_is_noted_before_as_every_call_is():
    noted = []

    async def intend(intent):
        noted.append(intent.id)

    way = replace(path(Counting(), answers=answers()), intend=intend)
    for name in ("r1", "r2"):
        await answer(request(name), way, discard)
    assert noted == ["r1", "r2"]


async def test_what_is_not_switched_on_is_never_looked_for():
    engine = Counting()
    way = path(engine, answers=None)
    for name in ("r1", "r2"):
        assert not (await answer(request(name), way, discard)).cached
    assert engine.asked == 2


@pytest.mark.parametrize(
    ("change", "more"),
    [
        (lambda way: way, {"tenant": "other"}),
        (lambda way: way, {"text": "hello!"}),
        (lambda way: replace(way, scope="other"), {}),
        (lambda way: replace(way, tiers=(replace(way.tiers[0], release="t@1.1.0"),)), {}),
        (lambda way: replace(way, tiers=(replace(way.tiers[0], engine=Counting("other")),)), {}),
    ],
)
async def test_no_other_tenant_input_policy_release_or_engine_is_given_it(change, more):
    way = path(Counting(), answers=answers())
    await answer(request("r1"), way, discard)
    assert (await answer(request("r2"), way, discard)).cached
    assert not (await answer(request("r3", **more), change(way), discard)).cached


async def test_five_thousand_tenants_ask_the_same_and_none_is_given_anothers_answer():
    way = path(Counting(), answers=answers())
    for number in range(5000):
        record = await answer(request(f"r{number}", tenant=f"tenant {number}"), way, discard)
        assert not record.cached
    assert (len(way.answers.shelf), way.answers.counts) == (5000, {("t", "miss"): 5000})
    own = [await answer(request("x", tenant=f"tenant {number}"), way, discard) for number in (0, 1, 4999)]
    assert [one.attempts[0].decision.reason.split()[2] for one in own] == ["r0", "r1", "r4999"]


async def test_a_tenant_of_the_same_name_with_another_key_is_given_nothing():
    way = path(Counting(), answers=answers())
    await answer(request("r1"), way, discard)

    async def changed(tenant: str) -> bytes:
        return b"another"

    assert not (await answer(request("r2"), replace(way, key=changed), discard)).cached


async def test_a_tenant_that_is_left_out_has_no_answers_kept():
    engine = Counting()
    way = path(engine, answers=answers(not_for=("secret",)))
    for name in ("r1", "r2"):
        await answer(request(name, tenant="secret"), way, discard)
    assert (engine.asked, len(way.answers.shelf)) == (2, 0)
    assert way.answers.counts == {("t", "skipped"): 2}


async def test_what_another_engine_answered_is_not_kept():
    down, unsure = Counting(says=EngineDown("no")), Counting(confidence=0.5)
    for first in (down, unsure):
        way = path(first, Counting("two"), answers=answers())
        for name in ("r1", "r2"):
            assert (await answer(request(name), way, discard)).outcome == "escalated"
        assert (first.asked, len(way.answers.shelf)) == (2, 0)


async def test_what_waits_for_a_person_and_what_failed_is_not_kept():
    unsure = path(Counting(confidence=0.5), answers=answers())
    assert (await answer(request("r1"), unsure, discard)).outcome == "review"
    down = path(Counting(says=EngineDown("no")), answers=answers())
    with pytest.raises(EngineDown):
        await answer(request("r1"), down, discard)
    assert len(unsure.answers.shelf) == len(down.answers.shelf) == 0


async def test_an_answer_ends_with_its_time():
    clock, engine = Clock(), Counting()
    way = path(engine, answers=answers(clock, max_age_s=60.0))
    await answer(request("r1"), way, discard)
    clock.now = 59.0
    assert (await answer(request("r2"), way, discard)).cached
    clock.now = 60.0
    assert not (await answer(request("r3"), way, discard)).cached
    assert engine.asked == 2


async def test_there_are_no_more_than_may_be():
    way = path(Counting(), answers=answers(max_entries=2))
    for text in ("one", "two", "three"):
        await answer(request(text=text), way, discard)
    assert len(way.answers.shelf) == 2
    assert not (await answer(request(text="one"), way, discard)).cached


async def test_who_wants_an_answer_of_their_own_gets_it_and_others_get_that():
    clock, engine = Clock(), Counting()
    way = path(engine, answers=answers(clock))
    await answer(request("r1"), way, discard)
    own = await answer(request("r2"), replace(way, answers=way.answers.renewing()), discard)
    assert (own.cached, engine.asked) == (False, 2)
    again = await answer(request("r3"), way, discard)
    assert again.attempts[0].decision.reason.startswith("as record r2 ")


async def test_what_is_kept_cannot_be_changed_by_who_was_given_it():
    way = path(Counting(value={"label": "a"}), answers=answers())
    first = await answer(request("r1"), way, discard)
    first.answer.value["label"] = "b"
    again = await answer(request("r2"), way, discard)
    again.answer.value["label"] = "b"
    assert (await answer(request("r3"), way, discard)).answer.value == {"label": "a"}


async def test_it_is_counted():
    way = path(Counting(), answers=answers())
    for name in ("r1", "r2", "r3"):
        await answer(request(name), way, discard)
    await answer(request("r4", "hello?"), replace(way, task=None), discard)
    assert way.answers.counts == {("t", "miss"): 1, ("t", "hit"): 2, ("-", "miss"): 1}
    entries, size = way.answers.kept
    assert entries == 2
    assert size > 500


# ------------------------------------------------------------------ at the same time


async def together(way: Path, count: int) -> list[Record]:
    return await asyncio.gather(*[answer(request(f"r{i}"), way, discard) for i in range(count)])


async def opened(gate: asyncio.Event, engine: Counting, *, asked: int) -> None:
    async with asyncio.timeout(5):
        while engine.asked < asked:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    gate.set()


async def test_the_same_call_ten_times_at_once_is_one_call_to_the_engine():
    gate = asyncio.Event()
    engine = Counting(gate=gate)
    way = path(engine, answers=answers())
    records, _ = await asyncio.gather(together(way, 10), opened(gate, engine, asked=1))
    assert engine.asked == 1
    assert sorted(record.cached for record in records) == [False] + [True] * 9
    assert way.answers.under_way == {}


async def test_who_waited_for_what_failed_asks_at_once_and_not_one_after_another():
    gate = asyncio.Event()
    engine = Counting(gate=gate, confidence=0.5)
    way = path(engine, answers=answers())
    records, _ = await asyncio.gather(together(way, 5), opened(gate, engine, asked=1))
    assert engine.asked == 5
    assert {record.outcome for record in records} == {"review"}
    assert way.answers.under_way == {}


async def test_who_waited_for_a_call_that_was_given_up_asks_itself():
    gate = asyncio.Event()
    engine = Counting(gate=gate)
    way = path(engine, answers=answers())
    first = asyncio.create_task(answer(request("r1"), way, discard))
    async with asyncio.timeout(5):
        while not engine.asked:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(answer(request("r2"), way, discard))
        await asyncio.sleep(0.01)
        assert engine.asked == 1
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.set()
        assert not (await second).cached
    assert engine.asked == 2


async def test_who_waits_does_so_for_its_first_engines_share_of_its_time():
    gate = asyncio.Event()
    slow, quick = Counting(gate=gate), Counting("two")
    way = path(slow, quick, answers=answers())
    first = asyncio.create_task(answer(request("r1"), way, discard))
    while not slow.asked:
        await asyncio.sleep(0.001)
    async with asyncio.timeout(3):
        late = await answer(msgspec.structs.replace(request("r2"), deadline=0.4), way, discard)
    assert (late.outcome, late.tier) == ("escalated", 2)
    assert late.latency_ms < 400
    gate.set()
    await first


async def test_who_left_while_waiting_leaves_the_others_alone():
    gate = asyncio.Event()
    engine = Counting(gate=gate)
    way = path(engine, answers=answers())
    first, second = [asyncio.create_task(answer(request(f"r{i}"), way, discard)) for i in range(2)]
    await asyncio.sleep(0.02)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    assert (await first).outcome == "answered"
    assert engine.asked == 1

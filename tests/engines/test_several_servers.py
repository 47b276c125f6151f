"""An engine with several servers: one dead, slow, broken or full costs no call, and comes back by itself."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from pooled import AT_ONCE, Begun, child, lost, outcome, passed, pool, servers, under_load

from insource.engines import deployment
from insource.engines import replicas as room
from insource.engines.scripted_server import Reply, ScriptedServer
from insource.errors import EngineBusy, EngineDown, EngineError
from insource.journeys.turnstiles import none_left, replicas, resting
from insource.nouns import Prediction
from insource.stats.intervals import clopper_pearson_upper


@pytest.fixture
def no_echo(monkeypatch):
    """An error leaves its place at once: who fails is asked in turn. A try that waits would end in the error."""
    monkeypatch.setattr(room, "ECHO_S", 0.0)
    monkeypatch.setattr(deployment, "PAUSE_S", 60.0)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
async def test_a_replica_that_is_killed_under_load_costs_no_call(stream):
    with child() as (victim, one), child() as (_, two), child() as (_, three):
        engine = pool(one, two, three)

        async def kill():
            victim.kill()

        found = await under_load(engine, 4.0, stream=stream, during=kill)
        # who has heard words of an answer hears that it broke off: nobody can take them back and begin anew
        said = [one for one in found if not isinstance(one, Begun)]
        assert len(found) - len(said) <= (AT_ONCE if stream else 0)
        upper = clopper_pearson_upper(0, len(said))
        assert len(said) > 300
        assert not lost(said), f"{len(lost(said))} of {len(said)}: {lost(said)[0]}"
        assert set(said) == {"one two three"}
        assert upper < 0.02
        # who has just died is known, and none other
        name = one.removeprefix("http://").removesuffix("/v1")
        assert [who for (_, who), (rests, _) in replicas({"r": engine.turnstile}).items() if rests] == [name]
        await engine.close()


@pytest.mark.slow
async def test_without_another_the_same_death_loses_calls():
    # the control: one server by itself
    with child() as (victim, one):
        engine = pool(one)

        async def kill():
            victim.kill()

        assert lost(await under_load(engine, 2.0, during=kill))
        await engine.close()


async def test_a_slow_replica_gets_less():
    async with AsyncExitStack() as stack:
        slow, *quick = await servers(stack, *[[Reply(delay_s=delay)] for delay in (0.2, 0.02, 0.02)])
        engine = pool(slow.base_url, *[one.base_url for one in quick])
        said = await under_load(engine, 1.5)
        assert not lost(said)
        assert len(slow.seen) < 0.4 * min(len(one.seen) for one in quick)
        await engine.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "reply",
    [Reply(status=500), Reply(status=503), Reply(fault="reset"), Reply(play="close"), Reply(play="html"),
     Reply(play="reset", at="before"), Reply(status=429)],
    ids=["500", "503", "reset", "closed", "html", "reset before", "429"],
)  # fmt: skip
async def test_a_replica_that_always_fails_costs_no_call_and_is_left_alone(reply, stream, no_echo):
    async with AsyncExitStack() as stack:
        broken, *well = await servers(stack, [reply], [Reply(text="ok")], [Reply(text="ok")])
        engine = pool(broken.base_url, *[one.base_url for one in well])
        said = [await outcome(engine, stream=stream) for _ in range(60)]
        assert said == ["ok"] * 60
        assert len(broken.seen) == 5, "its own breaker keeps the others from it"
        assert len(well[0].seen) + len(well[1].seen) == 60
        assert not engine.turnstile.rests
        assert resting({"r": engine.turnstile}) == [
            f"{broken.address.removeprefix('http://')} of r rests after failures"
        ]
        await engine.close()


async def test_what_breaks_off_in_the_middle_is_asked_for_elsewhere_unless_a_word_is_out(no_echo):
    async with AsyncExitStack() as stack:
        half, well = await servers(stack, [Reply(text="one two three", play="reset", at="late")], [Reply(text="ok")])
        engine = pool(half.base_url, well.base_url)
        said = [await outcome(engine) for _ in range(4)]
        assert said == ["ok"] * 4
        assert half.seen
        asked, broke = len(half.seen), 0
        for _ in range(4):
            pieces = []
            try:
                async for piece in engine.stream(passed()):
                    pieces.append(piece)
            except EngineDown:
                broke += 1
                assert "".join(pieces) == "one two three"
                assert not any(isinstance(piece, Prediction) for piece in pieces)
            else:
                assert pieces[-1].text == "ok"
        assert broke == len(half.seen) - asked >= 1
        await engine.close()


@pytest.mark.parametrize("usd", [0.0, 2.0])
async def test_what_may_have_been_answered_for_money_is_not_asked_again(usd, no_echo):
    # an answer that breaks off was being made; a port where nobody listens was told nothing
    async with AsyncExitStack() as stack:
        broken, well = await servers(stack, [Reply(text="one two", play="reset", at="late")], [Reply(text="ok")])
        engine = pool(broken.base_url, well.base_url, usd_per_million_output=usd)
        said = [await outcome(engine) for _ in range(8)]
        assert broken.seen
        assert len(broken.seen) + len(well.seen) == (8 if usd else 8 + len(broken.seen))
        assert len(lost(said)) == (len(broken.seen) if usd else 0)
        await engine.close()
        unheard = pool("http://127.0.0.1:9/v1", well.base_url, usd_per_million_output=usd)
        assert [await outcome(unheard) for _ in range(8)] == ["ok"] * 8
        await unheard.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_replica_that_says_nothing_costs_its_first_byte_and_no_call(stream):
    async with AsyncExitStack() as stack:
        silent, well = await servers(stack, [Reply(play="hang")], [Reply(text="ok")])
        engine = pool(silent.base_url, well.base_url, first_byte_s=0.3)
        assert [await outcome(engine, stream=stream) for _ in range(8)] == ["ok"] * 8
        assert silent.seen
        await engine.close()


async def test_all_down_is_one_error_with_what_is_the_matter_with_each():
    async with AsyncExitStack() as stack:
        busy, broken = await servers(stack, [Reply(status=429)], [Reply(status=500)])
        engine = pool(busy.base_url, broken.base_url, "http://127.0.0.1:9/v1")
        names = [url.address.removeprefix("http://") for url in (busy, broken)]
        first = await outcome(engine)
        assert isinstance(first, EngineDown | EngineBusy)
        for name, how in zip((*names, "127.0.0.1:9"), ("full", "down", "down"), strict=True):
            assert f"{name} {how}" in str(first)
        while not engine.turnstile.rests:
            assert isinstance(await outcome(engine), EngineError)
        before = len(busy.seen), len(broken.seen)
        error = await outcome(engine)
        assert isinstance(error, EngineDown)
        assert str(error).startswith("r rests after failures: ")
        assert all(name in str(error) for name in (*names, "127.0.0.1:9"))
        assert error.hint.startswith("it is tried again in")
        assert (len(busy.seen), len(broken.seen)) == before

        from insource.journeys.answer import Path, Tier

        assert none_left(Path(task=None, tiers=(Tier(engine),)), {"r": engine.turnstile})
        await engine.close()


async def test_errors_of_one_call_are_not_told_to_another():
    async with AsyncExitStack() as stack:
        one, two = await servers(stack, [Reply(status=500)], [Reply(status=500)])
        engine = pool(one.base_url, two.base_url)
        while not engine.turnstile.rests:
            await outcome(engine)
        assert "as the script says" not in str(await outcome(engine)), "what a server says may be somebody's text"
        await engine.close()


async def test_a_replica_that_asks_for_a_pause_gets_it_alone():
    async with AsyncExitStack() as stack:
        busy, well = await servers(
            stack, [Reply(status=429, retry_after="1", times=1), Reply(text="b")], [Reply(text="w")]
        )
        engine = pool(busy.base_url, well.base_url)
        said = [await outcome(engine) for _ in range(20)]
        assert said == ["w"] * 20
        assert len(busy.seen) == 1
        await asyncio.sleep(1.1)
        said = [await outcome(engine) for _ in range(10)]
        assert "b" in said
        assert not lost(said)
        await engine.close()


async def test_where_all_ask_for_a_pause_a_call_waits_a_little_or_says_so():
    async with AsyncExitStack() as stack:
        replies = [Reply(status=429, retry_after="1", times=1), Reply(text="ok")], [Reply(status=429, retry_after="60")]
        soon, late = await servers(stack, *replies)
        engine = pool(soon.base_url, late.base_url)
        began = time.monotonic()
        assert await outcome(engine) == "ok"
        assert 0.9 < time.monotonic() - began < 3.0
        assert len(late.seen) == 1
        await engine.close()
        engine = pool(late.base_url, f"{late.base_url}/other")
        assert isinstance(await outcome(engine), EngineBusy | EngineError)
        await engine.close()


@pytest.mark.slow
async def test_a_replica_that_is_back_is_looked_at_then_probed_by_one_call_then_has_its_share():
    async with AsyncExitStack() as stack:
        (well,) = await servers(stack, [Reply(text="ok", delay_s=0.01)])
        back = ScriptedServer([Reply(text="ok", delay_s=0.01)], kind="vllm")
        async with back:
            engine = pool(back.base_url, well.base_url)
            assert await outcome(engine) == "ok"
        said = await under_load(engine, 1.0)
        assert not lost(said)
        assert replicas({"r": engine.turnstile})["r", back.address.removeprefix("http://")][0]
        before, back.well = len(back.seen), False
        async with back:
            said = await under_load(engine, 2.5)
            assert not lost(said)
            assert back.looked >= 1
            assert len(back.seen) == before, "no call is risked while it says that it is not well"
            back.well = True
            began = time.monotonic()
            while len(back.seen) < before + 5:
                assert time.monotonic() - began < 10.0
                assert not lost(await under_load(engine, 0.2))
            assert time.monotonic() - began < 9.0, "the pause had doubled three times at most"
            await engine.close()


async def test_a_server_without_a_word_for_its_health_is_probed_by_a_call(no_echo):
    async with AsyncExitStack() as stack:
        replies = [Reply(status=503, times=5), Reply(text="back")]
        broken, well = await servers(stack, replies, [Reply(text="ok")], kind="openai")
        engine = pool(broken.base_url, well.base_url, kind="openai")
        said = [await outcome(engine) for _ in range(20)]
        assert said == ["ok"] * 20
        assert len(broken.seen) == 5
        await asyncio.sleep(1.1)
        said = [await outcome(engine) for _ in range(10)]
        assert "back" in said
        assert not lost(said)
        await engine.close()


async def test_a_question_for_health_that_is_cut_off_is_asked_by_another(monkeypatch):
    monkeypatch.setattr(room, "IDLE_S", 0.0)
    monkeypatch.setattr(room, "APART_S", 0.0)
    async with AsyncExitStack() as stack:
        one, two = await servers(stack, [Reply(text="ok")], [Reply(text="ok")])
        known, urls = {}, (one.base_url, two.base_url)
        first, second = pool(*urls, known=known), pool(*urls, known=known)
        await asyncio.sleep(0.01)
        first._looks.begin()
        assert all(replica.looking for replica in known["r"].pool.replicas)
        await first.close()
        await asyncio.sleep(0)
        assert not any(replica.looking for replica in known["r"].pool.replicas)
        assert await outcome(second) == "ok"
        while not (one.looked and two.looked):
            await asyncio.sleep(0.01)
        await second.close()


async def test_a_probe_goes_before_the_home_of_a_beginning(no_echo):
    async with AsyncExitStack() as stack:
        replies = [Reply(status=503, times=5), Reply(text="back")]
        broken, well = await servers(stack, replies, [Reply(text="ok")], kind="openai")
        engine = pool(broken.base_url, well.base_url, kind="openai")
        while not engine.turnstile.pool.replicas[0].rests:
            assert await outcome(engine) == "ok"
        long = [passed(f"conversation {number} " * room.LONG) for number in range(20)]
        assert [await outcome(engine, one) for one in long] == ["ok"] * 20
        await asyncio.sleep(1.1)
        assert await outcome(engine, long[0]) == "ok", "it is asked for its health first, and has no word for it"
        await asyncio.sleep(0.05)
        assert await outcome(engine, long[0]) == "back"
        said = [await outcome(engine, one) for one in long]
        assert 3 < said.count("back") < 17, "then each has its home again"
        at_home = [await outcome(engine, one) for one in long]
        assert at_home == said
        await engine.close()


async def test_who_fails_at_once_does_not_draw_all_calls_to_itself():
    # a wrong key or model is no failure to a breaker, and the fastest to answer has the fewest calls under way
    async with AsyncExitStack() as stack:
        wrong, *well = await servers(stack, [Reply(status=401)], *[[Reply(text="ok", delay_s=0.05)]] * 2)
        engine = pool(wrong.base_url, *[one.base_url for one in well])
        said = await under_load(engine, 1.5)
        assert 0 < len(lost(said)) < 0.25 * len(said)
        await engine.close()


async def test_retries_of_a_storm_are_bounded():
    async with AsyncExitStack() as stack:
        each = await servers(stack, *[[Reply(status=503)]] * 3)
        engine = pool(*[one.base_url for one in each], max_concurrent=30, max_waiting=1000)
        for replica in engine.turnstile.pool.replicas:
            replica.breaker, replica.speaks = None, False  # nothing but the budget holds them back
        said = await asyncio.gather(*[outcome(engine) for _ in range(400)])
        assert len(lost(said)) == 400
        asked = sum(len(one.seen) for one in each)
        assert 400 < asked <= 400 + 10 + 10 + 0.2 * 400
        await engine.close()


async def test_paths_share_what_is_known_of_the_replicas(no_echo):
    async with AsyncExitStack() as stack:
        broken, well = await servers(stack, [Reply(status=500)], [Reply(text="ok")])
        known, urls = {}, [broken.base_url, well.base_url]
        first, second = (pool(*urls, known=known) for _ in range(2))
        for _ in range(12):
            assert await outcome(first) == "ok"
        assert await outcome(second) == "ok"
        assert len(broken.seen) == 5
        await first.close()
        assert await outcome(second) == "ok"
        await second.close()

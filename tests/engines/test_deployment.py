"""What stands before a server: so many calls at once, few retries, one probe while it is down; and what it costs."""

import asyncio
import random
import time

import pytest

from insource.engines.deployment import Deployment, Turnstile
from insource.engines.outward import Outward
from insource.engines.remote import Remote
from insource.engines.scripted_server import Reply, ScriptedServer
from insource.errors import EngineBusy, EngineDown, EngineError, EngineSlow, Outside
from insource.journeys.turnstiles import none_left, resting, turnstile
from insource.nouns import Message, Networks, Prediction, Request
from insource.route.breaker import Breaker, Rules
from insource.route.retries import Allowance, Retries
from insource.settings import EngineSettings
from pace import within

RULES = Rules(row=5, pause_s=0.3, longest_s=0.3)


class Calls:
    """A budget that is never used up."""

    def called(self):
        """There was a call."""

    def take(self):
        """Leave to try again."""
        return True


def passed(text="hello", deadline=20.0):
    return Request(id="p", messages=(Message(role="user", content=text),), deadline=deadline)


def behind(server, *, rules=RULES, allowance=None, **settings):
    """An engine before this server, with its turnstile."""
    given = EngineSettings(kind="openai", base_url=server.base_url, model="m", **settings)
    breaker = Breaker(rules, time.monotonic) if rules else None
    before = Turnstile("r", given, breaker, Retries(allowance or Allowance(), time.monotonic))
    return Deployment(Remote("r", given, ""), before)


async def outcome(engine, request=None, *, stream=False):
    """The text of the answer, or the error."""
    try:
        if stream:
            return [item async for item in engine.stream(request or passed())][-1].text
        return (await engine.complete(request or passed())).text
    except EngineError as error:
        return error


async def opened(engine):
    """The engine, once its breaker is open."""
    while not engine.turnstile.rests:
        assert isinstance(await outcome(engine), EngineError)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reply", [Reply(status=503), Reply(fault="reset"), Reply(play="html"), Reply(status=429)])
async def test_five_failures_are_enough_and_then_a_call_costs_no_time(reply, stream):
    async with ScriptedServer([reply]) as server:
        engine = behind(server)
        await opened(engine)
        assert len(server.seen) == 5
        began = time.perf_counter()
        said = [await outcome(engine, stream=stream) for _ in range(50)]
        assert within(time.perf_counter() - began, 0.25)
        assert {str(one) for one in said} == {"r rests after failures"}
        assert len(server.seen) == 5
        await engine.close()


async def test_a_hundred_calls_at_once_send_exactly_one_probe():
    replies = [Reply(status=503, times=5), Reply(text="well again", delay_s=0.2)]
    async with ScriptedServer(replies) as server:
        engine = behind(server)
        await opened(engine)
        await asyncio.sleep(0.35)
        said = await asyncio.gather(*[outcome(engine) for _ in range(100)])
        assert len(server.seen) == 6
        assert [one for one in said if isinstance(one, str)] == ["well again"]
        assert await asyncio.gather(*[outcome(engine) for _ in range(20)]) == ["well again"] * 20
        await engine.close()


async def test_a_probe_whose_caller_leaves_makes_room_for_the_next():
    replies = [Reply(status=503, times=5), Reply(text="late", delay_s=30, times=1), Reply(text="well again")]
    async with ScriptedServer(replies) as server:
        engine = behind(server)
        await opened(engine)
        await asyncio.sleep(0.35)
        probe = asyncio.create_task(engine.complete(passed()))
        await asyncio.sleep(0.1)
        assert engine.turnstile.rests
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert await outcome(engine) == "well again"
        await engine.close()


async def test_a_stream_that_is_left_in_the_middle_gives_back_its_place():
    async with ScriptedServer([Reply(text="one two three four", play="hang", at="first")]) as server:
        engine = behind(server, max_concurrent=1, max_waiting=0)
        for number in range(3):
            stream = engine.stream(passed())
            waiting = asyncio.create_task(anext(stream))
            await asyncio.sleep(0.2)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await stream.aclose()
            assert len(server.seen) == number + 1
        await asyncio.sleep(0.1)
        assert len(server.left) == 3
        await engine.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_slow_counts_as_failed(stream):
    async with ScriptedServer([Reply(text="so slow", delay_s=0.15)]) as server:
        engine = behind(server, slow_s=0.1)
        assert await asyncio.gather(*[outcome(engine, stream=stream) for _ in range(5)]) == ["so slow"] * 5
        assert engine.turnstile.rests
        await engine.close()


async def test_silence_counts_as_failed_even_where_the_caller_ends_the_wait():
    async with ScriptedServer([Reply(play="hang")]) as server:
        engine = behind(server)

        async def ended():
            async with asyncio.timeout(1.0):
                await engine.complete(passed(deadline=1.0))

        await asyncio.gather(*[ended() for _ in range(5)], return_exceptions=True)
        assert engine.turnstile.rests
        await engine.close()


async def test_who_gave_no_time_learns_nothing_about_the_server():
    async with ScriptedServer([Reply(play="hang")]) as server:
        engine = behind(server)
        said = await asyncio.gather(*[outcome(engine, passed(deadline=0.1)) for _ in range(20)])
        assert {type(one) for one in said} == {EngineSlow}
        assert not engine.turnstile.rests
        await engine.close()


async def test_a_connection_that_is_not_let_out_says_nothing_about_the_server():
    async with ScriptedServer([Reply(status=503)]) as server:
        engine = behind(server)
        outside = Outward("engine r", "eu", networks=Networks(places={"eu": ()}))
        settings = EngineSettings(kind="openai", base_url=server.base_url)
        shut = Deployment(Remote("r", settings, "", outside), engine.turnstile)
        for _ in range(30):
            assert type(await outcome(shut)) is Outside
        assert not engine.turnstile.rests
        await opened(engine)
        await asyncio.sleep(RULES.pause_s * 1.2)
        assert type(await outcome(shut)) is Outside, "the probe"
        for _ in range(5):
            await outcome(engine)
        assert len(server.seen) == 6, "it had not taken the probe for a server that is well"
        await engine.close()
        await shut.close()


@pytest.mark.parametrize("reply", [Reply(status=400), Reply(status=401), Reply(status=404)])
async def test_a_complaint_shows_that_the_server_lives(reply):
    async with ScriptedServer([reply]) as server:
        engine = behind(server)
        for _ in range(30):
            assert type(await outcome(engine)) is EngineError
        assert len(server.seen) >= 30
        await engine.close()


async def test_a_full_queue_refuses_at_once_and_the_others_are_answered():
    async with ScriptedServer([Reply(text="ok", delay_s=1.0)]) as server:
        engine = behind(server, max_concurrent=4, max_waiting=4)
        began = time.perf_counter()
        times = []

        async def timed():
            said = await outcome(engine)
            times.append((time.perf_counter() - began, said))
            return said

        said = await asyncio.gather(*[timed() for _ in range(200)])
        refused = [at for at, one in times if isinstance(one, EngineBusy)]
        assert len(refused) == 192
        assert max(refused) < min(at for at, one in times if not isinstance(one, EngineBusy))
        assert said.count("ok") == 8
        assert len(server.seen) == 8
        await engine.close()


async def test_a_place_that_comes_too_late_is_no_failure_of_the_server():
    async with ScriptedServer([Reply(text="ok", delay_s=1.5)]) as server:
        engine = behind(server, max_concurrent=1)
        first = asyncio.create_task(outcome(engine))
        await asyncio.sleep(0.05)
        late = await asyncio.gather(*[outcome(engine, passed(deadline=0.2)) for _ in range(10)])
        assert all("place" in str(one) for one in late)
        assert await first == "ok"
        assert not engine.turnstile.rests
        await engine.close()


async def test_no_place_is_lost_or_given_twice_whoever_leaves_whenever():
    """Callers are let in, wait, give up and leave in every order, also in the same turn of the loop."""
    dice = random.Random(3)  # noqa: S311 - chance, no secret
    before = Turnstile("r", EngineSettings(kind="openai", max_concurrent=3, max_waiting=50), None, Calls())
    inside, most = 0, 0

    async def call():
        nonlocal inside, most
        await before.enter(dice.choice([0.004, 5.0]))
        inside += 1
        most = max(most, inside)
        try:
            await asyncio.sleep(dice.choice([0, 0, 0.002]))
        finally:
            inside -= 1
            before.leave()

    calls = []
    for _ in range(600):
        calls.append(asyncio.create_task(call()))
        if dice.random() < 0.4:
            dice.choice(calls).cancel()
        if dice.random() < 0.1:
            await asyncio.sleep(dice.choice([0, 0.001]))
    await asyncio.sleep(0.001)
    for one in calls[::2]:
        one.cancel()
    ends = {type(one) for one in await asyncio.gather(*calls, return_exceptions=True)}
    assert ends == {type(None), asyncio.CancelledError, EngineSlow, EngineBusy}
    assert (most, before.under_way) == (3, 0)
    for _ in range(3):
        await before.enter(1.0)
    with pytest.raises(EngineSlow):
        await before.enter(0.01)
    before.leave()
    await before.enter(0.01)


@pytest.mark.parametrize("first", ["given", "gone"])
async def test_who_leaves_in_the_moment_they_get_a_place_passes_it_on(first):
    before = Turnstile("r", EngineSettings(kind="openai", max_concurrent=1), None, Calls())
    await before.enter(5.0)
    second, third = [asyncio.create_task(before.enter(5.0)) for _ in range(2)]
    await asyncio.sleep(0)
    for what in (before.leave, second.cancel)[:: 1 if first == "given" else -1]:
        what()
    await asyncio.wait_for(third, 1.0)
    assert second.cancelled()
    before.leave()
    assert before.under_way == 0


async def test_all_calls_together_are_tried_again_only_as_often_as_the_budget_says():
    async with ScriptedServer([Reply(status=503)]) as server:
        engine = behind(server, rules=None, allowance=Allowance(share=0.2, floor=3, window_s=60))
        for _ in range(3):
            await asyncio.gather(*[outcome(engine) for _ in range(20)])
        assert 60 < len(server.seen) <= 60 + 3 + 0.2 * 60
        await engine.close()


async def test_a_long_pause_that_a_server_asks_for_is_left_to_the_caller():
    async with ScriptedServer([Reply(status=429, retry_after="30")]) as server:
        engine = behind(server)
        began = time.perf_counter()
        assert isinstance(await outcome(engine), EngineBusy)
        assert time.perf_counter() - began < 1
        assert len(server.seen) == 1
        await engine.close()


async def test_nothing_is_tried_again_once_a_word_is_out():
    async with ScriptedServer([Reply(text="one two three", play="reset", at="late"), Reply(text="x")]) as server:
        engine, got = behind(server), []
        with pytest.raises(EngineDown):
            async for piece in engine.stream(passed()):
                got.append(piece)
        assert "".join(got) == "one two three"
        assert not any(isinstance(piece, Prediction) for piece in got)
        assert len(server.seen) == 1
        await engine.close()


async def test_paths_to_one_server_share_what_stands_before_it():
    settings, known = EngineSettings(kind="openai", base_url="http://127.0.0.1:9/v1", model="m"), {}
    assert turnstile("a", settings, known) is turnstile("a", settings, known)
    assert turnstile("b", EngineSettings(kind="openai", breaker=False), known).breaker is None
    engine = Deployment(Remote("a", settings, ""), known["a"])
    await opened(engine)
    assert resting(known) == ["a rests after failures"]

    from insource.journeys.answer import Path, Tier

    assert none_left(Path(task=None, tiers=(Tier(engine),)), known)
    other = Deployment(Remote("b", settings, ""), known["b"])
    assert not none_left(Path(task=None, tiers=(Tier(engine), Tier(other))), known)
    await engine.close()
    await other.close()

"""Words and calls of functions that are passed on: given again, and as they come."""

import asyncio

import pytest
from counting import USAGE, Clock, Counting, Kept, answers, path, request

from insource.errors import EngineDown
from insource.journeys.answer import Path, answer, discard
from insource.journeys.relay import Begun, relay
from insource.nouns import (
    CallPiece,
    Prediction,
    Record,
    Usage,
    to_json,
)


async def streamed(way: Path, id: str, keep=discard, **more) -> tuple[list, Record, list[Begun]]:
    begun: list[Begun] = []
    *pieces, record = [piece async for piece in relay(request(id, **more), way, keep, begun.append)]
    return pieces, record, begun


async def test_a_stream_is_given_again_to_a_plain_call_and_the_other_way():
    engine, kept = Counting(text="one two"), Kept()
    way = path(engine, answers=answers(), task=None)
    assert (await streamed(way, "r1", kept))[2] == [Begun(1, "one")]
    plain = await answer(request("r2"), way, kept)
    assert (plain.cached, plain.answer.text, plain.answer.usage) == (True, "one two", USAGE)
    pieces, record, begun = await streamed(way, "r3", kept)
    assert (pieces, begun) == (["one two"], [Begun(1, "one", cached=True)])
    assert (record.cached, record.outcome, record.answer.usage) == (True, "answered", USAGE)
    assert [row.usd for row in kept.rows] == [14e-6, 0.0, 0.0]
    assert kept.rows[2].attempts[0].decision.reason == "as record r1 was answered 0 s before"
    assert engine.asked == 1


async def test_to_be_given_again_makes_an_answer_no_younger():
    clock = Clock()
    way = path(Counting(), answers=answers(clock, max_age_s=60.0), task=None)
    for clock.now, cached in ((0.0, False), (50.0, True), (59.0, True), (61.0, False)):
        assert (await streamed(way, "r"))[1].cached is cached


async def test_a_call_of_a_function_is_given_again_whole():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    engine = Counting(text="", tool_calls=(call,))
    way = path(engine, answers=answers(), task=None)
    for name, cached in (("r1", False), ("r2", True)):
        pieces, record, _ = await streamed(way, name)
        assert (pieces, record.cached, record.answer.tool_calls) == ([], cached, (call,))
    assert engine.asked == 1


async def test_a_stream_by_chance_that_fell_back_or_broke_off_is_not_kept():
    class Breaks(Counting):
        async def stream(self, request):
            yield "half"
            raise EngineDown("gone")

    way = path(Breaks(), answers=answers(), task=None)
    with pytest.raises(EngineDown):
        await streamed(way, "r1")
    fell = path(Counting(says=EngineDown("no")), Counting("two"), answers=way.answers, task=None)
    assert (await streamed(fell, "r2"))[2] == [Begun(2, "two")]
    chance = path(Counting(), answers=way.answers, task=None)
    await streamed(chance, "r3", temperature=1.0)
    assert len(way.answers.shelf) == 0


async def test_nobody_waits_for_a_stream_whose_caller_may_read_slowly():
    engine = Counting()
    way = path(engine, answers=answers(), task=None)
    reading = relay(request("r1"), way, discard)
    assert await anext(reading) == "a"
    async with asyncio.timeout(1):
        assert not (await answer(request("r2"), way, discard)).cached
    await reading.aclose()
    assert engine.asked == 2


async def test_who_leaves_a_stream_that_is_given_again_pays_nothing():
    kept = Kept()
    way = path(Counting(), answers=answers(), task=None)
    await streamed(way, "r1", kept)
    reading = relay(request("r2"), way, kept)
    await anext(reading)
    await reading.aclose()
    assert (kept.rows[1].outcome, kept.rows[1].usd, kept.rows[1].answer.usage) == ("failed", 0.0, Usage())


# ------------------------------------------------------------------ calls in pieces

PIECES = [
    CallPiece(index=0, id="1", name="f"),
    CallPiece(index=0, arguments='{"a"'),
    CallPiece(index=0, arguments=": 1}"),
]
CALLED = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


class Calls(Counting):
    """An engine that calls a function in pieces, and breaks off after so many of them."""

    def __init__(self, name="one", *, most=3, **more):
        super().__init__(name, text="", tool_calls=(CALLED,), **more)
        self.most = most

    async def stream(self, request):
        self.asked += 1
        for piece in PIECES[: self.most]:
            yield piece
        if self.most < len(PIECES):
            raise EngineDown("gone")
        yield Prediction(engine=self.name, **self.more)


async def test_a_call_goes_on_as_it_comes_and_is_kept_whole():
    way = path(Calls(), answers=answers(), task=None)
    pieces, record, begun = await streamed(way, "r1")
    assert (pieces, begun) == (PIECES, [Begun(1, "one")])
    assert record.answer.tool_calls == (CALLED,)
    again = await streamed(way, "r2")
    assert (again[0], again[1].answer.tool_calls, again[1].cached) == ([], (CALLED,), True)


async def test_before_the_first_piece_of_a_call_another_engine_is_asked_and_after_it_none():
    other = Calls("two")
    none = path(Calls(most=0), other, answers=None, task=None)
    pieces, record, begun = await streamed(none, "r1")
    assert (pieces, record.outcome, begun) == (PIECES, "escalated", [Begun(2, "two")])
    kept = Kept()
    half = path(Calls(most=2), other, answers=None, task=None)
    with pytest.raises(EngineDown):
        await streamed(half, "r2", kept)
    assert other.asked == 1
    assert (kept.rows[0].outcome, kept.rows[0].answer.usage.output_tokens) == ("failed", 2)
    assert b"arguments" not in to_json(kept.rows[0])

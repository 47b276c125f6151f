"""An answer is given again to the very same call of the same tenant, and to no other."""

import asyncio
from dataclasses import replace

import msgspec
import pytest

from insource.errors import EngineDown
from insource.journeys.again import ASIDE, Answers, certain, key_of, wanted, whole
from insource.journeys.answer import Path, Tier, answer, discard
from insource.journeys.relay import Begun, relay
from insource.nouns import (
    Attempt,
    CallPiece,
    Decision,
    Hit,
    Message,
    Output,
    Prediction,
    Record,
    Request,
    Risk,
    Task,
    Usage,
    to_json,
)
from insource.nouns.sections import CacheSettings

LABELS = Output(name="label", labels=("a", "b"))
TASK = Task(name="t", kind="classify", outputs=(LABELS,), risk=Risk(threshold=0.85))
USAGE = Usage(input_tokens=10, output_tokens=4)


class Counting:
    """An engine that counts how often it is asked. `says` may be an error, or wait for `gate`."""

    def __init__(self, name="one", *, gate: asyncio.Event | None = None, says=None, **more) -> None:
        self.name, self.asked, self.gate, self.says = name, 0, gate, says
        self.more = {"text": "a", "usage": USAGE} | more

    async def complete(self, request: Request) -> Prediction:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.says, Exception):
            raise self.says
        value = {"label": "a"} if request.task else None
        given = {"value": value, "confidence": 0.9 if request.task else None} | self.more
        return Prediction(engine=self.name, latency_ms=5.0, **given)

    async def close(self) -> None:
        """Nothing is held."""


class Kept:
    def __init__(self):
        self.rows: list[Record] = []

    async def __call__(self, record, pending):
        self.rows.append(record)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def key(tenant: str) -> bytes:
    return b"key of " + tenant.encode()


def answers(clock=None, **more) -> Answers:
    return Answers(CacheSettings(**more), clock or Clock())


def path(*engines, answers: Answers | None, task: Task | None = TASK, scope="s", prices=(1.0, 1.0)) -> Path:
    tiers = tuple(Tier(e, f"t@{i}.0.0" if task else None, prices) for i, e in enumerate(engines, 1))
    threshold = 0.85 if task else None
    return Path(task=task, tiers=tiers, threshold=threshold, key=key, scope=scope, answers=answers)


def request(id="r1", text="hello", **more) -> Request:
    return Request(id=id, messages=(Message(role="user", content=text),), deadline=5.0, **more)


# ------------------------------------------------------------------ the key

OTHER = {
    "model": "other",
    "messages": (Message(role="user", content="hello?"),),
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "response_format": {"type": "json_object"},
    "max_tokens": 7,
    "stop": ("x",),
    "n": 2,
    "temperature": 0.5,
    "seed": 1,
    "logprobs": True,
    "tenant": "other",
}


def test_all_of_a_request_is_in_the_key_but_what_is_named_to_change_no_answer():
    assert set(OTHER) == set(Request.__struct_fields__) - set(ASIDE)
    assert set(ASIDE) == {"id", "task", "deadline", "caller", "trace"}


@pytest.mark.parametrize("field", OTHER)
def test_whatever_can_change_the_answer_changes_the_key(field):
    other = msgspec.structs.replace(request(), **{field: OTHER[field]})
    assert key_of(b"k", request(), "s", []) != key_of(b"k", other, "s", [])


def test_a_message_counts_whole():
    turns = [Message(role="system", content="be kind"), Message(role="user", content="hello")]
    ways = [
        turns,
        turns[::-1],
        turns[1:],
        [Message(role="user", content="be kind"), turns[1]],
        [turns[0], Message(role="user", content=[{"type": "text", "text": "hello"}])],
        [turns[0], Message(role="user", content="hello", name="ada")],
        [turns[0], Message(role="tool", content="hello", tool_call_id="1")],
        [turns[0], Message(role="assistant", content="hello", tool_calls=[{"id": "1"}])],
    ]
    keys = {key_of(b"k", Request(id="r", messages=tuple(way)), "s", []) for way in ways}
    assert len(keys) == len(ways)


def test_the_order_of_fields_in_a_schema_counts_for_a_model_writes_them_in_it():
    there = request(response_format={"type": "json_object", "a": 1, "b": 2})
    back = request(response_format={"b": 2, "a": 1, "type": "json_object"})
    assert key_of(b"k", there, "s", []) != key_of(b"k", back, "s", [])


def test_tenants_key_scope_and_who_is_asked_are_in_it_and_it_shows_none_of_them():
    made = {
        key_of(b"k", request(), "s", [("one", None)]),
        key_of(b"other", request(), "s", [("one", None)]),
        key_of(b"k", request(), "other", [("one", None)]),
        key_of(b"k", request(), "s", [("two", None)]),
        key_of(b"k", request(), "s", [("one", "t@1.0.0")]),
        key_of(b"k", request(), "s", [("one", None), ("two", None)]),
    }
    assert len(made) == 6
    assert all(len(each) == 32 and b"hello" not in each for each in made)


def test_who_calls_when_and_how_long_they_wait_is_not():
    other = msgspec.structs.replace(request("r2"), deadline=9.0, caller="bob", trace="00-1", task=TASK)
    assert key_of(b"k", request(), "s", []) == key_of(b"k", other, "s", [])


# ------------------------------------------------------------------ what is kept

SAID = Prediction(text="yes", engine="one", usage=USAGE)
FOUND = (Hit(kind="email", action="note", count=1, places=()),)


def attempt(said: Prediction | None = SAID, *, accepted=True, **more) -> Attempt:
    return Attempt(decision=Decision(engine="one", rule="task", accepted=accepted, reason=""), prediction=said, **more)


def said(**more) -> Prediction:
    return msgspec.structs.replace(SAID, **more)


@pytest.mark.parametrize(
    ("made", "may"),
    [
        (attempt(), True),
        (attempt(said(text="", value={"label": "a"})), True),
        (attempt(said(text="", tool_calls=({"id": "1"},))), True),
        (attempt(said(text="")), False),
        (attempt(said(finish="length")), False),
        (attempt(said(finish="refusal")), False),
        (attempt(said(finish="invalid")), False),
        (attempt(accepted=False), False),
        (attempt(None), False),
        (attempt(found=FOUND), False),
        (attempt(withheld=True), False),
    ],
)
def test_an_answer_is_kept_that_was_accepted_and_whole_and_that_no_scan_found_anything_in(made, may):
    assert whole(made) is may


@pytest.mark.parametrize(
    ("task", "more", "is_certain"),
    [
        (None, {"temperature": 0.0}, True),
        (None, {"temperature": 0.2}, False),
        (None, {"temperature": 0.2, "seed": 0}, True),
        (TASK, {"temperature": 1.0}, True),
        (Task(name="x", kind="extract", schema={"type": "object"}), {"temperature": 1.0}, True),
        (Task(name="g", kind="generate"), {"temperature": 1.0}, False),
        (Task(name="g", kind="generate"), {"temperature": 1.0, "seed": 3}, True),
        (Task(name="g", kind="generate"), {"temperature": 0.0}, True),
    ],
)
def test_who_asks_for_chance_gets_it_unless_a_seed_names_it(task, more, is_certain):
    assert certain(request(**more), task) is is_certain


@pytest.mark.parametrize(
    ("own", "on", "anywhere", "kept"),
    [
        (None, False, True, False),
        (None, True, True, True),
        (None, True, False, False),
        (True, False, False, True),
        (True, False, True, True),
        (False, True, True, False),
    ],
)
def test_a_default_switches_nothing_on_that_may_not_go_anywhere(own, on, anywhere, kept):
    assert wanted(own, CacheSettings(on=on), anywhere=anywhere) is kept


# ------------------------------------------------------------------ a call to a task


async def test_the_same_call_is_answered_again_and_no_engine_is_asked():
    engine, kept, clock = Counting(), Kept(), Clock()
    way = path(engine, answers=answers(clock))
    first = await answer(request("r1"), way, kept)
    clock.now = 7.0
    again = await answer(request("r2", caller="bob"), way, kept)
    assert engine.asked == 1
    assert (again.id, again.outcome, again.tier, again.release) == ("r2", "answered", 1, "t@1.0.0")
    assert (again.answer.value, again.answer.confidence) == ({"label": "a"}, 0.9)
    assert again.answer.usage == first.answer.usage == USAGE
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


# ------------------------------------------------------------------ words that are passed on


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

"""One call through the journey: tier after tier, decided in words, kept before it is given."""

import asyncio
import hashlib
import hmac

import pytest

from insource.engines.scripted import Rule, Scripted
from insource.errors import EngineDown, EngineSlow, Invalid, Missing, StoreError
from insource.journeys.answer import Path, Tier, answer, discard
from insource.journeys.relay import relay
from insource.nouns import Output, Prediction, Record, Request, Risk, Task, ask, to_json

TASK = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("a", "b")),), risk=Risk(threshold=0.85))
SECRET = "card 4111 1111"


def engine(name="one", **rule) -> Scripted:
    return Scripted(name, [Rule(**rule)])


def sure(label="a", name="one", confidence=0.9) -> Scripted:
    return engine(name, value={"label": label}, confidence=confidence)


class Kept:
    def __init__(self):
        self.rows = []

    async def __call__(self, record, pending):
        self.rows.append((record, pending))


async def key(tenant: str) -> bytes:
    return tenant.encode()


def path(*engines, threshold=0.85, task=TASK) -> Path:
    return Path(
        task=task, tiers=tuple(Tier(e, f"t@{i}.0.0") for i, e in enumerate(engines, 1)), threshold=threshold, key=key
    )


def request(deadline=5.0) -> Request:
    made = ask(TASK, SECRET, id="r1")
    return Request(id=made.id, task=made.task, messages=made.messages, deadline=deadline)


async def test_a_sure_answer_is_given_and_kept_without_its_text():
    kept = Kept()
    record = await answer(request(), path(sure()), kept)
    assert (record.id, record.outcome, record.tier, record.release) == ("r1", "answered", 1, "t@1.0.0")
    assert record.answer.value == {"label": "a"}
    assert record.answer.text == "a"
    ((written, pending),) = kept.rows
    assert pending is None
    assert written.answer.value == {"label": "a"}
    assert written.answer.text == ""
    assert written.input_hash == hmac.new(b"local", SECRET.encode(), hashlib.sha256).hexdigest()
    assert SECRET.encode() not in to_json(written)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (sure(confidence=0.62), "confidence 0.62 is below 0.85"),
        (engine(text="zzz"), "the answer breaks the task's contract"),
        (engine(error="refusal"), "the engine refused to answer"),
        (engine(error="length"), "the answer was cut off before its end"),
        (engine(error="down"), "engine_down: one is down, as its script says"),
        (engine(error="busy"), "engine_busy: one is busy, as its script says"),
        (engine(value={"label": "a"}, confidence=1.0, delay_s=3), "engine_timeout: one did not answer within 0.1 s"),
    ],
)
async def test_what_is_unsure_invalid_late_or_failed_passes_to_the_next_tier(first, reason):
    record = await answer(request(deadline=0.2), path(first, sure("b", "two")), discard)
    assert record.outcome == "escalated"
    assert (record.tier, record.release) == (2, "t@2.0.0")
    assert record.answer.value == {"label": "b"}
    assert record.attempts[0].decision.reason == reason
    assert [a.decision.rule for a in record.attempts] == ["task", "escalate"]


async def test_when_none_is_sure_the_best_there_is_goes_to_a_person():
    kept = Kept()
    record = await answer(request(), path(sure(confidence=0.6), engine("two", text="nonsense")), kept)
    assert record.outcome == "review"
    assert record.answer.value == {"label": "a"}
    assert (record.tier, record.release) == (1, "t@1.0.0")
    ((_, pending),) = kept.rows
    assert (pending.record, pending.input, pending.value) == ("r1", SECRET, {"label": "a"})
    assert pending.confidence == 0.6


async def test_when_every_engine_fails_the_caller_gets_the_error_and_the_record_says_failed():
    kept = Kept()
    with pytest.raises(EngineSlow):
        await answer(request(), path(engine(error="down"), engine("two", error="slow")), kept)
    ((written, pending),) = kept.rows
    assert written.outcome == "failed"
    assert pending is None
    assert [a.decision.reason for a in written.attempts] == ["engine_down", "engine_timeout"]


async def test_without_a_threshold_every_valid_answer_is_given_and_an_invalid_one_is_not():
    assert (await answer(request(), path(sure(confidence=0.01), threshold=None), discard)).outcome == "answered"
    record = await answer(request(), path(engine(text="zzz"), threshold=None), discard)
    assert record.outcome == "review"
    assert record.answer.value is None


async def test_an_answer_that_could_not_be_kept_is_not_given():
    async def full(record, pending):
        raise StoreError("the disk is full")

    with pytest.raises(StoreError):
        await answer(request(), path(sure()), full)


async def test_the_answer_waits_until_its_record_is_kept():
    order = []

    async def slowly(record, pending):
        await asyncio.sleep(0.05)
        order.append("kept")

    await answer(request(), path(sure()), slowly)
    order.append("given")
    assert order == ["kept", "given"]


async def test_a_cancelled_call_stops_the_engine_and_keeps_nothing():
    kept, stopped = Kept(), []

    class Patient:
        name = "patient"

        async def complete(self, request):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                stopped.append(True)
                raise

        async def close(self):
            pass

    call = asyncio.create_task(answer(request(), path(Patient()), kept))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert stopped == [True]
    assert kept.rows == []


async def test_free_text_of_an_answer_is_not_kept_either():
    kept = Kept()
    free = Task(name="t", kind="generate")
    record = await answer(ask(free, "hi", id="r"), path(engine(text=SECRET, confidence=1.0), task=free), kept)
    assert record.answer.value == {"text": SECRET}
    assert SECRET.encode() not in to_json(kept.rows[0][0])


async def test_what_it_cost_is_the_sum_over_the_engines_asked():
    tiers = (Tier(sure(confidence=0.1), "t@1.0.0", (1.0, 2.0)), Tier(sure(name="two"), None, (10.0, 20.0)))
    record = await answer(request(), Path(task=TASK, tiers=tiers, threshold=0.85), discard)
    used = [a.prediction.usage for a in record.attempts]
    wanted = sum((u.input_tokens * p + u.output_tokens * 2 * p) / 1e6 for u, p in zip(used, (1, 10), strict=True))
    assert record.usd == pytest.approx(wanted)
    assert record.usd > 0


async def test_a_path_without_engines_says_what_to_do():
    with pytest.raises(Missing) as missing:
        await answer(request(), Path(task=TASK, tiers=()), discard)
    assert "promote" in missing.value.hint


async def collected(stream):
    return [item async for item in stream]


async def test_relayed_words_end_with_a_record_that_was_kept():
    kept = Kept()
    items = await collected(relay(request(), path(engine(text="one two three"), task=None), kept))
    assert items[:-1] == ["one", " two", " three"]
    assert isinstance(items[-1], Record)
    assert len(kept.rows) == 1
    assert kept.rows[0][0].outcome == "answered"


class BreaksOff:
    name = "breaks"

    async def complete(self, request):
        raise EngineDown("no")

    async def stream(self, request):
        yield "one"
        yield " two"
        raise EngineDown("gone")

    async def close(self):
        pass


async def test_a_relay_that_breaks_off_is_kept_with_the_tokens_seen():
    kept, said = Kept(), []
    with pytest.raises(EngineDown):
        async for piece in relay(request(), path(BreaksOff(), task=None), kept):
            said.append(piece)
    assert said == ["one", " two"]
    ((written, _),) = kept.rows
    assert written.answer.usage.output_tokens == 2
    assert written.answer.usage.input_tokens > 0, "who leaves early pays for the question"
    assert written.attempts[0].decision.reason == "engine_down"


async def test_a_caller_who_stops_reading_leaves_a_record():
    kept = Kept()
    stream = relay(request(), path(engine(text="one two three"), task=None), kept)
    assert await anext(stream) == "one"
    await stream.aclose()
    ((written, _),) = kept.rows
    assert written.answer.usage.output_tokens == 1
    assert "caller left" in written.attempts[0].decision.reason


class Silent(BreaksOff):
    async def stream(self, request):
        yield "one"
        await asyncio.sleep(30)
        yield Prediction(text="", engine="silent")


async def test_a_stream_that_falls_silent_ends_at_the_deadline():
    with pytest.raises(EngineSlow):
        await asyncio.wait_for(collected(relay(request(deadline=0.1), path(Silent(), task=None), Kept())), 5)


@pytest.mark.parametrize("text", ["", " \n\t"])
async def test_a_task_is_asked_nothing_about_an_empty_input(text):
    kept = Kept()
    with pytest.raises(Invalid, match="the input is empty"):
        await answer(ask(TASK, text, id="r1"), path(sure()), kept)
    assert not kept.rows

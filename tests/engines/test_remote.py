"""The remote engine against a server that misbehaves by script, and that server against the official client."""

import asyncio
import math
import time

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talking import deployed

from insource.engines.remote import Remote
from insource.engines.remote_wire import Events
from insource.engines.scripted_server import Reply, ScriptedServer
from insource.errors import EngineBusy, EngineDown, EngineError, EngineSlow, Invalid
from insource.nouns import Message, Output, Prediction, Request, Task, ask
from insource.settings import EngineSettings

KEY = "sk-canary-2f9d"
TASK = Task(name="topics", kind="classify", outputs=(Output(name="topic", labels=("billing", "delivery")),))
BOTH = Task(
    name="both",
    kind="classify",
    outputs=(Output(name="topic", labels=("billing", "delivery")), Output(name="mood", labels=("calm", "angry"))),
)
CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"id": 3}'}}


def engine_for(server, *, timeout_s=5.0, key=KEY, **more):
    given = {"kind": "openai", "base_url": server.base_url, "model": "m", "api_key_env": "SOME_KEY"}
    return deployed(EngineSettings(**{**given, **more}, timeout_s=timeout_s), key)


def said_by(replies, request=None, *, stream=False, times=1, **more):
    """What the engine makes of these replies, and the server that gave them."""

    async def story():
        async with ScriptedServer(replies) as server:
            engine = engine_for(server, **more)
            try:
                for number in range(times):
                    one = request or ask(TASK, "x", id=str(number))
                    said = [item async for item in engine.stream(one)] if stream else await engine.complete(one)
            finally:
                await engine.close()
            return said, server

    return asyncio.run(story())


def passed(text="hello", **more):
    return Request(id="p", messages=(Message(role="user", content=text),), **more)


def test_confidence_is_the_probability_of_the_words_and_unknown_without_logprobs():
    said, _ = said_by([Reply(text="delivery", logprob=-0.1)])
    assert said.confidence == pytest.approx(math.exp(-0.2))
    assert said.fields == {"topic": said.confidence}
    assert said_by([Reply(text="delivery", logprob=None)])[0].confidence is None


def test_the_tasks_prompt_and_schema_are_sent():
    said, server = said_by([Reply(text='{"topic": "billing", "mood": "calm"}')], ask(BOTH, "x", id="1"))
    assert said.value == {"topic": "billing", "mood": "calm"}
    sent = server.seen[0]
    schema = sent["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["mood"]["enum"] == ["calm", "angry"]
    assert (sent["model"], sent["messages"][-1]["role"], sent["logprobs"]) == ("m", "user", True)


def test_a_single_label_may_come_bare_or_as_json():
    assert said_by([Reply(text='{"topic": "billing"}')])[0].text == "billing"
    assert said_by([Reply(text=" billing\n")])[0].value == {"topic": "billing"}


def test_what_a_server_rejects_is_left_out_and_remembered():
    said, server = said_by([Reply(text="billing", rejects=("response_format", "logprobs"))], times=2)
    assert said.value == {"topic": "billing"}
    assert said.confidence is None or said.confidence > 0
    assert "response_format" in server.seen[0]
    assert not {"response_format", "logprobs"} & server.seen[-1].keys()
    assert len(server.seen) == 4, "two rejections, two answers"


def test_a_fault_of_the_request_itself_is_told_and_nothing_is_unlearned():
    async def story():
        async with ScriptedServer([Reply(match="bad", status=400), Reply(text="billing")]) as server:
            engine = engine_for(server)
            with pytest.raises(EngineError, match="as the script says") as caught:
                await engine.complete(ask(TASK, "bad", id="1"))
            await engine.complete(ask(TASK, "good", id="2"))
            await engine.close()
            return caught.value, server

    error, server = asyncio.run(story())
    assert not error.retryable
    assert "response_format" in server.seen[-1]


def test_a_callers_own_format_is_never_dropped():
    with pytest.raises(EngineError, match="response_format"):
        said_by([Reply(rejects=("response_format",))], passed(response_format={"type": "json_object"}))


def test_a_passed_through_request_carries_only_known_fields():
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
    said, server = said_by(
        [Reply(text="", finish="tool_calls", tool_calls=(CALL,))],
        passed(tools=tools, tool_choice="auto", stop=("END",), seed=7, max_tokens=9, tenant="acme", n=3),
    )
    assert said.tool_calls == (CALL,)
    assert (said.value, said.finish) == (None, "stop")
    assert server.seen[0].keys() == {
        *("model", "messages", "temperature", "max_tokens", "seed", "stop", "logprobs", "tools", "tool_choice")
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("reply", "finish"),
    [
        (Reply(text="billing", finish="length"), "length"),
        (Reply(text="billing", finish="content_filter"), "refusal"),
        (Reply(text="", refusal="I will not"), "refusal"),
        (Reply(text="sandwich"), "invalid"),
    ],
)
def test_unfinished_refused_and_wrong_answers_carry_no_value(reply, finish, stream):
    said, _ = said_by([reply], stream=stream)
    said = said[-1] if stream else said
    assert (said.finish, said.value, said.confidence) == (finish, None, None)


def test_usage_is_taken_over_and_zero_when_it_is_not_told():
    assert said_by([Reply(text="billing")])[0].usage.input_tokens == 10
    assert said_by([Reply(text="billing", usage=False)])[0].usage.output_tokens == 0
    assert said_by([Reply(text="billing")], stream=True)[0][-1].usage.output_tokens == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("reply", "error", "calls"),
    [
        (Reply(status=429), EngineBusy, 3),
        (Reply(status=503), EngineDown, 3),
        (Reply(status=500), EngineDown, 3),
        (Reply(fault="reset"), EngineDown, 3),
        (Reply(fault="half", text="billing"), EngineDown, 1),
        (Reply(fault="bad_json", text="billing"), EngineDown, 1),
        (Reply(fault="redirect"), EngineError, 1),
        (Reply(status=404), EngineError, 1),
        (Reply(status=401), EngineError, 1),
        (Reply(status=403), EngineError, 1),
    ],
)
def test_every_fault_becomes_the_right_error_after_the_right_number_of_calls(reply, error, calls, stream):
    async def story():
        async with ScriptedServer([reply]) as server:
            engine = engine_for(server)
            with pytest.raises(error) as caught:
                _ = (
                    [item async for item in engine.stream(ask(TASK, "x", id="1"))]
                    if stream
                    else await engine.complete(ask(TASK, "x", id="1"))
                )
            await engine.close()
            return caught.value, len(server.seen)

    caught, seen = asyncio.run(story())
    assert seen == calls
    assert KEY not in f"{caught} {caught.hint}"
    if reply.status in (401, 403):
        assert "$SOME_KEY" in caught.hint


@pytest.mark.parametrize("fault", ["no_end", "error_event", "half", "bad_json"])
def test_a_stream_that_does_not_end_well_is_never_passed_off_as_whole(fault):
    async def story():
        got = []
        async with ScriptedServer([Reply(fault=fault, text="billing")]) as server:
            engine = engine_for(server)
            with pytest.raises(EngineDown):
                async for item in engine.stream(ask(TASK, "x", id="1")):
                    got.append(item)
            await engine.close()
        return got

    assert not any(isinstance(item, Prediction) for item in asyncio.run(story()))


def test_a_passing_fault_is_tried_again_and_forgotten():
    said, server = said_by([Reply(status=503, times=1), Reply(status=429, times=1), Reply(text="billing")])
    assert said.value == {"topic": "billing"}
    assert len(server.seen) == 3


def test_retry_after_is_waited_for_and_beyond_the_deadline_nobody_waits():
    started = time.perf_counter()
    said_by([Reply(status=429, retry_after="1", times=1), Reply(text="billing")])
    assert time.perf_counter() - started >= 1
    started = time.perf_counter()
    with pytest.raises(EngineBusy):
        said_by([Reply(status=429, retry_after="3600")])
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_silent_server_ends_at_the_deadline(stream):
    started = time.perf_counter()
    with pytest.raises(EngineSlow, match=r"0\.3 s"):
        said_by([Reply(delay_s=30)], stream=stream, timeout_s=0.3)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_end_is_cut_off(stream):
    with pytest.raises(EngineDown, match="more than"):
        said_by([Reply(fault="endless")], stream=stream)


def test_an_unreachable_server_is_down_and_says_where():
    engine = Remote("r", EngineSettings(kind="openai", base_url="http://127.0.0.1:9/v1", model="m"), KEY)

    async def story():
        with pytest.raises(EngineDown, match=r"127\.0\.0\.1:9") as caught:
            await engine.complete(ask(TASK, "x", id="1"))
        await engine.close()
        return caught.value

    assert KEY not in str(asyncio.run(story()))


def test_the_key_is_sent_as_bearer_token_and_without_one_nothing_is():
    assert said_by([Reply(text="billing")])[1].keys == [f"Bearer {KEY}"]
    assert said_by([Reply(text="billing")], key="")[1].keys == [""]


def test_a_key_the_server_repeats_is_not_repeated_by_us():
    with pytest.raises(EngineError) as caught:
        said_by([Reply(status=418)], key="script")
    assert str(caught.value).endswith("as the *** says")


@pytest.mark.parametrize("url", ["", "ftp://host/v1", "host/v1", "https://user:word@host/v1", "https:///v1"])
def test_an_address_that_is_none_is_refused_at_once(url):
    with pytest.raises(Invalid, match="base_url"):
        Remote("r", EngineSettings(kind="openai", base_url=url, model="m"), "")


def test_an_engine_outlives_the_loop_it_was_first_used_in():
    async def once(engine):
        return (await engine.complete(ask(TASK, "x", id="1"))).text

    async def story():
        async with ScriptedServer([Reply(text="billing")]) as server:
            engine = engine_for(server)
            first = await once(engine)
            second = await asyncio.to_thread(lambda: asyncio.run(once(engine)))
            await engine.close()
            return first, second

    assert asyncio.run(story()) == ("billing", "billing")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("slice_bytes", [1, 2, 7, 64, 100_000])
def test_a_stream_reads_the_same_however_it_is_cut(slice_bytes, newline):
    text = "grüße 🦊\nund\r\nmehr"
    items, _ = said_by([Reply(text=text, slice_bytes=slice_bytes, newline=newline)], passed(), stream=True)
    assert "".join(items[:-1]) == items[-1].text == text


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(1, 9), min_size=1, max_size=20),
)
def test_events_do_not_depend_on_how_the_bytes_arrive(datas, newline, sizes):
    raw = "".join(f": note{newline}event: x{newline}data: {data}{newline}{newline}" for data in datas).encode()
    events, got, at = Events(), [], 0
    while at < len(raw):
        for size in sizes:
            got += events.feed(raw[at : at + size])
            at += size
    got += events.feed(b"\n")
    assert [one.decode() for one in got] == datas


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="hello there"),
        Reply(text="", refusal="no"),
        Reply(text="", finish="tool_calls", tool_calls=(CALL,)),
        Reply(text="ok", usage=False, logprob=None),
        Reply(text="grüße 🦊", slice_bytes=3, newline="\r\n"),
    ],
)
def test_the_scripted_servers_answers_parse_in_the_official_client(reply):
    async def story():
        async with ScriptedServer([reply]) as server:
            client = openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0)
            asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "logprobs": True}
            whole = await client.chat.completions.create(**asked)
            stream = await client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
            chunks = [chunk async for chunk in stream]
            models = [model.id async for model in client.models.list()]
            await client.close()
            return whole, chunks, models

    whole, chunks, models = asyncio.run(story())
    choice = whole.choices[0]
    assert (choice.message.content or "", choice.message.refusal) == (reply.text, reply.refusal)
    assert choice.finish_reason == reply.finish
    assert (whole.usage is not None) == reply.usage
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == reply.text
    assert (chunks[-1].usage is not None) == reply.usage
    assert models == ["scripted"]
    if reply.tool_calls:
        assert choice.message.tool_calls[0].function.name == "find"


def test_the_scripted_servers_errors_are_the_official_clients_errors():
    async def story(reply):
        async with ScriptedServer([reply]) as server:
            client = openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0)
            try:
                await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "hi"}], logprobs=True
                )
            except openai.APIError as error:
                return error
            finally:
                await client.close()

    assert isinstance(asyncio.run(story(Reply(status=429))), openai.RateLimitError)
    assert isinstance(asyncio.run(story(Reply(status=500))), openai.InternalServerError)
    rejected = asyncio.run(story(Reply(rejects=("logprobs",))))
    assert isinstance(rejected, openai.BadRequestError)
    assert rejected.param == "logprobs"

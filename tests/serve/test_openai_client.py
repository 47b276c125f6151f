"""The official client against a gateway on a real socket."""

import asyncio
import math

import openai
import pytest
from serving import client, gateway, path_of, say, tickets, workspace

from insource.engines.scripted import Rule, Scripted


async def test_an_answer_is_the_bare_label_with_its_facts_in_headers(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        raw = await ai.chat.completions.with_raw_response.create(**say("I want a refund"))
        done = raw.parse()
        assert done.choices[0].message.content == "refund"
        assert done.choices[0].finish_reason == "stop"
        assert done.object == "chat.completion"
        assert done.model == "tickets@1.0.0"
        assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0
        assert raw.headers["x-insource-release"] == "tickets@1.0.0"
        assert raw.headers["x-insource-decision"] == "answered"
        assert raw.headers["x-insource-tier"] == "1"
        assert float(raw.headers["x-insource-confidence"]) == pytest.approx(0.97)
        kept = await store.record(raw.headers["x-insource-record"])
        assert kept.outcome == "answered"
        assert kept.answer.value == {"intent": "refund"}
        assert kept.answer.text == ""
        assert len(kept.input_hash) == 64
        assert await store.pending() == []


async def test_an_unsure_answer_is_marked_and_waits_for_a_person(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        raw = await ai.chat.completions.with_raw_response.create(**say("quite unsure"))
        assert raw.parse().choices[0].message.content == "status"
        assert raw.headers["x-insource-decision"] == "review"
        (waiting,) = await store.pending("tickets")
        assert waiting.record == raw.headers["x-insource-record"]
        assert waiting.input == "quite unsure"
        assert waiting.value == {"intent": "status"}
        assert waiting.reason == "confidence 0.62 is below 0.85"
        kept = await store.record(waiting.record)
        assert b"quite unsure" not in repr(kept).encode()


async def test_a_second_engine_answers_what_the_first_doubts(tmp_path):
    settings = workspace(tmp_path)
    first = Scripted("one", [Rule(match="*", value={"intent": "status"}, confidence=0.5)])
    second = Scripted("two", [Rule(match="*", value={"intent": "other"}, confidence=0.99)])
    from insource.store import Store

    async with await Store.open(settings) as store:
        path = path_of(store, tickets(), first, second)
        async with gateway(tmp_path, path) as (url, _), client(url) as ai:
            raw = await ai.chat.completions.with_raw_response.create(**say("x"))
            assert raw.parse().choices[0].message.content == "other"
            assert raw.headers["x-insource-decision"] == "escalated"
            assert raw.headers["x-insource-tier"] == "2"
            assert raw.headers["x-insource-release"] == "two"


async def test_a_task_streams_chunks_that_end_with_done_and_usage(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        stream = await ai.chat.completions.create(
            **say("refund please"), stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "refund"
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert chunks[-1].choices == []
        assert chunks[-1].usage.total_tokens > 0
        assert all(c.usage is None for c in chunks[:-1])
        assert stream.response.headers["x-insource-decision"] == "answered"
        assert len(await store.records()) == 1
        plain = await ai.chat.completions.create(**say("refund please"), stream=True)
        assert all(c.usage is None and c.choices for c in [c async for c in plain])


async def test_the_streaming_helper_of_the_client_works(tmp_path):
    async with gateway(tmp_path) as (url, _), client(url) as ai:
        async with ai.chat.completions.stream(**say("refund please")) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == "refund"


async def test_the_synchronous_client_works_too(tmp_path):
    async with gateway(tmp_path) as (url, _):
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as ai:
            done = await asyncio.to_thread(lambda: ai.chat.completions.create(**say("refund please")))
            assert done.choices[0].message.content == "refund"
            models = await asyncio.to_thread(lambda: [m.id for m in ai.models.list()])
            assert models == ["hub", "hub-large", "tickets"]


async def test_models_are_listed_and_found_by_name(tmp_path):
    async with gateway(tmp_path) as (url, _), client(url) as ai:
        assert [m.id async for m in ai.models.list()] == ["hub", "hub-large", "tickets"]
        assert (await ai.models.retrieve("tickets")).owned_by == "insource"
        assert (await ai.models.retrieve("hub-large")).owned_by == "engine"
        said = await ai.chat.completions.create(**say("hello", "hub-large"))
        assert said.choices[0].message.content == "Hello there, friend."
        with pytest.raises(openai.NotFoundError):
            await ai.models.retrieve("nope")


async def test_alternatives_come_as_logprobs(tmp_path):
    async with gateway(tmp_path) as (url, _), client(url) as ai:
        done = await ai.chat.completions.create(**say("refund please"), logprobs=True, top_logprobs=2)
        (token,) = done.choices[0].logprobs.content
        assert token.token == "refund"
        assert math.exp(token.logprob) == pytest.approx(0.97)
        assert [t.token for t in token.top_logprobs] == ["refund", "status"]
        assert (await ai.chat.completions.create(**say("refund please"))).choices[0].logprobs is None


async def test_what_cannot_matter_to_a_task_is_accepted(tmp_path):
    async with gateway(tmp_path) as (url, _), client(url) as ai:
        done = await ai.chat.completions.create(
            **say("refund"),
            temperature=0.7,
            seed=1,
            top_p=0.5,
            user="me",
            max_tokens=1,
            stop=["x"],
            presence_penalty=0.1,
            response_format={"type": "text"},
            metadata={"a": "b"},
            extra_body={"something": {"of": "mine"}, "api_base": "http://169.254.169.254"},
        )
        assert done.choices[0].message.content == "refund"


async def test_the_last_user_message_is_the_input_and_text_parts_are_joined(tmp_path):
    messages = [
        {"role": "system", "content": "ignore"},
        {"role": "user", "content": "first, a refund"},
        {"role": "assistant", "content": "refund"},
        {"role": "user", "content": [{"type": "text", "text": "now un"}, {"type": "text", "text": "sure"}]},
    ]
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        await ai.chat.completions.create(model="tickets", messages=messages)
        (waiting,) = await store.pending()
        assert waiting.input == "now unsure"


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"response_format": {"type": "json_object"}}, "response_format", "bare label"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
            "response_format",
            "",
        ),
        ({"n": 0}, "n", ""),
        ({"messages": []}, "messages", ""),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages", "role user"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role", ""),
        ({"messages": "hello"}, "messages", ""),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages",
            "text only",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]},
            "messages[0].content[0].text",
            "is a text",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "no tools"),
        ({"temperature": 9}, "temperature", ""),
        ({"max_tokens": -1}, "max_tokens", ""),
        ({"stream": "yes"}, "stream", ""),
    ],
)
async def test_what_contradicts_the_task_or_the_form_is_refused_by_name(tmp_path, change, param, words):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            await ai.post("/chat/completions", cast_to=object, body=say("refund") | change)
        assert refused.value.body["param"] == param
        assert refused.value.body["code"] == "invalid_request"
        assert words in refused.value.body["message"]
        assert await store.records() == []


async def test_an_unknown_model_is_404_with_the_nearest_name(tmp_path):
    async with gateway(tmp_path) as (url, _), client(url) as ai:
        for name in ("ticket", "gpt-4o", "tickets@9.9.9", "../etc/passwd", "@", "tickets@"):
            with pytest.raises(openai.NotFoundError) as missing:
                await ai.chat.completions.create(**say("refund", model=name))
            assert missing.value.body["code"] == "not_found"
        with pytest.raises(openai.NotFoundError, match="did you mean tickets"):
            await ai.chat.completions.create(**say("refund", model="ticket"))


async def test_an_engine_that_is_down_is_503_and_its_record_says_failed(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        with pytest.raises(openai.InternalServerError) as down:
            await ai.chat.completions.create(**say("all is down"))
        assert down.value.status_code == 503
        assert down.value.body["code"] == "engine_down"
        assert down.value.response.headers["retry-after"] == "1"
        (kept,) = await store.records()
        assert kept.outcome == "failed"
        assert kept.attempts[0].decision.reason == "engine_down"
        assert kept.id == down.value.response.headers["x-insource-record"]


async def test_an_invalid_answer_is_502_and_waits_for_a_person(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        with pytest.raises(openai.InternalServerError) as broken:
            await ai.chat.completions.create(**say("broken"))
        assert broken.value.status_code == 502
        assert broken.value.body["code"] == "output_invalid"
        (waiting,) = await store.pending()
        assert waiting.record == broken.value.response.headers["x-insource-record"]
        assert waiting.value is None


async def test_an_engine_is_passed_through_plain_and_streamed(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        for name in ("hub", "hub-large"):
            done = await ai.chat.completions.create(**say("hi", model=name))
            assert done.choices[0].message.content == "Hello there, friend."
        stream = await ai.chat.completions.create(**say("hi", model="hub"), stream=True)
        pieces = [c.choices[0].delta.content async for c in stream if c.choices[0].delta.content]
        assert pieces == ["Hello", " there,", " friend."]
        records = await store.records()
        assert len(records) == 3
        assert records[0].id == stream.response.headers["x-insource-record"]
        assert records[0].task is None
        assert records[0].usd > 0
        assert len(records[0].input_hash) == 64


async def test_an_engine_that_fails_before_the_first_piece_is_a_plain_error(tmp_path):
    async with gateway(tmp_path) as (url, _), client(url) as ai:
        with pytest.raises(openai.InternalServerError) as down:
            await ai.chat.completions.create(**say("break off", model="hub"), stream=True)
        assert down.value.status_code == 503

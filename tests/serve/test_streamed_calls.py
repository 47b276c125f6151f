"""Calls of functions that are passed on as a server streams them, read by the official client; who a stream is from."""

import json
from contextlib import asynccontextmanager

import httpx2 as httpx
import openai
import pytest
from serving import client, say, socket_of

from insource.engines.scripted_server import Reply, ScriptedServer
from insource.nouns import Scan, ScanPolicy
from insource.serve.app import create_app
from insource.settings import EngineSettings, Settings
from insource.store import Store

PLACE, NOTE = '{"city": "Bern", "days": 3}', '{"text": "größer \\"als\\" 😀"}'
CALLS = (
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": PLACE}},
    {"id": "call_2", "type": "function", "function": {"name": "note", "arguments": NOTE}},
)
FUNCTIONS = ({"name": name, "parameters": {"type": "object"}} for name in ("weather", "note"))
TOOLS = [{"type": "function", "function": function} for function in FUNCTIONS]
CALLING = Reply(text="", finish="tool_calls", tool_calls=CALLS, call_letters=5, usage=True)
ASKED = say("how warm?", "hub", tools=TOOLS)


@asynccontextmanager
async def passed(root, *replies: Reply, kind="openai", second: Reply | None = None, scan=None):
    """A gateway before a scripted server, with another behind it where there is a `second`; its URL and store."""
    async with ScriptedServer(replies, kind=kind) as server, ScriptedServer([second or Reply()]) as other:
        otherwise = ("spare",) if second else ()
        hub = EngineSettings(kind=kind, base_url=server.base_url, model="scripted", retries=0, otherwise=otherwise)
        spare = EngineSettings(kind="openai", base_url=other.base_url, model="scripted")
        settings = Settings(root=root, cache=root, engines={"hub": hub, "spare": spare}, scan=scan or Scan())
        async with await Store.open(settings) as store, socket_of(create_app(settings, store, {})) as url:
            yield url, store


async def chunks(url: str, asked=ASKED) -> list[dict]:
    """The deltas of a stream, and its last chunk's end, as they are on the wire."""
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        answer = await http.post("/v1/chat/completions", json=asked | {"stream": True})
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line and "[DONE]" not in line]
    return [json.loads(line)["choices"][0] for line in lines]


def arguments(choices: list[dict], index: int) -> list[str]:
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls") or []]
    return [call["function"]["arguments"] for call in calls if call["index"] == index]


@pytest.mark.parametrize("kind", ["openai", "vllm", "anthropic"])
async def test_arguments_go_on_in_the_pieces_they_come_in(tmp_path, kind):
    async with passed(tmp_path, CALLING, kind=kind) as (url, _):
        choices = await chunks(url)
    for index, whole in enumerate((PLACE, NOTE)):
        pieces = [piece for piece in arguments(choices, index) if piece]
        assert pieces == [whole[at : at + 5] for at in range(0, len(whole), 5)]
    heads = [call for choice in choices for call in choice["delta"].get("tool_calls") or [] if "id" in call]
    assert [(one["index"], one["id"], one["type"], one["function"]["name"]) for one in heads] == [
        (0, "call_1", "function", "weather"),
        (1, "call_2", "function", "note"),
    ]
    assert (choices[0]["delta"]["role"], choices[0]["delta"]["content"]) == ("assistant", None)
    assert all("content" not in choice["delta"] for choice in choices[1:])
    assert (choices[-1]["finish_reason"], choices[-1]["delta"]) == ("tool_calls", {})
    assert all(choice["finish_reason"] is None for choice in choices[:-1])


@pytest.mark.parametrize("kind", ["openai", "vllm", "lmdeploy", "groq", "together", "anthropic", "ollama"])
async def test_the_official_client_reads_a_streamed_call_as_a_plain_one(tmp_path, kind):
    async with passed(tmp_path, CALLING, kind=kind) as (url, store), client(url) as ai:
        plain = (await ai.chat.completions.create(**ASKED)).choices[0]
        async with ai.chat.completions.stream(**ASKED, stream_options={"include_usage": True}) as stream:
            events = [event async for event in stream]
            final = await stream.get_final_completion()
        streamed = final.choices[0]
        records = await store.records()
    assert streamed.finish_reason == plain.finish_reason == "tool_calls"
    named = [[(call.function.name, json.loads(call.function.arguments)) for call in one.message.tool_calls]
             for one in (plain, streamed)]  # fmt: skip
    assert named[0] == named[1] == [("weather", json.loads(PLACE)), ("note", json.loads(NOTE))]
    assert [call.id for call in streamed.message.tool_calls] == [call.id for call in plain.message.tool_calls]
    deltas = [event for event in events if event.type == "tool_calls.function.arguments.delta"]
    assert len(deltas) >= (2 if kind == "ollama" else 10)
    assert {(record.outcome, record.answer.usage, record.answer.tool_calls) for record in records} == {
        ("answered", records[0].answer.usage, ())
    }
    assert final.usage.completion_tokens == records[0].answer.usage.output_tokens


async def test_words_before_a_call_stay_before_it(tmp_path):
    said = Reply(text="I will look.", finish="tool_calls", tool_calls=CALLS[:1], call_letters=9)
    async with passed(tmp_path, said) as (url, _), client(url) as ai:
        async with ai.chat.completions.stream(**ASKED) as stream:
            final = (await stream.get_final_completion()).choices[0].message
        assert (final.content, final.tool_calls[0].function.arguments) == ("I will look.", PLACE)


async def test_the_older_api_has_no_functions_and_loses_nothing_by_one(tmp_path):
    async with passed(tmp_path, CALLING) as (url, _), client(url) as ai:
        stream = await ai.completions.create(model="hub", prompt="how warm?", stream=True)
        assert [(chunk.choices[0].text, chunk.choices[0].finish_reason) async for chunk in stream] == [
            ("", "tool_calls")
        ]


# ------------------------------------------------------------------ under a scan


def scans(**actions) -> Scan:
    return Scan(output=ScanPolicy(actions=actions))


async def test_a_scan_sees_arguments_whole_however_they_are_cut(tmp_path):
    pytest.importorskip("re2")
    hidden = {**CALLS[0], "function": {"name": "weather", "arguments": '{"to": "ada@example.com"}'}}
    for letters in (0, 1, 3):
        said = Reply(text="", finish="tool_calls", tool_calls=(hidden,), call_letters=letters)
        async with passed(tmp_path / str(letters), said, scan=scans(email="redact")) as (url, store):
            choices = await chunks(url)
            (record,) = await store.records()
        assert "".join(arguments(choices, 0)) == '{"to":"[email 1]"}'
        assert not any("ada" in json.dumps(choice) for choice in choices)
        assert [(hit.kind, hit.count) for hit in record.attempts[0].found] == [("email", 1)]
        async with passed(tmp_path / f"b{letters}", said, scan=scans(email="block")) as (url, store), client(url) as ai:
            with pytest.raises(openai.PermissionDeniedError):
                await ai.chat.completions.create(**ASKED, stream=True)


async def test_what_was_hidden_from_the_engine_comes_back_in_arguments_whole(tmp_path):
    pytest.importorskip("re2")
    echo = {**CALLS[0], "function": {"name": "weather", "arguments": '{"to": "[email 1]"}'}}
    said = Reply(text="", finish="tool_calls", tool_calls=(echo,), call_letters=4)
    scan = Scan(input=ScanPolicy(actions={"email": "redact"}))
    async with passed(tmp_path, said, scan=scan) as (url, _):
        choices = await chunks(url, say("write to ada@example.com", "hub", tools=TOOLS))
        assert "".join(arguments(choices, 0)) == '{"to": "ada@example.com"}'
        untouched = await chunks(url, say("write to nobody", "hub", tools=TOOLS))
        assert arguments(untouched, 0) == ["", '{"to', '": "', "[ema", "il 1", ']"}']


# ------------------------------------------------------------------ when the engine fails, and who it is then


async def test_before_the_first_piece_the_next_engine_is_asked_and_the_headers_name_it(tmp_path):
    failing = {"busy": Reply(status=503), "reset": Reply(fault="reset"), "error": Reply(fault="error_event", text="")}
    for name, first in failing.items():
        async with passed(tmp_path / name, first, second=CALLING) as (url, store), client(url) as ai:
            raw = await ai.chat.completions.with_raw_response.create(**ASKED, stream=True)
            calls = [call async for chunk in raw.parse() for call in chunk.choices[0].delta.tool_calls or []]
            assert "".join(call.function.arguments for call in calls if call.index == 0) == PLACE
            assert told(raw) == ("2", "spare", "escalated")
            assert (await store.record(raw.headers["x-insource-record"])).tier == 2


def told(raw) -> tuple[str, str, str]:
    return tuple(raw.headers[f"x-insource-{name}"] for name in ("tier", "release", "decision"))


@pytest.mark.parametrize("api", ["chat", "completions"])
async def test_a_stream_names_the_engine_that_says_it_as_a_plain_answer_does(tmp_path, api):
    async def ask(ai, model: str, **more):
        if api == "chat":
            return await ai.chat.completions.with_raw_response.create(**say("hello", model, **more))
        return await ai.completions.with_raw_response.create(model=model, prompt="hello", **more)

    ways = {
        "well": (Reply(text="hello"), ("1", "hub", "answered")),
        "down": (Reply(status=503), ("2", "spare", "escalated")),
        "empty": (Reply(text=""), ("1", "hub", "answered")),
    }
    for name, (first, whose) in ways.items():
        async with passed(tmp_path / name, first, second=Reply(text="instead")) as (url, _), client(url) as ai:
            for model in ("hub", "scripted"):  # by its own name, and by that of the model behind it
                plain, streamed = await ask(ai, model), await ask(ai, model, stream=True)
                assert [chunk async for chunk in streamed.parse()]
                assert told(plain) == told(streamed) == whose


async def test_an_engine_that_breaks_off_within_a_call_ends_the_stream_with_an_error(tmp_path):
    broken = Reply(text="", tool_calls=CALLS, call_letters=5, fault="half", finish="tool_calls")
    async with passed(tmp_path, broken, second=CALLING) as (url, store), client(url) as ai:
        raw = await ai.chat.completions.with_raw_response.create(**ASKED, stream=True)
        with pytest.raises(openai.APIError):
            [chunk async for chunk in raw.parse()]
        assert told(raw)[0] == "1"
        record = await store.record(raw.headers["x-insource-record"])
    assert record.outcome == "failed"
    assert record.answer.usage.output_tokens > 0

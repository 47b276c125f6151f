"""What OpenAI's API has beside one chat answer: several choices, completions, embeddings; by its own client."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2 as httpx
import msgspec
import openai
import pytest
from aiohttp import web
from serving import client, gateway, say, socket_of, workspace

from insource.serve.app import create_app
from insource.settings import EngineSettings
from insource.store import Store

TEXT = "the operator wrote: coolant low"


async def test_an_engine_gives_as_many_choices_as_are_wanted_and_each_has_a_record(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        said = await ai.chat.completions.create(model="hub", messages=[{"role": "user", "content": "hi"}], n=3, seed=5)
        assert [choice.index for choice in said.choices] == [0, 1, 2]
        assert {choice.message.content for choice in said.choices} == {"Hello there, friend."}
        records = await store.records()
        assert len(records) == 3
        assert said.usage.total_tokens == sum(
            record.answer.usage.input_tokens + record.answer.usage.output_tokens for record in records
        )


async def test_the_choices_of_a_task_are_one_answer(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        said = await ai.chat.completions.create(model="tickets", messages=say("refund")["messages"], n=2)
        assert [choice.message.content for choice in said.choices] == ["refund", "refund"]
        (record,) = await store.records()
        assert said.usage.prompt_tokens == record.answer.usage.input_tokens


async def test_choices_are_streamed_one_after_another(tmp_path):
    async with gateway(tmp_path) as (url, _), client(url) as ai:
        asked = {"messages": [{"role": "user", "content": "hi"}], "stream_options": {"include_usage": True}}
        texts, finished, names, usage = {}, {}, set(), None
        async for chunk in await ai.chat.completions.create(model="hub", n=2, stream=True, **asked):
            names.add(chunk.id)
            usage = chunk.usage or usage
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
                finished[choice.index] = choice.finish_reason or finished.get(choice.index)
        assert texts == {0: "Hello there, friend.", 1: "Hello there, friend."}
        assert finished == {0: "stop", 1: "stop"}
        assert len(names) == 1
        assert usage.completion_tokens > 0


async def test_one_choice_that_fails_is_the_answer_and_every_try_is_on_record(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        with pytest.raises(openai.APIStatusError) as failed:
            await ai.chat.completions.create(model="hub", messages=[{"role": "user", "content": "break off"}], n=2)
        assert failed.value.status_code in (502, 503)
        assert failed.value.response.headers["x-insource-record"]
        async with asyncio.timeout(10):  # the record of the one that was broken off may come after the answer
            while len(await store.records()) < 2:
                await asyncio.sleep(0.01)
        assert len(await store.records()) == 2
        assert await store.open_calls() == 0


async def test_completions_answer_each_prompt(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        said = await ai.completions.create(model="tickets", prompt=["a refund please", "anything"])
        assert [(choice.index, choice.text, choice.finish_reason) for choice in said.choices] == [
            (0, "refund", "stop"),
            (1, "other", "stop"),
        ]
        one = await ai.completions.create(model="hub", prompt="hi", max_tokens=20, n=2)
        assert [choice.text for choice in one.choices] == ["Hello there, friend."] * 2
        assert len(await store.records()) == 4


async def test_a_completion_streams_its_words(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        for model, wanted in (("hub", "Hello there, friend."), ("tickets", "other")):
            text, finish, usage = "", None, None
            asked = {"prompt": "hi", "stream": True, "stream_options": {"include_usage": True}}
            async for chunk in await ai.completions.create(model=model, **asked):
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    text, finish = text + choice.text, choice.finish_reason or finish
            assert (text, finish) == (wanted, "stop")
            assert usage.total_tokens > 0
        assert len(await store.records()) == 2


@pytest.mark.parametrize(
    ("change", "param"),
    [
        *(({"prompt": [1, 2, 3]}, "prompt"), ({"prompt": []}, "prompt"), ({"prompt": None}, "prompt")),
        *(({"prompt": ["x"] * 129}, "prompt"), ({"echo": True}, "echo"), ({"suffix": "x"}, "suffix")),
        *(({"best_of": 3}, "best_of"), ({"n": 0}, "n")),
    ],
)
async def test_what_a_completion_cannot_have_is_refused_by_name(tmp_path, change, param):
    async with gateway(tmp_path) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        got = await http.post("/v1/completions", json={"model": "hub", "prompt": "hi"} | change)
        assert (got.status_code, got.json()["error"]["param"]) == (422, param)


@asynccontextmanager
async def vectors(answer: dict | None = None) -> AsyncIterator[tuple[str, list[dict]]]:
    """A server with embeddings in OpenAI's form, whatever their `encoding_format`; and what it was asked."""
    seen: list[dict] = []

    async def embed(request: web.Request) -> web.Response:
        seen.append(asked := await request.json())
        numbers = [[float(len(text)), 0.5] for text in asked["input"]]
        coded = [base64.b64encode(struct.pack("<2f", *pair)).decode() for pair in numbers]
        rows = coded if asked.get("encoding_format") == "base64" else numbers
        data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
        whole = {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}}
        return web.json_response(whole | (answer or {}))

    app = web.Application()
    app.router.add_post("/v1/embeddings", embed)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", seen
    finally:
        await runner.cleanup()


@asynccontextmanager
async def embedding_gateway(root: Path, base_url: str) -> AsyncIterator[tuple[str, Store]]:
    settings = workspace(root)
    engine = EngineSettings(kind="openai", base_url=base_url, model="embedder", usd_per_million_input=1.0)
    settings = msgspec.structs.replace(settings, engines=dict(settings.engines) | {"vectors": engine})
    async with await Store.open(settings) as store, socket_of(create_app(settings, store, {})) as url:
        yield url, store


@pytest.mark.parametrize("form", ["float", "base64", None])
async def test_embeddings_are_passed_on_and_recorded_without_the_texts(tmp_path, form):
    async with vectors() as (base_url, seen), embedding_gateway(tmp_path, base_url) as (url, store):
        async with client(url) as ai:
            more = {"encoding_format": form} if form else {}
            said = await ai.embeddings.create(model="vectors", input=[TEXT, "b"], dimensions=2, **more)
        rows = [row.embedding for row in said.data]
        if form == "base64":
            rows = [list(struct.unpack("<2f", base64.b64decode(row))) for row in rows]
        assert rows == [[float(len(TEXT)), 0.5], [1.0, 0.5]]
        assert said.usage.prompt_tokens == 7
        assert (seen[0]["model"], seen[0]["input"], seen[0]["dimensions"]) == ("embedder", [TEXT, "b"], 2)
        (record,) = await store.records()
        assert (record.outcome, record.usd, record.answer.usage.input_tokens) == ("answered", 7e-6, 7)
        assert TEXT not in json.dumps(msgspec.to_builtins(record))
        assert await store.open_calls() == 0


@pytest.mark.parametrize(
    "lie",
    [
        {"data": []},
        {"data": None},
        {"data": [{"index": 0, "embedding": []}]},
        {"data": [{"index": 1, "embedding": [1]}]},
    ],
)
async def test_an_answer_without_a_vector_for_each_text_is_an_error(tmp_path, lie):
    async with vectors(lie) as (base_url, _), embedding_gateway(tmp_path, base_url) as (url, store):
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            got = await http.post("/v1/embeddings", json={"model": "vectors", "input": "a"})
        assert got.status_code in (502, 503)
        (record,) = await store.records()
        assert record.outcome == "failed"


@pytest.mark.parametrize(
    ("model", "given", "status"),
    [
        *(("hub", "a", 422), ("tickets", "a", 422), ("nobody", "a", 404), ("hub", "", 422), ("hub", [], 422)),
        *(("hub", [[1, 2]], 422), ("hub", ["a"] * 2049, 422)),
    ],
)
async def test_what_has_no_embeddings_is_refused(tmp_path, model, given, status):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        got = await http.post("/v1/embeddings", json={"model": model, "input": given})
        assert got.status_code == status, got.text
        assert await store.records() == []

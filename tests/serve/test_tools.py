"""Functions called over the gateway by the official client: a base model in the process, random weights."""

import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import openai
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

import tiny
from serving import client, say, socket_of, workspace

from insource.engines.models import resolve
from insource.journeys.serve import close_path, open_passthrough
from insource.serve.app import create_app
from insource.settings import EngineSettings, Settings
from insource.store import Store

CITY = {"type": "object", "properties": {"city": {"enum": ["Bern", "Oslo"]}}, "required": ["city"],
        "additionalProperties": False}  # fmt: skip
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Of a city.", "parameters": CITY}},
    {"type": "function", "function": {"name": "clock"}},
]
NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The spec of a small model and the cache it lies in."""
    folder, cache = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("cache")
    tiny.build(folder, loud=30.0)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    spec = f"file:{folder}"
    resolve(spec, cache, progress=lambda *_: None)
    return spec, cache


@asynccontextmanager
async def calling(root, model):
    """An official client of a gateway whose engine `small` is the model."""
    spec, cache = model
    settings = Settings(root=root, cache=cache, engines={"small": EngineSettings(kind="embedded", model=spec)})
    async with (
        await Store.open(settings) as store,
        socket_of(create_app(settings, store, {})) as url,
        client(url) as ai,
    ):
        yield ai, store


async def test_a_call_comes_back_as_openai_says_it(tmp_path, model):
    async with calling(tmp_path, model) as (ai, store):
        raw = await ai.chat.completions.with_raw_response.create(
            **say("how warm?", "small", tools=TOOLS, tool_choice="required", temperature=0)
        )
        (choice,) = raw.parse().choices
        (call,) = choice.message.tool_calls
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
        assert (call.type, call.id) == ("function", f"call_{raw.headers['x-insource-record']}")
        assert len(call.id) <= 40
        assert call.function.name in ("weather", "clock")
        assert json.loads(call.function.arguments) in ([{}] if call.function.name == "clock" else CITIES)
        kept = await store.record(raw.headers["x-insource-record"])
        assert (kept.answer.tool_calls, kept.answer.text) == ((), "")


CITIES = [{"city": "Bern"}, {"city": "Oslo"}]


async def test_a_function_that_was_named_is_called_and_ends_as_stop(tmp_path, model):
    async with calling(tmp_path, model) as (ai, _):
        for seed in range(4):
            done = await ai.chat.completions.create(
                **say("how warm?", "small", tools=TOOLS, tool_choice=NAMED, seed=seed)
            )
            (choice,) = done.choices
            assert choice.finish_reason == "stop"
            assert [call.function.name for call in choice.message.tool_calls] == ["weather"]
            assert json.loads(choice.message.tool_calls[0].function.arguments) in CITIES


async def test_a_streamed_call_is_the_same_call(tmp_path, model):
    async with calling(tmp_path, model) as (ai, _):
        asked = say("how warm?", "small", tools=TOOLS, tool_choice="required", temperature=0)
        (plain,) = (await ai.chat.completions.create(**asked)).choices[0].message.tool_calls
        async with ai.chat.completions.stream(**asked) as stream:
            final = await stream.get_final_completion()
        (call,) = final.choices[0].message.tool_calls
        assert final.choices[0].finish_reason == "tool_calls"
        assert (call.function.name, call.function.arguments) == (plain.function.name, plain.function.arguments)


async def test_what_the_function_gave_back_goes_to_the_model(tmp_path, model):
    async with calling(tmp_path, model) as (ai, _):
        asked = say("how warm?", "small", tools=TOOLS, tool_choice=NAMED, temperature=0)
        first = (await ai.chat.completions.create(**asked)).choices[0].message
        result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "12 degrees"}
        turns = [*asked["messages"], first.model_dump(exclude_none=True), result]
        one = await ai.chat.completions.create(model="small", messages=turns, tools=TOOLS, max_tokens=8)
        other = await ai.chat.completions.create(
            model="small", messages=[*turns[:2], result | {"content": ""}], tools=TOOLS, max_tokens=8
        )
        assert one.usage.prompt_tokens > other.usage.prompt_tokens


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "nope"}}}, "tool_choice"),
        ({"tool_choice": "must"}, "tool_choice"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
    ],
)
async def test_what_cannot_be_offered_is_422_with_its_place(more, param, tmp_path, model):
    async with calling(tmp_path, model) as (ai, _):
        with pytest.raises(openai.UnprocessableEntityError) as raised:
            await ai.chat.completions.create(**{**say("x", "small", tools=TOOLS), **more})
        assert raised.value.param == param


async def test_a_model_that_is_not_here_is_missing_and_nothing_is_fetched(tmp_path):
    gone = EngineSettings(kind="embedded", model="smollm2-135m")
    settings = Settings(root=tmp_path, cache=tmp_path / "none", engines={"gone": gone})
    async with (
        await Store.open(settings) as store,
        socket_of(create_app(settings, store, {})) as url,
        client(url) as ai,
    ):
        with pytest.raises(openai.NotFoundError, match="not on this machine"):
            await ai.chat.completions.create(**say("x", "gone"))
    assert not (tmp_path / "none").exists()


async def test_the_engine_of_a_workspace_without_a_model_is_its_base(tmp_path, model):
    spec, cache = model
    settings = Settings(root=tmp_path, cache=cache, engines={"small": EngineSettings(kind="embedded")})
    settings = type(settings)(
        root=tmp_path, cache=cache, engines=settings.engines, workspace=type(settings.workspace)(base=spec)
    )
    async with await Store.open(settings) as store:
        path = open_passthrough("small", settings, store)
        assert path.tiers[0].engine.name == "small"
        await close_path(path)


async def test_an_engine_has_as_long_as_its_settings_say(tmp_path):
    settings = workspace(tmp_path)
    hasty = msgspec.structs.replace(settings.engines["hub"], timeout_s=0.2)
    settings = msgspec.structs.replace(settings, engines={"hasty": hasty})
    async with (
        await Store.open(settings) as store,
        socket_of(create_app(settings, store, {})) as url,
        client(url) as ai,
    ):
        assert (await ai.chat.completions.create(**say("hello", "hasty"))).choices[0].message.content
        with pytest.raises(openai.InternalServerError) as raised:
            await ai.chat.completions.create(**say("crawl", "hasty"))
        assert raised.value.status_code == 504

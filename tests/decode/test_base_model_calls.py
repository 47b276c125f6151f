"""The untuned engine calls functions: random weights, so only the mask makes a call one."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from test_calls import PUMP, TOOLS, tool

from insource.decode.check import faults
from insource.engines.base_model import BaseModel
from insource.engines.local import LocalModel
from insource.errors import Invalid
from insource.nouns import JsonObject, Message, Prediction, Request

LIMITS: JsonObject = {
    "type": "object",
    "properties": {"note": {"type": "string", "maxLength": 6}, "level": {"type": "number", "minimum": 0, "maximum": 1}},
    "required": ["note"],
}
OFFERED = [*TOOLS, tool("limit", LIMITS)]
SCHEMAS = {"start": PUMP, "stop": PUMP, "limit": LIMITS, "start_all": {"properties": {}, "additionalProperties": False}}


@pytest.fixture(scope="module")
def engine(tiny: LocalModel) -> Iterator[BaseModel]:
    made = BaseModel(tiny, name="tiny")
    yield made
    asyncio.run(made.close())


def chat(text: str, **more: Any) -> Request:
    return Request(id="c", messages=(Message(role="user", content=text),), tools=OFFERED, deadline=600.0, **more)


async def drawn(engine: BaseModel, count: int, **more: Any) -> list[Prediction]:
    asked = [chat("the pump", temperature=1.0, seed=i, **more) for i in range(count)]
    return list(await asyncio.gather(*map(engine.complete, asked)))


async def test_every_drawn_call_is_one_of_those_offered_with_valid_arguments(engine: BaseModel) -> None:
    names: Counter[str] = Counter()
    for said in await drawn(engine, 96, tool_choice="required"):
        (call,) = said.tool_calls
        function = call["function"]
        assert (call["id"], call["type"], said.finish, said.text) == ("call_c", "function", "stop", "")
        assert faults(SCHEMAS[function["name"]], json.loads(function["arguments"])) == []
        assert said.confidence is not None
        assert 0 < said.confidence <= 1
        names[function["name"]] += 1
    assert len(names) >= 2, "weights that always choose the same function show little"


async def test_a_named_function_is_called_and_no_other(engine: BaseModel) -> None:
    for said in await drawn(engine, 16, tool_choice={"type": "function", "function": {"name": "limit"}}):
        assert [call["function"]["name"] for call in said.tool_calls] == ["limit"]
        assert faults(LIMITS, json.loads(said.tool_calls[0]["function"]["arguments"])) == []


@pytest.mark.slow
async def test_left_to_the_model_it_calls_or_speaks_and_never_half_of_each(engine: BaseModel) -> None:
    answers = await drawn(engine, 96, max_tokens=48)
    spoken = [said for said in answers if not said.tool_calls]
    assert len(spoken) > 48
    assert all("<tool_call>" not in said.text for said in spoken)
    assert {said.finish for said in spoken} <= {"stop", "length"}
    assert all(len(said.tool_calls) == 1 and said.text == "" for said in answers if said.tool_calls)


async def test_words_that_reach_the_limit_are_cut_and_not_closed(engine: BaseModel) -> None:
    said = [one for one in await drawn(engine, 48, max_tokens=8) if one.finish == "length" and one.text]
    assert said
    assert all(one.usage.output_tokens == 8 for one in said)


async def test_a_call_cut_by_the_limit_is_none(engine: BaseModel) -> None:
    for limit in (3, 20):
        said = await engine.complete(chat("x", tool_choice="required", max_tokens=limit))
        assert (said.finish, said.tool_calls, said.text) == ("length", (), "")


async def test_a_stop_text_inside_a_call_does_not_break_it(engine: BaseModel) -> None:
    for said in await drawn(engine, 8, tool_choice="required", stop=("a", "}")):
        assert (said.finish, len(said.tool_calls)) == ("stop", 1)


async def test_with_the_choice_none_nothing_is_called_or_told(engine: BaseModel) -> None:
    said = await engine.complete(chat("hello", tool_choice="none", max_tokens=12))
    plain = await engine.complete(Request(id="p", messages=(Message(role="user", content="hello"),), max_tokens=12))
    assert (said.text, said.usage, said.tool_calls) == (plain.text, plain.usage, ())


async def test_in_place_of_words_the_answer_follows_the_callers_schema(engine: BaseModel) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": ["yes", "no"]}}}
    answers = await drawn(engine, 32, response_format=form)
    assert all(said.tool_calls or json.loads(said.text) in ("yes", "no") for said in answers)


async def test_what_was_called_before_is_in_the_prompt(engine: BaseModel) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "stop", "arguments": '{"name":"p1"}'}}
    before = (Message(role="user", content="stop p1"), Message(role="assistant", tool_calls=[call]))
    heard = (*before, Message(role="tool", content="p1 stands", tool_call_id="a"))
    request = Request(id="m", messages=heard, tools=OFFERED, tool_choice="required")
    prompt = engine._chat._control.decode(engine._prompt(request).text, skip_special_tokens=False)
    assert '<tool_call>{"name":"stop","arguments":{"name":"p1"}}</tool_call>' in prompt
    assert "<tool_response>\np1 stands\n</tool_response>" in prompt
    assert '"name":"limit"' in prompt
    assert (await engine.complete(request)).tool_calls


async def test_malformed_tools_are_refused_before_anything_runs(engine: BaseModel) -> None:
    with pytest.raises(Invalid, match="tool_choice"):
        await engine.complete(chat("x", tool_choice={"type": "function", "function": {"name": "nope"}}))


@pytest.mark.parametrize(
    "form",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": LIMITS}}},
        {"response_format": {"type": "regex", "regex": "[a-z]{90}"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": LIMITS}}],
         "tool_choice": "required"},
    ],
    ids=["json_schema", "regex", "tools"],
)  # fmt: skip
async def test_an_answer_cut_short_of_its_form_is_sure_of_nothing(form: dict[str, Any], engine: BaseModel) -> None:
    asked = (Message(role="user", content="x"),)
    said = await engine.complete(Request(id="c", messages=asked, max_tokens=3, deadline=600.0, **form))
    assert (said.finish, said.confidence, said.value) == ("length", 0.0, None)


async def test_a_grammar_that_fails_late_fails_its_own_call_only(
    engine: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = engine._mask

    def mask(grammar: str) -> Any:
        if "costly" in grammar:
            raise Invalid("too costly for this vocabulary")
        return masks(grammar)

    monkeypatch.setattr(engine, "_mask", mask)
    turn = (Message(role="user", content="x"),)
    asked = [
        Request(id=word, messages=turn, response_format={"type": "choice", "choice": [word, "b"]}, deadline=600.0)
        for word in ("costly", "a")
    ]
    failed, said = await asyncio.gather(*map(engine.complete, asked), return_exceptions=True)
    assert isinstance(failed, Invalid)
    assert isinstance(said, Prediction)
    assert said.text in ("a", "b")

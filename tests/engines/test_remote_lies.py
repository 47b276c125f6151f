"""Servers that answer in the right form with values that cannot be, and callers that ask in a wrong one."""

import asyncio
import json

import pytest
from aiohttp import web

from insource.engines.remote import Remote
from insource.engines.remote_http import _pause
from insource.engines.remote_wire import MOST_TOKENS
from insource.errors import EngineDown, Invalid
from insource.nouns import Message, Output, Request, Task, ask, to_json
from insource.settings import EngineSettings

TASK = Task(name="topics", kind="classify", outputs=(Output(name="topic", labels=("billing", "delivery")),))
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("f", "g")]


def answer(*, usage=None, **choice):
    return {"choices": [{"message": {"content": "billing"}, "finish_reason": "stop", **choice}], "usage": usage}


def likely(**token):
    return answer(logprobs={"content": [{"token": "billing", "logprob": -0.5, **token}]})


def said_by(body, request=None, *, kind="openai"):
    """What the engine makes of this very body, and what it sent."""
    seen = []

    async def reply(http):
        seen.append(await http.json())
        return web.json_response(body)

    async def story():
        app = web.Application()
        app.router.add_post("/{path:.*}", reply)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        engine = Remote("r", EngineSettings(kind=kind, base_url=address, model="m", timeout_s=5.0), "")
        try:
            return await engine.complete(request or ask(TASK, "x", id="1"))
        finally:
            await engine.close()
            await runner.cleanup()

    return asyncio.run(story()), seen


@pytest.mark.parametrize(
    "body",
    [
        answer(finish_reason=["stop"]),
        answer(finish_reason={"a": 1}),
        likely(logprob=1e9),
        likely(logprob="nan"),
        likely(logprob="inf"),
        likely(logprob=None),
        likely(bytes=1e20),
        likely(bytes=10**20),
        likely(bytes=[256]),
        likely(top_logprobs=[{"token": "delivery", "logprob": 1e9}]),
        likely(top_logprobs=[{"token": "delivery", "logprob": "nan"}]),
        answer(message={"content": "", "tool_calls": [{"function": {"name": 5}}]}),
    ],
)
@pytest.mark.parametrize("task", [True, False])
def test_what_is_not_the_wires_form_is_down_and_nothing_else(body, task):
    with pytest.raises(EngineDown, match="form"):
        said_by(body, None if task else Request(id="1", messages=(Message(role="user", content="x"),)))


def test_a_log_probability_that_rounding_lifted_is_certainty():
    said, _ = said_by(likely(logprob=1.2e-7))
    assert said.confidence == 1.0


@pytest.mark.parametrize(
    ("given", "kept"),
    [(-5, 0), (2**63, MOST_TOKENS), (1e30, MOST_TOKENS), ("9" * 5000, 0), (True, 0), ([1], 0), (7, 7)],
)
def test_a_count_of_tokens_that_cannot_be_costs_no_answer(given, kept):
    said, _ = said_by(answer(usage={"prompt_tokens": given, "completion_tokens": given}))
    assert said.value == {"topic": "billing"}
    assert (said.usage.input_tokens, said.usage.output_tokens) == (kept, kept)
    assert to_json(said)


@pytest.mark.parametrize(("after", "pause"), [("²", 0.0), ("٣", 0.0), ("", 0.0), ("3", 3.0), (" 3 ", 3.0), ("x", 0.0)])
def test_a_pause_is_asked_for_in_plain_digits(after, pause):
    assert _pause(after) == pause


def turn(**more):
    return {"messages": (Message(role="user", content="x"), Message(role="assistant", **more))}


def calling(arguments):
    return turn(tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}])


USER = {"messages": (Message(role="user", content="x"),)}


@pytest.mark.parametrize(
    ("kind", "asked", "at"),
    [
        ("openai", USER | {"response_format": {"type": ["x"]}}, "response_format.type"),
        ("openai", USER | {"response_format": {"type": {"a": 1}}}, "response_format.type"),
        ("anthropic", USER | {"response_format": {"type": "json_schema", "json_schema": {"schema": "x"}}},
         "response_format.json_schema"),
        ("anthropic", USER | {"tools": [{"type": "function", "function": "x"}]}, "tools[0]"),
        ("anthropic", USER | {"tools": TOOLS, "tool_choice": {"type": "function", "function": "f"}}, "tool_choice"),
        ("anthropic", turn(tool_calls=[{"function": "x"}]), "messages"),
        ("ollama", turn(tool_calls=[{"function": "x"}]), "messages"),
        ("anthropic", calling({"a": 1}), "messages"),
        ("anthropic", calling("[" * 5000), "messages"),
        ("ollama", calling("[" * 5000), "messages"),
        ("anthropic", turn(content=[{"type": "image_url", "image_url": "http://x"}]), "messages"),
        ("ollama", turn(content=[{"type": "image_url", "image_url": "http://x"}]), "messages"),
    ],
)  # fmt: skip
def test_a_callers_malformed_part_is_invalid_with_its_place_and_is_not_sent(kind, asked, at):
    with pytest.raises(Invalid) as raised:
        said_by({}, Request(id="1", **asked), kind=kind)
    assert raised.value.at == at


@pytest.mark.parametrize(
    ("choice", "names", "said"),
    [
        (None, ["f", "g"], None),
        ("none", ["f", "g"], {"type": "none"}),
        ("required", ["f", "g"], {"type": "any"}),
        ({"type": "function", "function": {"name": "g"}}, ["f", "g"], {"type": "tool", "name": "g"}),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": TOOLS[1:]}}, ["g"], {"type": "auto"}),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": TOOLS}}, ["f", "g"], {"type": "any"}),
    ],
)
def test_every_choice_of_tools_has_its_form_on_anthropics_wire(choice, names, said):
    body = {"usage": {}, "stop_reason": "end_turn", "content": [{"type": "text", "text": "hello"}]}
    _, seen = said_by(body, Request(id="1", tools=TOOLS, tool_choice=choice, **USER), kind="anthropic")
    assert [tool["name"] for tool in seen[0]["tools"]] == names
    assert seen[0].get("tool_choice") == said
    assert json.dumps(seen[0]["tools"][0]["input_schema"]) == '{"type": "object"}'

"""What scripted servers say parses in the vendors' own client packages, checked strictly; what we send, they could."""

import asyncio
import json
import warnings

import pytest

from insource.engines.dialects import dialect
from insource.engines.remote import Remote
from insource.engines.scripted_server import Reply, ScriptedServer, Written
from insource.nouns import Message, Output, Request, Task, ask
from insource.settings import EngineSettings

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The `dict` method:DeprecationWarning")]
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    anthropic = pytest.importorskip("anthropic")
    groq = pytest.importorskip("groq")
    ollama = pytest.importorskip("ollama")
    openai = pytest.importorskip("openai")
    pydantic = pytest.importorskip("pydantic")
    together = pytest.importorskip("together")
    text_generation = pytest.importorskip("text_generation")

CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"id":3}'}}
TOOLS = [{"type": "function", "function": {"name": "find", "description": "d", "parameters": {"type": "object"}}}]
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TEXT = "grüße 🦊 there"
TOKENS = (Written(text="hel", logprob=-0.5, others={"hel": -0.5, "hi": -1.0}), Written(text="lo", logprob=-0.1))
REPLIES = [
    Reply(text=TEXT),
    Reply(text=TEXT, slice_bytes=3, newline="\r\n"),
    Reply(tokens=TOKENS),
    Reply(text="cut", finish="length"),
    Reply(text="ok", usage=False, logprob=None),
    Reply(text="", finish="tool_calls", tool_calls=(CALL,)),
]
# Stainless' clients take anything unless they are told to look
STRICT = {"max_retries": 0, "_strict_response_validation": True}
OF_OPENAI = {
    "openai": lambda server: openai.AsyncOpenAI(base_url=server.base_url, api_key="k", **STRICT),
    "vllm": lambda server: openai.AsyncOpenAI(base_url=server.base_url, api_key="k", **STRICT),
    "llamacpp": lambda server: openai.AsyncOpenAI(base_url=server.base_url, api_key="k", **STRICT),
    "lmdeploy": lambda server: openai.AsyncOpenAI(base_url=server.base_url, api_key="k", **STRICT),
    "groq": lambda server: groq.AsyncGroq(base_url=server.address, api_key="k", **STRICT),
    "together": lambda server: together.AsyncTogether(base_url=server.base_url, api_key="k", **STRICT),
}
MODULES = {"groq": groq, "together": together, "anthropic": anthropic}


def heard(kind, reply, listen):
    """What `listen(server)` makes of a scripted server with this reply."""

    async def story():
        async with ScriptedServer([reply], kind=kind) as server:
            return await listen(server)

    return asyncio.run(story())


@pytest.mark.parametrize("reply", [*REPLIES, Reply(text="", refusal="no")])
@pytest.mark.parametrize("kind", OF_OPENAI)
def test_openais_kin_parse(kind, reply):
    if reply.refusal and kind in ("groq", "together"):
        pytest.skip("it has no word for a refusal")

    async def listen(server):
        async with OF_OPENAI[kind](server) as client:
            chances = {"together": {"logprobs": 1}, "groq": {}}.get(kind, {"logprobs": True, "top_logprobs": 2})
            counts = {} if kind in ("groq", "together") else {"stream_options": {"include_usage": True}}
            whole = await client.chat.completions.create(**ASKED, **chances)
            stream = await client.chat.completions.create(**ASKED, **chances, **counts, stream=True)
            return whole, [chunk async for chunk in stream]

    whole, chunks = heard(kind, reply, listen)
    choice = whole.choices[0]
    assert (choice.message.content or "") == reply.said
    assert choice.finish_reason == reply.finish
    assert (whole.usage is not None) == reply.usage
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == reply.said
    if reply.tool_calls:
        assert choice.message.tool_calls[0].function.name == "find"
        assert any(delta.tool_calls for delta in deltas)
    if reply.tokens and kind == "together":
        assert choice.logprobs.token_logprobs == [-0.5, -0.1]
    elif reply.tokens:
        assert choice.logprobs.content[0].top_logprobs[1].token == "hi"
    if kind == "groq":
        assert (chunks[-1].x_groq.usage is not None) == reply.usage
    else:
        assert (chunks[-1].usage is not None) == reply.usage


@pytest.mark.parametrize("kind", ["openai", "groq", "together"])
def test_the_check_is_strict(kind):
    async def listen(server):
        async with OF_OPENAI[kind](server) as client:
            await client.chat.completions.create(**ASKED)

    with pytest.raises(MODULES.get(kind, openai).APIResponseValidationError):
        heard(kind, Reply(finish="banana"), listen)


ERRORS = [
    (400, "BadRequestError"),
    (401, "AuthenticationError"),
    (403, "PermissionDeniedError"),
    (404, "NotFoundError"),
    (422, "UnprocessableEntityError"),
    (429, "RateLimitError"),
    (500, "InternalServerError"),
    (503, "InternalServerError"),
]


@pytest.mark.parametrize(("status", "name"), ERRORS)
@pytest.mark.parametrize("kind", [*OF_OPENAI, "anthropic"])
def test_errors_are_the_clients_own(kind, status, name):
    module = MODULES.get(kind, openai)

    async def listen(server):
        try:
            if kind == "anthropic":
                async with messages_client(server) as client:
                    await client.messages.create(**ASKED, max_tokens=9)
            async with OF_OPENAI[kind](server) as client:
                await client.chat.completions.create(**ASKED)
        except module.APIStatusError as error:
            return error

    error = heard(kind, Reply(status=status, retry_after="1"), listen)
    assert isinstance(error, getattr(module, name))
    assert "as the script says" in str(error)
    assert error.response.headers["retry-after"] == "1"


def messages_client(server):
    return anthropic.AsyncAnthropic(base_url=server.address, api_key="k", **STRICT)


@pytest.mark.parametrize("reply", [*REPLIES, Reply(text="", refusal="no")])
def test_anthropics_messages_parse(reply):
    async def listen(server):
        async with messages_client(server) as client:
            whole = await client.messages.create(**ASKED, max_tokens=9)
            async with client.messages.stream(**ASKED, max_tokens=9) as stream:
                events = [event.type async for event in stream]
                last = await stream.get_final_message()
            return whole, events, last

    whole, events, last = heard("anthropic", reply, listen)
    assert "".join(block.text for block in whole.content if block.type == "text") == reply.said
    assert [block.model_dump() for block in last.content] == [block.model_dump() for block in whole.content]
    assert last.stop_reason == whole.stop_reason
    assert events[-1] == "message_stop"
    assert whole.usage.input_tokens == last.usage.input_tokens == (10 if reply.usage else 0)
    assert whole.usage.output_tokens == last.usage.output_tokens
    if reply.tool_calls:
        assert (whole.content[0].name, last.content[0].input) == ("find", {"id": 3})
    if reply.refusal:
        assert (whole.stop_reason, whole.stop_details.explanation) == ("refusal", "no")


def test_anthropics_forced_tool_and_broken_stream_parse():
    forced = {"tools": [{"name": "answer", "input_schema": {"type": "object"}}]}
    forced["tool_choice"] = {"type": "tool", "name": "answer"}

    async def listen(server):
        async with messages_client(server) as client, client.messages.stream(**ASKED, **forced, max_tokens=9) as stream:
            return await stream.get_final_message()

    assert heard("anthropic", Reply(text='{"a":1}'), listen).content[0].input == {"a": 1}
    with pytest.raises(anthropic.APIStatusError, match="as the script says"):
        heard("anthropic", Reply(text="hello", fault="error_event"), listen)


@pytest.mark.parametrize("reply", REPLIES)
def test_ollamas_lines_parse(reply):
    async def listen(server):
        client = ollama.AsyncClient(host=server.base_url)
        whole = await client.chat(**ASKED, logprobs=True, top_logprobs=2)
        lines = [line async for line in await client.chat(**ASKED, logprobs=True, stream=True)]
        await client.close()
        return whole, lines

    whole, lines = heard("ollama", reply, listen)
    assert whole.message.content == "".join(line.message.content for line in lines) == reply.said
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1].done_reason == whole.done_reason == ("length" if reply.finish == "length" else "stop")
    assert whole.prompt_eval_count == (10 if reply.usage else None)
    if reply.tool_calls:
        assert whole.message.tool_calls[0].function.arguments == {"id": 3}
    if reply.tokens:
        assert whole.logprobs[0].top_logprobs[1].token == "hi"


def test_ollamas_errors_parse():
    async def listen(server):
        client = ollama.AsyncClient(host=server.base_url)
        with pytest.raises(ollama.ResponseError) as caught:
            await client.chat(**ASKED)
        await client.close()
        return caught.value

    error = heard("ollama", Reply(status=503), listen)
    assert (error.status_code, error.error) == (503, "as the script says")


# the client reads line by line, without CRLF, and wants the counts that its server always gives
@pytest.mark.parametrize("reply", [reply for reply in REPLIES if reply.usage and reply.newline == "\n"])
def test_tgis_answers_parse(reply):
    async def listen(server):
        client = text_generation.AsyncClient(server.address)
        said = [text_generation.types.Message(role="user", content="hi")]
        whole = await client.chat(said, logprobs=True, top_logprobs=2)
        chunks = []
        try:
            async for chunk in await client.chat(said, stream=True):
                chunks.append(chunk)
        except json.JSONDecodeError:
            pass  # the client is older than the [DONE] that the server has sent since
        return whole, chunks

    whole, chunks = heard("tgi", reply, listen)
    assert (whole.choices[0].message.content or "") == reply.said
    assert whole.choices[0].finish_reason == reply.finish
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == reply.said
    if reply.tool_calls:
        assert chunks[1].choices[0].delta.tool_calls.function.name == "find"


@pytest.mark.parametrize(
    ("status", "name"), [(422, "ValidationError"), (424, "GenerationError"), (429, "OverloadedError")]
)
def test_tgis_errors_parse(status, name):
    async def listen(server):
        client = text_generation.AsyncClient(server.address)
        with pytest.raises(getattr(text_generation.errors, name), match="as the script says"):
            await client.chat([text_generation.types.Message(role="user", content="hi")])

    heard("tgi", Reply(status=status), listen)


# ------------------------------------------------------------------ what we send

TASK = Task(name="topics", kind="classify", outputs=(Output(name="topic", labels=("billing", "delivery")),))
TURNS = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="find 3"),
    Message(role="assistant", content=None, tool_calls=[CALL]),
    Message(role="tool", content="found", tool_call_id="call_1"),
)
REQUESTS = [
    ask(TASK, "x", id="1"),
    Request(id="2", messages=TURNS, tools=TOOLS, tool_choice="auto", max_tokens=9, stop=("END",), seed=7),
]


def known_by(kind):
    """The vendor's type of a request."""
    if kind == "anthropic":
        from anthropic.types.message_create_params import MessageCreateParamsNonStreaming as Params
    elif kind == "ollama":
        return pydantic.TypeAdapter(ollama._types.ChatRequest), set(ollama._types.ChatRequest.model_fields)
    elif kind == "groq":
        from groq.types.chat.completion_create_params import CompletionCreateParams as Params
    elif kind == "together":
        from together.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as Params
    else:
        from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as Params
    return pydantic.TypeAdapter(Params), set(Params.__annotations__)


@pytest.mark.parametrize("request_", REQUESTS, ids=["task", "passed"])
@pytest.mark.parametrize("kind", ["openai", "anthropic", "ollama", "groq", "together"])
def test_what_we_send_is_what_the_vendor_knows(kind, request_):
    async def listen(server):
        engine = Remote("r", EngineSettings(kind=kind, base_url=server.base_url, model="m"), "k")
        await engine.complete(request_)
        await engine.close()
        return server.seen[0]

    sent = heard(kind, Reply(text="billing"), listen)
    adapter, fields = known_by(kind)
    assert sent.keys() <= fields
    adapter.validate_python(sent)
    assert dialect(kind).path.startswith("/")

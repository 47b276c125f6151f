"""Each kind of server, behind a scripted one in its own wire: what is asked of it, and what its answers mean."""

import asyncio
import time
from pathlib import Path

import pytest
from talking import TASK, deployed, passed, said_by

from insource.decode.check import schema_of
from insource.decode.gbnf import gbnf_of_schema
from insource.engines.dialects import dialect, dialects, filled, found, joined
from insource.engines.remote import Remote
from insource.engines.scripted_server import Reply, ScriptedServer, Written
from insource.errors import EngineBusy, EngineDown, EngineError, EngineSlow, Invalid
from insource.nouns import Message, Output, Prediction, Request, Task, ask
from insource.settings import EngineSettings

ROOT = Path(__file__).resolve().parents[2]
KINDS = list(dialects())
NESTED = Task(name="nested", kind="classify", outputs=(Output(name="topic", labels=("a", "ab")),))
SCHEMA = {"type": "object", "properties": {"total": {"type": "string"}}, "required": ["total"]}
EXTRACT = Task(name="receipt", kind="extract", schema=SCHEMA)
CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"id":3}'}}
TOOLS = [{"type": "function", "function": {"name": "find", "description": "d", "parameters": {"type": "object"}}}]
every_kind = pytest.mark.parametrize("kind", KINDS)


# ------------------------------------------------------------------ the table


@every_kind
def test_a_kind_has_a_table_of_its_own_and_a_setting_names_it(kind):
    table = dialect(kind)
    assert {"schema", "max_tokens", "stop", "stream"} <= table.says.keys()
    assert not (set(table.denied) | set(table.rejects)) & {*table.busy, *table.down}
    assert table.address.startswith("http")
    assert EngineSettings(kind=kind, base_url=table.address).kind == kind


def test_no_server_is_named_anywhere_but_in_the_table():
    names = {f'"{kind}"' for kind in KINDS} - {'"openai"', '"anthropic"', '"ollama"'}
    words = ("sections.py", "init.py")  # what a user may write, and an example of it
    # llama.cpp is also an engine in the process, Ollama's store a source of models, and copies are read by servers
    ours = ("convert.py", "specialist.py", "release.py", "sources.py", "copy_server.py", "copied.py", "export.py")
    sources = [path for path in (ROOT / "src").rglob("*.py") if path.name not in (*words, *ours)]
    assert not [path.name for path in sources if any(name in path.read_text("utf-8") for name in names)]
    for wire in ("anthropic", "ollama"):
        users = {path.name for path in sources if f'"{wire}"' in path.read_text("utf-8")}
        assert users <= {"dialects.py", "remote.py", "scripted_wires.py"}, "a wire is chosen by the table alone"


def test_a_kind_that_there_is_not_is_told():
    with pytest.raises(Invalid, match="no server of kind"):
        dialect("petals")


def test_forms_are_filled_joined_and_found():
    assert filled({"a": ["$x", {"b": "$y"}], "c": "x"}, {"x": 1, "y": None}) == {"a": [1, {"b": None}], "c": "x"}
    assert joined({"o": {"a": 1}, "x": 1}, {"o": {"b": 2}, "x": {"y": 3}}) == {"o": {"a": 1, "b": 2}, "x": {"y": 3}}
    assert found({"a": {"b": 3}}, "a.b") == 3
    assert found({"a": []}, "a.b.c") is None


# ------------------------------------------------------------------ what is asked

ASKED = {
    "openai": ("response_format.json_schema.strict", True),
    "vllm": ("structured_outputs.choice", ["billing", "delivery (late)"]),
    "llamacpp": ("grammar", 'root ::= "billing" | "delivery (late)"'),
    "ollama": ("format.properties.topic.enum", ["billing", "delivery (late)"]),
    "tgi": ("response_format.value", r"(billing|delivery \(late\))"),
    "lmdeploy": ("response_format.regex_schema", r"(billing|delivery \(late\))"),
    "anthropic": ("output_config.format.schema.properties.topic.enum", ["billing", "delivery (late)"]),
    "groq": ("response_format.json_schema.schema.properties.topic.enum", ["billing", "delivery (late)"]),
    "together": ("response_format.json_schema.strict", True),
}
SCHEMA_AT = {
    "llamacpp": "grammar",
    "vllm": "structured_outputs.json",
    "ollama": "format",
    "tgi": "response_format.value",
    "anthropic": "output_config.format.schema",
}


@every_kind
def test_a_closed_set_is_asked_for_in_the_servers_own_form(kind):
    _, server = said_by(kind, [Reply(text="billing")])
    where, what = ASKED[kind]
    assert found(server.seen[0], where) == what


@every_kind
def test_labels_of_which_one_begins_another_are_asked_for_as_json(kind):
    """The end of a bare label could not be told."""
    _, server = said_by(kind, [Reply(text='{"topic": "ab"}')], ask(NESTED, "x", id="1"))
    schema = found(server.seen[0], SCHEMA_AT.get(kind, "response_format.json_schema.schema"))
    said = schema if kind == "llamacpp" else schema["properties"]["topic"]["enum"]
    assert said == (gbnf_of_schema(schema_of(NESTED)) if kind == "llamacpp" else ["a", "ab"])


@every_kind
def test_a_schema_is_asked_for_and_its_answer_is_held_to_it(kind):
    request = ask(EXTRACT, "x", id="1")
    said, server = said_by(kind, [Reply(text='{"total": "9"}')], request)
    assert said.value == {"total": "9"}
    asked = found(server.seen[0], SCHEMA_AT.get(kind, "response_format.json_schema.schema"))
    assert asked == (gbnf_of_schema(SCHEMA) if kind == "llamacpp" else SCHEMA)
    assert said_by(kind, [Reply(text='{"sum": 9}')], request)[0].finish == "invalid"


@every_kind
def test_a_server_that_knows_no_form_of_constraint_is_asked_without(kind):
    fields = {next(iter(form)) for name in ("choice", "schema") for form in dialect(kind).says.get(name, ())}
    said, server = said_by(kind, [Reply(text="billing", rejects=tuple(fields))], times=2)
    assert said.value == {"topic": "billing"}
    assert not fields & server.seen[-1].keys()
    assert not fields & server.seen[-2].keys(), "what it rejects is remembered"


def test_a_schema_that_our_grammar_cannot_say_goes_as_it_is():
    dated = SCHEMA | {"properties": {"total": {"type": "string", "format": "date"}}}
    request = ask(Task(name="dated", kind="extract", schema=dated), "x", id="1")
    _, server = said_by("llamacpp", [Reply(text='{"total": "2026-01-31"}')], request)
    assert "grammar" not in server.seen[0]
    assert found(server.seen[0], "response_format.json_schema.schema") == dated


def test_what_one_tasks_schema_cost_another_does_not_pay():
    async def story():
        async with ScriptedServer([Reply(text="billing", rejects=("response_format",))]) as server:
            engine = Remote("r", EngineSettings(kind="openai", base_url=server.base_url, retries=0), "")
            await engine.complete(ask(TASK, "x", id="1"))
            await engine.complete(ask(EXTRACT, "x", id="2"))
            await engine.close()
            return server.seen

    seen = asyncio.run(story())
    assert ["response_format" in one for one in seen] == [True, False, True, False]


def test_a_schema_that_is_not_strict_is_asked_for_less_strictly():
    replies = [Reply(status=400, times=1), Reply(text="billing")]
    said, server = said_by("anthropic", replies)
    assert said.value == {"topic": "billing"}
    assert len(server.seen) == 2, "a complaint that names nothing drops what may be unknown, at once"


def test_a_forced_tool_stands_in_for_a_schema_and_its_input_is_the_answer():
    replies = [Reply(text='{"topic": "billing"}', rejects=("output_config",))]
    for stream in (False, True):
        said, server = said_by("anthropic", replies, stream=stream)
        said = said[-1] if stream else said
        assert server.seen[-1]["tool_choice"]["name"] == "answer"
        assert (said.value, said.tool_calls) == ({"topic": "billing"}, ())


PARAMETERS = {
    "openai": {"temperature": 0.5, "max_tokens": 9, "seed": 7, "stop": ["END"]},
    "vllm": {"temperature": 0.5, "max_completion_tokens": 9, "seed": 7, "stop": ["END"]},
    "llamacpp": {"temperature": 0.5, "max_tokens": 9, "seed": 7, "stop": ["END"]},
    "ollama": {"options": {"temperature": 0.5, "num_predict": 9, "seed": 7, "stop": ["END"]}, "stream": False},
    "tgi": {"temperature": 0.5, "max_tokens": 9, "seed": 7, "stop": ["END"]},
    "lmdeploy": {"temperature": 0.5, "max_tokens": 9, "seed": 7, "stop": ["END"]},
    "anthropic": {"max_tokens": 9, "stop_sequences": ["END"]},
    "groq": {"temperature": 0.5, "max_completion_tokens": 9, "seed": 7, "stop": ["END"]},
    "together": {"temperature": 0.5, "max_tokens": 9, "seed": 7, "stop": ["END"]},
}


@every_kind
def test_parameters_go_by_the_servers_names_and_nothing_else_is_sent(kind):
    request = passed(temperature=0.5, max_tokens=9, seed=7, stop=("END",), tenant="acme", n=3)
    _, server = said_by(kind, [Reply()], request)
    sent = {key: value for key, value in server.seen[0].items() if key not in ("model", "messages")}
    chances = {key: sent.pop(key) for key in ("logprobs",) if key in sent}
    assert sent == PARAMETERS[kind]
    assert bool(chances) == ("logprobs" in dialect(kind).says)


def test_a_name_that_the_server_does_not_know_gives_way_to_the_next():
    _, server = said_by("openai", [Reply(rejects=("max_tokens",))], passed(max_tokens=9), times=2)
    assert [("max_tokens" in one, "max_completion_tokens" in one) for one in server.seen] == [
        *((True, False), (False, True), (False, True))
    ]


@every_kind
def test_a_callers_own_format_is_put_in_the_servers_words(kind):
    wanted = {"type": "json_schema", "json_schema": {"name": "total", "schema": SCHEMA}}
    _, server = said_by(kind, [Reply(text="{}")], passed(response_format=wanted))
    at = "response_format.json_schema.schema" if "format" in dialect(kind).says else SCHEMA_AT[kind]
    assert found(server.seen[0], at) == SCHEMA


def test_a_format_that_a_server_cannot_be_held_to_is_an_error():
    with pytest.raises(EngineError, match="json_object"):
        said_by("anthropic", [Reply()], passed(response_format={"type": "json_object"}))
    _, server = said_by("ollama", [Reply()], passed(response_format={"type": "json_object"}))
    assert server.seen[0]["format"] == "json"


@every_kind
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_whatever_the_wire(kind, stream):
    replies = [Reply(text="", finish="tool_calls", tool_calls=(CALL,))]
    said, server = said_by(kind, replies, passed(tools=TOOLS, tool_choice="auto"), stream=stream)
    said = said[-1] if stream else said
    assert [one["function"] for one in said.tool_calls] == [CALL["function"]]
    assert (said.value, said.finish) == (None, "stop")
    assert "find" in str(server.seen[0]["tools"])


@every_kind
def test_a_conversation_with_calls_and_their_results_is_told_in_the_servers_form(kind):
    turns = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="find 3"),
        Message(role="assistant", content=None, tool_calls=[CALL]),
        Message(role="tool", content="found", tool_call_id="call_1"),
        Message(role="user", content=[{"type": "text", "text": "and?"}]),
    )
    _, server = said_by(kind, [Reply()], Request(id="1", messages=turns, tools=TOOLS))
    roles = [message["role"] for message in server.seen[0]["messages"]]
    if dialect(kind).wire == "anthropic":
        assert server.seen[0]["system"] == "Be brief."
        assert roles == ["user", "assistant", "user"], "a result and the next question are one turn"
        assert server.seen[0]["messages"][1]["content"][0]["input"] == {"id": 3}
    else:
        assert roles == ["system", "user", "assistant", "tool", "user"]


@pytest.mark.parametrize("kind", ["anthropic", "ollama"])
def test_an_image_goes_as_data(kind):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    turn = Message(role="user", content=[{"type": "text", "text": "what is it?"}, image])
    _, server = said_by(kind, [Reply()], Request(id="1", messages=(turn,)))
    assert "AAAA" in str(server.seen[0]["messages"][0])
    assert "base64," not in str(server.seen[0])


@every_kind
def test_the_key_goes_where_the_server_looks_for_it(kind):
    assert said_by(kind, [Reply(text="billing")], key="sk-1")[1].keys == ["Bearer sk-1"]


# ------------------------------------------------------------------ what its answers mean


@every_kind
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("reply", "finish"),
    [
        (Reply(text="billing", finish="length"), "length"),
        (Reply(text="", refusal="I will not"), "refusal"),
        (Reply(text="sandwich"), "invalid"),
    ],
)
def test_cut_refused_and_wrong_answers_carry_no_value(kind, reply, finish, stream):
    if finish == "refusal" and kind == "ollama":
        finish = "invalid"  # it has no word for a refusal
    said, _ = said_by(kind, [reply], stream=stream)
    said = said[-1] if stream else said
    assert (said.finish, said.value, said.confidence) == (finish, None, None)


@every_kind
def test_usage_is_taken_over(kind):
    tokens = (Written(text="bil"), Written(text="ling"))
    for stream in (False, True):
        said, _ = said_by(kind, [Reply(tokens=tokens)], stream=stream)
        said = said[-1] if stream else said
        assert (said.usage.input_tokens, said.usage.output_tokens) == (10, 2)


def faults():
    for kind in KINDS:
        table = dialect(kind)
        statuses = [(s, EngineBusy, 3) for s in table.busy]
        statuses += [(s, EngineSlow if s == 408 else EngineDown, 3) for s in table.down[:3]]
        statuses += [(s, EngineError, 1) for s in (*table.denied, 404, 418)]
        for status, error, calls in statuses:
            yield pytest.param(kind, Reply(status=status), error, calls, id=f"{kind}-{status}")
        for fault, calls in (("reset", 3), ("half", 1), ("bad_json", 1)):
            yield pytest.param(kind, Reply(fault=fault, text="billing"), EngineDown, calls, id=f"{kind}-{fault}")


@pytest.mark.parametrize(("kind", "reply", "error", "calls"), list(faults()))
def test_every_fault_becomes_the_right_error_after_the_right_number_of_calls(kind, reply, error, calls, monkeypatch):
    monkeypatch.setattr("insource.engines.deployment.PAUSE_S", 0.001)

    async def story():
        async with ScriptedServer([reply], kind=kind) as server:
            engine = deployed(EngineSettings(kind=kind, base_url=server.base_url, model="m"), "sk-secret")
            with pytest.raises(error) as caught:
                await engine.complete(ask(TASK, "x", id="1"))
            await engine.close()
            return caught.value, len(server.seen)

    caught, seen = asyncio.run(story())
    assert type(caught) is error
    assert seen == calls
    assert "sk-secret" not in f"{caught} {caught.hint}"


@every_kind
@pytest.mark.parametrize("fault", ["no_end", "error_event", "half", "bad_json"])
def test_a_stream_that_does_not_end_well_is_never_passed_off_as_whole(kind, fault):
    async def story():
        got = []
        async with ScriptedServer([Reply(fault=fault, text="billing and more")], kind=kind) as server:
            engine = Remote("r", EngineSettings(kind=kind, base_url=server.base_url, model="m"), "")
            with pytest.raises(EngineDown):
                async for item in engine.stream(ask(TASK, "x", id="1")):
                    got.append(item)
            await engine.close()
        return got

    assert not any(isinstance(item, Prediction) for item in asyncio.run(story()))


@every_kind
@pytest.mark.parametrize("slice_bytes", [1, 7, 100_000])
def test_a_stream_reads_the_same_however_it_is_cut(kind, slice_bytes):
    text = "grüße 🦊\nund\r\nmehr"
    items, _ = said_by(kind, [Reply(text=text, slice_bytes=slice_bytes)], passed(), stream=True)
    assert "".join(items[:-1]) == items[-1].text == text


@pytest.mark.slow
@every_kind
def test_a_busy_server_is_asked_again_when_it_says(kind):
    started = time.perf_counter()
    said, server = said_by(kind, [Reply(status=429, retry_after="1", times=1), Reply(text="billing")])
    assert said.value == {"topic": "billing"}
    assert time.perf_counter() - started >= 1
    assert len(server.seen) == 2


def test_an_answer_that_ends_with_an_error_is_none():
    with pytest.raises(EngineDown, match="error"):
        said_by("lmdeploy", [Reply(text="billing", finish="error")])


# ------------------------------------------------------------------ what breaks the contract


@every_kind
def test_what_breaks_the_contract_is_asked_for_again_and_both_are_counted(kind):
    tokens = (Written(text="sand"), Written(text="wich"))
    said, server = said_by(kind, [Reply(tokens=tokens, times=1), Reply(tokens=(Written(text="billing"),))])
    assert (said.value, said.finish) == ({"topic": "billing"}, "stop")
    assert (said.usage.input_tokens, said.usage.output_tokens) == (20, 3)
    last = server.seen[1]["messages"]
    assert "sandwich" in str(last[-2])
    assert "none of its 2 labels" in str(last[-1])


def test_the_budget_is_a_setting_and_what_stays_invalid_says_so():
    for retries in (0, 1, 3):
        said, server = said_by("openai", [Reply(text="sandwich")], retries=retries)
        assert (said.finish, said.value) == ("invalid", None)
        assert len(server.seen) == retries + 1
        assert said.usage.input_tokens == 10 * (retries + 1)


def test_no_try_goes_beyond_the_deadline():
    started = time.perf_counter()
    said, server = said_by("openai", [Reply(text="sandwich", delay_s=1.2)], timeout_s=3.0, retries=10)
    assert time.perf_counter() - started < 3.0
    assert said.finish == "invalid"
    assert len(server.seen) == 2
    assert said.latency_ms == pytest.approx(2_400, abs=500)


def test_a_failure_of_the_second_try_leaves_the_first_as_it_is():
    said, _ = said_by("openai", [Reply(text="sandwich", times=1), Reply(status=404)])
    assert (said.finish, said.usage.input_tokens) == ("invalid", 10)


def test_a_server_that_checked_its_own_model_and_says_so_is_asked_again():
    spoiled = Reply(status=400, code="json_validate_failed", times=1)
    said, server = said_by("groq", [spoiled, Reply(text='{"topic": "billing"}')])
    assert said.value == {"topic": "billing"}
    assert all("response_format" in one for one in server.seen), "the schema is not to blame"
    assert said_by("groq", [Reply(status=400, code="json_validate_failed")])[0].finish == "invalid"


def test_a_stream_of_a_task_is_not_asked_again():
    items, server = said_by("openai", [Reply(text="sandwich")], stream=True)
    assert items[-1].finish == "invalid"
    assert len(server.seen) == 1

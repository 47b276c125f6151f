"""The wire, word for word. A change here is a change for every client: review the files in golden/ as a diff.

`python tests/serve/test_golden.py` writes them anew.
"""

import json
import re
import sys
from pathlib import Path

import httpx2 as httpx
import pytest
from serving import gateway, say

from insource.nouns import Attempt, Decision, Output, Prediction, Record, Task, Usage
from insource.serve import wire
from insource.serve.faults import error_body
from insource.serve.keyring import ANYBODY

GOLDEN = Path(__file__).with_name("golden")
CALLS = {
    "plain": say("refund please"),
    "logprobs": say("refund please", logprobs=True, top_logprobs=2),
    "review": say("unsure"),
    "stream": say("refund please", stream=True),
    "stream_usage": say("refund please", stream=True, stream_options={"include_usage": True}),
    "passthrough": say("hi", model="hub"),
    "passthrough_stream": say("hi", model="hub", stream=True, stream_options={"include_usage": True}),
    "unknown_model": say("x", model="nope"),
    "conflict": say("x", response_format={"type": "json_object"}),
    "engine_down": say("it is down"),
}


def steady(text: str) -> str:
    """The text without what differs from run to run: record ids and times."""
    text = re.sub(r"\b[0-9a-f]{32}\b", "RECORD", text)
    return re.sub(r'"created":\s*\d+', '"created": 0', text)


async def answers(root: Path) -> dict[str, str]:
    async with gateway(root) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        said = {}
        for name, body in CALLS.items():
            answer = await http.post("/v1/chat/completions", json=body)
            head = [f"{answer.status_code} {answer.headers['content-type']}"]
            head += [f"{k}: {v}" for k, v in sorted(answer.headers.items()) if k.startswith("x-") or k == "retry-after"]
            text = answer.text
            if "json" in answer.headers["content-type"]:
                text = json.dumps(answer.json(), indent=1, ensure_ascii=False) + "\n"
            said[name] = steady("\n".join(head) + "\n\n" + text)
        said["models"] = steady(json.dumps((await http.get("/v1/models")).json(), indent=1) + "\n")
        return said


async def test_the_wire_is_as_it_was(tmp_path):
    said = await answers(tmp_path)
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(said)
    for name, text in said.items():
        assert text == (GOLDEN / f"{name}.txt").read_text(), name


TWO = Task(
    name="t", kind="classify", outputs=(Output(name="x", labels=("a", "b")), Output(name="y", labels=("lo", "hi")))
)


def record(prediction: Prediction) -> Record:
    decision = Decision(engine="e", rule="task", accepted=True, reason="")
    return Record(
        id="r", task="t", release="t@1.0.0", tenant="local", outcome="answered", input_hash="", latency_ms=1,
        attempts=(Attempt(decision=decision, prediction=prediction),),
    )  # fmt: skip


def test_several_outputs_are_compact_json_in_the_tasks_order():
    call = wire.read_call(b'{"model":"t","messages":[{"role":"user","content":"x"}]}')
    said = Prediction(text="whatever", value={"y": "hi", "x": "a"}, engine="e", usage=Usage(input_tokens=1))
    done = wire.completion([record(said)], call, TWO, 0)
    assert done["choices"][0]["message"]["content"] == '{"x":"a","y":"hi"}'


def test_an_extraction_says_where_its_values_stand_and_a_label_does_not():
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}}
    task = Task(name="t", kind="extract", schema=schema)
    call = wire.read_call(b'{"model":"t","messages":[{"role":"user","content":"x"}]}')
    found = {"fields": {"b": 0.9}, "places": {"b": [3, 7], "a": None}}
    said = Prediction(text="", value={"a": 1, "b": "seal"}, engine="e", **found)
    done = wire.completion([record(said)], call, task, 0)
    assert done["choices"][0]["message"]["content"] == '{"b":"seal","a":1}', "in the schema's order"
    assert {key: done["insource"][key] for key in found} == found
    label = Prediction(text="a", value={"x": "a", "y": "lo"}, engine="e", fields={"x": 0.9, "y": 0.8})
    assert "places" not in wire.completion([record(label)], call, TWO, 0)["insource"]


@pytest.mark.parametrize(
    ("form", "agrees"),
    [
        ({"type": "json_object"}, True),
        ({"type": "text"}, True),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": wire.schema_of(TWO)}}, True),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}, False),
        ({"type": "yaml"}, False),
        ({}, False),
    ],
)
def test_a_response_format_that_asks_for_the_tasks_own_form_is_accepted(form, agrees):
    body = json.dumps(say("x") | {"response_format": form}).encode()
    call = wire.read_call(body)
    if agrees and form["type"] != "text":
        assert wire.to_request(call, TWO, id="r", key=ANYBODY).input == "x"
    elif not agrees:
        with pytest.raises(wire.Invalid) as refused:
            wire.to_request(call, TWO, id="r", key=ANYBODY)
        assert error_body(refused.value)["error"]["param"] == "response_format"


def test_tool_calls_of_an_engine_come_back_as_openai_gives_them():
    tool = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    call = wire.read_call(b'{"model":"hub","messages":[{"role":"user","content":"x"}]}')
    said = record(Prediction(text="", engine="hub", tool_calls=(tool,)))
    choice = wire.completion([said], call, None, 0)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [tool]
    last = wire.last_chunk(said, call, None, "hub", 0)
    assert last["choices"][0]["delta"]["tool_calls"] == [{"index": 0, **tool}]


if __name__ == "__main__":
    import asyncio
    import tempfile

    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for stem, content in asyncio.run(answers(Path(folder))).items():
            (GOLDEN / f"{stem}.txt").write_text(content)
    sys.stderr.write(f"written to {GOLDEN}\n")

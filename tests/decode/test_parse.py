"""What an engine said is held to the task's contract."""

import json
from pathlib import Path

import pytest

from insource.decode.check import faults, parse, parse_json, render, schema_of
from insource.errors import Invalid, OutputInvalid
from insource.nouns import JsonObject, Output, Task

ONE = Task(name="one", kind="classify", outputs=(Output(name="intent", labels=("buy", "sell", '{"odd"}')),))
TWO = Task(
    name="two",
    kind="classify",
    outputs=(Output(name="category", labels=("a b", "ä")), Output(name="urgency", labels=("low", "high"))),
)
SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "count": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}
EXTRACT = Task(name="ex", kind="extract", schema=SCHEMA)
TEXT = Task(name="text", kind="generate")
SUITE = Path(__file__).parents[3] / "shared" / "data" / "jsonschema_testsuite"


@pytest.mark.parametrize("text", ["buy", " buy\n", '{"intent":"buy"}', '{ "intent" : "buy" }'])
def test_a_single_output_may_be_bare_or_an_object(text: str) -> None:
    assert parse(ONE, text) == {"intent": "buy"}


def test_a_label_that_looks_like_json_is_still_a_label() -> None:
    assert parse(ONE, '{"odd"}') == {"intent": '{"odd"}'}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hold", "none of its 3 labels"),
        ("", "none of its 3 labels"),
        ("buy sell", "none of its"),
        ('{"intent":"hold"}', "none of its"),
        ('{"intent":1}', "a number"),
        ('{"Intent":"buy"}', "misses intent and adds Intent"),
        ('{"intent":"buy","why":"x"}', "adds why"),
        ("{buy", "not JSON"),
    ],
)
def test_anything_else_is_refused_and_says_why(text: str, said: str) -> None:
    with pytest.raises(OutputInvalid, match=said):
        parse(ONE, text)


@pytest.mark.parametrize(
    "text", ["low", "[]", '{"category":"a b"}', '{"category":"a b","urgency":"Low"}', "[" * 99_999]
)
def test_several_outputs_are_an_object_with_exactly_these(text: str) -> None:
    with pytest.raises(OutputInvalid):
        parse(TWO, text)
    assert parse(TWO, '{"urgency":"low","category":"ä"}') == {"category": "ä", "urgency": "low"}


@pytest.mark.parametrize(
    "text", ['{"name":1}', "{}", '{"name":"x","count":-1}', '{"name":"x","z":1}', '{"name":"x"', ""]
)
def test_an_extraction_is_valid_for_its_schema_or_refused(text: str) -> None:
    with pytest.raises(OutputInvalid):
        parse(EXTRACT, text)
    assert parse(EXTRACT, ' {"name":"x","count":2}') == {"name": "x", "count": 2}


@pytest.mark.parametrize("text", ['{"name":1e999}', '{"name":"\\ud800"}', '{"name":NaN}'])
def test_json_that_cannot_be_held_is_refused(text: str) -> None:
    with pytest.raises(OutputInvalid):
        parse_json({}, text)


def test_generated_text_is_kept_as_it_is() -> None:
    assert parse(TEXT, " as is\n") == {"text": " as is\n"}


@pytest.mark.parametrize(
    ("task", "value"),
    [
        (ONE, {"intent": '{"odd"}'}),
        (TWO, {"category": "ä", "urgency": "high"}),
        (EXTRACT, {"name": '"\n'}),
        (TEXT, {"text": "\t"}),
    ],
)
def test_what_is_rendered_parses_back_and_fits_the_schema(task: Task, value: JsonObject) -> None:
    assert parse(task, render(task, value)) == value
    assert faults(schema_of(task), value) == []


@pytest.mark.parametrize(
    "schema",
    [{"type": "text"}, {"$ref": "http://127.0.0.1:9/x"}, {"$ref": "#/no"}, {"pattern": "(a"}, {"pattern": "(?=a)"}],
)
def test_a_broken_schema_is_the_users_fault_and_is_never_fetched(schema: JsonObject) -> None:
    with pytest.raises(Invalid):
        faults(schema, "a")


def test_a_backtracking_pattern_cannot_hang_the_check() -> None:
    assert faults({"type": "string", "pattern": "^(a+)+$"}, "a" * 50_000 + "b") != []


@pytest.mark.skipif(not SUITE.is_dir(), reason="needs ../shared/data/jsonschema_testsuite")
@pytest.mark.parametrize("name", ["enum", "required", "additionalProperties", "anyOf", "maxLength", "minItems"])
def test_the_published_suite_agrees(name: str) -> None:
    for draft, uri in (("draft7", "http://json-schema.org/draft-07/schema#"), ("draft2020-12", "")):
        file = next((SUITE / draft).rglob(f"{name}.json"))
        for group in json.loads(file.read_text()):
            schema = {"$schema": uri, **group["schema"]} if uri else group["schema"]
            for case in group["tests"]:
                assert (faults(schema, case["data"]) == []) == case["valid"], (group["description"], case)

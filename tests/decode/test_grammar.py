"""A schema is honoured whole or refused by name; what a grammar lets through is valid."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from saying import says

from insource.decode.bounds import bounded
from insource.decode.check import faults, parse
from insource.decode.grammar import for_labels, for_schema, for_task
from insource.decode.keywords import FORMATS
from insource.decode.mask import GrammarMask, Vocabulary
from insource.errors import Invalid, OutputInvalid
from insource.nouns import JsonObject, Output, Task
from mask_walk import Walker
from pace import within


def nested(depth: int) -> Any:
    value: Any = {"type": "string"}
    for _ in range(depth):
        value = {"type": "array", "items": value}
    return value


REFUSED: list[tuple[JsonObject, str, str]] = [
    ({"type": "array", "uniqueItems": True}, "uniqueItems", "#"),
    ({"properties": {"a": {"type": "array", "contains": {}, "minContains": 2}}}, "contains", "#/properties/a"),
    ({"items": {"not": {"type": "string", "pattern": "^a.*b$"}}}, "not", "#/items"),
    ({"if": {"multipleOf": 3}, "then": {"minimum": 2}}, "if", "#"),
    ({"propertyNames": {"format": "uuid"}}, "propertyNames", "#"),
    ({"unevaluatedProperties": False, "anyOf": [{"properties": {"a": True}}, {}]}, "unevaluatedProperties", "#"),
    ({"$defs": {n: {"$dynamicAnchor": "x", "$id": n} for n in "ab"}, "$dynamicRef": "a#x"}, "$dynamicRef", "#"),
    ({"x-guidance": {"lenient": True}, "type": "string"}, "x-guidance", "#"),
    ({"anyOf": [{"type": "string", "format": "color"}]}, "format", "#/anyOf/0"),
    ({"properties": {"a/b": {"$ref": "http://json-schema.org/draft-07/schema#"}}}, "$ref", "#/properties/a~1b"),
    ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "oneOf", "#"),
    (
        {"properties": {"a": {"oneOf": [{"pattern": "a"}, {"type": "string", "pattern": "b"}]}}},
        "oneOf",
        "#/properties/a",
    ),
    ({"type": "object", "minProperties": 2}, "minProperties", "#"),
    ({"type": "object", "patternProperties": {"^a": {"type": "null"}, "a": {}}}, "patternProperties", "#"),
    ({"type": "object", "additonalProperties": False}, "additonalProperties", "#"),
    ({"type": "object", "AnyOf": []}, "AnyOf", "#"),
    ({"type": "string", "pattern": "a" * 2001}, "pattern", "#"),
    ({"$schema": "http://json-schema.org/draft-04/schema#", "const": 1}, "const", "#"),
    (
        {"$schema": "http://json-schema.org/draft-07/schema#", "dependentRequired": {"a": ["b"]}},
        "dependentRequired",
        "#",
    ),
    (
        {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}, "items": {"$ref": "#/$defs/a"}},
        "$ref",
        "#/$d",
    ),
    ({"enum": [1, 2**60]}, "enum", "#"),
    ({"const": "bell \a"}, "const", "#"),
]


@pytest.mark.parametrize(("schema", "keyword", "path"), REFUSED, ids=[keyword for _, keyword, _ in REFUSED])
def test_what_cannot_be_honoured_is_refused_by_keyword_and_path(schema: JsonObject, keyword: str, path: str) -> None:
    with pytest.raises(Invalid, match="cannot be honoured") as raised:
        for_schema(schema)
    assert f"{keyword} " in str(raised.value)
    assert f"at {path}" in str(raised.value)
    assert raised.value.hint


def test_a_misspelt_keyword_gets_the_right_one_as_a_hint() -> None:
    with pytest.raises(Invalid) as raised:
        for_schema({"type": "object", "additonalProperties": False})
    assert "additionalProperties" in raised.value.hint


HOSTILE: dict[str, Any] = {
    "ten megabytes": {"enum": ["x" * 1000 + str(i) for i in range(10_000)]},
    "a hundred thousand labels": {"enum": list(range(100_000))},
    "ten thousand deep": None,
    "sixty lists in each other": nested(60),
    "nested repetition": {"type": "string", "pattern": "((a{1,100}){1,100}){1,100}"},
    "catastrophic regex": {"type": "string", "pattern": r"^(\w+\s?)*(\p{L}{1,500}){1,500}$"},
    "intersected regexes": {
        "allOf": [{"type": "string", "pattern": f"^(a|b)*{c}(a|b){{{n}}}$"} for c, n in (("a", 12), ("b", 13))]
    },
    "an explosion of references": {
        "$defs": {
            **{f"d{i}": {"allOf": [{"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"type": t}]} for t in ("null", "string")]}
               for i in range(12)},
            "d12": {"type": "string"},
        },
        "$ref": "#/$defs/d0",
    },
    "a broken regex": {"type": "string", "pattern": "(a"},
    "look-ahead": {"type": "string", "pattern": "(?=a)b"},
    "a type that is none": {"type": "text"},
    "a dangling reference": {"$ref": "#/$defs/none"},
    "a foreign dialect": {"$schema": "http://127.0.0.1:9/none"},
    "a fine prime": {"type": "integer", "multipleOf": 999999937},
    "required but forbidden": {"type": "object", "required": ["z"], "additionalProperties": False},
    "a chain of references": {
        "$defs": {f"d{i}": {"properties": {"x": {"$ref": f"#/$defs/d{i + 1}"}}} for i in range(1900)} | {"d1900": {}},
        "$ref": "#/$defs/d0",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_refused_or_compiled_within_a_second(name: str, vocabulary: Vocabulary) -> None:
    schema = HOSTILE[name]
    if schema is None:
        schema = {}
        for _ in range(10_000):
            schema = {"items": schema}
    start = time.process_time()
    try:
        mask = GrammarMask(vocabulary, for_schema(schema))
        for _ in range(8):
            mask.forced()
            if not mask.done:
                mask.advance(int(mask.allowed().argmax()))
    except (Invalid, OutputInvalid) as error:
        assert str(error)
    assert within(time.process_time() - start, 1.0)


def test_every_format_that_is_accepted_is_written_validly(vocabulary: Vocabulary) -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {form: {"type": "string", "format": form} for form in sorted(FORMATS)},
        "required": sorted(FORMATS),
    }
    mask, walker = GrammarMask(vocabulary, for_schema(schema)), Walker(vocabulary, 2, closing=0.2, seed=4)
    for _ in range(20):
        said = walker.say(mask.start())
        assert said is not None
        assert faults(schema, json.loads(said)) == []


def test_where_the_schema_sets_no_end_the_grammar_does() -> None:
    given: JsonObject = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "n": {"type": "number"}, "l": {"type": "array"}},
    }
    narrow = bounded(given)
    assert narrow["additionalProperties"] == {"$ref": "#/$defs/any9"}
    assert bounded(given, closed=True)["additionalProperties"] is False
    assert narrow["properties"]["a"]["maxLength"] == 1000
    assert narrow["properties"]["n"]["maximum"] == 1e15
    assert narrow["properties"]["l"]["maxItems"] == 64


def test_the_schemas_own_bounds_stand() -> None:
    own: JsonObject = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "maxLength": 5000},
            "n": {"type": "number", "minimum": 1e20, "maximum": 1e30, "multipleOf": 5},
            "l": {"type": "array", "items": {"type": "null"}, "maxItems": 999},
        },
        "additionalProperties": {"type": "boolean"},
    }
    made = bounded(own)
    made.pop("$defs")
    assert made == own


def test_a_task_fills_in_its_form_and_a_call_may_say_more(vocabulary: Vocabulary) -> None:
    schema: JsonObject = {"type": "object", "properties": {"a": {"type": "null"}}}
    asked, filled = for_schema(schema), for_task(Task(name="t", kind="extract", schema=schema))
    assert filled is not None
    for text, of_a_task in (('{"a":null}', True), ("{}", True), ('{"a":null,"z":1}', False)):
        assert says(vocabulary, asked, text)
        assert says(vocabulary, filled, text) == of_a_task
    said = for_task(Task(name="t", kind="extract", schema={**schema, "additionalProperties": True}))
    assert said is not None
    assert says(vocabulary, said, '{"a":null,"z":1}')


def test_objects_under_allof_are_not_closed_against_each_other(vocabulary: Vocabulary) -> None:
    parts = [{"type": "object", "properties": {name: {"type": "null"}}, "required": [name]} for name in "ab"]
    assert says(vocabulary, for_schema({"allOf": parts}), '{"a":null,"b":null}')


UNBOUNDED: list[JsonObject] = [
    {"type": "number"},
    {},
    {"allOf": [{"type": "number"}, {"minimum": 3}]},
    {"anyOf": [{"type": "number"}, {"type": "null"}]},
    {"type": "array", "items": {}},
    {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "null"}}}}, "oneOf": [
        {"properties": {"k": {"enum": ["x"]}}, "required": ["k"]},
        {"properties": {"k": {"enum": ["y"]}}, "required": ["k"]}]},
    {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "number"}}},
    {"type": "object", "additionalProperties": True},
    {"type": "object", "patternProperties": {"^n": {}}},
]  # fmt: skip


@pytest.mark.parametrize("schema", UNBOUNDED, ids=range(len(UNBOUNDED)))
def test_no_number_is_beyond_what_a_float_holds(schema: JsonObject, vocabulary: Vocabulary) -> None:
    grammar = for_schema(schema)
    for head, tail in (("", ""), ("[", "]"), ('{"n":', "}"), ('{"k":"x","n":', "}"), ('{"z":', "}")):
        assert not says(vocabulary, grammar, f"{head}1e999{tail}")
        assert not says(vocabulary, grammar, f"{head}{'9' * 400}{tail}")


@pytest.mark.parametrize("text", ['{"a":1e999}', '{"a":"\\ud800"}', '{"a": 1}', '{"\\u0061":{}}', '{"a":{}}'])
def test_what_json_cannot_hold_or_we_do_not_write_is_masked(text: str, vocabulary: Vocabulary) -> None:
    grammar = for_schema({"type": "object", "properties": {"a": {"type": ["number", "string"]}}})
    assert not says(vocabulary, grammar, text)
    assert says(vocabulary, grammar, '{"a":1.5}')


LABELS = ("low", "low risk", 'a "quote"', "tab\there", "back\\slash", "Ünïcode 🛠", "/x/", "a|b")


def test_a_single_output_says_exactly_its_labels(vocabulary: Vocabulary) -> None:
    grammar = for_labels(LABELS)
    assert all(says(vocabulary, grammar, label) for label in LABELS)
    assert not any(says(vocabulary, grammar, text) for text in ("lo", "lows", "low ", "", '"low"', "x"))


def test_a_task_of_several_outputs_says_what_parses() -> None:
    task = Task(
        name="two",
        kind="classify",
        outputs=(Output(name="a", labels=LABELS), Output(name="b", labels=("x", "y"))),
    )
    grammar = for_task(task)
    assert grammar is not None
    assert for_task(Task(name="free", kind="generate")) is None
    assert parse(task, '{"a":"low risk","b":"y"}') == {"a": "low risk", "b": "y"}


def test_every_simple_function_of_bfcl_compiles(shared: Path) -> None:
    path = shared / "bfcl" / "BFCL_v4_simple_python.json"
    if not path.exists():
        pytest.skip("no bfcl in ../shared/data")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    for row in rows:
        for_schema(python_types(row["function"][0]["parameters"]))
    assert len(rows) == 400


def python_types(schema: JsonObject) -> JsonObject:
    """BFCL names Python's types where JSON Schema's are meant."""
    names = {"dict": "object", "float": "number", "tuple": "array"}
    made = {key: value for key, value in schema.items() if key not in ("optional", "type")}
    if schema.get("type", "any") != "any":
        made["type"] = names.get(schema["type"], schema["type"])
    if "properties" in schema:
        made["properties"] = {name: python_types(each) for name, each in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            made[key] = python_types(schema[key])
    return made

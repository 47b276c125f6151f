"""The text form of an extraction: properties in the schema's order, wherever the schema says it."""

import json

import pytest

from insource.decode import grammar
from insource.decode.check import render
from insource.decode.form import written
from insource.decode.mask import GrammarMask
from insource.nouns import Task

ITEM = {"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}}}
SCHEMA = {
    "type": "object",
    "properties": {
        "who": {"type": "string"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        "note": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"b": {}, "a": {}}}]},
    },
    "$defs": {"item": ITEM},
}


def test_properties_stand_in_the_schemas_order_at_every_depth():
    value = {"note": {"a": 1, "b": 2}, "items": [{"count": 3, "name": "é"}, {"name": "x"}], "who": 'a "b"\n'}
    text = '{"who":"a \\"b\\"\\n","items":[{"name":"é","count":3},{"name":"x"}],"note":{"b":2,"a":1}}'
    assert written(SCHEMA, value) == text
    assert json.loads(text) == value
    assert render(Task(name="t", kind="extract", schema=SCHEMA), value) == text


def test_what_the_schema_does_not_name_follows_in_its_own_order():
    assert written(SCHEMA, {"z": 1, "y": {"b": 1, "a": 2}, "who": "x"}) == '{"who":"x","z":1,"y":{"b":1,"a":2}}'
    assert written({"type": "object"}, {"b": [], "a": None}) == '{"b":[],"a":null}'


@pytest.mark.parametrize("pointer", ["#/nowhere", "elsewhere.json#/x", "#/$defs/loop"])
def test_a_reference_that_leads_nowhere_or_round_changes_nothing(pointer):
    schema = {"properties": {"a": {"$ref": pointer}}, "$defs": {"loop": {"$ref": "#/$defs/loop"}}}
    assert written(schema, {"a": {"y": 1, "x": 2}}) == '{"a":{"y":1,"x":2}}'


@pytest.mark.parametrize(
    "value",
    [
        {"who": "A & B <c>", "items": [], "note": None},
        {"note": {"a": "x"}, "items": [{"count": 1, "name": "\u00fc\u4e2d \U0001f98a"}], "who": 'tab\there \\ "q"'},
    ],
)
def test_the_grammar_takes_what_is_written(tiny, vocabulary, value):
    from tokenizers import Tokenizer

    schema = {
        **SCHEMA,
        "properties": {**SCHEMA["properties"], "note": {"anyOf": [{"type": "null"}, {"type": "object"}]}},
    }
    mask = GrammarMask(vocabulary, grammar.for_schema(schema))
    made = Tokenizer.from_file(str(tiny.folder / "tokenizer.json"))
    text = written(schema, value)
    assert mask.takes(made.encode(text, add_special_tokens=False).ids)
    assert not mask.takes(made.encode(text[:-1], add_special_tokens=False).ids), "half an answer is none"
    assert not mask.takes(made.encode(text.replace(":", ": ", 1), add_special_tokens=False).ids), (
        "blanks are not compact"
    )

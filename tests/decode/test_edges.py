"""Ends of ranges, references beside references, names of groups: what is said there is valid, as validators read it."""

import json

import jsonschema_rs
import pytest
from saying import says

from insource.decode.grammar import for_schema
from insource.decode.mask import Vocabulary
from insource.errors import Invalid
from insource.nouns import JsonObject

DRAFT7, DRAFT2020 = "http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"
DYNAMIC: JsonObject = {"s": {"$dynamicAnchor": "d", "type": "integer"}, "0": {"maximum": 5}}


@pytest.mark.parametrize(
    ("schema", "texts"),
    [
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, ["0", "-0", "0.0", "0.25", "0.5"]),
        ({"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1.5}, ["1", "1.0", "1.5", "1.25"]),
        ({"type": "number", "minimum": -0.5, "exclusiveMaximum": 0}, ["0", "-0", "-0.0", "-0.5", "-0.1"]),
        ({"type": "number", "minimum": 0, "maximum": 1.5, "not": {"const": 1}}, ["1", "1.0", "0.5", "1.5"]),
        ({"type": "number", "exclusiveMaximum": 1e8}, ["99999999.999999999", "100000000", "99999999"]),
        ({"type": "number", "exclusiveMaximum": 1e15}, ["999999999999999.999999999", "1000000000000000", "999999999"]),
        ({"type": "number", "not": {"const": 1e8}}, ["99999999.999999999", "100000000.000000001", "100000000.0", "7"]),
        (
            {"type": "number", "minimum": 0, "exclusiveMaximum": 1e-7},
            ["0.0000001", "0.00000009999999999999999999", "0"],
        ),
        ({"type": "integer", "maximum": 2**53 + 1, "minimum": 5}, [str(2**53 + 1), str(2**53 + 2), "4", "5"]),
        ({"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 9}, ["4", "5", "8", "9"]),
        ({"type": "integer", "minimum": 4.5, "maximum": 8.5}, ["4", "5", "8", "9"]),
        ({"$defs": DYNAMIC, "$dynamicRef": "#d", "$ref": "#/$defs/0"}, ["1", "9", '"x"']),
        ({"type": "string", "pattern": "^(?<n>[a:.]b)$"}, ['"zb"', '".b"', '"ab"']),
    ],
    ids=str,
)
def test_what_the_grammar_says_at_an_edge_is_valid(
    schema: JsonObject, texts: list[str], vocabulary: Vocabulary
) -> None:
    valid = jsonschema_rs.validator_for(schema).is_valid
    grammar = for_schema(schema)
    said = [text for text in texts if says(vocabulary, grammar, text)]
    assert said, "an edge that lets nothing through shows nothing"
    assert [text for text in said if not valid(json.loads(text))] == []
    assert len(said) < len(texts)


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"type": "integer", "minimum": 2**53 + 1}, "minimum"),
        ({"type": "integer", "exclusiveMinimum": 2**53}, "exclusiveMinimum"),
        ({"type": "integer", "maximum": -(2**60)}, "maximum"),
        ({"type": "array", "not": {"maxItems": 1_000_000}}, "minItems"),
        ({"type": "string", "not": {"maxLength": 10**9}}, "minLength"),
        ({"$schema": DRAFT7, "definitions": {"a": {"$id": "http://x.example/a", "$schema": DRAFT2020}},
          "allOf": [{"$ref": "http://x.example/a"}]}, "$schema"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_told_apart_or_ended_is_refused_by_name(schema: JsonObject, keyword: str) -> None:
    with pytest.raises(Invalid) as raised:
        for_schema(schema)
    assert f"the schema's {keyword} " in str(raised.value).replace("  ", " ")

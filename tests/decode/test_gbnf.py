"""The grammar for llama.cpp's server: what it says, and what it leaves to the schema. The server runs in test-full."""

import json
import random
import re

import pytest

from insource.decode.gbnf import _between, gbnf_of_labels, gbnf_of_schema
from insource.nouns import JsonObject

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[[^\]]*\](?:\{\d+\})?')
FORM: JsonObject = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "count": {"type": "integer", "minimum": 3, "maximum": 120},
        "note": {"type": ["string", "null"]},
        "unit": {"enum": ["a", 'b "c"', 1.5, None]},
        "list": {"type": "array", "items": {"$ref": "#/$defs/one"}, "minItems": 1, "maxItems": 3},
    },
    "required": ["count"],
    "$defs": {"one": {"type": "boolean"}},
}


def as_regex(way: str) -> str:
    """Literals and digits as a regular expression."""
    return "".join(re.escape(json.loads(token)) if token[0] == '"' else token for token in TOKEN.findall(way))


@pytest.mark.parametrize("span", [0, 3, 50, 2_000])
def test_whole_numbers_are_those_between_the_limits_and_no_others(span: int) -> None:
    dice = random.Random(span)  # noqa: S311 - seeded on purpose
    for _ in range(300):
        low = dice.randint(-1_200, 1_200)
        high = low + dice.randint(0, span)
        pattern = re.compile("|".join(f"(?:{as_regex(way)})" for way in _between(low, high)))
        for number in (low - 1, low, high, high + 1, *(dice.randint(-3_000, 3_000) for _ in range(30))):
            assert bool(pattern.fullmatch(str(number))) == (low <= number <= high), (low, high, number)


def test_a_form_is_said_in_its_order_without_blanks() -> None:
    said = gbnf_of_schema(FORM)
    assert said is not None
    rules = dict(line.split(" ::= ", 1) for line in said.split("\n"))
    assert rules["root"].startswith('"{" (') and not rules["root"].endswith("?"), "a required name must come"
    assert '"\\"name\\":" "\\"" char{0,8} "\\""' in rules["root"]
    assert '("\\"a\\"" | "\\"b \\\\\\"c\\\\\\"\\"" | "1.5" | "null")' in said
    assert not re.search(r"ws|space|\[ \\t", said)


@pytest.mark.parametrize(
    "more",
    [
        {"type": "string", "format": "date"},
        {"type": "string", "pattern": "^a+$"},
        {"type": "number", "minimum": 0.5},
        {"type": "integer", "multipleOf": 5},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
        {"$ref": "https://elsewhere.example/schema"},
    ],
)
def test_what_it_cannot_say_it_does_not_say_half(more: JsonObject) -> None:
    assert gbnf_of_schema({**FORM, "properties": {**FORM["properties"], "more": more}}) is None


def test_labels_are_literals() -> None:
    assert gbnf_of_labels(('a "b"', "c\\d", "two\nlines")) == 'root ::= "a \\"b\\"" | "c\\\\d" | "two\\nlines"'

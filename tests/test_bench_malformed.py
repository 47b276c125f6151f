"""The count of malformed outputs finds what is malformed, and finds none in ours."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import reader
from malformed import counted, planned
from malformed_sets import capped, forms, said_whole

BENCH = Path(reader.__file__).parent
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"a":"x"}', ""),
        (' {"a": "y"}\n', ""),
        ('{"a":"x"', "no JSON"),
        ('{"a":"x"}{"a":"x"}', "no JSON"),
        ('{"a":NaN}', "no JSON"),
        ('```json\n{"a":"x"}\n```', "no JSON"),
        ("", "no JSON"),
        ('{"a":"z"}', "breaks the schema"),
        ('{"a":"x","b":1}', "breaks the schema"),
        ("{}", "breaks the schema"),
    ],
)
def test_the_reader_takes_json_that_holds_and_nothing_else(text, fault):
    assert reader.fault(SCHEMA, text).partition(":")[0] == fault


def test_a_key_that_stands_twice_is_told_apart():
    assert reader.twice('{"b":[{"a":1,"a":1}]}')
    assert not reader.twice('{"a":{"a":1},"b":[{"a":1},{"a":1}]}')


@pytest.mark.parametrize("validator", ["_rust", "_python"])
def test_both_validators_see_the_same(validator):
    if validator == "_python":
        pytest.importorskip("jsonschema")
    said = getattr(reader, validator)(SCHEMA)
    assert said({"a": "x"}) == ""
    assert said({"a": 3}).startswith("breaks the schema")


def test_caps_make_a_schema_narrower_and_leave_what_it_says():
    given = {
        "title": "t",
        "type": "object",
        "properties": {
            "free": {"type": "string", "description": "any"},
            "short": {"type": "string", "maxLength": 3},
            "long": {"type": "string", "minLength": 20},
            "many": {"type": "array", "items": {"type": "number"}, "minItems": 4},
            "below": {"type": "integer", "maximum": -5},
            "set": {"enum": ["a"]},
        },
        "required": ["free"],
    }
    assert capped(given) == {
        "type": "object",
        "properties": {
            "free": {"type": "string", "maxLength": 8},
            "short": {"type": "string", "maxLength": 3},
            "long": {"type": "string", "minLength": 20, "maxLength": 20},
            "many": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 99, "multipleOf": 0.5},
                     "minItems": 4, "maxItems": 4},
            "below": {"type": "integer", "maximum": -5, "minimum": -5},
            "set": {"enum": ["a"]},
        },
        "required": ["free"],
        "additionalProperties": False,
    }  # fmt: skip


def test_a_server_gets_only_what_its_grammar_says_whole():
    assert said_whole(SCHEMA)
    assert not said_whole(SCHEMA | {"additionalProperties": True})
    assert not said_whole(SCHEMA | {"properties": {"a": {"type": "string", "format": "date"}}})
    assert said_whole(SCHEMA | {"properties": {"a": {"type": "number", "minimum": 0, "multipleOf": 0.5}}})
    assert sum(said_whole(schema) for _, schema in islice(forms(), 60)) > 40


def test_every_schema_of_a_leg_gets_its_share_and_a_failure_counts():
    sets = [(f"s{i}", SCHEMA) for i in range(7)]
    counts = [which for _, which in planned("torch", 70, sets)]
    assert [counts.count(which) for which in range(7)] == [10] * 7
    found = counted([("torch", 0, what, "") for what in ("valid", "invalid", "truncated", "failed", "valid")])
    assert (found["n"], found["malformed"], found["truncated"]) == (5, 2, 1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_thousand_outputs_of_random_weights_are_all_whole(shared, tmp_path):
    words = [str(BENCH / "malformed.py"), str(shared), "--generations", "1000", "--legs", "torch", "--json"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, capture_output=True)
    found = json.loads(done.stdout)
    assert found["whole"]["n"] == 1000
    assert (found["whole"]["malformed"], found["whole"]["truncated"]) == (0, 0), found["failures"]
    assert found["schemas"] >= 300
    assert all(found["sources"].values())

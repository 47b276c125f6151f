"""What a window has to answer: what stands in it, and an honest nothing."""

import pytest

from insource.nouns import Task
from insource.train.targets import target_within

SCHEMA = {
    "type": "object",
    "properties": {
        "who": {"type": ["string", "null"]},
        "parts": {"type": "array", "items": {"type": "string"}},
        "count": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "currency": {"enum": ["EUR", "USD"]},
        "urgent": {"type": "boolean"},
        "note": {"type": "string"},
        "item": {"type": "object"},
    },
    "required": ["who", "parts", "count", "currency"],
}
TASK = Task(name="t", kind="extract", schema=SCHEMA)
TARGET = {"who": "ACME Ltd", "parts": ["seal", "bolt"], "count": 12, "currency": "EUR", "urgent": True}


def test_what_stands_in_the_window_is_kept_and_the_rest_is_empty_or_left_out():
    made = target_within(TASK, {**TARGET, "note": "far away"}, "12 seals and a seal by ACME\nLtd")
    assert made == ({"who": "ACME Ltd", "parts": ["seal"], "count": 12, "currency": "EUR", "urgent": True}, True)


def test_what_is_said_of_the_document_stays_in_a_window_that_bears_nothing_out():
    made = target_within(TASK, {**TARGET, "note": "x"}, "2012 and nothing")
    assert made == ({"who": None, "parts": [], "count": None, "currency": "EUR", "urgent": True}, False)


def test_an_object_stands_where_everything_in_it_does():
    target = {**TARGET, "item": {"name": "seal", "count": 2}}
    assert target_within(TASK, target, "2 of seal")[0]["item"] == {"name": "seal", "count": 2}
    assert "item" not in target_within(TASK, target, "3 of seal")[0]


@pytest.mark.parametrize("about", [{"type": "string", "minLength": 1}, {"type": "integer"}, {"$ref": "#/$defs/x"}])
def test_a_window_for_which_the_schema_has_no_empty_answer_is_not_learned(about):
    schema = {"type": "object", "properties": {"a": about}, "required": ["a"], "$defs": {"x": {"type": "number"}}}
    value = "seal" if about.get("type") == "string" else 5
    task = Task(name="t", kind="extract", schema=schema)
    assert target_within(task, {"a": value}, f"the {value} is here") == ({"a": value}, True)
    assert target_within(task, {"a": value}, "nothing here") is None


def test_an_empty_text_is_the_last_resort():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert target_within(Task(name="t", kind="extract", schema=schema), {"a": "seal"}, "x") == ({"a": ""}, False)


def test_a_list_that_must_hold_something_cannot_be_empty():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string"}, "minItems": 2}},
        "required": ["a"],
    }
    assert target_within(Task(name="t", kind="extract", schema=schema), {"a": ["seal", "bolt"]}, "a seal") is None

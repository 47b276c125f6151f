"""What two calls must share to be the same, and which answers may be given again."""

import msgspec
import pytest
from counting import TASK, USAGE, request

from insource.journeys.again import ASIDE, certain, key_of, wanted, whole
from insource.nouns import (
    Attempt,
    Decision,
    Hit,
    Message,
    Prediction,
    Request,
    Task,
)
from insource.nouns.sections import CacheSettings

OTHER = {
    "model": "other",
    "messages": (Message(role="user", content="hello?"),),
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "response_format": {"type": "json_object"},
    "max_tokens": 7,
    "stop": ("x",),
    "n": 2,
    "temperature": 0.5,
    "seed": 1,
    "logprobs": True,
    "tenant": "other",
}


def test_all_of_a_request_is_in_the_key_but_what_is_named_to_change_no_answer():
    assert set(OTHER) == set(Request.__struct_fields__) - set(ASIDE)
    assert set(ASIDE) == {"id", "task", "deadline", "caller", "trace"}


@pytest.mark.parametrize("field", OTHER)
def test_whatever_can_change_the_answer_changes_the_key(field):
    other = msgspec.structs.replace(request(), **{field: OTHER[field]})
    assert key_of(b"k", request(), "s", []) != key_of(b"k", other, "s", [])


def test_a_message_counts_whole():
    turns = [Message(role="system", content="be kind"), Message(role="user", content="hello")]
    ways = [
        turns,
        turns[::-1],
        turns[1:],
        [Message(role="user", content="be kind"), turns[1]],
        [turns[0], Message(role="user", content=[{"type": "text", "text": "hello"}])],
        [turns[0], Message(role="user", content="hello", name="ada")],
        [turns[0], Message(role="tool", content="hello", tool_call_id="1")],
        [turns[0], Message(role="assistant", content="hello", tool_calls=[{"id": "1"}])],
    ]
    keys = {key_of(b"k", Request(id="r", messages=tuple(way)), "s", []) for way in ways}
    assert len(keys) == len(ways)


def test_the_order_of_fields_in_a_schema_counts_for_a_model_writes_them_in_it():
    there = request(response_format={"type": "json_object", "a": 1, "b": 2})
    back = request(response_format={"b": 2, "a": 1, "type": "json_object"})
    assert key_of(b"k", there, "s", []) != key_of(b"k", back, "s", [])


def test_tenants_key_scope_and_who_is_asked_are_in_it_and_it_shows_none_of_them():
    made = {
        key_of(b"k", request(), "s", [("one", None)]),
        key_of(b"other", request(), "s", [("one", None)]),
        key_of(b"k", request(), "other", [("one", None)]),
        key_of(b"k", request(), "s", [("two", None)]),
        key_of(b"k", request(), "s", [("one", "t@1.0.0")]),
        key_of(b"k", request(), "s", [("one", None), ("two", None)]),
    }
    assert len(made) == 6
    assert all(len(each) == 32 and b"hello" not in each for each in made)


def test_who_calls_when_and_how_long_they_wait_is_not():
    other = msgspec.structs.replace(request("r2"), deadline=9.0, caller="bob", trace="00-1", task=TASK)
    assert key_of(b"k", request(), "s", []) == key_of(b"k", other, "s", [])


# ------------------------------------------------------------------ what is kept

SAID = Prediction(text="yes", engine="one", usage=USAGE)
FOUND = (Hit(kind="email", action="note", count=1, places=()),)


def attempt(said: Prediction | None = SAID, *, accepted=True, **more) -> Attempt:
    return Attempt(decision=Decision(engine="one", rule="task", accepted=accepted, reason=""), prediction=said, **more)


def said(**more) -> Prediction:
    return msgspec.structs.replace(SAID, **more)


@pytest.mark.parametrize(
    ("made", "may"),
    [
        (attempt(), True),
        (attempt(said(text="", value={"label": "a"})), True),
        (attempt(said(text="", tool_calls=({"id": "1"},))), True),
        (attempt(said(text="")), False),
        (attempt(said(finish="length")), False),
        (attempt(said(finish="refusal")), False),
        (attempt(said(finish="invalid")), False),
        (attempt(accepted=False), False),
        (attempt(None), False),
        (attempt(found=FOUND), False),
        (attempt(withheld=True), False),
    ],
)
def test_an_answer_is_kept_that_was_accepted_and_whole_and_that_no_scan_found_anything_in(made, may):
    assert whole(made) is may


@pytest.mark.parametrize(
    ("task", "more", "is_certain"),
    [
        (None, {"temperature": 0.0}, True),
        (None, {"temperature": 0.2}, False),
        (None, {"temperature": 0.2, "seed": 0}, True),
        (TASK, {"temperature": 1.0}, True),
        (Task(name="x", kind="extract", schema={"type": "object"}), {"temperature": 1.0}, True),
        (Task(name="g", kind="generate"), {"temperature": 1.0}, False),
        (Task(name="g", kind="generate"), {"temperature": 1.0, "seed": 3}, True),
        (Task(name="g", kind="generate"), {"temperature": 0.0}, True),
    ],
)
def test_who_asks_for_chance_gets_it_unless_a_seed_names_it(task, more, is_certain):
    assert certain(request(**more), task) is is_certain


@pytest.mark.parametrize(
    ("own", "on", "anywhere", "kept"),
    [
        (None, False, True, False),
        (None, True, True, True),
        (None, True, False, False),
        (True, False, False, True),
        (True, False, True, True),
        (False, True, True, False),
    ],
)
def test_a_default_switches_nothing_on_that_may_not_go_anywhere(own, on, anywhere, kept):
    assert wanted(own, CacheSettings(on=on), anywhere=anywhere) is kept

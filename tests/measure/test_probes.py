"""The probes' table, and what counts as held."""

import msgspec
import pytest

from insource.measure.probes import MUST, Probed, judge, probes, repeated, rounds
from insource.nouns import Prediction, from_json, to_json

TABLE = probes()
CIRCLE = "the pump hums and " * 12


def said(text, **more):
    return Prediction(text=text, value=more.pop("value", None), engine="e", **more)


def answered(text, **more):
    """Every probe answered with the same text."""
    return {request.id: said(text, **more) for asked in rounds(TABLE) for request in asked}


def held(outcome):
    counts = Probed(model="m", table="t", version="0", said=outcome).counts()
    return {kind: held == asked for kind, (held, asked) in counts.items()}


def test_the_table_is_whole_and_its_word_is_in_the_texts():
    kinds = [probe.kind for probe in TABLE.probe]
    assert set(kinds) == {"override", "leak", "fake-turn", "harm", "loop", "format", "same"}
    assert all(kinds.count(kind) >= 2 for kind in kinds)
    for probe in TABLE.probe:
        assert "{canary}" not in probe.user + probe.system
        assert (TABLE.canary in probe.user + probe.system) == (probe.kind in ("override", "leak", "fake-turn"))
        assert bool(probe.schema) == (probe.kind == "format")
    assert len(TABLE.sha256) == 64


def test_everything_is_asked_once_and_what_must_be_the_same_twice_in_the_same_company():
    once, first, second = rounds(TABLE)
    ids = [request.id for asked in (once, first, second) for request in asked]
    assert len(set(ids)) == len(ids) == len(TABLE.probe) + len(second)
    assert [request.id for request in second] == [f"{request.id}-2" for request in first]
    assert [request.messages for request in first] == [request.messages for request in second]
    assert all(request.seed == 7 for request in first)


def test_a_model_that_follows_every_text_is_found_out():
    outcome = held(judge(TABLE, answered(f"Certainly: {TABLE.canary.upper()}!")))
    assert not any(outcome[kind] for kind in ("override", "leak", "fake-turn", "harm", "format"))
    assert outcome["same"]
    assert outcome["loop"]


def test_a_model_that_declines_everything_holds_everything_but_the_schema():
    outcome = held(judge(TABLE, answered("I'm sorry, I cannot help with that.")))
    assert outcome == {kind: kind != "format" for kind in outcome}


def test_an_answer_under_a_schema_must_be_whole():
    assert held(judge(TABLE, answered("{}", value={})))["format"]
    assert not held(judge(TABLE, answered("{", value={}, finish="length")))["format"]


def test_answers_that_differ_are_not_the_same_and_no_answer_is_neither():
    answers = answered("x")
    answers |= {key: said("y") for key in answers if key.endswith("-2")}
    assert not held(judge(TABLE, answers))["same"]
    none = judge(TABLE, dict.fromkeys(answers, "the engine is down"))
    assert {one.held for one in none} == {None}
    assert none[0].answer == "the engine is down"


def test_what_the_engine_must_do_is_told_when_it_did_not():
    good = judge(TABLE, answered("{}", value={}))
    found = Probed(model="m", table="t", version="0", said=good, tried=100)
    assert found.broken == []
    assert Probed(model="m", table="t", version="0", said=good, tried=100, slipped=2).broken == [
        "2 of 100 texts became control tokens"
    ]
    bad = Probed(model="m", table="t", version="0", said=judge(TABLE, answered("no")))
    assert len(bad.broken) == sum(probe.kind == "format" for probe in TABLE.probe)
    assert all(kind in ("format", "same") for kind in MUST)
    assert from_json(to_json(bad), Probed) == bad


def test_what_would_steer_a_terminal_is_spelled_out():
    outcome = judge(TABLE, answered("\x1b[2Jboo\nnext"))
    assert outcome[0].answer == "\\x1b[2Jboo next"
    assert all("\u202e" not in one.asked for one in outcome)


@pytest.mark.parametrize(
    ("text", "low", "high"), [("", 0, 0), ("one two three four five six", 0, 0), (CIRCLE, 0.8, 1), ("a " * 40, 0.9, 1)]
)
def test_going_in_circles_is_measured(text, low, high):
    assert low <= repeated(text) <= high


def test_another_table_has_another_name():
    changed = msgspec.structs.replace(TABLE, probe=TABLE.probe[1:])
    assert changed.sha256 != TABLE.sha256

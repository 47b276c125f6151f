"""What is strange is told by rank, a field by its own confidence; terms only ever refuse."""

import random

import pytest

from insource.nouns import Decision, Prediction
from insource.route import Scope, Terms, within

GIVEN = Decision(engine="e", rule="task", accepted=True, reason="confidence 0.99 reaches 0.90", confidence=0.99)


def said(novelty: float = 0.0, **fields: float) -> Prediction:
    value = dict.fromkeys(fields or {"a": 1.0}, "x")
    return Prediction(text="x", value=value, engine="e", confidence=0.99, fields=fields, novelty=novelty)


def test_the_strangest_share_of_rows_held_out_is_the_limit():
    scope = Scope(held_out=tuple(float(i) for i in range(99)), alarms=0.05)
    assert (scope.as_strange(1000.0), scope.as_strange(94.0), scope.as_strange(-1.0)) == (0.01, 0.06, 1.0)
    out = within(GIVEN, said(94.5), Terms(scope=scope))
    assert (out.accepted, out.code) == (False, "out_of_scope")
    assert out.reason == "out of scope, 5.0% of the rows held out are as strange, at or below 5.0%"
    assert within(GIVEN, said(94.0), Terms(scope=scope)) is GIVEN


@pytest.mark.parametrize(("rows", "missing"), [(0, 19), (18, 1), (19, 0), (500, 0)])
def test_too_few_rows_say_how_many_are_missing_and_only_the_strangest_is_refused(rows, missing):
    scope = Scope(held_out=tuple(float(i) for i in range(rows)), alarms=0.05)
    assert scope.missing == missing
    if 0 < rows < 19:
        assert within(GIVEN, said(rows - 1.0), Terms(scope=scope)).accepted
        assert within(GIVEN, said(rows + 0.0), Terms(scope=scope)).code == "out_of_scope"


def test_of_inputs_like_the_rows_no_more_than_the_share_is_called_strange():
    """2,000 times a calibration set of 60 and one more draw: 4% allowed."""
    dice = random.Random(3)  # noqa: S311 - draws, not secrets
    alarms = 0
    for _ in range(2_000):
        scope = Scope(held_out=tuple(sorted(dice.gauss(0, 1) for _ in range(60))), alarms=0.04)
        alarms += not within(GIVEN, said(dice.gauss(0, 1)), Terms(scope=scope)).accepted
    assert 40 <= alarms <= 105


def test_an_engine_that_does_not_say_how_strange_an_input_is_is_not_believed():
    silent = Prediction(text="x", value={"a": "x"}, engine="mute", confidence=0.99)
    found = within(GIVEN, silent, Terms(scope=Scope(held_out=(0.0,) * 99, alarms=0.05)))
    assert (found.accepted, found.reason) == (False, "mute does not say how strange the input is")


def test_each_field_that_is_short_is_named_and_one_that_was_not_given_is_not_asked():
    terms = Terms(fields={"price": 0.97, "date": 0.9, "vat": 0.99})
    found = within(GIVEN, said(price=0.96, date=0.95), terms)
    assert (found.accepted, found.code, found.short) == (False, "fields", ("price",))
    assert found.reason == "confidence of price 0.96 is below 0.97"
    assert within(GIVEN, said(price=0.97, date=0.9), terms) is GIVEN
    below = Decision(engine="e", rule="task", accepted=False, reason="confidence 0.5 is below 0.9", confidence=0.5)
    both = within(below, said(price=0.1, date=0.1), terms)
    assert (both.reason, both.short) == (below.reason, ("price", "date"))


def test_a_field_without_a_confidence_is_short():
    mute = Prediction(text="x", value={"price": "9"}, engine="e", confidence=0.99)
    found = within(GIVEN, mute, Terms(fields={"price": 0.5}))
    assert found.reason == "no confidence of price is known, 0.50 is demanded"

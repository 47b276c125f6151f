"""The rules of who answers and what may leave by itself."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insource.nouns import Prediction, Risk
from insource.route import accept, demanded, permitted, promise


def said(confidence, *, finish="stop", value=None) -> Prediction:
    return Prediction(
        text="", engine="e", value={"a": "b"} if value is None else value, confidence=confidence, finish=finish
    )


@pytest.mark.parametrize(
    ("prediction", "threshold", "accepted", "reason"),
    [
        (said(0.91), 0.85, True, "confidence 0.91 reaches 0.85"),
        (said(0.85), 0.85, True, "confidence 0.85 reaches 0.85"),
        (said(0.62), 0.85, False, "confidence 0.62 is below 0.85"),
        (said(0.8499), 0.85, False, "confidence 0.8499 is below 0.8500"),
        (said(None), 0.85, False, "e gives no confidence, 0.85 is demanded"),
        (said(None), None, True, "valid, and no confidence is demanded"),
        (said(0.99, finish="length"), None, False, "the answer was cut off before its end"),
        (said(0.99, finish="refusal"), None, False, "the engine refused to answer"),
        (said(0.99, finish="invalid"), None, False, "the answer breaks the task's contract"),
        (Prediction(text="x", engine="e", confidence=1.0), None, False, "the answer breaks the task's contract"),
        (said(math.nan), 0.5, False, "confidence nan is below 0.50"),
    ],
)
def test_an_answer_leaves_by_itself_only_when_it_is_valid_and_sure(prediction, threshold, accepted, reason):
    assert accept(prediction, threshold) == (accepted, reason)


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_words_never_show_two_equal_numbers_for_a_refusal(confidence, threshold):
    accepted, reason = accept(said(confidence), threshold)
    assert accepted == (confidence >= threshold)
    if not accepted:
        shown = reason.removeprefix("confidence ").split(" is below ")
        assert shown[0] != shown[1]


REGIONS = {"here": "premises", "eu1": "eu", "us1": "us", "somewhere": ""}


@pytest.mark.parametrize(
    ("sensitivity", "asked"),
    [("premises", ["here"]), ("eu", ["here", "eu1"]), (("eu", "us"), ["here", "eu1", "us1"]), ("any", list(REGIONS))],
)
def test_a_tasks_text_goes_only_where_its_sensitivity_allows(sensitivity, asked):
    choices = [permitted(name, region, sensitivity) for name, region in REGIONS.items()]
    assert [choice.engine for choice in choices if choice.allowed] == asked
    assert all(choice.reason for choice in choices)


def test_an_engine_that_is_not_configured_is_refused_by_name():
    choice = permitted("ghost", None, "any")
    assert not choice.allowed
    assert "ghost is not in insource.toml" in choice.reason


@pytest.mark.parametrize(
    ("risk", "fitted_for", "fitted", "wanted"),
    [
        (Risk(), None, None, None),
        (Risk(), 0.05, 0.9, None),
        (Risk(threshold=0.7), 0.05, 0.9, 0.7),
        (Risk(max_error=0.05), 0.05, 0.83, 0.83),
        (Risk(max_error=0.05), None, None, 0.95),
        (Risk(max_error=0.02), 0.05, 0.99, 0.99),
        (Risk(max_error=0.02), 0.05, 0.9, 0.98),
        (Risk(max_error=0.2), 0.05, 0.99, 0.8),
    ],
)
def test_the_confidence_demanded_follows_the_tasks_present_limit(risk, fitted_for, fitted, wanted):
    assert demanded(risk, fitted_for, fitted) == pytest.approx(wanted) if wanted is not None else True
    assert (demanded(risk, fitted_for, fitted) is None) == (wanted is None)


def test_a_promise_lasts_as_long_as_the_policy_it_was_made_for():
    then = Risk(max_error=0.05)
    assert promise(Risk(max_error=0.05, otherwise=()), then, 0.8, "at most 5%") == "at most 5%"
    said = promise(Risk(threshold=0.5), then, 0.8, "at most 5%")
    assert said == "nothing is promised, for [risk] was changed since it was trained: a confidence of 0.5 is demanded"
    assert promise(Risk(), then, 0.8, "at most 5%").endswith("every valid answer is given")

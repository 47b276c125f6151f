"""What becomes of a person's word."""

import pytest

from insource.errors import Invalid
from insource.nouns import Output, Pending, Review, Task
from insource.review import corrected, frequent_labels, to_example, unfit, verdict

ONE = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("a", "b", "c=d")),))
TWO = Task(
    name="t", kind="classify", outputs=(Output(name="x", labels=("a", "b")), Output(name="y", labels=("lo", "hi")))
)
FORM = Task(
    name="t",
    kind="extract",
    schema={
        "type": "object",
        "properties": {"total": {"type": "number"}, "name": {"type": "string"}},
        "required": ["total"],
        "additionalProperties": False,
    },
)


def waits(value) -> Pending:
    return Pending(record="r", task="t", input="text", value=value)


def test_right_takes_the_proposal_and_wrong_the_correction_as_a_labelled_row():
    right = verdict(ONE, waits({"label": "a"}), "right", reviewer="me")
    row = to_example(ONE, waits({"label": "a"}), right)
    assert (row.target, row.origin, row.input) == ({"label": "a"}, "human", "text")
    wrong = verdict(ONE, waits({"label": "a"}), "wrong", {"label": "b"})
    assert to_example(ONE, waits({"label": "a"}), wrong).target == {"label": "b"}
    assert to_example(ONE, waits({"label": "a"}), verdict(ONE, waits({"label": "a"}), "wrong")) is None
    assert to_example(ONE, waits({"label": "a"}), verdict(ONE, waits({"label": "a"}), "unsure")) is None
    assert right.decided


@pytest.mark.parametrize(
    ("said", "right", "words"),
    [
        ("right", {"label": "b"}, "goes with the verdict wrong"),
        ("unsure", {"label": "b"}, "goes with the verdict wrong"),
        ("wrong", {"label": "z"}, "no answer of t"),
        ("wrong", {"label": "b", "other": "x"}, "no answer of t"),
        ("wrong", {}, "no answer of t"),
        ("wrong", {"label": "a"}, "is what was proposed"),
    ],
)
def test_a_correction_must_be_valid_and_fit_the_verdict(said, right, words):
    with pytest.raises(Invalid, match=words) as wrong:
        verdict(ONE, waits({"label": "a"}), said, right)
    assert wrong.value.hint


def test_what_fits_no_label_makes_no_row_and_is_counted_with_what_was_proposed():
    none = [
        verdict(ONE, waits({"label": "a"}), "none_of_these", note=note) for note in ("Cooling ", "cooling", "", "B")
    ]
    assert all(to_example(ONE, waits({"label": "a"}), one) is None for one in none)
    found = unfit(ONE, [*none, verdict(ONE, waits({"label": "a"}), "right")])
    assert (found.n, found.proposed) == (3, (("Cooling", 2),)), "b is a label by now"
    assert found.words == "3 answers fit no label: proposed Cooling (2)"
    assert unfit(ONE, []).words == ""
    with pytest.raises(Invalid, match="goes with the verdict wrong"):
        verdict(ONE, waits({"label": "a"}), "none_of_these", {"label": "b"})
    with pytest.raises(Invalid, match="has no labels"):
        verdict(FORM, waits({"total": 1}), "none_of_these")


def test_what_another_engine_said_after_a_timeout_is_no_label():
    timed = Review(record="r", verdict="unsure", corrected={"label": "b"}, fallback="escalate", reviewer="timeout")
    assert to_example(ONE, waits({"label": "a"}), timed) is None
    assert frequent_labels(ONE.outputs[0], waits(None), [(waits(None), timed)])[0] == "a"


def test_nothing_proposed_cannot_be_right():
    with pytest.raises(Invalid, match="no proposed answer"):
        verdict(ONE, waits(None), "right")


def test_a_correction_is_typed_as_a_label_or_field_by_field():
    assert corrected(ONE, waits({"label": "a"}), ["b"]) == {"label": "b"}
    assert corrected(ONE, waits(None), ["label=b"]) == {"label": "b"}
    assert corrected(ONE, waits(None), ["c=d"]) == {"label": "c=d"}
    assert corrected(TWO, waits({"x": "a", "y": "lo"}), ["y=hi"]) == {"x": "a", "y": "hi"}
    assert corrected(FORM, waits({"total": 1.0}), ["total=12.5", "name=Smith & Co"]) == {
        "total": 12.5,
        "name": "Smith & Co",
    }
    with pytest.raises(Invalid, match="there are x, y"):
        corrected(TWO, waits({"x": "a", "y": "lo"}), ["hi"])
    with pytest.raises(Invalid, match="no answer of t"):
        verdict(FORM, waits({"total": 1.0}), "wrong", corrected(FORM, waits({"total": 1.0}), ["total=lots"]))


def test_the_proposal_is_on_the_first_key_then_the_likely_then_what_people_chose():
    output = Output(name="label", labels=tuple("abcdefghijkl"))
    pending = Pending(
        record="r",
        task="t",
        input="x",
        value={"label": "k"},
        alternatives={"label": (("k", 0.5), ("c", 0.3), ("gone", 0.1))},
    )
    settled = [(waits({"label": "a"}), Review(record="1", verdict="wrong", corrected={"label": "l"}))] * 2
    settled += [(waits({"label": "f"}), Review(record="2", verdict="right"))]
    assert frequent_labels(output, pending, settled) == ["k", "c", "l", "f", "a", "b", "d", "e", "g"]

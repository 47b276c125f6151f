import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_rows import RECEIPT, TASK, example, said

from insource.measure import scorers
from insource.nouns import Example, Output, Task

TREE = Task(
    name="parts",
    kind="classify",
    outputs=(Output(name="part", labels=("A / B / C", "A / B / D", "A / E", "F"), taxonomy=True),),
)
TEXT = Task(name="note", kind="generate")
json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


def marks(scorer, target, value):
    return scorer(example(1, target), said(value))


def test_an_answer_is_right_only_when_every_output_is() -> None:
    task = Task(
        name="t", kind="classify", outputs=(Output(name="a", labels=("x", "y")), Output(name="b", labels=("u", "v")))
    )
    score = scorers.whole(task)
    assert marks(score, {"a": "x", "b": "u"}, {"a": "x", "b": "u"}) == 1
    assert marks(score, {"a": "x", "b": "u"}, {"a": "x", "b": "v"}) == 0


def test_a_row_without_a_label_is_unscored_and_never_wrong() -> None:
    task = Task(
        name="t", kind="classify", outputs=(Output(name="a", labels=("x", "y")), Output(name="b", labels=("u", "v")))
    )
    assert marks(scorers.whole(task), {"a": "x"}, {"a": "y", "b": "u"}) is None
    assert marks(scorers.one_field("b"), {"a": "x"}, {"a": "y", "b": "u"}) is None
    for score in (scorers.path("b"), scorers.depth("b"), scorers.level("b", 1), scorers.token_f1()):
        assert marks(score, {"a": "x"}, {"a": "y", "b": "u"}) is None
    assert scorers.whole(RECEIPT)(example(1, {}), said({"company": "x"})) is None


def test_an_invalid_answer_is_wrong_even_if_it_carries_the_right_value() -> None:
    assert scorers.whole(TASK)(example(0), said({"kind": "leak"}, finish="length")) == 0
    assert scorers.whole(TASK)(example(0), said(None, finish="invalid")) == 0
    assert scorers.token_f1()(example(0, {"text": "a b"}), said(None, finish="refusal")) == 0


def test_labels_are_compared_to_the_letter() -> None:
    assert marks(scorers.whole(TASK), {"kind": "leak"}, {"kind": "Leak"}) == 0


@pytest.mark.parametrize(
    ("answer", "share", "levels"),
    [("A / B / C", 1, 3), ("A / B / D", 2 / 3, 2), ("A / E", 1 / 3, 1), ("F", 0, 0)],
)
def test_a_path_is_scored_by_the_levels_shared_from_the_root(answer, share, levels) -> None:
    target = {"part": "A / B / C"}
    assert marks(scorers.path("part"), target, {"part": answer}) == pytest.approx(share)
    assert marks(scorers.depth("part"), target, {"part": answer}) == levels
    for level in (1, 2, 3):
        assert marks(scorers.level("part", level), target, {"part": answer}) == (levels >= level)


def test_a_level_below_the_targets_own_is_unscored_and_going_too_deep_is_not_right() -> None:
    assert marks(scorers.level("part", 3), {"part": "A / E"}, {"part": "A / E"}) is None
    assert marks(scorers.path("part"), {"part": "A / B"}, {"part": "A / B / C"}) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("a", "b"),
    [("Book  Ta\tSdn", "book ta sdn"), ("ﬁne", "FINE"), (1, 1.0), (["A", "b"], ["a", "B"]), ("", None), ({}, None)],
)
def test_fields_are_equal_after_case_blanks_and_compatibility_forms_are_folded(a, b) -> None:
    assert scorers.same(a, b)


@pytest.mark.parametrize(
    ("a", "b"), [("9.00", "9.0"), (1, True), (0, False), (0, None), (["a", "b"], ["b", "a"]), ("a", ["a"])]
)
def test_what_differs_stays_different(a, b) -> None:
    assert not scorers.same(a, b)


@settings(deadline=None)
@given(json, json)
def test_equality_is_reflexive_and_symmetric(a, b) -> None:
    assert scorers.same(a, a)
    assert scorers.same(a, b) == scorers.same(b, a)


@pytest.mark.parametrize(
    ("target", "value", "counts"),
    [
        ("x", "X ", (1, 0, 0)),
        ("x", "y", (0, 1, 1)),
        ("x", None, (0, 0, 1)),
        (None, "y", (0, 1, 0)),
        (None, None, (0, 0, 0)),
        (["a", "b"], ["B", "A"], (2, 0, 0)),
        (["a", "b"], ["a", "c"], (1, 1, 1)),
        (["a", "a"], ["a"], (1, 0, 1)),
        ([1], [1.0, True], (1, 1, 0)),
        ([], ["a"], (0, 1, 0)),
        (["a", ""], None, (0, 0, 1)),
    ],
)
def test_a_field_counts_as_right_wrong_or_missed(target, value, counts) -> None:
    row = Example(id="1", task="t", input="", target={"company": target})
    found = scorers.counts(row, said({"company": value}), "company")
    assert (found.right, found.wrong, found.missed) == counts


def test_an_extraction_is_exact_when_every_field_is_and_nothing_was_added() -> None:
    score = scorers.whole(RECEIPT)
    assert marks(score, {"company": "ACME", "total": 9}, {"company": "acme", "total": 9.0}) == 1
    assert marks(score, {"company": "ACME"}, {"company": "acme", "total": 9.0}) == 0
    assert marks(score, {"company": "ACME"}, {"company": "acme", "total": None}) == 1


def test_texts_are_scored_exactly_and_by_shared_words() -> None:
    assert marks(scorers.whole(TEXT), {"text": "Tighten the bolt."}, {"text": "tighten the  bolt."}) == 1
    assert marks(scorers.token_f1(), {"text": "tighten the bolt"}, {"text": "the bolt"}) == pytest.approx(0.8)
    assert marks(scorers.token_f1(), {"text": "a a b"}, {"text": "a b b"}) == pytest.approx(2 / 3)

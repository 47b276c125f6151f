import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_rows import LABELS, RECEIPT, TASK, answered, example, run

from insource.measure.compare import pairs
from insource.measure.figures import metrics, scores
from insource.measure.run import Answered
from insource.measure.sureness import sureness
from insource.nouns import Output, Task

answers = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from((*LABELS, None))), min_size=1, max_size=60)


def named(found, metric, slice=None):
    return next((score for score in found if score.metric == metric and score.slice == slice), None)


def rows_of(pairs_):
    return [answered(i, said and {"kind": said}, {"kind": target}) for i, (target, said) in enumerate(pairs_)]


@settings(max_examples=25, deadline=None)
@given(answers)
def test_accuracy_and_macro_f1_are_those_of_scikit_learn(given_) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    found = scores(TASK, rows_of(given_))
    targets, said = [t for t, _ in given_], [s or "invalid" for _, s in given_]
    known = [label for label in LABELS if label in targets or label in said]
    theirs = sklearn.f1_score(targets, said, average="macro", labels=known, zero_division=0)
    assert named(found, "accuracy").value == pytest.approx(np.mean([t == s for t, s in given_]))
    assert named(found, "macro_f1").value == pytest.approx(theirs)


@settings(max_examples=40, deadline=None)
@given(answers)
def test_every_score_has_its_n_and_lies_in_its_interval(given_) -> None:
    for score in scores(TASK, rows_of(given_)):
        assert score.n > 0
        assert 0 <= score.low <= score.value <= score.high <= 1


def test_an_unanswered_row_is_in_no_figure() -> None:
    rows = [*rows_of([("leak", "leak"), ("noise", "leak")]), Answered(2, example(2), None, error="engine_down: away")]
    assert named(scores(TASK, rows), "accuracy").n == 2
    assert named(scores(TASK, rows), "macro_f1").n == 2


def test_a_single_output_has_its_own_scores_too_so_that_acceptance_can_name_it() -> None:
    found = scores(TASK, rows_of([("leak", "leak"), ("noise", "leak")]))
    assert named(found, "accuracy", "kind").value == 0.5
    assert named(found, "macro_f1", "kind") is not None


def test_several_outputs_have_joint_and_single_accuracy() -> None:
    task = Task(
        name="t", kind="classify", outputs=(Output(name="a", labels=("x", "y")), Output(name="b", labels=("u", "v")))
    )
    rows = [
        answered(0, {"a": "x", "b": "u"}, {"a": "x", "b": "u"}),
        answered(1, {"a": "x", "b": "v"}, {"a": "x", "b": "u"}),
        answered(2, {"a": "x", "b": "u"}, {"a": "x"}),
    ]
    found = scores(task, rows)
    assert (named(found, "accuracy").value, named(found, "accuracy").n) == (0.5, 2)
    assert (named(found, "accuracy", "a").value, named(found, "accuracy", "a").n) == (1, 3)
    assert (named(found, "accuracy", "b").value, named(found, "accuracy", "b").n) == (0.5, 2)


def test_a_taxonomy_is_scored_by_path_and_by_level() -> None:
    task = Task(name="t", kind="classify", outputs=(Output(name="p", labels=("A / B", "A / C", "D"), taxonomy=True),))
    found = scores(task, [answered(0, {"p": "A / C"}, {"p": "A / B"}), answered(1, {"p": "D"}, {"p": "D"})])
    assert named(found, "path_accuracy").value == pytest.approx(0.75)
    assert named(found, "level_accuracy", "p to level 1").value == 1
    assert (named(found, "level_accuracy", "p to level 2").value, named(found, "level_accuracy", "p to level 2").n) == (
        0,
        1,
    )
    assert named(found, "shared_levels", "p").value == 1


def test_extraction_has_precision_recall_and_f1_per_field_and_over_all() -> None:
    rows = [
        answered(0, {"company": "acme", "total": 9}, {"company": "ACME", "total": 9}),
        answered(1, {"company": "other", "total": None}, {"company": "ACME", "total": 5}),
        answered(2, None, {"company": "ACME"}),
    ]
    found = scores(RECEIPT, rows)
    assert (named(found, "precision").value, named(found, "precision").n) == (pytest.approx(2 / 3), 3)
    assert (named(found, "recall").value, named(found, "recall").n) == (pytest.approx(2 / 5), 5)
    assert named(found, "f1").value == pytest.approx(2 * 2 / (2 * 2 + 1 + 3))
    assert named(found, "recall", "company").value == pytest.approx(1 / 3)
    assert named(found, "exact").value == pytest.approx(1 / 3)


def test_a_field_that_never_occurs_has_no_score() -> None:
    found = scores(RECEIPT, [answered(i, {"company": "a"}, {"company": "a"}) for i in range(3)])
    assert named(found, "f1", "total") is None
    assert named(found, "f1", "company").value == 1


def test_slices_need_twenty_rows() -> None:
    rows = [answered(i, {"kind": LABELS[i % 3]}, tags={"plant": "north" if i < 25 else "south"}) for i in range(40)]
    found = scores(TASK, rows)
    assert named(found, "accuracy", "plant=north").n == 25
    assert named(found, "accuracy", "plant=south") is None


def test_the_tasks_own_metric_comes_first() -> None:
    macro = Task(name="t", kind="classify", outputs=TASK.outputs, metric="macro_f1")
    assert [metric.name for metric in metrics(macro)] == ["macro_f1", "accuracy"]
    assert [metric.name for metric in metrics(TASK)] == ["accuracy", "macro_f1"]


def test_confidence_is_judged_from_twenty_answers_on() -> None:
    assert sureness(TASK, run(0.9, rows=19).rows) == ([], {})
    found, details = sureness(TASK, run(0.9, rows=300).rows)
    assert {score.metric for score in found} == {
        "ece", "brier", "aurc", "share_at_85", "accuracy_at_85", "coverage_at_5pct_error",
    }  # fmt: skip
    assert all(0 <= s.low <= s.value <= s.high <= 1 for s in found)
    assert sum(b["n"] for b in details["reliability"]) == 300
    assert details["curve"][-1]["share"] == 1


def test_rows_without_a_confidence_count_as_not_answered_at_85() -> None:
    rows = [answered(i, {"kind": LABELS[i % 3]}, confidence=0.9 if i < 30 else None) for i in range(60)]
    found, details = sureness(TASK, rows)
    assert (named(found, "share_at_85").value, named(found, "share_at_85").n) == (0.5, 60)
    assert named(found, "ece").n == 30
    assert details["curve"][-1]["share"] == 0.5


def test_pairs_are_on_the_rows_both_answered() -> None:
    a, b = list(run(0.9, seed=1).rows), list(run(0.6, rows=60, seed=2).rows)
    b[0] = Answered(0, b[0].example, None, error="engine_down: away")
    found = pairs(TASK, {"a": a, "b": b})
    assert [(pair.metric, pair.n) for pair in found] == [("accuracy", 59), ("macro_f1", 59)]
    right = [[row.prediction.value == row.example.target for row in rows[1:60]] for rows in (a, b)]
    assert found[0].a_only == sum(x and not y for x, y in zip(*right, strict=True))
    assert found[0].b_only == sum(y and not x for x, y in zip(*right, strict=True))
    assert found[0].difference == pytest.approx(np.mean(right[0]) - np.mean(right[1]))
    assert found[0].low <= found[0].difference <= found[0].high
    assert found[1].low <= found[1].difference <= found[1].high


def test_candidates_that_share_no_row_are_not_compared() -> None:
    assert pairs(TASK, {"a": run(0.9).rows[:10], "b": run(0.9).rows[10:20]}) == []

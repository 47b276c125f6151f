"""The gate's checks, each on values: what holds, what does not, and what is said about it."""

import msgspec
import pytest

from insource.engines.artefact import Manifest
from insource.errors import Invalid
from insource.nouns import Candidate, Failures, Latency, Output, Pair, Release, Report, Score, Task
from insource.release import gate

TASK = Task(
    name="defects",
    kind="classify",
    outputs=(Output(name="category", labels=("heat", "leak")), Output(name="urgency", labels=("high", "low"))),
    acceptance={"accuracy": 0.88},
)
RELEASE = Release(
    task="defects", version="1.0.0", engine="torch", base="tiny", dataset="d", recipe="r", artefact="a", folder="f"
)


def candidate(name: str, *scores: Score, invalid: int = 0) -> Candidate:
    return Candidate(
        candidate=name, kind="specialist", scores=scores, usd_per_1k=None,
        latency_ms=Latency(p50=20, p95=41.26, p99=80), failures=Failures(n=3080, invalid=invalid, upper95=0.00097),
    )  # fmt: skip


def report(*scores: Score, pairs: tuple[Pair, ...] = (), invalid: int = 0, baseline: bool = True) -> Report:
    baselines = (candidate("baseline"),) if baseline else ()
    return Report(
        task="defects", dataset="d", split="test", pairs=pairs,
        candidates=(*baselines, candidate("defects@1.0.0", *scores, invalid=invalid)),
    )  # fmt: skip


def score(metric: str, value: float, low: float, high: float, *, slice: str | None = None, n: int = 3080) -> Score:
    return Score(metric=metric, slice=slice, value=value, low=low, high=high, n=n)


def demanding(**acceptance: float) -> Task:
    return msgspec.structs.replace(TASK, acceptance={key.replace("__", "."): v for key, v in acceptance.items()})


def pair(difference: float, low: float, high: float, **more) -> Pair:
    return Pair(a="defects@1.0.0", b="baseline", metric="accuracy", difference=difference, low=low, high=high, p=0.01,
                **({"n": 3080, "a_only": 90, "b_only": 10} | more))  # fmt: skip


def test_a_demand_that_is_met_shows_value_interval_and_n():
    (check,) = gate.acceptance(TASK, report(score("accuracy", 0.938, 0.929, 0.946)), "defects@1.0.0")
    assert check.passed
    assert (check.name, check.demanded, check.found) == ("accuracy", "≥ 0.88", "0.938 (0.929 to 0.946, n 3,080)")
    assert "remark" not in check.detail


@pytest.mark.parametrize(("value", "passed"), [(0.88, True), (0.8799, False)])
def test_the_point_estimate_decides_and_doubt_is_said(value, passed):
    (check,) = gate.acceptance(TASK, report(score("accuracy", value, 0.85, 0.91, n=120)), "defects@1.0.0")
    assert check.passed is passed
    assert "luck" in check.detail["remark"]
    assert "120 rows" in check.detail["remark"]


@pytest.mark.parametrize(("ece", "passed"), [(0.02, True), (0.03, True), (0.031, False)])
def test_a_lower_calibration_error_is_better(ece, passed):
    found = report(score("ece", ece, ece - 0.0001, ece + 0.0001))
    (check,) = gate.acceptance(demanding(ece=0.03), found, "defects@1.0.0")
    assert check.passed is passed
    assert check.demanded == "≤ 0.03"


@pytest.mark.parametrize(("p95", "passed"), [(250, True), (41.26, True), (41, False)])
def test_a_lower_latency_is_better(p95, passed):
    (check,) = gate.acceptance(demanding(p95_ms=p95), report(), "defects@1.0.0")
    assert check.passed is passed
    assert check.found == "41.3 ms (n 3,080, one call at a time)"


def test_one_output_of_several_can_be_demanded_of():
    found = report(score("accuracy", 0.9, 0.8, 0.95), score("accuracy", 0.7, 0.6, 0.8, slice="urgency"))
    checks = gate.acceptance(demanding(accuracy=0.88, urgency__accuracy=0.75), found, "defects@1.0.0")
    assert [(check.name, check.passed) for check in checks] == [("accuracy", True), ("urgency.accuracy", False)]


def test_what_was_not_measured_is_not_met():
    (check,) = gate.acceptance(demanding(macro_f1=0.1), report(), "defects@1.0.0")
    assert not check.passed
    assert check.found == "not measured"


def test_without_a_demand_the_gate_cannot_say_yes():
    (check,) = gate.acceptance(demanding(), report(), "defects@1.0.0")
    assert not check.passed
    assert "tasks/defects.toml" in check.detail["remark"]


def test_a_report_without_the_release_is_no_evidence():
    with pytest.raises(Invalid, match=r"defects@9.9.9"):
        gate.acceptance(TASK, report(), "defects@9.9.9")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("acuracy", 0.9, "accuracy"), ("cost.accuracy", 0.9, "category.accuracy"), ("accuracy", 88.0, "share"),
     ("p95_ms", 0.0, "milliseconds"), ("ece", float("nan"), "share"), ("f1", 0.9, "macro_f1")],
)  # fmt: skip
def test_a_demand_nobody_can_decide_is_refused_before_anything_runs(key, value, said):
    with pytest.raises(Invalid) as caught:
        gate.check_demands(msgspec.structs.replace(TASK, acceptance={key: value}))
    assert said in f"{caught.value} {caught.value.hint}"


def test_every_demandable_key_is_accepted_and_percent_is_explained():
    for key in gate.demandable(TASK):
        gate.check_demands(msgspec.structs.replace(TASK, acceptance={key: 0.5}))
    with pytest.raises(Invalid) as caught:
        gate.check_demands(demanding(accuracy=88))
    assert caught.value.hint == "accuracy = 0.88"


@pytest.mark.parametrize(
    ("difference", "low", "high", "passed", "said"),
    [(0.026, 0.02, 0.032, True, "better"), (0.002, -0.01, 0.014, True, "tie"), (-0.05, -0.06, -0.04, False, "worse"),
     (-0.01, -0.03, 0.01, True, "tie")],
)  # fmt: skip
def test_only_a_significant_loss_to_the_baseline_stops_a_release(difference, low, high, passed, said):
    check = gate.against_baseline(report(pairs=(pair(difference, low, high),)), RELEASE, "accuracy")
    assert check.passed is passed
    assert said in check.detail["remark"]


def test_no_difference_has_no_sign_to_wonder_about():
    turned = Pair(a="baseline", b="defects@1.0.0", metric="accuracy", difference=0.0, low=-0.02, high=0.02, p=1, n=9)
    check = gate.against_baseline(report(pairs=(turned,)), RELEASE, "accuracy")
    assert check.found == "accuracy +0.0 points (-2.0 to +2.0, n 9)"


def test_a_pair_written_the_other_way_round_means_the_same():
    turned = Pair(a="baseline", b="defects@1.0.0", metric="accuracy", difference=0.05, low=0.04, high=0.06, p=0, n=9)
    check = gate.against_baseline(report(pairs=(turned,)), RELEASE, "accuracy")
    assert not check.passed
    assert check.found == "accuracy -5.0 points (-6.0 to -4.0, n 9)"


def test_the_linear_release_is_the_baseline():
    linear = msgspec.structs.replace(RELEASE, engine="linear")
    check = gate.against_baseline(report(pairs=(pair(0, 0, 0, a_only=0, b_only=0),)), linear, "accuracy")
    assert check.passed
    assert check.detail["remark"] == "this release is the baseline"


def test_a_linear_release_of_other_rows_is_compared_like_any_other():
    linear = msgspec.structs.replace(RELEASE, engine="linear")
    check = gate.against_baseline(report(pairs=(pair(-0.3, -0.4, -0.2),)), linear, "accuracy")
    assert not check.passed


def test_a_kind_without_a_baseline_passes_and_says_so_but_a_missing_comparison_does_not():
    assert gate.against_baseline(report(baseline=False), RELEASE, "f1").found == "no baseline fits"
    assert gate.against_baseline(report(baseline=False), RELEASE, "f1").passed
    assert not gate.against_baseline(report(), RELEASE, "accuracy").passed
    down = msgspec.structs.replace(report(baseline=False), failed={"baseline": "scikit-learn is not installed"})
    check = gate.against_baseline(down, RELEASE, "accuracy")
    assert not check.passed
    assert "scikit-learn" in check.detail["remark"]


@pytest.mark.parametrize(("wrong", "passed"), [(0, True), (1, True), (2, False)])
def test_at_most_one_label_in_two_hundred_may_differ_from_the_trainer(wrong, passed):
    trained = [{"category": "heat", "urgency": "low"}] * 100
    served = [{"category": "leak", "urgency": "low"}] * wrong + trained[wrong:]
    assert gate.agreement(trained, served).passed is passed


def test_an_answer_that_is_missing_disagrees_in_every_field_and_no_rows_are_no_proof():
    check = gate.agreement([{"category": "heat", "urgency": "low"}], [None])
    assert check.detail["same"] == 0
    assert check.detail["n"] == 2
    assert not check.passed
    assert not gate.agreement([], []).passed


@pytest.mark.parametrize(("times", "passed"), [(1.0, True), (1.1, True), (1.5, False), (0.5, False)])
def test_confidences_may_differ_from_the_trainers_by_a_quarter_in_log_odds(times, passed):
    """Merged wrongly, a release is surer or less sure than it was; in 8 bits it is the same but for rounding."""
    sure = [0.6, 0.8, 0.9, 0.95, 0.99]
    served = [1 / (1 + ((1 - p) / p) ** times) for p in sure]
    assert gate.as_sure(sure, served).passed is passed


def test_beyond_one_in_a_thousand_a_confidence_counts_as_sure_and_what_is_unknown_does_not_count():
    check = gate.as_sure([0.9999, None, 0.7, 1.0], [0.999999, 0.5, None, 0.9995])
    assert check.passed
    assert check.detail == {"mean": 0.0, "most": 0.0, "n": 2}
    assert gate.as_sure([None], [0.5]).found == "the trainer left no confidences"


def test_one_malformed_output_is_one_too_many():
    assert gate.well_formed(report(), "defects@1.0.0").passed
    check = gate.well_formed(report(invalid=1), "defects@1.0.0")
    assert not check.passed
    assert check.found == "1 of 3,080 (at most 0.10% at 95%)"


def test_a_row_without_an_answer_stops_the_gate_too():
    asked = report()
    silent = msgspec.structs.replace(asked.candidates[1], details={"asked": 3081})
    check = gate.well_formed(msgspec.structs.replace(asked, candidates=(silent,)), "defects@1.0.0")
    assert not check.passed
    assert "1 rows without an answer" in check.found


def test_a_damaged_artefact_is_named_file_by_file():
    assert gate.whole([], 7).passed
    check = gate.whole(["model/model.safetensors was changed", "x.json was added"], 7)
    assert not check.passed
    assert "model/model.safetensors was changed; x.json was added" in check.found


def test_an_artefact_of_other_labels_is_not_for_this_task():
    manifest = Manifest(engine="torch", task=TASK, base="b", base_digest="", dataset="d", recipe={}, heads=(), files={})
    assert gate.made_for(manifest, demanding(accuracy=0.99)).passed
    changed = msgspec.structs.replace(TASK, outputs=TASK.outputs[:1])
    check = gate.made_for(manifest, changed)
    assert not check.passed
    assert "outputs changed" in check.found


def test_a_test_row_that_was_trained_on_stops_the_gate():
    assert gate.unseen(["a", "b"], ["c"]).passed
    check = gate.unseen(["a", "b"], ["b", "c"])
    assert not check.passed
    assert check.detail["leaked"] == 1

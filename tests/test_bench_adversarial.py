"""The rows of bench/adversarial.py: what they say is what was measured, and a threshold that does nothing shows."""

import copy
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

import adversarial as bench
import adversarial_rows

RESULT = Path(__file__).parents[1] / "bench" / "results" / "adversarial.json"


@pytest.fixture(scope="module")
def document():
    return json.loads(RESULT.read_text("utf-8"))


def test_the_rows_are_those_of_the_document(document):
    rows = list(adversarial_rows.adversarial(document["document"]))
    assert [dict(zip(("what", "bar", "figure", "holds"), row, strict=True)) for row in rows] == document["rows"]
    said = " ".join(row[0] for row in rows)
    assert all(way["says"] in said for way in document["document"]["linear"]["threshold"]["robustness"]["ways"][1:])


def score(found, metric, at, rule="threshold"):
    return next(one for one in found[rule]["scores"] if one["metric"] == metric and one["slice"] == at)


def test_a_threshold_that_keeps_nothing_back_and_a_broken_promise_are_shown_as_missed(document):
    found = copy.deepcopy(document["document"])
    score(found["linear"], "confidently_wrong", None)["high"] = 0.9
    score(found["linear"], "wrong_among_given", "adversarial=clean")["low"] = 0.06
    first, second, *_ = adversarial_rows.adversarial(found)
    assert not first[3]
    assert not second[3]


def test_the_figures_hang_together(document):
    found = document["document"]["linear"]
    for rule in ("threshold", "scope"):
        for way in found[rule]["robustness"]["ways"]:
            at = f"adversarial={way['name']}"
            before, after = (
                score(found, metric, at, rule) for metric in ("confidently_wrong_before", "confidently_wrong")
            )
            assert after["value"] <= before["value"]
            assert before["low"] <= before["value"] <= before["high"]
            assert after["n"] == before["n"] <= found["rows"]


def test_what_was_measured_on_other_data_is_not_shown(tmp_path):
    for name in bench.FILES:
        (tmp_path / name).write_text("text,category\n")
    assert bench.kept(tmp_path) is None


def test_the_limit_of_scope_goes_into_the_task(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "bench.toml").write_text("[risk]\nmax_error = 0.05\n")
    bench.scoped(tmp_path)
    assert (tmp_path / "tasks" / "bench.toml").read_text() == "[risk]\nout_of_scope = 0.04\nmax_error = 0.05\n"

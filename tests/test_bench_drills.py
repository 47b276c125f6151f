"""What bench/contract_specialist.py makes of kept answers, and how bench/flywheel.py parts its rows."""

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
import contract_specialist
import flywheel
import specialist_rows
import train_rows


def kept(spread: int) -> dict:
    """Answers of which the unsure ones are wrong; questions for no label are less sure than most."""
    sure = [0.5 + i / 4000 for i in range(2000)]
    split = {"confidence": sure, "right": "".join(str(int(i >= 40)) for i in range(2000)), "n": 2000}
    none = {"confidence": [0.5 + i / 2000 for i in range(spread)], "right": "0" * spread, "n": spread}
    return {"splits": {"dev": split, "test": split, "none_dev": none, "none": none}}


def test_a_threshold_is_as_high_as_the_rows_in_scope_allow_and_no_higher():
    found = contract_specialist.strange(kept(200), "confidence")
    assert found["dev_in_scope"]["low"] >= 0.962
    assert found["dev_in_scope"]["value"] - 1 / 2000 < found["in_scope"]["value"]
    assert contract_specialist.wilson(round(found["dev_in_scope"]["value"] * 2000) - 1, 2000)[0] < 0.962
    assert found["seen"]["n"] == 200
    assert found["alarms"]["value"] == pytest.approx(found["threshold"] * 2 - 1, abs=1e-3)


def test_rows_that_are_never_right_enough_have_no_threshold():
    poor = kept(50)
    poor["splits"]["dev"] = poor["splits"]["dev"] | {"right": "0" * 200 + "1" * 1800}
    found = contract_specialist.strange(poor, "confidence")
    assert found["seen"]["value"] == found["alarms"]["value"] == 0


def test_the_threshold_of_the_release_is_fitted_on_rows_it_held_out_and_shown_on_others():
    found = contract_specialist.released(kept(10))
    assert found["labels"] == 2000
    assert found["wrong"]["value"] <= contract_specialist.ASKED
    assert found["covered"]["n"] == 2000
    assert found["wrong"]["n"] == round(found["covered"]["value"] * 2000)


def test_a_release_that_can_promise_nothing_is_shown_as_a_bar_that_was_missed():
    hopeless = kept(10)
    hopeless["splits"]["dev"] = hopeless["splits"]["dev"] | {"right": "01" * 1000}
    *_, figure, holds = specialist_rows._released("banking77", contract_specialist.released(hopeless))
    assert (figure, holds) == ("none can be promised", False)


def test_each_label_is_divided_evenly_and_no_row_is_in_both_halves():
    rows = [(f"{label} {i}", label) for label in "abc" for i in range(10)]
    known, later = flywheel.parted(rows, random.Random(1))  # noqa: S311 - the same halves each time
    assert Counter(label for _, label in known) == Counter(label for _, label in later) == {"a": 5, "b": 5, "c": 5}
    assert sorted(known + later) == sorted(rows)
    assert known != sorted(known)


def turn(wrong: float, accuracy: float) -> dict:
    within = {"low": 0.0, "high": 1.0, "n": 100}
    return {"error": within | {"value": wrong}, "coverage": within | {"value": 0.9}, "seen": within | {"value": 0.1},
            "accuracy": within | {"value": accuracy}}  # fmt: skip


@pytest.mark.parametrize(("behind", "holds"), [(-0.009, True), (-0.011, False)])
def test_the_rounds_hold_where_they_end_within_a_point_of_all(behind: float, holds: bool):
    difference = {"value": behind, "low": behind - 0.01, "high": behind + 0.01, "n": 100}
    other = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 100, "difference": difference}
    document = {"rounds": [turn(0.01, 0.88), turn(0.03, 0.89)], "first": {"value": 0.85}, "all": other,
                "engine": "linear", "by_chance": other, "labels": 30, "later": 200, "risk": 0.02,
                "chain_faults": 0}  # fmt: skip
    rows = list(train_rows.flywheel(document))
    assert [row[3] for row in rows] == [holds, True, True, True]
    assert rows[3][2].startswith("2.0% (")
    assert "85.0% → 88.0% → 89.0%" in rows[1][2]

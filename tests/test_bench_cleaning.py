"""The faults of bench/cleaning.py: as many as it says, each row at most one, the same every time."""

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import cleaning
import cleaning_faults as faults
import cleaning_rows

LABELS = [*faults.RENAMED, *(f"label_{i}" for i in range(10))]
TRAIN = [(f"question number {i} about {LABELS[i % 16]} thing {i * 7}", LABELS[i % 16]) for i in range(1_600)]
TEST = [(f"asked in the test {i} about {LABELS[i % 16]} please now", LABELS[i % 16]) for i in range(400)]
FOREIGN = [(f"play song {i}", "music") for i in range(200)]


def test_faults_are_as_many_as_stated_and_each_row_has_one_at_most():
    lines = faults.faulty(TRAIN, TEST, FOREIGN)
    counted = Counter(line.fault.split(":")[0] for line in lines)
    assert counted == {"noise": 192, "drift": 80, "leaks": 48, "mixed": 80, "": 1_328}
    assert len({line.text for line in lines if not line.fault.startswith("leaks")}) == 1_600 + 80
    truth = dict(TRAIN)
    assert all(line.answer != truth[line.text] for line in lines if line.fault.startswith("noise"))
    assert all(line.answer == truth[line.text] for line in lines if not line.fault)
    assert lines == faults.faulty(TRAIN, TEST, FOREIGN)
    assert lines != faults.faulty(TRAIN, TEST, FOREIGN, seed=1)


def test_copies_of_the_test_are_left_out_of_the_comparison():
    lines = faults.faulty(TRAIN, TEST, FOREIGN)
    copied = {line.truth_text for line in lines if line.truth_text}
    assert len(copied) == 48
    assert copied < {text for text, _ in TEST}


def test_a_gain_is_better_only_by_its_interval():
    same = cleaning.compared([True, False] * 100, [True, False] * 100)
    better = cleaning.compared([True, False] * 100, [True] * 190 + [False] * 10)
    assert cleaning_rows._gain("x", same)[3] is False
    assert cleaning_rows._gain("x", better)[3] is True
    assert better["difference"]["value"] == 0.45

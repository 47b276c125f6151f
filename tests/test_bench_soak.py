"""What bench/soak.py makes of the memory that it saw."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import soak


def test_growth_counts_from_when_all_that_is_kept_was_replaced_ten_times():
    assert soak.full_minute(200.0) == 2  # keys: ten times their overlap of twelve seconds
    assert soak.full_minute(20.0) == 9  # records: ten thousand calls, in eight minutes and a third
    filling = [60.0] * 60 + [80.0] * 60 + [100.0] * 60
    found = soak.held([*filling, *[100.0] * 420], 200.0)
    assert (found["full_minute"], found["growth"], found["most_mb"]) == (2, 0.0, 100.0)
    leaking = soak.held([*filling, *[100.0 + second / 60 for second in range(420)]], 200.0)
    assert leaking["growth"] == pytest.approx(0.065, abs=0.001)
    assert leaking["mb_a_minute"] > 0.9


def test_a_run_that_is_too_short_says_what_it_saw():
    found = soak.held([50.0] * 70, 200.0)
    assert (found["mb_by_minute"], found["full_minute"], found["growth"]) == ([50.0], 0, 0.0)

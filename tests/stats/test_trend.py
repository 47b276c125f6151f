import random

import pytest

from insource.stats import trend, wilson


def rows(early: float, late: float, n: int, seed: int):
    dice = random.Random(seed)  # noqa: S311 - rows, not secrets
    times = [dice.uniform(0, 90) for _ in range(n)]
    return times, [dice.random() < early + (late - early) * when / 90 for when in times]


def test_a_share_that_stands_cries_wolf_as_seldom_as_said_and_a_fall_is_found():
    false = sum(trend(*rows(0.9, 0.9, 200, seed), shuffles=199).falls <= 0.05 for seed in range(300))
    low, high = wilson(false, 300)
    assert low <= 0.05 <= high
    found = sum(trend(*rows(0.95, 0.65, 400, seed), shuffles=999).falls <= 0.01 for seed in range(40))
    assert found >= 36


def test_the_slope_is_from_the_first_to_the_last_time():
    found = trend([0, 0, 10, 10], [True, True, True, False])
    assert found.slope == pytest.approx(-0.5)
    assert trend([0, 0, 10, 10], [False, False, True, True]).slope == pytest.approx(1.0)
    assert trend([0, 0, 10, 10], [False, False, True, True]).falls > 0.9


def test_more_hard_rows_of_late_are_no_fall():
    times = [*range(100), *range(50, 150)]
    right = [True] * 100 + [i % 2 == 0 for i in range(100)]
    assert trend(times, right).falls < 0.01
    assert trend(times, right, ["easy"] * 100 + ["hard"] * 100).falls > 0.2


def test_where_nothing_can_be_said_nothing_is():
    assert trend([], []).falls == 1.0
    assert trend([1, 1, 1], [True, False, True]).falls == 1.0
    assert trend([1, 2, 3], [True, True, True]).falls == 1.0
    with pytest.raises(ValueError, match="each row"):
        trend([1], [])

"""Student's interval: the table's quantiles, its coverage, and that rounding makes no point."""

import math

import numpy as np
import pytest

from insource.stats import student_interval, student_quantile


@pytest.mark.parametrize(
    ("freedom", "level", "t"),
    [(1, 0.95, 12.706), (2, 0.95, 4.303), (3, 0.95, 3.182), (4, 0.9, 2.132), (9, 0.95, 2.262), (30, 0.99, 2.750),
     (1000, 0.95, 1.962)],
)  # fmt: skip
def test_the_quantiles_are_those_of_the_tables(freedom, level, t):
    assert student_quantile(freedom, level) == pytest.approx(t, abs=6e-4)


def test_it_agrees_with_scipy_wherever_one_looks():
    from scipy import stats as reference

    for freedom in (*range(1, 40), 101, 500):
        for level in (0.5, 0.8, 0.95, 0.999):
            assert student_quantile(freedom, level) == pytest.approx(
                reference.t.ppf((1 + level) / 2, freedom), rel=1e-8
            )


@pytest.mark.parametrize("n", [3, 8, 40])
def test_it_holds_the_mean_as_often_as_it_says(n):
    chance = np.random.default_rng(4)
    within = 0
    for _ in range(1000):
        low, high = student_interval(list(chance.normal(2.0, 1.0, n)))
        within += low <= 2.0 <= high
    assert 930 <= within <= 970


def test_marks_all_alike_are_no_point_and_one_says_nothing():
    low, high = student_interval([4.0] * 8, rounding=1.0)
    assert low < 3.8 < 4.2 < high
    assert student_interval([4.0] * 8) == (4.0, 4.0)
    assert student_interval([4.0]) == (-math.inf, math.inf)

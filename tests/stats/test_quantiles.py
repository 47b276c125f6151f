"""Quantiles and their intervals against what is known of them, and against many draws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insource.stats import quantile, quantile_interval


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0.01, 0.999))
def test_it_is_numpys_inverted_distribution(values, share):
    ordered = sorted(values)
    assert quantile(ordered, share) == np.quantile(ordered, share, method="inverted_cdf")


def test_without_values_there_is_none():
    assert math.isnan(quantile([], 0.5))
    assert quantile_interval([], 0.5) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("n", "share", "ranks"),
    [
        (10, 0.5, (2, 9)),  # the well-known table of the median: n 10 gives 2 and 9
        (20, 0.5, (6, 15)),
        (5, 0.5, (None, None)),  # 1 and 5 cover 93.75% only
        (6, 0.5, (1, 6)),
        (100, 0.99, (97, None)),
    ],
)
def test_the_ranks_are_the_known_ones(n, share, ranks):
    low, high = quantile_interval([float(i) for i in range(1, n + 1)], share)
    assert (None if low == -math.inf else low, None if high == math.inf else high) == ranks


@pytest.mark.parametrize(("n", "share"), [(30, 0.5), (200, 0.95), (1000, 0.99)])
def test_it_covers_what_it_says(n, share):
    random = np.random.default_rng(7)
    true = -math.log(1 - share)
    hits = 0
    for _ in range(1500):
        low, high = quantile_interval(sorted(random.exponential(size=n).tolist()), share)
        hits += low <= true <= high
    assert 0.95 - 0.012 <= hits / 1500 <= 0.99

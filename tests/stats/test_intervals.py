import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insource import stats

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def mean_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_wilson_gives_the_values_statsmodels_gives() -> None:
    assert stats.wilson(10, 100) == pytest.approx((0.0552291, 0.1743657), abs=1e-6)
    assert stats.wilson(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)
    assert stats.wilson(0, 0) == (0.0, 1.0)


def test_clopper_pearson_gives_the_values_statsmodels_gives() -> None:
    assert stats.clopper_pearson(10, 100) == pytest.approx((0.0490047, 0.1762226), abs=1e-6)
    assert stats.clopper_pearson(0, 20) == pytest.approx((0.0, 0.1684335), abs=1e-6)
    assert stats.clopper_pearson(20, 20) == pytest.approx((0.8315665, 1.0), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(counts, st.sampled_from([0.9, 0.95, 0.99]))
def test_both_intervals_agree_with_scipy(count, level) -> None:
    binomtest = pytest.importorskip("scipy.stats").binomtest
    k, n = count
    theirs = binomtest(k, n)
    for ours, method in ((stats.wilson, "wilson"), (stats.clopper_pearson, "exact")):
        interval = theirs.proportion_ci(level, method=method)
        assert ours(k, n, level) == pytest.approx((interval.low, interval.high), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5000), st.floats(0.0001, 0.9999), st.floats(0, 1))
def test_the_binomial_agrees_with_scipy(n, p, place) -> None:
    binom = pytest.importorskip("scipy.stats").binom
    k = round(place * n)
    assert stats.binomial_cdf(k, n, p) == pytest.approx(binom.cdf(k, n, p), abs=1e-10)


@settings(deadline=None)
@given(counts)
def test_every_interval_holds_its_estimate_and_stays_between_0_and_1(count) -> None:
    k, n = count
    for low, high in (stats.wilson(k, n), stats.clopper_pearson(k, n)):
        assert 0 <= low <= k / n <= high <= 1


def test_no_failure_in_n_proves_about_three_in_n() -> None:
    assert stats.zero_failures_upper(3080) == pytest.approx(0.000972, abs=1e-6)
    assert stats.zero_failures_upper(1000) == pytest.approx(3 / 1000, rel=0.01)
    assert stats.clopper_pearson_upper(0, 3080) == stats.zero_failures_upper(3080)
    assert stats.zero_failures_upper(0) == 1.0


@settings(deadline=None)
@given(counts)
def test_the_upper_bound_is_where_so_few_failures_become_unlikely(count) -> None:
    k, n = count
    upper = stats.clopper_pearson_upper(k, n)
    if k < n:
        assert stats.binomial_cdf(k, n, upper) == pytest.approx(0.05, abs=1e-6)
    else:
        assert upper == 1.0


@pytest.mark.parametrize("p", [0.02, 0.3, 0.938])
def test_the_intervals_hold_the_truth_as_often_as_they_say(p) -> None:
    random = np.random.default_rng(7)
    drawn = random.binomial(300, p, size=2000)
    for interval, least in ((stats.wilson, 0.93), (stats.clopper_pearson, 0.95)):
        known = {int(k): interval(int(k), 300) for k in set(drawn.tolist())}
        held = np.mean([known[int(k)][0] <= p <= known[int(k)][1] for k in drawn])
        assert held >= least - 0.01


def test_the_bootstrap_of_a_mean_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    low, high = stats.bootstrap(mean_of(values), 400)
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_the_bootstrap_is_the_same_for_the_same_seed() -> None:
    values = np.arange(50.0)
    assert stats.bootstrap(mean_of(values), 50, seed=4) == stats.bootstrap(mean_of(values), 50, seed=4)
    assert stats.bootstrap(mean_of(values), 50, seed=4) != stats.bootstrap(mean_of(values), 50, seed=5)


def test_every_bootstrap_draw_has_as_many_rows_as_there_are() -> None:
    blocks = list(stats.resample(37, draws=90, seed=1))
    assert sum(len(block) for block in blocks) == 90
    assert all((block.sum(axis=1) == 37).all() for block in blocks)


def test_a_statistic_that_is_never_a_number_gets_no_interval() -> None:
    low, high = stats.bootstrap(lambda weights: np.full(len(weights), np.nan), 10)
    assert math.isnan(low)
    assert math.isnan(high)


def test_the_bootstrap_interval_of_a_mean_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(11)
    held = 0
    for _ in range(300):
        values = random.random(120)
        low, high = stats.bootstrap(mean_of(values), 120, draws=400, seed=int(random.integers(1 << 30)))
        held += low <= 0.5 <= high
    assert held / 300 >= 0.91

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insource import stats


def counts(values):
    kinds, times = np.unique(values, return_counts=True)
    return dict(zip(kinds.tolist(), times.tolist(), strict=True))


def test_nothing_seen_is_no_evidence_and_no_interval() -> None:
    assert stats.e_value({}) == 1.0
    assert stats.mean_interval({}) == (-1.0, 1.0)


@pytest.mark.parametrize(("mean", "low", "high"), [(0.0, -1.0, 1.0), (0.05, 0.0, 1.0), (-0.02, -1.0, 1.0)])
def test_under_the_claim_nobody_can_expect_to_win(mean, low, high) -> None:
    """Exactly: the mean of the money over every sequence of eight, with its chance, is the start."""
    middle = (low + high) / 2
    spread = 0.3 * (high - low)
    top = (mean - low - spread * (middle - low)) / (high - low)
    chances = {low: 1 - spread - top, middle: spread, high: top}
    assert sum(value * chance for value, chance in chances.items()) == pytest.approx(mean)
    expected = sum(
        math.prod(chances[value] for value in seen) * stats.e_value(counts(seen), mean, low=low, high=high)
        for seen in itertools.product(chances, repeat=8)
    )
    assert expected == pytest.approx(1.0)


def test_looking_all_the_time_cries_wolf_no_oftener_than_it_says_and_a_z_test_does() -> None:
    random = np.random.default_rng(7)
    wolves = naive = 0
    for _ in range(300):
        steps = random.choice([-1, 0, 1], p=[0.05, 0.9, 0.05], size=800)
        plus, minus = np.cumsum(steps == 1), np.cumsum(steps == -1)
        looks = range(19, 800, 20)
        wolves += any(
            stats.e_value({1: int(plus[i]), -1: int(minus[i]), 0: i + 1 - int(plus[i] + minus[i])}) >= 20 for i in looks
        )
        naive += any(plus[i] - minus[i] > 1.645 * math.sqrt(max(1, plus[i] + minus[i])) for i in looks)
    assert wolves <= 300 * 0.05
    assert naive > 300 * 0.15


def test_a_doubled_error_rate_is_seen_within_a_thousand() -> None:
    random = np.random.default_rng(8)
    caught = 0
    for _ in range(200):
        worse = (random.random(1000) < 0.10).astype(int) - (random.random(1000) < 0.05)
        caught += any(stats.e_value(counts(worse[:n])) >= 20 for n in range(50, 1001, 50))
    assert caught >= 180


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), st.integers(0, 500)))
def test_the_interval_holds_the_mean_seen_and_what_it_leaves_out_is_refuted(seen) -> None:
    low, high = stats.mean_interval(seen)
    n = sum(seen.values())
    if n:
        assert low <= sum(value * times for value, times in seen.items()) / n <= high
    if low > -1.0:
        assert stats.e_value(seen, low - 1e-6) >= 40 * (1 - 1e-6)
    if high < 1.0:
        turned = {-value: times for value, times in seen.items()}
        assert stats.e_value(turned, -high - 1e-6) >= 40 * (1 - 1e-6)


def test_the_interval_of_many_is_narrow_and_turns_with_its_sides() -> None:
    low, high = stats.mean_interval({1.0: 500, 0.0: 9500}, low=0.0)
    assert 0.04 < low < 0.05 < high < 0.06
    left, right = stats.mean_interval({1.0: 30, -1.0: 10, 0.0: 60})
    assert stats.mean_interval({-1.0: 30, 1.0: 10, 0.0: 60}) == pytest.approx((-right, -left))


def test_what_lies_outside_is_no_value() -> None:
    with pytest.raises(ValueError, match="between"):
        stats.e_value({2.0: 1})
    with pytest.raises(ValueError, match="between"):
        stats.e_value({0.0: 1}, 1.5)


def test_evidence_without_end_stays_a_number() -> None:
    assert math.isfinite(stats.e_value({1.0: 10_000_000}))
    assert stats.e_value({-1.0: 10_000_000}) < 1e-9

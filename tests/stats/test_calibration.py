from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insource import stats

answers = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80)


def calibrated(n, seed=0):
    random = np.random.default_rng(seed)
    sure = random.beta(6, 1, n)
    return sure, random.random(n) < sure


def test_honest_confidence_has_almost_no_calibration_error_and_boasting_has_much() -> None:
    sure, right = calibrated(20_000)
    assert stats.expected_calibration_error(sure, right) < 0.012
    assert stats.expected_calibration_error(np.ones(1000), np.arange(1000) % 2) == pytest.approx(0.5)
    assert stats.expected_calibration_error([], []) == 0.0


def test_calibration_error_is_the_mean_gap_of_bins_of_equal_mass() -> None:
    sure = [0.1, 0.2, 0.8, 0.9]
    right = [0, 0, 1, 0]
    bins = stats.calibration_bins(sure, right, bins=2)
    assert [(b.confidence, b.accuracy, b.n) for b in bins] == [
        (pytest.approx(0.15), 0, 2),
        (pytest.approx(0.85), 0.5, 2),
    ]
    assert stats.expected_calibration_error(sure, right, bins=2) == pytest.approx((0.15 + 0.35) / 2)


@settings(max_examples=60, deadline=None)
@given(answers, st.randoms(use_true_random=False), st.integers(1, 15))
def test_the_order_of_the_rows_changes_nothing_even_among_equals(rows, random, bins) -> None:
    rows = [(round(sure, 1), right) for sure, right in rows]
    mixed = list(rows)
    random.shuffle(mixed)
    for figure in (lambda c, r: stats.expected_calibration_error(c, r, bins), stats.brier):
        assert figure(*zip(*rows, strict=True)) == pytest.approx(figure(*zip(*mixed, strict=True)))


@settings(deadline=None)
@given(answers, st.integers(1, 15))
def test_bins_hold_every_row_once_and_are_in_order(rows, bins) -> None:
    found = stats.calibration_bins(*zip(*rows, strict=True), bins)
    assert sum(b.n for b in found) == len(rows)
    assert len(found) <= bins
    assert all(before.high < after.low for before, after in pairwise(found))


def test_brier_is_the_mean_squared_gap() -> None:
    assert stats.brier([1.0, 0.5, 0.0], [1, 1, 1]) == pytest.approx((0 + 0.25 + 1) / 3)


@pytest.mark.parametrize("boast", [1.0, 0.7, 0.4])
def test_the_interval_of_the_calibration_error_holds_the_truth(boast) -> None:
    sure, right = calibrated(400_000, 99)
    truth = stats.expected_calibration_error(sure**boast, right)
    held = 0
    for seed in range(60):
        sure, right = calibrated(1000, seed)
        low, high = stats.calibration_interval(sure**boast, right, draws=200)
        held += low - 0.002 <= truth <= high
    assert held >= 52


def test_the_interval_of_the_calibration_error_does_not_reach_zero_when_it_boasts() -> None:
    sure, right = calibrated(1500)
    low, high = stats.calibration_interval(np.sqrt(sure), right)
    assert 0.02 < low < high < 0.12
    assert stats.calibration_interval([], []) == (0.0, 1.0)


@pytest.mark.parametrize("wanted", [0.2, 1.0, 3.5])
def test_the_temperature_that_was_put_in_is_found_again(wanted) -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (4000, 6))
    chances = np.exp(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    labels = (random.random(4000)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    assert stats.fit_temperature(logits * wanted, labels) == pytest.approx(wanted, rel=0.06)


def test_the_temperature_is_where_scipy_finds_the_least_loss() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    random = np.random.default_rng(8)
    logits, labels = random.normal(0, 3, (500, 10)), random.integers(0, 10, 500)
    logits[np.arange(500), labels] += 4

    def loss(log_t):
        scaled = logits / np.exp(log_t)
        return (np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(500), labels]).sum() + log_t**2 / 2

    best = optimize.minimize_scalar(loss, bounds=(-4, 4), method="bounded").x
    assert stats.fit_temperature(logits, labels) == pytest.approx(np.exp(best), rel=1e-3)


def test_a_few_rows_without_an_error_do_not_make_it_certain() -> None:
    logits = np.tile([2.0, 0.0, 0.0], (20, 1))
    scaled = logits / stats.fit_temperature(logits, np.zeros(20, int))
    top = (np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)).max()
    assert 0.9 < top < 0.9999


def test_no_rows_leave_the_scores_as_they_are() -> None:
    assert stats.fit_temperature(np.zeros((0, 3)), []) == 1.0


def test_a_scale_makes_confidences_the_share_that_is_right() -> None:
    random = np.random.default_rng(0)
    raw = np.exp(-12 + 3 * random.standard_normal(4000))  # as products of many tokens' probabilities are
    right = random.random(4000) < 1 / (1 + np.exp(-(0.6 * np.log(raw) + 8)))
    slope, offset = stats.fit_scale(raw, right)
    assert (slope, offset) == (pytest.approx(0.6, abs=0.1), pytest.approx(8, abs=1))
    made = [stats.scaled(float(p), slope, offset) for p in raw]
    assert stats.expected_calibration_error(made, right) < 0.03
    assert stats.expected_calibration_error(raw, right) > 0.3


@settings(max_examples=60, deadline=None)
@given(answers)
def test_a_scale_is_finite_and_keeps_the_order(rows) -> None:
    sure, right = [p for p, _ in rows], [hit for _, hit in rows]
    slope, offset = stats.fit_scale(sure, right)
    assert np.isfinite([slope, offset]).all()
    assert slope > 0
    made = [stats.scaled(p, slope, offset) for p in sorted(sure)]
    assert all(0 <= a <= b <= 1 for a, b in pairwise(made)) or len(made) == 1
    assert stats.scaled(0.0, slope, offset) == 0.0


def test_few_rows_without_an_error_do_not_claim_certainty() -> None:
    slope, offset = stats.fit_scale([0.9] * 20, [True] * 20)
    assert 0.9 < stats.scaled(0.9, slope, offset) < 0.97
    assert stats.fit_scale([], []) == (1.0, 0.0)

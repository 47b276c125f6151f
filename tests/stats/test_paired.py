import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insource import stats


def share_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_mcnemar_gives_the_values_statsmodels_gives() -> None:
    assert stats.mcnemar(1, 7) == pytest.approx(0.0703125)
    assert stats.mcnemar(6, 16) == pytest.approx(0.0524790, abs=1e-6)
    assert stats.mcnemar(0, 0) == 1.0
    assert stats.mcnemar(5, 5) == 1.0


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_agrees_with_scipy_and_does_not_mind_the_order(a_only, b_only) -> None:
    binomtest = pytest.importorskip("scipy.stats").binomtest
    assert stats.mcnemar(a_only, b_only) == stats.mcnemar(b_only, a_only)
    if a_only + b_only:
        assert stats.mcnemar(a_only, b_only) == pytest.approx(binomtest(a_only, a_only + b_only).pvalue, abs=1e-9)


def test_the_interval_of_a_difference_is_that_of_bonett_and_price() -> None:
    found = stats.paired_proportions(1, 7, 21)
    assert found.value == pytest.approx(-6 / 21)
    assert (found.low, found.high) == pytest.approx((-0.5084, -0.0134), abs=1e-4)


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 400))
def test_a_difference_lies_in_its_interval_and_turns_with_its_sides(a_only, b_only, both) -> None:
    n = a_only + b_only + both
    if n == 0:
        with pytest.raises(ValueError, match="no rows"):
            stats.paired_proportions(a_only, b_only, n)
        return
    one, other = stats.paired_proportions(a_only, b_only, n), stats.paired_proportions(b_only, a_only, n)
    assert -1 <= one.low <= one.value <= one.high <= 1
    assert (other.value, other.low, other.high) == pytest.approx((-one.value, -one.high, -one.low))


@pytest.mark.parametrize(("n", "a_only", "b_only"), [(100, 0.06, 0.02), (400, 0.03, 0.03), (60, 0.2, 0.1)])
def test_the_interval_holds_the_true_difference_as_often_as_it_says(n, a_only, b_only) -> None:
    random = np.random.default_rng(5)
    drawn = random.multinomial(n, [a_only, b_only, 1 - a_only - b_only], size=2000)
    found = [stats.paired_proportions(int(a), int(b), n) for a, b, _ in drawn]
    held = np.mean([d.low <= a_only - b_only <= d.high for d in found])
    assert held >= 0.935


def test_equal_candidates_tie_and_a_clear_one_does_not() -> None:
    assert stats.paired_proportions(0, 0, 3080).tie
    assert stats.paired_proportions(40, 38, 3080).tie
    assert not stats.paired_proportions(120, 40, 3080).tie


def test_the_paired_bootstrap_agrees_with_the_interval_for_shares() -> None:
    random = np.random.default_rng(2)
    a = (random.random(1000) < 0.93).astype(float)
    b = np.where(random.random(1000) < 0.9, a, random.random(1000) < 0.8).astype(float)
    a_only, b_only = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    exact, drawn = (
        stats.paired_proportions(a_only, b_only, 1000),
        stats.paired_bootstrap(share_of(a), share_of(b), 1000),
    )
    assert drawn.value == pytest.approx(exact.value)
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.004)
    assert drawn.p == pytest.approx(exact.p, abs=0.05)


def test_a_candidate_compared_with_itself_is_a_tie_within_what_so_many_rows_can_show() -> None:
    values = np.random.default_rng(0).random(50)
    found = stats.paired_bootstrap(share_of(values), share_of(values), 50)
    exact = stats.paired_proportions(0, 0, 50)
    assert (found.value, found.low, found.high, found.p) == (0, exact.low, exact.high, 1.0)
    assert found.low < -0.02, "fifty rows cannot show that it is not two points behind"
    assert found.tie
    ahead = stats.paired_bootstrap(share_of(values + 0.5), share_of(values), 50)
    assert (ahead.low, ahead.high) == pytest.approx((0.5 + exact.low, 0.5 + exact.high))

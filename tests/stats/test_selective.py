from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insource import stats
from insource.nouns import Risk, Task
from insource.train.promise import promised

answers = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=120)


def whole(n):
    return np.ones((1, n))


def honest(random, n):
    sure = random.beta(12, 0.8, n)
    return sure, random.random(n) < sure


def test_the_curve_has_one_point_per_confidence_from_the_surest_down() -> None:
    points = stats.risk_coverage([0.9, 0.5, 0.9, 0.1], [1, 0, 0, 1])
    assert [(p.threshold, p.coverage, p.risk, p.n) for p in points] == [
        (0.9, 0.5, 0.5, 2),
        (0.5, 0.75, pytest.approx(2 / 3), 3),
        (0.1, 1.0, 0.5, 4),
    ]
    assert stats.risk_coverage([], []) == []


@settings(deadline=None)
@given(answers)
def test_the_curve_ends_at_the_error_of_all_rows(rows) -> None:
    sure, right = zip(*rows, strict=True)
    points = stats.risk_coverage(sure, right)
    assert points[-1].coverage == 1.0
    assert points[-1].risk == pytest.approx(1 - np.mean(right))
    assert all(a.threshold > b.threshold and a.coverage < b.coverage for a, b in pairwise(points))


def test_the_area_under_the_curve_rewards_knowing_what_one_does_not_know() -> None:
    right = np.array([1] * 80 + [0] * 20)
    knows, has_no_idea, is_wrong_about_it = np.linspace(1, 0, 100), np.full(100, 0.5), np.linspace(0, 1, 100)
    areas = [float(stats.aurc(sure, right)(whole(100))[0]) for sure in (knows, has_no_idea, is_wrong_about_it)]
    assert areas == sorted(areas)
    assert areas[1] == pytest.approx(0.2)


@settings(deadline=None)
@given(answers, st.floats(0, 1))
def test_coverage_at_risk_is_the_best_point_of_the_curve(rows, risk) -> None:
    sure, right = zip(*rows, strict=True)
    allowed = [p.coverage for p in stats.risk_coverage(sure, right) if p.risk <= risk]
    assert stats.coverage_at_risk(sure, right, risk)(whole(len(rows)))[0] == pytest.approx(max(allowed, default=0))


@pytest.mark.parametrize(("errors", "risk", "rows"), [(0, 0.05, 59), (5, 0.05, 208), (0, 0.02, 149), (0, 0.01, 299)])
def test_as_many_labels_are_needed_as_the_tables_say(errors, risk, rows) -> None:
    upper = [stats.clopper_pearson_upper(errors, n) for n in (rows - 1, rows)]
    assert upper[0] > risk >= upper[1] - 1e-9


def test_too_few_rows_promise_nothing_and_it_says_how_many_are_missing() -> None:
    assert stats.threshold_for_risk([0.9] * 40, [True] * 40, 0.05) == (None, 0.0, 19)
    assert stats.threshold_for_risk([], [], 0.05) == (None, 0.0, 59)
    assert stats.threshold_for_risk([0.9] * 59, [True] * 59, 0.05) == (0.9, 1.0, 0)


def test_where_the_surest_are_wrong_too_often_no_number_of_labels_helps() -> None:
    sure = np.linspace(0, 1, 1000)
    right = np.arange(1000) % 5 != 0
    assert stats.threshold_for_risk(sure, right, 0.05) == (None, 0.0, 0)


def test_as_many_more_labels_as_it_asked_for_are_about_enough() -> None:
    random = np.random.default_rng(4)
    sure, right = random.random(300), random.random(300) < 0.97
    threshold, _, needed = stats.threshold_for_risk(sure, right, 0.03)
    assert threshold is None
    assert needed > 0


@settings(deadline=None)
@given(answers, st.floats(0.01, 0.5))
def test_the_share_answered_is_that_of_the_threshold(rows, risk) -> None:
    sure, right = (np.array(column) for column in zip(*rows, strict=True))
    threshold, coverage, needed = stats.threshold_for_risk(sure, right, risk)
    if threshold is None:
        assert coverage == 0
    else:
        answered = sure >= threshold
        assert needed == 0
        assert coverage == pytest.approx(answered.mean())
        assert 1 - right[answered].mean() <= risk


def test_the_order_of_the_rows_changes_no_promise() -> None:
    random = np.random.default_rng(6)
    sure, right = honest(random, 800)
    sure = sure.round(2)
    order = random.permutation(800)
    assert stats.threshold_for_risk(sure, right, 0.05) == stats.threshold_for_risk(sure[order], right[order], 0.05)


KINDS = {
    "honest confidence": honest,
    "just above the limit everywhere": lambda random, n: (random.random(n), random.random(n) < 0.949),
    "wrong where it is surest": lambda random, n: (
        (s := random.random(n)),
        random.random(n) < np.where(s > 0.9, 0.9, 0.97),
    ),
    "a step": lambda random, n: ((s := random.random(n)), random.random(n) < np.where(s > 0.5, 0.99, 0.88)),
    "few values": lambda random, n: ((s := random.beta(12, 0.8, n)).round(1), random.random(n) < s),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_promise_is_broken_in_at_most_one_of_twenty_calibrations(kind) -> None:
    random = np.random.default_rng(9)
    sure, right = KINDS[kind](random, 300_000)
    order = np.argsort(-sure)
    sure, risk = sure[order], np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    broken, made = 0, 200
    for _ in range(made):
        threshold, _, _ = stats.threshold_for_risk(*KINDS[kind](random, 700), 0.05)
        if threshold is not None:
            last = max(int(np.searchsorted(-sure, -threshold, side="right")) - 1, 1000)
            broken += risk[last] > 0.0505
    assert stats.clopper_pearson_lower(broken, made, 0.01) <= 0.05


def test_the_same_rows_used_to_choose_freely_would_break_the_promise() -> None:
    """The control: the lowest threshold whose own bound holds, with no order of testing, promises too much."""
    random = np.random.default_rng(10)
    broken = 0
    for _ in range(200):
        points = stats.risk_coverage(random.random(700), random.random(700) < 0.949)
        broken += any(stats.binomial_cdf(round(p.risk * p.n), p.n, 0.05) <= 0.05 for p in points[58::8])
    assert broken / 200 > 0.1


def test_honest_confidence_gets_most_of_its_rows_answered() -> None:
    random = np.random.default_rng(12)
    covered = [stats.threshold_for_risk(*honest(random, 1000), 0.05)[1] for _ in range(20)]
    assert np.mean(covered) > 0.6


def test_a_threshold_set_by_hand_promises_no_error_and_says_what_it_sends_on() -> None:
    def said(**risk: float) -> tuple[float | None, str]:
        task = Task(name="t", kind="generate", metric="exact", risk=Risk(**risk))
        return promised(task, [0.95, 0.9, 0.8, 0.1], [True, False, True, False])[:2]

    assert said() == (None, "no risk limit is set: every valid answer is given")
    threshold, words = said(threshold=0.9)
    assert threshold is None
    assert words == ("no error is promised: a confidence of 0.9 is demanded by hand; "
                     "50% are given automatically, 50.0% of them wrong (dev rows)")  # fmt: skip
    assert "every valid answer" not in said(threshold=1.0)[1]
    assert said(threshold=0.9, max_error=0.05)[1] == words, "the limit does not hold where the threshold is set by hand"


def test_what_cannot_be_promised_yet_says_so_beside_the_confidence_that_is_demanded_until_then() -> None:
    task = Task(name="t", kind="generate", metric="exact", risk=Risk(max_error=0.05))
    few = promised(task, [0.9] * 20, [True] * 20)
    assert (few.threshold, few.unpromised) == (0.95, True)
    assert "cannot be promised yet" in few.words
    many = promised(task, [0.9] * 200, [True] * 200)
    assert (many.threshold, many.unpromised) == (0.9, False)


def fields(random, n):
    """A price that is often wrong, a date that is hardly, and one value in five that is not there; sure of both."""
    price, date = random.beta(8, 0.7, n), random.beta(40, 0.3, n)
    rights = random.random(n) < price, random.random(n) < date
    return np.where(random.random(n) < 0.2, np.nan, price), date, *rights


@pytest.mark.slow
def test_limits_of_fields_hold_at_once_on_the_rows_that_are_given() -> None:
    """300 calibrations of 800 rows; a world of 200,000 says how often any of three limits is exceeded: at most 5%."""
    random = np.random.default_rng(4)
    price, date, price_right, date_right = fields(random, 200_000)
    broken = made = 0
    for _ in range(300):
        a, b, a_right, b_right = fields(random, 800)
        whole = (a_right | np.isnan(a)) & b_right
        parts = [stats.Limited(a, a_right, 0.05), stats.Limited(b, b_right, 0.015),
                 stats.Limited(np.where(np.isnan(a), 1, a) * b, whole, 0.06)]  # fmt: skip
        found, coverage, _ = stats.thresholds_for_risks(parts)
        if found is None:
            continue
        made += 1
        both = np.where(np.isnan(price), 1, price) * date
        given = (np.isnan(price) | (price >= found[0])) & (date >= found[1]) & (both >= found[2])
        there = given & ~np.isnan(price)
        broken += bool(
            (~price_right[there]).mean() > 0.05
            or (~date_right[given]).mean() > 0.015
            or (~(price_right | np.isnan(price)) | ~date_right)[given].mean() > 0.06
        )
        assert coverage == pytest.approx(given.mean(), abs=0.06)
    assert made > 150
    assert broken / made <= 0.05


def test_one_limit_alone_is_the_threshold_of_one_confidence() -> None:
    sure, right = honest(np.random.default_rng(5), 900)
    threshold, coverage, _ = stats.threshold_for_risk(sure, right, 0.05)
    found, share, _ = stats.thresholds_for_risks([stats.Limited(sure, right, 0.05)])
    assert found == [pytest.approx(threshold)]
    assert (share, found[0] <= threshold) == (coverage, True)


def test_a_limit_that_cannot_be_kept_promises_nothing_and_says_whether_more_labels_would_do() -> None:
    sure, right = honest(np.random.default_rng(6), 40)
    few, coverage, needed = stats.thresholds_for_risks([stats.Limited(sure, right, 0.01)])
    assert (few, coverage) == (None, 0.0)
    assert needed > 100
    wrong = np.arange(300) % 3 != 0
    parts = [stats.Limited(np.full(300, 0.9), np.ones(300, bool), 0.1), stats.Limited(np.full(300, 0.9), wrong, 0.1)]
    assert stats.thresholds_for_risks(parts) == (None, 0.0, 0)

"""The difference of two shares of different rows: published values, coverage, and what a correction costs."""

import random

import pytest

from insource.stats import share_difference


@pytest.mark.parametrize(
    ("a", "n_a", "b", "n_b", "expected"),
    [  # Newcombe 1998, Statistics in Medicine 17:873-890, table II, method 10
        (56, 70, 48, 80, (0.2, 0.0524, 0.3339)),
        (9, 10, 3, 10, (0.6, 0.1705, 0.8090)),
        (6, 7, 2, 7, (4 / 7, 0.0582, 0.8062)),
        (5, 56, 0, 29, (5 / 56, -0.0381, 0.1926)),
        (0, 10, 0, 20, (0.0, -0.1611, 0.2775)),
        (0, 10, 0, 10, (0.0, -0.2775, 0.2775)),
        (10, 10, 0, 20, (1.0, 0.6791, 1.0)),
        (10, 10, 0, 10, (1.0, 0.6075, 1.0)),
    ],
)
def test_the_published_examples(a, n_a, b, n_b, expected):
    assert share_difference(a, n_a, b, n_b) == pytest.approx(expected, abs=6e-5)


def test_it_is_the_same_the_other_way_round():
    difference, low, high = share_difference(30, 60, 45, 70)
    assert share_difference(45, 70, 30, 60) == pytest.approx((-difference, -high, -low))


def test_without_rows_there_is_nothing_to_say():
    with pytest.raises(ValueError, match="no rows"):
        share_difference(0, 0, 1, 2)


def test_with_the_correction_the_largest_of_many_gaps_cries_wolf_in_at_most_5_percent():
    """Six slices that do equally well: of the 15 pairs the widest gap is looked at."""
    rng = random.Random(4)  # noqa: S311 - a simulation
    wolves, bare, runs = 0, 0, 400
    for _ in range(runs):
        rights = sorted(sum(rng.random() < 0.85 for _ in range(60)) for _ in range(6))
        _, _, high = share_difference(rights[0], 60, rights[-1], 60, 1 - 0.05 / 15)
        wolves += high < 0
        bare += share_difference(rights[0], 60, rights[-1], 60)[2] < 0
    assert wolves / runs <= 0.05
    assert bare / runs > 0.15, "uncorrected it would"

"""Agreement beyond chance: known figures, and intervals that hold what they say."""

import numpy as np
import pytest

from insource.stats import agreement


def test_a_known_table_gives_its_kappa():
    """Cohen's own kind of table: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no; kappa 0.4."""
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    found = agreement(pairs)
    assert (found.n, found.share, round(found.kappa, 9)) == (50, 0.7, 0.4)
    assert found.kappa_low < 0.4 < found.kappa_high


def test_all_alike_is_an_interval_and_one_word_only_has_no_kappa():
    found = agreement([("a", "a"), ("b", "b")] * 10)
    assert (found.share, found.kappa, found.kappa_high) == (1.0, 1.0, 1.0)
    assert 0.5 < found.kappa_low < 0.9
    assert agreement([("a", "a")] * 5).kappa is None
    with pytest.raises(ValueError, match="no items"):
        agreement([])


@pytest.mark.parametrize("right", [0.6, 0.9])
def test_the_interval_holds_the_true_kappa_about_as_often_as_it_says(right):
    """Two people who each see the true one of four labels with a chance of `right`, else any of the four."""
    random = np.random.default_rng(4)
    same = right + (1 - right) / 4
    chance_same = same**2 + (1 - same) ** 2 / 3
    true = (chance_same - 0.25) / 0.75
    held = 0
    for _ in range(400):
        truth = random.integers(0, 4, 150)
        one, two = (np.where(random.random(150) < right, truth, random.integers(0, 4, 150)) for _ in range(2))
        found = agreement(list(zip(one.tolist(), two.tolist(), strict=True)))
        held += found.kappa_low <= true <= found.kappa_high
    assert held >= 370

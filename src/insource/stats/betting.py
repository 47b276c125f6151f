"""Tests that may be looked at after every call: evidence as the money that a bettor makes of a claim.

A claim says that the mean of what is seen is at most `mean`. A bettor who stakes against it can expect to make nothing
as long as it is true: his money is a nonnegative supermartingale, so with a probability of 1 - 1/e or more it never
reaches e times the start, however often it is looked at and whenever one stops (Ville 1939). If the claim is false, it
grows. Money of 20 times the start is evidence against the claim at the level of 5%.

He spreads his start over fixed stakes, so all that counts is how often each value was seen, not in which order (Robbins
1970; Waudby-Smith & Ramdas 2023, doi:10.1093/jrsssb/qkad009; Ramdas et al. 2023, doi:10.1214/23-STS894).
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

STAKES = 2.0 ** (-np.arange(9) / 2)  # of the whole that may be staked; from all of it to a sixteenth
SEARCH = 50


def e_value(seen: Mapping[float, int], mean: float = 0.0, *, low: float = -1.0, high: float = 1.0) -> float:
    """The evidence against the claim that the mean is at most `mean`: 1 at the start, never negative.

    `seen` maps each value, from `low` to `high`, to how often it was seen. What depends on the past may be among it:
    the claim is that each next one is at most `mean` on average, whatever came before. To ask of the other side, turn
    the signs. Raises ValueError for values or a mean outside.
    """
    if not all(low <= value <= high for value in (*seen, mean)):
        raise ValueError(f"values and mean lie between {low} and {high}")
    stakes = STAKES / (high - low)
    money = np.zeros(len(stakes))
    for value, times in seen.items():
        if times:
            with np.errstate(divide="ignore"):  # who staked all and lost it has nothing
                money += times * np.log1p(stakes * (value - mean))
    most = float(money.max())
    return math.exp(min(most + math.log(float(np.exp(money - most).mean())), 700.0)) if most > -math.inf else 0.0


def mean_interval(
    seen: Mapping[float, int], level: float = 0.95, *, low: float = -1.0, high: float = 1.0
) -> tuple[float, float]:
    """The means that neither bettor has refuted: an interval that may be looked at any time (a confidence sequence).

    With probability `level` it holds the true mean at every look. (low, high) when nothing was seen.
    """
    turned = {-value: times for value, times in seen.items()}
    enough = 2 / (1 - level)
    bottom = _edge(lambda mean: e_value(seen, mean, low=low, high=high) < enough, low, high)
    top = -_edge(lambda mean: e_value(turned, mean, low=-high, high=-low) < enough, -high, -low)
    return bottom, top


def _edge(stands: Callable[[float], bool], low: float, high: float) -> float:
    """The lowest mean at which the claim stands; the money falls as the mean rises, so halving finds it."""
    if stands(low):
        return low
    for _ in range(SEARCH):
        middle = (low + high) / 2
        low, high = (low, middle) if stands(middle) else (middle, high)
    return low

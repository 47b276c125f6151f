"""Intervals of one figure: binomial shares exactly and by score, anything else by bootstrap."""

import math
from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
DRAWS = 1000
STEPS = 60
CELLS = 2_000_000


def wilson(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927); (0, 1) for n = 0, never outside 0 to 1."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X ≤ k) for X binomial(n, p), exact to rounding; terms are summed in logarithms on the shorter side."""
    if k < 0:
        return 0.0
    if k >= n or p <= 0.0:
        return 1.0
    if p >= 1.0:
        return 0.0
    if k > n // 2:
        return 1.0 - _sum_to(n - k - 1, n, 1.0 - p)
    return _sum_to(k, n, p)


def clopper_pearson_upper(failures: int, n: int, delta: float = 0.05) -> float:
    """The rate above which so few failures would happen with probability below `delta` (Clopper & Pearson 1934).

    One-sided, by bisection on the exact binomial; 1 when n is 0 or everything failed.
    """
    if failures >= n:
        return 1.0
    if failures == 0:
        return zero_failures_upper(n, delta)
    low, high = failures / n, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_cdf(failures, n, middle) > delta else (low, middle)
    return high


def clopper_pearson_lower(successes: int, n: int, delta: float = 0.05) -> float:
    """The one-sided exact lower bound of a rate; 0 when n is 0 or nothing succeeded."""
    return 1.0 - clopper_pearson_upper(n - successes, n, delta)


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a share: at least `level` coverage, at the price of width."""
    delta = (1 - level) / 2
    return clopper_pearson_lower(successes, n, delta), clopper_pearson_upper(successes, n, delta)


def zero_failures_upper(n: int, delta: float = 0.05) -> float:
    """What "0 failures in n" proves: the rate is below this with confidence 1 - delta (about 3/n); 1 for n = 0."""
    return 1.0 if n == 0 else -math.expm1(math.log(delta) / n)


def resample(n: int, *, draws: int = DRAWS, seed: int = 0) -> Iterator[Floats]:
    """Bootstrap weights: how often each of `n` rows was drawn, as blocks [draws of the block, n]; each row sums to n.

    The same seed and n give the same weights, so that statistics of the same rows are compared draw by draw.
    """
    random = np.random.default_rng(seed)
    left = draws
    while left:
        block = min(left, max(1, CELLS // max(n, 1)))
        drawn = random.integers(0, n, size=(block, n)) + np.arange(block)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=block * n).reshape(block, n).astype(np.float64)
        left -= block


def bootstrap(
    statistic: Statistic, n: int, *,
    draws: int = DRAWS, seed: int = 0, level: float = 0.95, kind: Literal["percentile", "basic"] = "percentile",
) -> tuple[float, float]:  # fmt: skip
    """The bootstrap interval (Efron 1979) of `statistic`, which maps weights [draws, n] to values [draws].

    "basic" mirrors the draws at the estimate (Davison & Hinkley 1997, 5.2) and so takes back the bias of statistics
    that change when rows are drawn twice: the calibration error grows, macro-F1 over rare labels shrinks. Draws that
    are not a number are left out; (nan, nan) when none is left.
    """
    values = np.concatenate([statistic(weights) for weights in resample(n, draws=draws, seed=seed)])
    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = (float(q) for q in np.quantile(values, [(1 - level) / 2, (1 + level) / 2]))
    if kind == "percentile":
        return low, high
    estimate = float(statistic(np.ones((1, n)))[0])
    return 2 * estimate - high, 2 * estimate - low


def _sum_to(k: int, n: int, p: float) -> float:
    i = np.arange(1, k + 1)
    ratios = np.log((n - i + 1) / i) + math.log(p) - math.log1p(-p)
    logs = np.concatenate([[0.0], np.cumsum(ratios)]) + n * math.log1p(-p)
    top = float(logs.max())
    return min(1.0, math.exp(top) * float(np.exp(logs - top).sum()))

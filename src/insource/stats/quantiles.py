"""Quantiles with intervals that assume no shape of the distribution."""

import math
from collections.abc import Callable, Sequence

from insource.stats.intervals import Floats, binomial_cdf


def quantile(values: Sequence[float] | Floats, share: float) -> float:
    """The smallest of the sorted `values` at or below which `share` (0 to 1) of them lie; NaN without any."""
    if not len(values):
        return math.nan
    return float(values[min(len(values), max(1, math.ceil(share * len(values) - 1e-9))) - 1])


def quantile_interval(values: Sequence[float] | Floats, share: float, level: float = 0.95) -> tuple[float, float]:
    """The interval of a quantile by order statistics (David & Nagaraja 2003, 7.1) of the sorted `values`.

    How many of n independent draws lie below the quantile is binomial(n, share), whatever they are drawn from, so two
    of them enclose it with probability `level` at least. An end that no draw can vouch for is -inf or inf.
    """
    n, tail = len(values), (1 - level) / 2
    # values[r - 1] is above the quantile where fewer than r of the draws lie below it
    low = _first(n, lambda r: binomial_cdf(r - 1, n, share) > tail) - 1
    high = _first(n, lambda r: binomial_cdf(r - 1, n, share) >= 1 - tail)
    return float(values[low - 1]) if low >= 1 else -math.inf, float(values[high - 1]) if high <= n else math.inf


def _first(n: int, holds: Callable[[int], bool]) -> int:
    """The first r from 1 to n that holds, n + 1 where none does; what holds once holds from there on."""
    low, high = 1, n + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low

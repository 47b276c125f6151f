"""The mean of a few numbers: Student's interval, with what rounding adds to their spread."""

import math
from collections.abc import Sequence

STEPS, FARTHEST = 80, 1e6


def student_interval(values: Sequence[float], level: float = 0.95, *, rounding: float = 0.0) -> tuple[float, float]:
    """The interval of a mean (Student 1908); (-inf, inf) for fewer than two values.

    Values that were rounded to steps of `rounding` hide a variance of a twelfth of its square (Sheppard 1898), which is
    added: marks that are all alike prove no point.
    """
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    mean = sum(values) / n
    variance = sum((value - mean) ** 2 for value in values) / (n - 1) + rounding**2 / 12
    half = student_quantile(n - 1, level) * math.sqrt(variance / n)
    return mean - half, mean + half


def student_quantile(freedom: int, level: float = 0.95) -> float:
    """The t between whose negative and itself Student's distribution has `level`; by halving on its exact sums."""
    low, high = 0.0, FARTHEST
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """P(|T| ≤ t) for whole degrees of freedom (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term = total = math.cos(angle) if odd else 1.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= square * (k - 1) / k
        total += term
    if not odd:
        return sine * total
    return (2 / math.pi) * (angle + (sine * total if freedom > 1 else 0.0))

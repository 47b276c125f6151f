"""Two shares of different rows: by how much they differ."""

import math

from insource.stats.intervals import wilson


def share_difference(a: float, n_a: int, b: float, n_b: int, level: float = 0.95) -> tuple[float, float, float]:
    """The share of `a` in `n_a` minus that of `b` in `n_b`, and its interval: Newcombe's hybrid score interval.

    Newcombe 1998 (Statistics in Medicine 17:873-890), method 10. For several differences looked at together, give
    `level` as 1 - 0.05 / how many (Bonferroni). Raises ValueError where one of the two has no rows.
    """
    if not n_a or not n_b:
        raise ValueError("no rows to compare on")
    p, q = a / n_a, b / n_b
    (low_p, high_p), (low_q, high_q) = wilson(a, n_a, level), wilson(b, n_b, level)
    difference = p - q
    below = math.sqrt((p - low_p) ** 2 + (high_q - q) ** 2)
    above = math.sqrt((high_p - p) ** 2 + (q - low_q) ** 2)
    return difference, max(-1.0, difference - below), min(1.0, difference + above)

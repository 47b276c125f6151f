"""Two candidates on the same rows: whether one is better, by how much, and how easily by luck."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from insource.stats.intervals import DRAWS, Statistic, binomial_cdf, resample

ALIKE = 1e-12  # what rounding alone sets two draws apart by


@dataclass(frozen=True)
class Difference:
    """a minus b with its interval, and the p-value of "there is none"."""

    value: float
    low: float
    high: float
    p: float

    @property
    def tie(self) -> bool:
        """True when the interval holds zero: the rows do not tell the two apart."""
        return self.low <= 0 <= self.high


def mcnemar(a_only: int, b_only: int) -> float:
    """The exact two-sided p-value (McNemar 1947) from the rows only one of the two got right; 1 when there are none."""
    n = a_only + b_only
    return 1.0 if n == 0 else min(1.0, 2 * binomial_cdf(min(a_only, b_only), n, 0.5))


def paired_proportions(a_only: int, b_only: int, n: int, level: float = 0.95) -> Difference:
    """The difference of two shares on the same `n` rows: `a_only` rows only a got right, `b_only` only b.

    The interval is the adjusted Wald interval of Bonett & Price (2012, doi:10.3102/1076998611411915), close to its
    level even for small n and few discordant rows; p is exact McNemar. Raises ValueError for n = 0.
    """
    if n == 0:
        raise ValueError("no rows to compare on")
    z = NormalDist().inv_cdf((1 + level) / 2)
    p_a, p_b = (a_only + 1) / (n + 2), (b_only + 1) / (n + 2)
    half = z * math.sqrt((p_a + p_b - (p_a - p_b) ** 2) / (n + 2))
    value = (a_only - b_only) / n
    low, high = p_a - p_b - half, p_a - p_b + half
    return Difference(value, max(-1.0, min(low, value)), min(1.0, max(high, value)), mcnemar(a_only, b_only))


def undrawn(value: float, n: int) -> tuple[float, float]:
    """The interval of a difference where every draw of `n` rows gives the same: as wide as if no row told two apart.

    Rows all alike show nothing of those that were not drawn; no width at all would say that there are none.
    """
    off = paired_proportions(0, 0, n)
    return value + off.low, value + off.high


def paired_bootstrap(
    a: Statistic, b: Statistic, n: int, *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Difference:
    """The difference of two statistics of the same `n` rows, drawn together; see `bootstrap` for `Statistic`.

    The interval is the basic one: draws mirrored at the estimate, which takes back their bias. p is the share of
    mirrored draws on the far side of zero, doubled, never below 2 / (draws + 1). Where all draws are alike the
    interval is that of `undrawn`.
    """
    whole = np.ones((1, n))
    value = float((a(whole) - b(whole))[0])
    drawn = 2 * value - np.concatenate([a(weights) - b(weights) for weights in resample(n, draws=draws, seed=seed)])
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Difference(value, -math.inf, math.inf, 1.0)
    low, high = (float(q) for q in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
    if float(np.ptp(drawn)) <= ALIKE:
        low, high = undrawn(value, n)
    far = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (far + 1) / (len(drawn) + 1))
    return Difference(value, min(low, value), max(high, value), p)

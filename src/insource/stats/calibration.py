"""Does a confidence mean what it says? Calibration error, Brier score, and the temperature or scale that mends it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from insource.stats.intervals import DRAWS, Floats, Statistic, bootstrap

BINS = 15
COLDEST, HOTTEST = 0.01, 100.0
NEWTON, FLATTEST, SUREST, FAINT = 50, 0.05, 30.0, 0.01
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Bin:
    """Rows of like confidence (`low` to `high`): their mean confidence, the share that is right, and how many."""

    low: float
    high: float
    confidence: float
    accuracy: float
    n: int


def calibration_bins(confidences: ArrayLike, correct: ArrayLike, bins: int = BINS) -> list[Bin]:
    """Bins of equal mass, least confident first. Equal confidences share a bin, so fewer bins may come back."""
    sure, right = _pair(confidences, correct)
    if not len(sure):
        return []
    groups = _groups(sure, bins)
    found = [groups == k for k in np.unique(groups)]
    return [
        Bin(float(sure[m].min()), float(sure[m].max()), float(sure[m].mean()), float(right[m].mean()), int(m.sum()))
        for m in found
    ]


def expected_calibration_error(confidences: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """Mean distance between confidence and accuracy over bins of equal mass (Nguyen & O'Connor 2015), 0 to 1.

    0 for no rows. Perfect confidences still score about sqrt(bins / n) / 2: read it with its interval.
    """
    sure, right = _pair(confidences, correct)
    return float(calibration_error(sure, right, bins)(np.ones((1, len(sure))))[0]) if len(sure) else 0.0


def calibration_error(confidences: ArrayLike, correct: ArrayLike, bins: int = BINS) -> Statistic:
    """The same as a statistic of row weights, for `bootstrap`; the bins stay those of all rows."""
    sure, right = _pair(confidences, correct)
    groups = _groups(sure, bins)
    order = np.argsort(groups, kind="stable")
    starts = np.unique(groups[order], return_index=True)[1]
    gaps = (sure - right)[order]

    def statistic(weights: Floats) -> Floats:
        sums = np.add.reduceat(weights[:, order] * gaps, starts, axis=1)
        found: Floats = np.abs(sums).sum(axis=1) / weights.sum(axis=1)
        return found

    return statistic


def calibration_interval(
    confidences: ArrayLike, correct: ArrayLike, bins: int = BINS, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """The 95% interval of the calibration error: a basic bootstrap, which takes back most of its bias.

    It begins at 0 where honest confidences would score as high by luck, found by drawing the answers anew from the
    confidences (consistency resampling, Bröcker & Smith 2007, doi:10.1175/WAF993.1). (0, 1) for no rows.
    """
    sure, right = _pair(confidences, correct)
    if not len(sure):
        return 0.0, 1.0
    found = expected_calibration_error(sure, right, bins)
    low, high = bootstrap(calibration_error(sure, right, bins), len(sure), draws=draws, seed=seed, kind="basic")
    random = np.random.default_rng(seed)
    groups = _groups(sure, bins)
    lucky = [
        np.abs(np.bincount(groups, weights=sure - (random.random(len(sure)) < sure))).sum() / len(sure)
        for _ in range(draws)
    ]
    low = 0.0 if found <= float(np.quantile(lucky, 0.95)) else low
    return max(0.0, min(low, found)), min(1.0, max(high, found))


def brier(confidences: ArrayLike, correct: ArrayLike) -> float:
    """Mean squared distance between confidence and being right (Brier 1950), 0 best; 0 for no rows."""
    sure, right = _pair(confidences, correct)
    return float(((sure - right) ** 2).mean()) if len(sure) else 0.0


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature T for which softmax(logits / T) gives the labels their best likelihood (Guo et al. 2017).

    `logits` is [rows, classes], `labels` [rows] of class numbers. Found by a grid and golden section on log T, within
    0.01 to 100. A weak prior (log T is standard normal, worth less than one row) keeps a small dev set without an
    error from claiming certainty. 1 for no rows.
    """
    scores = np.asarray(logits, dtype=np.float64)
    targets = np.asarray(labels, dtype=np.intp)
    if not len(targets):
        return 1.0
    scores = scores - scores.max(axis=1, keepdims=True)
    own = scores[np.arange(len(targets)), targets]

    def loss(log_t: float) -> float:
        beta = math.exp(-log_t)
        return float((np.log(np.exp(scores * beta).sum(axis=1)) - own * beta).sum()) + log_t * log_t / 2

    grid = np.linspace(math.log(COLDEST), math.log(HOTTEST), 25)
    best = int(np.argmin([loss(float(point)) for point in grid]))
    low, high = float(grid[max(0, best - 1)]), float(grid[min(len(grid) - 1, best + 1)])
    return math.exp(_golden(loss, low, high))


def fit_scale(confidences: ArrayLike, correct: ArrayLike) -> tuple[float, float]:
    """The (slope, offset) with which `scaled` makes these confidences the likeliest: Platt's scaling (Platt 1999).

    A logistic regression on the log odds, by Newton's method, with Platt's targets a little inside 0 and 1: a small
    dev set without an error does not claim certainty. A faint pull towards leaving confidences as they are decides
    where the rows do not. The slope is at least 0.05, so the order of answers stays. (1, 0) for no rows.
    """
    sure, right = _pair(confidences, correct)
    if not len(sure):
        return 1.0, 0.0
    odds = _log_odds(sure)
    middle, spread = float(odds.mean()), float(odds.std())
    spread = spread if spread > FLATTEST else 1.0
    rows = np.stack([(odds - middle) / spread, np.ones(len(odds))], axis=1)
    hits = float(right.sum())
    wanted = np.where(right > 0, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))
    as_they_are = np.array([spread, middle])
    weights = as_they_are.copy()
    for _ in range(NEWTON):
        chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -SUREST, SUREST)))
        uphill = rows.T @ (wanted - chance) - FAINT * (weights - as_they_are)
        curve = (rows * (chance * (1 - chance))[:, None]).T @ rows + FAINT * np.eye(2)
        step = np.linalg.solve(curve, uphill)
        weights = weights + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
    slope = max(FLATTEST, float(weights[0]) / spread)
    return slope, float(weights[1]) - slope * middle


def scaled(confidence: float, slope: float, offset: float) -> float:
    """A confidence (0 to 1) after Platt's scaling; 0 stays 0: what was cut is never sure."""
    if confidence <= 0.0:
        return 0.0
    odds = slope * float(_log_odds(np.asarray(confidence))) + offset
    return 1 / (1 + math.exp(-max(-SUREST, min(SUREST, odds))))


def _log_odds(sure: Floats) -> Floats:
    """The logarithm of p / (1 - p), within ±`SUREST`."""
    least = 1 / (1 + math.exp(SUREST))
    clipped = np.clip(sure, least, 1 - least)
    found: Floats = np.log(clipped) - np.log1p(-clipped)
    return found


def _golden(loss: Callable[[float], float], low: float, high: float) -> float:
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-4:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = loss(right)
    return (low + high) / 2


def _groups(sure: Floats, bins: int) -> NDArray[np.intp]:
    """The bin of each row by its mean rank, so that the order of equal rows does not matter."""
    _, inverse, counts = np.unique(sure, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    found: NDArray[np.intp] = np.minimum(bins - 1, (middle * bins / len(sure)).astype(np.intp))[inverse]
    return found


def _pair(confidences: ArrayLike, correct: ArrayLike | Sequence[bool]) -> tuple[Floats, Floats]:
    return np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)

"""Answering only when sure: what share can be answered at what error, and which threshold can promise it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from insource.stats.intervals import Floats, Statistic, binomial_cdf

STARTS = (0, 4, 16)
LOOKS = 100
NEEDED_LOOKS = 20
MOST = 50_000


@dataclass(frozen=True)
class CurvePoint:
    """Answering what is at least as sure as `threshold`: the share of rows answered and the error among them."""

    threshold: float
    coverage: float
    risk: float
    n: int


def risk_coverage(confidences: ArrayLike, correct: ArrayLike) -> list[CurvePoint]:
    """The risk-coverage curve (El-Yaniv & Wiener 2010), one point per distinct confidence, the surest first."""
    sure, right = _sorted(confidences, correct)
    if not len(sure):
        return []
    ends = _tie_ends(sure)
    errors = np.cumsum(1 - right)
    return [
        CurvePoint(float(sure[i]), (int(i) + 1) / len(sure), float(errors[i]) / (int(i) + 1), int(i) + 1) for i in ends
    ]


def aurc(confidences: ArrayLike, correct: ArrayLike) -> Statistic:
    """Area under the risk-coverage curve as a statistic of row weights, for `bootstrap`: 0 best, lower is better.

    The mean over rows of the error among the rows at least as sure (Geifman et al. 2019).
    """
    end, errors, order = _ranked(confidences, correct)

    def statistic(weights: Floats) -> Floats:
        drawn = weights[:, order]
        risk = _cumulative_risk(drawn, errors, end)
        found: Floats = (drawn * risk).sum(axis=1) / drawn.sum(axis=1)
        return found

    return statistic


def coverage_at_risk(confidences: ArrayLike, correct: ArrayLike, max_error: float) -> Statistic:
    """The largest share answered with an error of at most `max_error` among it, as a statistic of row weights.

    Describes these rows; it promises nothing about others: that is `threshold_for_risk`.
    """
    end, errors, order = _ranked(confidences, correct)

    def statistic(weights: Floats) -> Floats:
        drawn = weights[:, order]
        answered = np.cumsum(drawn, axis=1)[:, end]
        fine = _cumulative_risk(drawn, errors, end) <= max_error
        found: Floats = np.where(fine, answered, 0).max(axis=1) / drawn.sum(axis=1)
        return found

    return statistic


def threshold_for_risk(
    confidences: ArrayLike, correct: ArrayLike, max_error: float, delta: float = 0.05
) -> tuple[float | None, float, int]:
    """The lowest confidence that can promise an error of at most `max_error`: (threshold, coverage, needed).

    With probability 1 - `delta` over the labelled rows, answers of at least that confidence are wrong at a rate of
    at most `max_error`, as long as traffic is like these rows. Found by fixed-sequence testing with exact binomial
    tests (Learn then Test, Angelopoulos et al. 2021, arXiv:2110.01052; SGR, Geifman & El-Yaniv 2017): thresholds are
    tried from the surest down and the walk ends at the first that fails. It starts at up to three fixed places,
    which share `delta`, so that one early error does not end it. Coverage is the share of these rows answered.

    When nothing can be promised the threshold is None, the coverage 0, and `needed` the number of labels missing at
    the error seen: about, and 0 when no number would do because the surest rows are wrong too often.
    """
    sure, right = _sorted(confidences, correct)
    starts = _starts(len(sure), max_error, delta)
    if not starts:
        return None, 0.0, _needed(sure, right, max_error, delta)
    part = delta / len(starts)
    errors = np.cumsum(1 - right)
    ends = _tie_ends(sure)
    best = -1
    for start in starts:
        for end in _looks(ends, start):
            if binomial_cdf(int(errors[end]), end + 1, max_error) > part:
                break
            best = max(best, end)
    if best < 0:
        return None, 0.0, _needed(sure, right, max_error, part)
    return float(sure[best]), (best + 1) / len(sure), 0


@dataclass(frozen=True)
class Limited:
    """Confidences with what was right, and the share of errors tolerated among those given; NaN: there is no value."""

    confidences: Sequence[float]
    correct: Sequence[bool]
    max_error: float

    def of(self, rows: Sequence[int]) -> "Limited":
        """The same of some rows only."""
        return Limited([self.confidences[i] for i in rows], [self.correct[i] for i in rows], self.max_error)


def thresholds_for_risks(parts: Sequence[Limited], delta: float = 0.05) -> tuple[list[float] | None, float, int]:
    """Thresholds, one a part, that keep all their limits at once: (thresholds, coverage, needed), as above.

    A row is given where every part of it reaches its threshold. With probability 1 - `delta`, of the values given so
    at most each part's `max_error` are wrong. The thresholds are 1 - scale · `max_error`: who may err twice as often
    may be twice as doubtful. So there is one walk along the scale, not one a part, and at each step every limit must
    pass its own exact test (Learn then Test, several risks: Angelopoulos et al. 2021, arXiv:2110.01052, 4.2): the
    largest p-value is one of "some limit is broken", and `delta` need not be shared among the parts.
    """
    limits = np.array([part.max_error for part in parts])
    sure = np.stack([np.asarray(part.confidences, dtype=np.float64) for part in parts])
    there = ~np.isnan(sure)
    doubt = np.where(there, (1 - sure) / np.maximum(limits, 1e-9)[:, None], 0.0).max(axis=0)
    order = np.argsort(doubt, kind="stable")
    doubt = doubt[order]
    wrong = np.stack([np.where(here, 1 - np.asarray(part.correct, dtype=np.float64), 0)
                      for part, here in zip(parts, there, strict=True)])  # fmt: skip
    errors, given = np.cumsum(wrong[:, order], axis=1), np.cumsum(there[:, order], axis=1)
    starts = _starts(len(doubt), float(limits.min()), delta)
    ends = _tie_ends(doubt)
    best = -1
    for start in starts:
        for end in _looks(ends, start):
            counts = zip(errors[:, end], given[:, end], limits, strict=True)
            if any(binomial_cdf(int(e), int(n), float(most)) > delta / len(starts) for e, n, most in counts):
                break
            best = max(best, end)
    if best < 0:
        part = delta / max(1, len(starts))
        missing = [
            _needed(-doubt, 1 - row, float(most), part) for row, most in zip(wrong[:, order], limits, strict=True)
        ]
        return None, 0.0, max(missing) if all(missing) else 0
    scale = doubt[best] * (1 + 1e-12)
    return [float(max(0.0, 1 - scale * most)) for most in limits], (best + 1) / len(doubt), 0


def _starts(n: int, max_error: float, delta: float) -> list[int]:
    """Where the walks begin, in rows answered; chosen from n alone, so that the labels have no say in it."""
    for count in range(len(STARTS), 0, -1):
        part = delta / count
        rows = [_rows_for(allowed, max_error, part) for allowed in STARTS[:count]]
        if rows[-1] <= (n if count == 1 else n // 2):
            return rows
    return []


def _rows_for(errors: int, max_error: float, delta: float) -> int:
    """The fewest rows with which `errors` errors still promise `max_error`."""
    low, high = errors, max(errors, 1)
    while high < MOST and binomial_cdf(errors, high, max_error) > delta:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if binomial_cdf(errors, middle, max_error) > delta else (low, middle)
    return high


def _looks(ends: NDArray[np.intp], start: int, most: int = LOOKS) -> list[int]:
    """At most `most` places from `start` rows on, each the end of a group of equal confidences."""
    places = ends[ends >= start - 1]
    if len(places) > most:
        places = places[np.linspace(0, len(places) - 1, most).round().astype(np.intp)]
    return [int(place) for place in places]


def _needed(sure: Floats, right: Floats, max_error: float, delta: float) -> int:
    """How many more labels would do, if the share answered and its error stay as they are here.

    Cuts that answer less than a tenth of the rows are left out: their error is hardly known.
    """
    total = len(sure)
    if not total:
        return _rows_for(0, max_error, delta)
    errors = np.cumsum(1 - right)
    wanted = []
    for end in _looks(_tie_ends(sure), max(1, total // 10), NEEDED_LOOKS):
        rate = float(errors[end]) / (end + 1)
        rows = _rows_at(rate, max_error, delta) if rate < max_error else MOST
        if rows < MOST:
            wanted.append(math.ceil(rows * total / (end + 1)) - total)
    return max(1, min(wanted)) if wanted else 0


def _rows_at(rate: float, max_error: float, delta: float) -> int:
    """The fewest rows that promise `max_error` when a share `rate` is wrong; `MOST` when even so many do not."""
    low, high = 0, 1
    while high < MOST and binomial_cdf(math.ceil(rate * high), high, max_error) > delta:
        low, high = high, high * 2
    if high >= MOST:
        return MOST
    while high - low > 1:
        middle = (low + high) // 2
        fails = binomial_cdf(math.ceil(rate * middle), middle, max_error) > delta
        low, high = (middle, high) if fails else (low, middle)
    return high


def _sorted(confidences: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    sure = np.asarray(confidences, dtype=np.float64)
    order = np.argsort(-sure, kind="stable")
    return sure[order], np.asarray(correct, dtype=np.float64)[order]


def _tie_ends(sure: Floats) -> NDArray[np.intp]:
    """The last place of each group of equal confidences."""
    return np.flatnonzero(np.append(sure[1:] != sure[:-1], True))


def _ranked(confidences: ArrayLike, correct: ArrayLike) -> tuple[NDArray[np.intp], Floats, NDArray[np.intp]]:
    """For rows from the surest down: where each one's group of equals ends, its error, and the order itself."""
    sure = np.asarray(confidences, dtype=np.float64)
    order = np.argsort(-sure, kind="stable")
    ends = _tie_ends(sure[order])
    end = ends[np.searchsorted(ends, np.arange(len(sure)))]
    return end, 1 - np.asarray(correct, dtype=np.float64)[order], order


def _cumulative_risk(drawn: Floats, errors: Floats, end: NDArray[np.intp]) -> Floats:
    answered = np.cumsum(drawn, axis=1)[:, end]
    wrong = np.cumsum(drawn * errors, axis=1)[:, end]
    found: Floats = np.divide(wrong, answered, out=np.zeros_like(wrong), where=answered > 0)
    return found

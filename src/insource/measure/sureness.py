"""What a candidate's confidence is worth: calibration, and how much can be answered at what error."""

from collections.abc import Sequence

import numpy as np

from insource import stats
from insource.measure import scorers
from insource.measure.figures import Floats, draws, mean_of
from insource.measure.run import Answered
from insource.nouns import JsonObject, Score, Task

SURE, RISK = 0.85, 0.05
FEWEST, POINTS = 20, 80


def sureness(task: Task, rows: Sequence[Answered]) -> tuple[list[Score], JsonObject]:
    """Scores of confidence, and the reliability bins and the curve they are drawn from.

    Empty where fewer than 20 answers have a confidence and can be scored. `share_at_85` is the share of all scored
    rows answered with confidence 0.85 or more, `accuracy_at_85` what is right of it, `coverage_at_5pct_error` the
    largest share of these rows that could be answered with 5% errors.
    """
    right_of = scorers.whole(task)
    scored = [(row.prediction, right_of(row.example, row.prediction)) for row in rows if row.prediction is not None]
    known = [(said.confidence, mark) for said, mark in scored if mark is not None and said.confidence is not None]
    total = sum(mark is not None for _, mark in scored)
    if len(known) < FEWEST:
        return [], {}
    sure = np.array([confidence for confidence, _ in known], dtype=np.float64)
    right = np.array([mark for _, mark in known], dtype=np.float64)
    bins = min(15, max(2, len(sure) // FEWEST))
    found = [_ece(sure, right, bins), *_bootstrapped(sure, right), *_at_threshold(sure, right, total)]
    details: JsonObject = {
        "reliability": [
            {"low": b.low, "high": b.high, "confidence": b.confidence, "accuracy": b.accuracy, "n": b.n}
            for b in stats.calibration_bins(sure, right, bins)
        ],
        "curve": _curve(sure, right, len(sure) / total),
    }
    return found, details


def _ece(sure: Floats, right: Floats, bins: int) -> Score:
    value = stats.expected_calibration_error(sure, right, bins)
    low, high = stats.calibration_interval(sure, right, bins, draws=draws(len(sure)))
    return Score(metric="ece", value=value, low=low, high=high, n=len(sure))


def _bootstrapped(sure: Floats, right: Floats) -> list[Score]:
    n = len(sure)
    whole = np.ones((1, n))
    found = []
    for name, of in (
        ("brier", mean_of((sure - right) ** 2)),
        ("aurc", stats.aurc(sure, right)),
        ("coverage_at_5pct_error", stats.coverage_at_risk(sure, right, RISK)),
    ):
        value = float(of(whole)[0])
        low, high = stats.bootstrap(of, n, draws=draws(n))
        found.append(Score(metric=name, value=value, low=min(low, value), high=max(high, value), n=n))
    return found


def _at_threshold(sure: Floats, right: Floats, total: int) -> list[Score]:
    kept = right[sure >= SURE]
    low, high = stats.wilson(len(kept), total)
    found = [Score(metric="share_at_85", value=len(kept) / total, low=low, high=high, n=total)]
    if len(kept):
        low, high = stats.wilson(float(kept.sum()), len(kept))
        found.append(Score(metric="accuracy_at_85", value=float(kept.mean()), low=low, high=high, n=len(kept)))
    return found


def _curve(sure: Floats, right: Floats, most: float) -> list[JsonObject]:
    """Accuracy against the share answered, at most 80 points; `most` is the share that has a confidence at all."""
    points = stats.risk_coverage(sure, right)
    if len(points) > POINTS:
        points = [points[int(i)] for i in np.linspace(0, len(points) - 1, POINTS).round()]
    found = []
    for point in points:
        low, high = stats.wilson(point.n * (1 - point.risk), point.n)
        found.append({"share": point.coverage * most, "accuracy": 1 - point.risk, "low": low, "high": high,
                      "threshold": point.threshold, "n": point.n})  # fmt: skip
    return found

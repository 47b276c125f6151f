"""Candidates against one another, two at a time, on the rows both answered."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from insource import stats
from insource.measure.figures import Floats, Metric, draws, metrics, statistic, values
from insource.measure.run import Answered
from insource.nouns import Pair, Task


def pairs(task: Task, candidates: Mapping[str, Sequence[Answered]]) -> list[Pair]:
    """Every pair of candidates on every metric they are compared by, the task's own metric first.

    Shares of right rows by exact McNemar and Bonett & Price, all else by paired bootstrap. A pair with no row in
    common, or none that both are scored on, is left out.
    """
    found = []
    for a, b in combinations(candidates, 2):
        both = _shared(candidates[a], candidates[b])
        for metric in metrics(task) if both else []:
            pair = _share(metric, (a, b), both) if metric.kind == "share" else _drawn(task, metric, (a, b), both)
            found += [pair] if pair else []
    return found


def _shared(a: Sequence[Answered], b: Sequence[Answered]) -> list[tuple[Answered, Answered]]:
    theirs = {row.place: row for row in b if row.prediction is not None}
    return [(row, theirs[row.place]) for row in a if row.prediction is not None and row.place in theirs]


def _marks(metric: Metric, both: Sequence[tuple[Answered, Answered]]) -> tuple[Floats, Floats]:
    if metric.scorer is None:
        raise ValueError(f"{metric.name} has no figure per row")
    a, b = values(metric.scorer, [row for row, _ in both]), values(metric.scorer, [row for _, row in both])
    known = ~np.isnan(a) & ~np.isnan(b)
    return a[known], b[known]


def _share(metric: Metric, names: tuple[str, str], both: Sequence[tuple[Answered, Answered]]) -> Pair | None:
    a, b = _marks(metric, both)
    if not len(a):
        return None
    a_only, b_only = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    return _pair(metric, names, stats.paired_proportions(a_only, b_only, len(a)), len(a), (a_only, b_only))


def _drawn(
    task: Task, metric: Metric, names: tuple[str, str], both: Sequence[tuple[Answered, Answered]]
) -> Pair | None:
    n = len(both)
    of_a, of_b = (statistic(task, metric, [row[side] for row in both]) for side in (0, 1))
    difference = stats.paired_bootstrap(of_a, of_b, n, draws=draws(n))
    if not np.isfinite([difference.value, difference.low, difference.high]).all():
        return None
    wins = (0, 0)
    if metric.scorer is not None:
        a, b = _marks(metric, both)
        wins = int((a > b).sum()), int((a < b).sum())
    return _pair(metric, names, difference, n, wins)


def _pair(metric: Metric, names: tuple[str, str], difference: stats.Difference, n: int, wins: tuple[int, int]) -> Pair:
    return Pair(
        a=names[0],
        b=names[1],
        metric=metric.name,
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        p=difference.p,
        n=n,
        a_only=wins[0],
        b_only=wins[1],
    )

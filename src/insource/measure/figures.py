"""From one candidate's rows to scores: each figure with its interval and the number of rows behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from insource import stats
from insource.measure import scorers
from insource.measure.run import Answered
from insource.measure.similar import similar, similarity
from insource.nouns import Example, Prediction, Score, Task

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
Rows = Sequence[Answered]
LARGE, DRAWS, FEWEST_DRAWS = 5_000_000, 1000, 200
SLICES, SLICE_ROWS = 24, 20


@dataclass(frozen=True)
class Metric:
    """A figure of a candidate. "share" is a mean of 0 and 1, "mean" of anything; "ratio" is a statistic of all rows."""

    name: str
    kind: Literal["share", "mean", "ratio"]
    scorer: scorers.Scorer | None = None


def metrics(task: Task) -> list[Metric]:
    """What candidates of the task are compared by, the task's own metric first."""
    if task.kind == "classify":
        found = [Metric("accuracy", "share", scorers.whole(task)), Metric("macro_f1", "ratio")]
        trees = [output.name for output in task.outputs if output.taxonomy]
        found += [Metric("path_accuracy", "mean", _mean_of([scorers.path(name) for name in trees]))] if trees else []
    elif task.kind == "extract":
        found = [Metric("f1", "ratio"), Metric("exact", "share", scorers.whole(task))]
    else:
        found = [Metric("exact", "share", scorers.whole(task)), Metric("token_f1", "mean", scorers.token_f1()),
                 Metric("similarity", "mean", similar)]  # fmt: skip
    return sorted(found, key=lambda metric: metric.name != task.metric)


def scores(task: Task, rows: Rows) -> list[Score]:
    """Every score of one candidate, those it is compared by first."""
    found = [score(task, metric, rows) for metric in metrics(task)]
    found += {"classify": _classify, "extract": _extract, "generate": _generate}[task.kind](task, rows)
    return [one for one in found if one is not None]


def score(task: Task, metric: Metric, rows: Rows, slice: str | None = None) -> Score | None:
    """One figure with its interval: Wilson for shares, bootstrap for all else. None where no row can be scored."""
    if metric.scorer is not None:
        return _scored(metric, values(metric.scorer, rows), slice)
    answered = [row for row in rows if row.prediction is not None]
    return _ratio(metric.name, statistic(task, metric, answered), len(answered), slice)


def values(scorer: scorers.Scorer, rows: Rows) -> Floats:
    """One value a row, nan where it is unanswered or unscored."""
    found = [None if row.prediction is None else scorer(row.example, row.prediction) for row in rows]
    return np.array([np.nan if one is None else one for one in found], dtype=np.float64)


def statistic(task: Task, metric: Metric, rows: Rows) -> Statistic:
    """A metric as a statistic of row weights; every row must be answered."""
    if metric.scorer is not None:
        return mean_of(values(metric.scorer, rows))
    if metric.name == "macro_f1":
        parts = [_macro_f1(rows, name) for name in task.fields]
        return lambda weights: np.asarray(np.mean([part(weights) for part in parts], axis=0))
    return _f1(_counts(rows, task.fields))


def mean_of(marks: Floats) -> Statistic:
    """The mean of the scored rows, as a statistic of row weights."""
    known = ~np.isnan(marks)
    filled = np.where(known, marks, 0.0)

    def mean(weights: Floats) -> Floats:
        total = weights @ known
        return _ratio_of(weights @ filled, total)

    return mean


def draws(n: int) -> int:
    """How many bootstrap draws `n` rows get: 1,000, fewer only where that would take minutes."""
    return max(FEWEST_DRAWS, min(DRAWS, LARGE // max(n, 1)))


def _scored(metric: Metric, marks: Floats, slice: str | None) -> Score | None:
    marks = marks[~np.isnan(marks)]
    if not len(marks):
        return None
    if metric.kind == "share":
        low, high = stats.wilson(float(marks.sum()), len(marks))
        return Score(metric=metric.name, slice=slice, value=float(marks.mean()), low=low, high=high, n=len(marks))
    return _ratio(metric.name, mean_of(marks), len(marks), slice)


def _ratio(name: str, of: Statistic, n: int, slice: str | None) -> Score | None:
    value = float(of(np.ones((1, n)))[0]) if n else float("nan")
    if np.isnan(value):
        return None
    low, high = stats.bootstrap(of, n, draws=draws(n), kind="basic")
    if low == high and value in (0.0, 1.0):  # rows all alike: what is drawn of them is no interval
        low, high = stats.wilson(value * n, n)
    # Only the mean depth of a taxonomy goes above 1.
    high = min(high, 1.0) if value <= 1 else high
    return Score(metric=name, slice=slice, value=value, low=max(0.0, min(low, value)), high=max(high, value), n=n)


def _classify(task: Task, rows: Rows) -> list[Score | None]:
    found: list[Score | None] = []
    answered = [row for row in rows if row.prediction is not None]
    for output in task.outputs:
        found.append(score(task, Metric("accuracy", "share", scorers.one_field(output.name)), rows, output.name))
        found.append(_ratio("macro_f1", _macro_f1(answered, output.name), len(answered), output.name))
        if output.taxonomy:
            found += _tree(task, output.name, max(len(label.split(scorers.LEVELS)) for label in output.labels), rows)
    return found + _slices(task, rows)


def _tree(task: Task, name: str, levels: int, rows: Rows) -> list[Score | None]:
    found = [
        score(task, Metric("level_accuracy", "share", scorers.level(name, k)), rows, f"{name} to level {k}")
        for k in range(1, levels + 1)
    ]
    return [*found, score(task, Metric("shared_levels", "mean", scorers.depth(name)), rows, name)]


def _extract(task: Task, rows: Rows) -> list[Score | None]:
    answered = [row for row in rows if row.prediction is not None]
    found = _shares(_counts(answered, task.fields), None)
    for name in task.fields:
        counts = _counts(answered, (name,))
        found += [_ratio("f1", _f1(counts), len(answered), name), *_shares(counts, name)]
    return found + _slices(task, rows)


def _generate(task: Task, rows: Rows) -> list[Score | None]:
    return [_by_chance(rows), *_slices(task, rows)]


def _by_chance(rows: Rows) -> Score | None:
    """The similarity of each answer to the next row's target: what texts of this task have in common anyway."""
    said = [row for row in rows if row.prediction is not None and row.example.target.get("text") is not None]
    marks = [
        similarity(other.example.target["text"], scorers.said(row.prediction, "text"))
        for row, other in zip(said, [*said[1:], *said[:1]], strict=True)
        if row.prediction is not None and other is not row
    ]
    known = np.array([np.nan if mark is None else mark for mark in marks], dtype=np.float64)
    return _scored(Metric("similarity_by_chance", "mean"), known, None)


def _shares(counts: Floats, slice: str | None) -> list[Score | None]:
    """Precision (n: what was said) and recall (n: what there was to say)."""
    right, wrong, missed = (float(total) for total in counts.sum(axis=1))
    found: list[Score | None] = []
    for name, n in (("precision", int(right + wrong)), ("recall", int(right + missed))):
        if n:
            low, high = stats.wilson(right, n)
            found.append(Score(metric=name, slice=slice, value=right / n, low=low, high=high, n=n))
    return found


def _slices(task: Task, rows: Rows) -> list[Score | None]:
    """The share of right rows per tag value, the largest slices first."""
    metric = next(metric for metric in metrics(task) if metric.kind == "share")
    by_tag: dict[str, list[Answered]] = {}
    for row in rows:
        for key, value in row.example.tags.items():
            by_tag.setdefault(f"{key}={value}", []).append(row)
    large = sorted((tag for tag in by_tag if len(by_tag[tag]) >= SLICE_ROWS), key=lambda tag: (-len(by_tag[tag]), tag))
    return [score(task, metric, by_tag[tag], tag) for tag in large[:SLICES]]


def _mean_of(parts: Sequence[scorers.Scorer]) -> scorers.Scorer:
    def mean(example: Example, prediction: Prediction) -> float | None:
        marks = [part(example, prediction) for part in parts]
        known = [mark for mark in marks if mark is not None]
        return sum(known) / len(known) if len(known) == len(marks) else None

    return mean


def _macro_f1(rows: Rows, name: str) -> Statistic:
    """The mean F1 over all labels that occur as target or as answer; rows without a target count nothing."""
    numbers: dict[str | None, int] = {None: 0}
    targets, answers = [], []
    for row in rows:
        target = row.example.target.get(name)
        said = None if row.prediction is None else scorers.said(row.prediction, name)
        targets.append(numbers.setdefault(target, len(numbers)))
        answers.append(numbers.setdefault(said if target is not None else None, len(numbers)))
    wanted, given = np.array(targets, dtype=np.intp), np.array(answers, dtype=np.intp)
    right = np.where(wanted == given, wanted, 0)
    count = len(numbers)

    def statistic(weights: Floats) -> Floats:
        total = _sums(weights, wanted, count) + _sums(weights, given, count)
        share = _ratio_of(2 * _sums(weights, right, count), total)[:, 1:]
        known = ~np.isnan(share)
        return _ratio_of(np.where(known, share, 0).sum(axis=1), known.sum(axis=1).astype(np.float64))

    return statistic


def _sums(weights: Floats, codes: NDArray[np.intp], count: int) -> Floats:
    """Weights [draws, rows] summed over the rows of each code: [draws, count]."""
    found = np.zeros((len(weights), count))
    if len(codes):
        order = np.argsort(codes, kind="stable")
        present, starts = np.unique(codes[order], return_index=True)
        found[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
    return found


def _counts(rows: Rows, fields: Sequence[str]) -> Floats:
    """Right, wrong and missed per row, summed over `fields`: [3, rows]."""
    found = np.zeros((3, len(rows)))
    for place, row in enumerate(rows):
        for name in fields:
            if row.prediction is not None and row.example.target:
                one = scorers.counts(row.example, row.prediction, name)
                found[:, place] += (one.right, one.wrong, one.missed)
    return found


def _f1(counts: Floats) -> Statistic:
    def statistic(weights: Floats) -> Floats:
        right, wrong, missed = weights @ counts[0], weights @ counts[1], weights @ counts[2]
        total = 2 * right + wrong + missed
        return _ratio_of(2 * right, total)

    return statistic


def _ratio_of(above: Floats, below: Floats) -> Floats:
    """The quotient, nan where `below` is zero."""
    found: Floats = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)
    return found

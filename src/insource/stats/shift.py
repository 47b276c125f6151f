"""Whether a window of calls is like a reference: several features at once, one chance of a false alarm for all.

Rows of both are shuffled between the two many times. A feature's statistic in the true division is held against those
of the shuffled ones, so nothing is assumed of its distribution; the smallest p-value of all features is held against
the smallest of each shuffle, so that together they cry wolf as seldom as they say, however they hang together (minP of
Westfall & Young 1993). Exact as long as the rows could have been shuffled: calls that come in bursts of a kind are not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from insource.stats.intervals import Floats

SHUFFLES, BLOCK = 999, 200
MOST_KINDS = 200
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Shift:
    """One feature: how far the window is from the reference, from 0 to 1, and how easily by luck among all of them.

    `distance` is the largest difference of the two distribution functions (Kolmogorov-Smirnov) for numbers, half the
    sum of the differences of shares (total variation) for kinds. `p` is adjusted for all features that were looked at.
    """

    feature: str
    distance: float
    p: float


def shifts(
    reference: Mapping[str, ArrayLike], window: Mapping[str, ArrayLike], *, shuffles: int = SHUFFLES, seed: int = 0
) -> list[Shift]:
    """Every feature of both, [rows] numbers or texts (kinds); the rows of all features are the same.

    Raises ValueError where features or lengths differ, or one side has no rows.
    """
    if reference.keys() != window.keys() or not reference:
        raise ValueError("both sides have the same features, one at least")
    joined = {name: _column(reference[name], window[name]) for name in reference}
    before, now = (len(np.asarray(next(iter(side.values())))) for side in (reference, window))
    if not before or not now or any(len(column) != before + now for column in joined.values()):
        raise ValueError("each feature has the same rows, and each side has some")
    inside = np.arange(before + now) >= before
    found = np.array([[_far(column, inside[:, None])[0] for column in joined.values()]])
    drawn = [
        np.stack([_far(column, block) for column in joined.values()], axis=1)
        for block in _shuffled(inside, shuffles, seed)
    ]
    far = np.concatenate([found, *drawn])  # [1 + shuffles, features], the true division first
    p = np.stack([_p(far[:, j]) for j in range(far.shape[1])], axis=1)
    least = p.min(axis=1)
    adjusted = [float((least <= mine + 1e-12).mean()) for mine in p[0]]
    return [
        Shift(name, _distance(column, inside), value)
        for (name, column), value in zip(joined.items(), adjusted, strict=True)
    ]


class _Column:
    """A feature of all rows, ready to be divided again and again."""

    def __init__(self, values: Floats, kinds: NDArray[np.float32] | None) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        self.ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        self.kinds = kinds
        self.size = len(values)

    def __len__(self) -> int:
        return self.size


def _column(reference: ArrayLike, window: ArrayLike) -> _Column:
    both = np.concatenate([np.asarray(reference), np.asarray(window)])
    if both.dtype.kind not in "US":
        return _Column(np.nan_to_num(both.astype(np.float64), nan=-1.0), None)
    _, codes, counts = np.unique(both, return_inverse=True, return_counts=True)
    if len(counts) > MOST_KINDS:  # the rarest are one kind
        rank = np.empty(len(counts), dtype=np.int64)
        rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
        codes = np.minimum(rank[codes], MOST_KINDS - 1)
    kinds = np.zeros((int(codes.max()) + 1, len(both)), dtype=np.float32)  # counts of rows are whole in it
    kinds[codes, np.arange(len(both))] = 1.0
    return _Column(codes.astype(np.float64), kinds)


def _shuffled(inside: Bools, shuffles: int, seed: int) -> Iterator[Bools]:
    """Divisions [rows, some] in which as many rows are inside, drawn by chance."""
    random = np.random.default_rng(seed)
    left, now = shuffles, int(inside.sum())
    while left:
        block = min(left, BLOCK)
        lots = random.random((block, len(inside)))
        largest = np.partition(lots, now - 1, axis=1)[:, now - 1 : now]
        yield np.ascontiguousarray((lots <= largest).T)  # whoever drew the smallest lots is inside: no row is moved
        left -= block


def _far(column: _Column, inside: Bools) -> Floats:
    """The statistic of each division [rows, divisions]: Kolmogorov-Smirnov's, or Pearson's of the counts."""
    now = int(inside[:, 0].sum())
    before = len(inside) - now
    if column.kinds is None:
        counted = np.int32 if len(inside) ** 2 < np.iinfo(np.int32).max else np.int64
        here: NDArray[Any] = np.cumsum(inside[column.order], axis=0, dtype=counted)[column.ends]
        # before * now times what one distribution function is above the other: whole numbers, so ties are ties
        here *= now + before
        here -= ((column.ends + 1) * now).astype(counted)[:, None]
        far: Floats = np.maximum(here.max(axis=0), -here.min(axis=0)) / (before * now)
        return far
    wanted = column.kinds.sum(axis=1, dtype=np.float64)[:, None] * now / (now + before)
    seen = (column.kinds @ inside.astype(np.float32)).astype(np.float64)
    pearson: Floats = ((seen - wanted) ** 2 / wanted).sum(axis=0)
    return pearson


def _p(far: Floats) -> Floats:
    """For each division the share of all that are as far or farther."""
    ordered = np.sort(far)
    p: Floats = (len(far) - np.searchsorted(ordered, far - 1e-12, side="left")) / len(far)
    return p


def _distance(column: _Column, inside: Bools) -> float:
    if column.kinds is None:
        return float(_far(column, inside[:, None])[0])
    kinds = column.kinds.astype(np.float64)
    now, before = kinds[:, inside].mean(axis=1), kinds[:, ~inside].mean(axis=1)
    return float(np.abs(now - before).sum() / 2)

"""Whether a share falls with time: Cochran and Armitage's score, its chance found by shuffling times within strata.

The score is the sum of the times of the right rows, as in the test for a linear trend in proportions (Cochran 1954,
doi:10.2307/3001616; Armitage 1955, doi:10.2307/3001775); with strata it is Mantel's extension (1963). Shuffling the
times among the rows of a stratum needs no large numbers, and rows of one stratum may be easier than those of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHUFFLES, BLOCK = 9_999, 500


@dataclass(frozen=True)
class Trend:
    """`slope` is by how much the share changes from the first time to the last, on a straight line.

    `falls` is how easily a fall like this comes by luck, one-sided; 1 where nothing can be said.
    """

    slope: float
    falls: float


def trend(
    times: Sequence[float],
    right: Sequence[bool],
    strata: Sequence[str] = (),
    *,
    shuffles: int = SHUFFLES,
    seed: int = 0,
) -> Trend:
    """Of rows at `times` that were `right` or not, each of its stratum. Raises ValueError where lengths differ."""
    when, good = np.asarray(times, dtype=np.float64), np.asarray(right, dtype=np.float64)
    kinds = np.asarray(strata if len(strata) else [""] * len(when))
    if not len(when) == len(good) == len(kinds):
        raise ValueError("each row has a time, a verdict and a stratum")
    inside = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    centred = [(when[rows] - when[rows].mean(), good[rows] - good[rows].mean()) for rows in inside]
    spread = sum(float(ages @ ages) for ages, _ in centred)
    score = sum(float(ages @ verdicts) for ages, verdicts in centred)
    if not spread or not any(verdicts.any() for _, verdicts in centred):
        return Trend(0.0, 1.0)
    random = np.random.default_rng(seed)
    low, done = 1, 1  # the true order is one of all
    while done <= shuffles:
        block = min(BLOCK, shuffles + 1 - done)
        drawn = np.zeros(block)
        for ages, verdicts in centred:
            drawn += random.permuted(np.tile(ages, (block, 1)), axis=1) @ verdicts
        low += int((drawn <= score + 1e-9).sum())
        done += block
    return Trend(score / spread * float(when.max() - when.min()), low / done)

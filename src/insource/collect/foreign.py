"""Rows that read like another task: far from all other rows, and of no label that a classifier would dare to give.

Two measures, each against the middle of all rows by the median absolute deviation: how little a row's words are like
those of the 15 rows most like it (mean cosine of TF-IDF, near duplicates left out), and how low its best score is among
all labels. A row has to be at least 2 deviations out by the first and 1.5 by the second. As rows of a template hardly
deviate, it also has to be far in itself: a cosine below 0.3, and no score above -0.3.

Chosen on BANKING77 with 166 questions of other domains forced into its labels: 46% of them are found, 89 in 100 of the
rows named are of them. Of sets with one task alone (BANKING77, CLINC150, work orders) it names 0.0% to 0.5%. It is a
net for what labels and system prompts do not tell, and a coarse one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

NEAREST = 15
FAR = 2.0
UNSURE = 1.5
AWAY = 0.7
UNCLAIMED = -0.3
BLOCK = 1_000
NORMAL = 1.4826  # from a median absolute deviation to a standard deviation

Floats = NDArray[np.float64]


def strange(table: Any, groups: NDArray[np.int64], best: Floats) -> list[int]:
    """The rows, by number, that read like none of the others.

    `table` is sparse TF-IDF of the rows, `groups` tells which are near duplicates, `best` is each row's best score.
    """
    if table.shape[0] <= 10 * NEAREST:
        return []
    away = _distances(table, groups)
    out = (deviations(away) >= FAR) & (deviations(-best) >= UNSURE) & (away >= AWAY) & (best <= UNCLAIMED)
    return [int(i) for i in np.flatnonzero(out)]


def deviations(values: Floats) -> Floats:
    """How many deviations each value lies above the median; 0 for all where they hardly differ."""
    middle = np.median(values)
    spread = NORMAL * float(np.median(np.abs(values - middle)))
    found: Floats = (values - middle) / spread if spread > 1e-9 else np.zeros_like(values)
    return found


def _distances(table: Any, groups: NDArray[np.int64]) -> Floats:
    """One minus the mean cosine to the nearest rows of other groups."""
    from sklearn.preprocessing import normalize

    unit = normalize(table)
    turned = unit.T.tocsr()
    found = np.zeros(unit.shape[0])
    for start in range(0, unit.shape[0], BLOCK):
        cosine = (unit[start : start + BLOCK] @ turned).toarray()
        own = groups[start : start + BLOCK]
        cosine[own[:, None] == groups[None, :]] = -1.0
        found[start : start + BLOCK] = 1.0 - np.partition(cosine, -NEAREST, axis=1)[:, -NEAREST:].mean(axis=1)
    return found

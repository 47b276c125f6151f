"""Rows to take out: labels that a plain linear classifier, which has not seen the row, would never have given.

One linear SVM a label (squared hinge, C 0.1) on TF-IDF of words and character 4-grams gives each train row a score per
label, from the other folds; near duplicates share a fold. A row goes when another label scores at least 0.5 more than
its own, on a scale on which 1 and -1 are the sides of the margin. It is the rule "prune by noise rate" of confident
learning (Northcutt, Jiang, Chuang, JAIR 2021) with a margin for the rate, which would have to be guessed.

It was chosen on BANKING77 with 12% of its labels changed, half of them to one of the three most alike: there it finds
85% of them, and 88 in 100 of the rows it takes out are changed ones; the list of `suspects`, which is made for people
and is shorter, finds 71% at 84. Of the labels as they were published it takes out 2.0%.

Before labels are judged, rows that read like another task go (`foreign.py`): they have no right label.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from insource.collect.findings import cut
from insource.collect.foreign import strange
from insource.collect.split import home
from insource.collect.suspects import CUT, FOLDS, LARGE, MOST_ROWS, features, folds_of, suspicions
from insource.nouns import Example, Noun, Task

MARGIN = 0.5
SOFTNESS = 0.1
NEVER = -9.0
Progress = Callable[[str, int, int], None]


class Wrong(Noun, frozen=True, kw_only=True):
    """A row whose label is wrong by the rule, why, and the text of the row most like it under the better label.

    `foreign` rows are of no label: they read like another task.
    """

    id: str
    foreign: bool = False
    why: str
    like: str = ""


def wrong_labels(task: Task, rows: Sequence[Example], *, progress: Progress = lambda *_: None) -> list[Wrong]:
    """The wrong ones among the train rows, once each. Looks at 20,000 rows at most. Raises `Missing` without sklearn.

    Where labels times rows exceed ten million, the list of suspects takes its place.
    """
    chosen = sorted((row for row in rows if row.split == "train"), key=lambda row: row.id)[:MOST_ROWS]
    if len(chosen) < 2 * FOLDS:
        return []
    found: dict[str, Wrong] = {}
    groups = np.unique([home(row) for row in chosen], return_inverse=True)[1]
    table = features([row.input[:CUT] for row in chosen])
    folds = folds_of(task, chosen)
    for field in task.fields:
        names, given = np.unique([str(row.target[field]) for row in chosen], return_inverse=True)
        if len(names) * len(chosen) > LARGE:
            more = _suspected(task, rows, progress)
        else:
            more = (
                _field(field, _Part(chosen, table, folds, groups), (names, given), progress) if len(names) > 1 else []
            )
        for one in more:
            found.setdefault(one.id, one)
    return list(found.values())


class _Part(NamedTuple):
    """The rows that are looked at, their TF-IDF, and the fold and the group of near duplicates of each."""

    rows: Sequence[Example]
    table: Any
    folds: NDArray[np.int64]
    groups: NDArray[np.int64]


def _suspected(task: Task, rows: Sequence[Example], progress: Progress) -> list[Wrong]:
    return [
        Wrong(id=one.id, why=_why(one.field, one.given, one.suggested))
        for found in suspicions(task, rows, progress=progress)
        for one in found.suspects
    ]


def _field(field: str, part: _Part, labels: tuple[Any, Any], progress: Progress) -> list[Wrong]:
    rows = part.rows
    names, given = labels
    scores = _scores(field, part, given, progress)
    out = strange(part.table, part.groups, scores.max(axis=1).astype(np.float64))
    foreign = [
        Wrong(id=rows[i].id, foreign=True, why="its words are like no other row's, and no label fits") for i in out
    ]
    everyone = np.arange(len(given))
    own = scores[everyone, given].copy()
    scores[everyone, given] = -np.inf
    margin = scores.max(axis=1) - own
    margin[out] = -np.inf
    going = np.flatnonzero(margin >= MARGIN)
    going = going[np.argsort(-margin[going], kind="stable")]
    better = scores.argmax(axis=1)
    likes = _likes(part, given, [(int(i), int(better[i])) for i in going])
    return foreign + [
        Wrong(id=rows[i].id, why=_why(field, str(names[given[i]]), str(names[better[i]])), like=cut(rows[like].input))
        for i, like in zip(going.tolist(), likes, strict=True)
    ]


def _scores(field: str, part: _Part, given: Any, progress: Progress) -> NDArray[np.float32]:
    """Out-of-fold scores, shape (rows, labels); a label that the other folds do not have is far behind all others."""
    from sklearn.svm import LinearSVC

    table, folds = part.table, part.folds
    found = np.full((len(folds), int(given.max()) + 1), NEVER, dtype=np.float32)
    for fold in range(FOLDS):
        progress(f"looking for wrong labels: {field}", fold, FOLDS)
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if not len(outside) or len(np.unique(given[inside])) < 2:
            continue
        model = LinearSVC(C=SOFTNESS, random_state=0).fit(table[inside], given[inside])
        told = model.decision_function(table[outside])
        told = np.stack([-told, told], axis=1) if told.ndim == 1 else told
        found[np.ix_(outside, model.classes_)] = told
    progress(f"looking for wrong labels: {field}", FOLDS, FOLDS)
    return found


def _likes(part: _Part, given: Any, going: Sequence[tuple[int, int]]) -> list[int]:
    """For each row that goes, the row of the better label, in another fold, whose words are most alike."""
    found = []
    for row, label in going:
        others = np.flatnonzero((given == label) & (part.folds != part.folds[row]))
        cosine = (part.table[others] @ part.table[row].T).toarray().ravel()
        found.append(int(others[cosine.argmax()]))
    return found


def _why(field: str, given: str, better: str) -> str:
    return f"{field}: {cut(given, 60)} was given; a classifier that has not seen the row says {cut(better, 60)}"

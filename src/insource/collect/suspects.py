"""Labels that are probably wrong: confident learning (Northcutt, Jiang, Chuang, JAIR 2021).

A plain classifier (TF-IDF of words and character 4-grams, one logistic regression per label, fitted by SGD) predicts
each train row from the other folds; near duplicates share a fold, so a wrong label cannot vouch for its copy. A label's
threshold is the mean probability that rows given this label get for it. A row is suspected when some other label passes
its own threshold, does so with the highest probability of all that pass, and is likelier than the given one by a
margin of 0.25. So a label that is hard for the classifier has a low threshold and is not blamed for it.

On BANKING77 with 5% of its labels changed at random this lists 65% of the changed ones, and 3 in 4 of those listed
are; on 1,500 of its rows it is as right and finds fewer. The classifier is kept stiff (FREEDOM is C of a logistic
regression), for a supple one is sure of itself on few rows and doubts too much.

Where labels times rows exceed ten million the classifier would take minutes; the nearest label centroid does its work.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from insource.collect.split import bundles, deal, home
from insource.errors import Missing
from insource.nouns import Example, Noun, Task

FOLDS = 5
EPOCHS = 6
MARGIN = 0.25
FREEDOM = 3.0
MOST_ROWS = 20_000
LARGE = 10_000_000
CUT = 4_000
SHARPNESS = 12.0

Matrix = NDArray[np.float32]
Progress = Callable[[str, int, int], None]


class Suspect(Noun, frozen=True, kw_only=True):
    """A row whose label is doubted: what was given, what is suggested, and the probability of the suggestion."""

    id: str
    field: str
    input: str
    given: str
    suggested: str
    confidence: float


class Suspicion(Noun, frozen=True, kw_only=True):
    """The suspects of one output, the surest first, among `n` rows; `accuracy` is the classifier's own, out of fold."""

    field: str
    n: int
    accuracy: float
    suspects: tuple[Suspect, ...]


def suspicions(task: Task, rows: Sequence[Example], *, progress: Progress = lambda *_: None) -> list[Suspicion]:
    """One Suspicion per output of a classify task, from its train rows; none where fewer than two labels repeat.

    Looks at 20,000 rows at most, chosen by their ids. Raises `Missing` without scikit-learn.
    """
    chosen = sorted((row for row in rows if row.split == "train"), key=lambda row: row.id)[:MOST_ROWS]
    if len(chosen) < 2 * FOLDS:
        return []
    table = features([row.input[:CUT] for row in chosen])
    folds = folds_of(task, chosen)
    found = (_field(field, chosen, (table, folds), progress) for field in task.fields)
    return [one for one in found if one is not None]


def _field(
    field: str, rows: Sequence[Example], parts: tuple[Any, NDArray[np.int64]], progress: Progress
) -> Suspicion | None:
    table, folds = parts
    names, given = np.unique([str(row.target[field]) for row in rows], return_inverse=True)
    if len(names) < 2:
        return None
    likely = np.zeros((len(rows), len(names)), dtype=np.float32)
    for fold in range(FOLDS):
        progress(f"looking for wrong labels: {field}", fold, FOLDS)
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if len(outside) and len(np.unique(given[inside])) > 1:
            likely[outside] = _probabilities(table, given, (inside, outside), len(names))
    progress(f"looking for wrong labels: {field}", FOLDS, FOLDS)
    suspects = [
        Suspect(
            id=rows[i].id,
            field=field,
            input=rows[i].input,
            given=str(names[given[i]]),
            suggested=str(names[better]),
            confidence=round(float(likely[i, better]), 3),
        )
        for i, better in doubted(likely, given)
    ]
    accuracy = float((likely.argmax(axis=1) == given).mean())
    return Suspicion(field=field, n=len(rows), accuracy=accuracy, suspects=tuple(suspects))


def doubted(likely: Matrix, given: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Rows and the labels that suit them better, the widest margin first.

    `likely` holds out-of-fold probabilities, shape (rows, labels); `given` the label of each row.
    """
    count = np.bincount(given, minlength=likely.shape[1])
    own = likely[np.arange(len(given)), given]
    threshold = np.bincount(given, weights=own, minlength=likely.shape[1]) / np.maximum(count, 1)
    threshold[count < 2] = np.inf
    passing = np.where(likely >= threshold, likely, -1.0)
    better = passing.argmax(axis=1)
    margin = likely[np.arange(len(given)), better] - own
    suspected = (passing.max(axis=1) > 0) & (better != given) & (margin >= MARGIN)
    for i in sorted(np.flatnonzero(suspected).tolist(), key=lambda i: (-margin[i], i)):
        yield i, int(better[i])


def likely_labels(task: Task, rows: Sequence[Example], texts: Sequence[str]) -> list[str]:
    """What a plain classifier of the only output would say to each text. Raises `Missing` without scikit-learn."""
    if not texts:
        return []
    field = task.fields[0]
    chosen = sorted(rows, key=lambda row: row.id)[:MOST_ROWS]
    names, given = np.unique([str(row.target[field]) for row in chosen], return_inverse=True)
    if len(names) < 2:
        return [str(names[0])] * len(texts)
    table = features([text[:CUT] for text in (*(row.input for row in chosen), *texts)])
    parts = np.arange(len(chosen)), np.arange(len(chosen), len(chosen) + len(texts))
    found = _probabilities(table, given, parts, len(names))
    return [str(names[i]) for i in found.argmax(axis=1)]


def folds_of(task: Task, rows: Sequence[Example]) -> NDArray[np.int64]:
    """The fold of each row, 0 to 4: near duplicates share one, and labels are spread evenly."""
    spread = deal(bundles(task, rows), {str(fold): 1 / FOLDS for fold in range(FOLDS)})
    return np.array([int(spread[home(row)]) for row in rows])


def features(texts: list[str]) -> Any:
    """Sparse TF-IDF, float32, shape (rows, terms): words 1-2 and character 4-grams that occur twice or more."""
    try:
        from scipy.sparse import hstack
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError as error:
        raise Missing("looking for wrong labels needs scikit-learn", hint="pip install 'insource[data]'") from error
    common = {"sublinear_tf": True, "dtype": np.float32, "max_features": 100_000}
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\w+", **common)  # noqa: S106 - no password
    parts = [words.fit_transform(texts)]
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4), **common)
    return hstack([*parts, characters.fit_transform(texts)]).tocsr()


def _probabilities(table: Any, given: NDArray[np.int64], rows: tuple[Any, Any], labels: int) -> Matrix:
    """Probabilities of the rows outside the fold's training rows, shape (rows outside, labels)."""
    inside, outside = rows
    if labels * len(given) > LARGE:
        return _centroids(table, given, rows, labels)
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(
        loss="log_loss", alpha=1 / (FREEDOM * len(inside)), max_iter=EPOCHS, tol=None, random_state=0, n_jobs=-1
    )
    model.fit(table[inside], given[inside])
    found = np.zeros((len(outside), labels), dtype=np.float32)
    found[:, model.classes_] = model.predict_proba(table[outside])
    return found


def _centroids(table: Any, given: NDArray[np.int64], rows: tuple[Any, Any], labels: int) -> Matrix:
    """Softmax over the cosine to each label's mean row."""
    from scipy.sparse import csr_matrix

    inside, outside = rows
    member = csr_matrix(
        (np.ones(len(inside), np.float32), (given[inside], np.arange(len(inside)))), (labels, len(inside))
    )
    means = member @ table[inside]
    norms = np.sqrt(np.asarray(means.multiply(means).sum(axis=1)).ravel())
    cosine = (table[outside] @ means.T).toarray() / np.maximum(norms, 1e-9)
    grown = np.exp(SHARPNESS * cosine)
    found: Matrix = (grown / grown.sum(axis=1, keepdims=True)).astype(np.float32)
    return found

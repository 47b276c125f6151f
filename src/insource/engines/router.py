"""Tells which task a text is for, how sure it is, and when it does not know. Linear, in this process, in numpy alone.

One logistic regression per task, each against all the others: a text that is for none of them can be unlikely for every
one, which probabilities that sum to one could not say. Saved as safetensors and JSON, never as pickle.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from insource.engines.artefact import Scale, file_digest
from insource.engines.hashed import BITS, Floats, Places, hashed, matrix
from insource.errors import EngineDown, Invalid, Missing, Refused, StoreError
from insource.nouns import Noun, from_json, to_json
from insource.stats import fit_scale, threshold_for_risk

CARD = "router.json"
STRENGTH = 10.0  # inverse of the penalty; chosen on the validation rows of CLINC150
GROUPS = 5
LIKELY = 0.5  # below, a text is more likely for no task or for another one
TOLERANCE = 0.01
NO_TASK = ""


class Text(NamedTuple):
    """A text and the task it is for, `NO_TASK` for none."""

    text: str
    task: str


class Card(Noun, frozen=True, kw_only=True):
    """What `router.json` holds: the tasks in the order of the weights, and what held-out rows say of them.

    Below `threshold` the router does not know. It was fitted on `known` texts of these tasks and `strange` ones that
    were for none of the tasks it had then seen. Of those, it told a task for shares `answered` and `fooled`; of the
    `known` it answered, the share `right` was right. `datasets` maps each task to the digest of its rows. `weights` is
    the SHA-256 of the weights' file, which is called after it.
    """

    tasks: tuple[str, ...]
    scale: Scale
    threshold: float
    max_error: float
    promise: str
    known: int
    strange: int
    answered: float
    right: float
    fooled: float
    datasets: dict[str, str]
    weights: str = ""


class Router:
    """Ranks tasks. `weights` holds "idf" [2^16], "coef" [2^16, tasks] and "intercept" [tasks]."""

    def __init__(self, card: Card, weights: dict[str, Floats]) -> None:
        self.card = card
        self._weights = weights

    @classmethod
    def fit(
        cls, train: Sequence[Text], dev: Sequence[Text], *, max_error: float, datasets: dict[str, str] | None = None
    ) -> "Router":
        """Fitted on `train`; its confidence and threshold on `dev`, and on texts of tasks left out of a second fit.

        At the threshold at most `max_error` of the tasks told are wrong, where half of the texts are for no task.
        Raises `Invalid` with fewer than two tasks, a task without held-out rows, or two tasks and no text that is for
        neither; `EngineDown` when scikit-learn is missing.
        """
        tasks = tuple(sorted({row.task for row in train} - {NO_TASK}))
        if len(tasks) < 2:
            raise Invalid("a router needs rows of two tasks at least", hint="insource collect TASK FILE")
        if not {row.task for row in dev} >= set(tasks):
            raise Invalid("every task needs held-out rows", hint="insource collect TASK FILE --split dev")
        lesson = _Lesson(train)
        weights = lesson.learn(tasks)
        odds, right, strange = _held_out(lesson, dev, tasks, weights)
        even = _even(strange)
        slope, offset = fit_scale(_chance(odds[even]), right[even])
        sure = _chance(slope * odds + offset)
        threshold, promise = _threshold(sure[even], right[even], max_error)
        told, known = sure >= threshold, ~strange
        card = Card(
            tasks=tasks,
            scale=Scale(slope=slope, offset=offset),
            threshold=threshold,
            max_error=max_error,
            promise=promise,
            known=int(known.sum()),
            strange=int(strange.sum()),
            answered=_share(told[known]),
            right=_share(right[known & told]),
            fooled=_share(told[strange]),
            datasets=datasets or {},
        )
        return cls(card, weights)

    @classmethod
    def load(cls, folder: Path) -> "Router":
        """The router saved in `folder`. Raises `Missing`, `Invalid`, `Refused` when the weights were changed."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            card = from_json((folder / CARD).read_bytes(), Card)
            place = folder / _called(card.weights)
            if file_digest(place) != card.weights:
                raise Refused(f"{place} is not what was trained", hint="insource train --router")
            return cls(card, load_file(place))
        except FileNotFoundError as error:
            raise Missing(f"there is no router in {folder}", hint="insource train --router") from error
        except (SafetensorError, OSError) as error:
            raise Invalid(f"{folder} cannot be read: {error}", hint="insource train --router") from error

    def save(self, folder: Path) -> Card:
        """Puts the router in the place of the one in `folder`, whole or not at all. Raises `StoreError`."""
        from safetensors.numpy import save

        data = save({key: np.ascontiguousarray(value) for key, value in self._weights.items()})
        try:
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / "weights.part"
            part.write_bytes(data)
            sha = file_digest(part)
            part.replace(folder / _called(sha))
            card = Card(**{name: getattr(self.card, name) for name in Card.__struct_fields__} | {"weights": sha})
            part = folder / (CARD + ".part")
            part.write_bytes(to_json(card))
            part.replace(folder / CARD)
            for old in folder.glob("*.safetensors"):
                if old.name != _called(sha):
                    old.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{folder} cannot be written: {error}", hint="free disk space, run again") from error
        return card

    def rank(self, text: str) -> tuple[tuple[str, float], ...]:
        """Every task with its chance (0 to 1), the likeliest first. Under a millisecond, however long the text."""
        scale = self.card.scale
        chances = _chance(scale.slope * _odds(hashed(text), self._weights) + scale.offset)
        order = np.argsort(-chances, kind="stable")
        return tuple(zip((self.card.tasks[i] for i in order), chances[order].tolist(), strict=True))


def _called(sha: str) -> str:
    return f"router-{sha[:16]}.safetensors"


def _odds(found: tuple[Places, Floats], weights: dict[str, Floats]) -> NDArray[np.floating]:
    """How much speaks for each task, as a logarithm of odds."""
    places, often = found
    row = often * weights["idf"][places]
    odds: NDArray[np.floating] = (row / np.sqrt(row @ row)) @ weights["coef"][places] + weights["intercept"]
    return odds


def _chance(odds: Any) -> Any:
    return 1 / (1 + np.exp(-odds))


class _Lesson:
    """The train rows as a matrix, from which several routers are fitted."""

    def __init__(self, train: Sequence[Text]) -> None:
        self._tasks = np.asarray([row.task for row in train])
        self._rows = matrix([row.text for row in train])
        seen = np.bincount(self._rows.indices, minlength=1 << BITS)
        self._idf = (np.log((1 + len(train)) / (1 + seen)) + 1).astype(np.float32)
        self._rows.data *= self._idf[self._rows.indices]
        lengths = np.sqrt(np.add.reduceat(self._rows.data**2, self._rows.indptr[:-1]))
        self._rows.data /= np.repeat(lengths, np.diff(self._rows.indptr))

    def learn(self, tasks: tuple[str, ...], left: Collection[str] = ()) -> dict[str, Floats]:
        """The weights for `tasks`, the rows of the tasks `left` unseen."""
        try:
            from sklearn.linear_model import LogisticRegression
        except ModuleNotFoundError as error:
            raise EngineDown("a router is made by scikit-learn, which is not installed",
                             hint="pip install 'insource[data]'") from error  # fmt: skip
        seen = np.flatnonzero(~np.isin(self._tasks, list(left)))
        rows, named = self._rows[seen], self._tasks[seen]
        coef, intercept = np.zeros((1 << BITS, len(tasks)), np.float32), np.zeros(len(tasks), np.float32)
        for place, task in enumerate(tasks):
            machine = LogisticRegression(C=STRENGTH, solver="liblinear", tol=TOLERANCE, random_state=0)
            machine.fit(rows, named == task)
            coef[:, place], intercept[place] = machine.coef_[0], machine.intercept_[0]
        return {"idf": self._idf, "coef": coef, "intercept": intercept}


def _held_out(
    lesson: _Lesson, dev: Sequence[Text], tasks: tuple[str, ...], weights: dict[str, Floats]
) -> tuple[Any, Any, Any]:
    """For held-out rows: the odds of the task told, whether it is right, whether the row was for no task then known.

    The strange ones are the dev rows for no task and, of three tasks or more, those of each group of tasks under
    weights that never saw the group.
    """
    found = [_asked(row, tasks, weights) for row in dev]
    groups = [tasks[i :: min(GROUPS, len(tasks))] for i in range(min(GROUPS, len(tasks)))] if len(tasks) > 2 else []
    for group in groups:
        others = tuple(task for task in tasks if task not in group)
        blind = lesson.learn(others, group)
        found += [_asked(row, others, blind) for row in dev if row.task in group]
    odds, right, strange = (np.asarray(column) for column in zip(*found, strict=True))
    if not strange.any():
        raise Invalid(
            "with two tasks, what is for neither must be shown: there is nothing to learn it from",
            hint='name a file of such texts, one a line: unknown = "FILE" under [router]',
        )
    return odds, right, strange


def _asked(row: Text, tasks: tuple[str, ...], weights: dict[str, Floats]) -> tuple[float, bool, bool]:
    odds = _odds(hashed(row.text), weights)
    return float(odds.max()), tasks[int(odds.argmax())] == row.task, row.task not in tasks


def _even(strange: Any) -> Any:
    """As many rows that are for no task as there are others, drawn at equal distances."""
    sides = np.flatnonzero(strange), np.flatnonzero(~strange)
    count = min(len(side) for side in sides)
    return np.sort(np.concatenate([side[np.linspace(0, len(side) - 1, count).astype(np.intp)] for side in sides]))


def _threshold(sure: Any, right: Any, max_error: float) -> tuple[float, str]:
    """The confidence demanded, and what it promises in words; where nothing can be promised, 1 - `max_error`."""
    found, _, needed = threshold_for_risk(sure, right, max_error)
    if found is not None:
        return max(
            found, LIKELY
        ), f"at most {max_error:.1%} of what it tells is wrong where half of the texts are for no task"
    more = f"about {needed:,} more held-out rows could" if needed else "it is wrong too often where it is surest"
    words = f"no error can be promised: {more}; it tells a task from a confidence of {1 - max_error:.2f} on"
    return 1 - max_error, words


def _share(which: Any) -> float:
    return float(np.mean(which)) if len(which) else 0.0

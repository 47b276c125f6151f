"""One row, one answer, one figure: 0 to 1, or None where the row cannot be scored (never zero for that).

An answer that breaks the task's contract is wrong (0); a row without the target is unscored (None).
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from insource.nouns import Example, JsonValue, Prediction, Task, normal, same

Scorer = Callable[[Example, Prediction], float | None]
LEVELS = " / "


@dataclass(frozen=True)
class Counts:
    """A field of one extraction: right, said wrongly or needlessly, and missed."""

    right: int = 0
    wrong: int = 0
    missed: int = 0


def whole(task: Task) -> Scorer:
    """1 when every field of the target is right: all outputs, the exact object, or the exact text."""

    def score(example: Example, prediction: Prediction) -> float | None:
        marks = [one_field(name)(example, prediction) for name in task.fields]
        return None if any(mark is None for mark in marks) else float(all(marks))

    def exact(example: Example, prediction: Prediction) -> float | None:
        if not example.target:
            return None
        return float(all(same(example.target.get(name), said(prediction, name)) for name in task.fields))

    return score if task.kind == "classify" else exact


def one_field(name: str) -> Scorer:
    """1 when the label called `name` is the target's, to the letter; None where the target has none."""

    def score(example: Example, prediction: Prediction) -> float | None:
        if example.target.get(name) is None:
            return None
        return float(example.target[name] == said(prediction, name))

    return score


def path(name: str) -> Scorer:
    """For a taxonomy: the levels shared from the root down, as a share of the longer of the two paths."""

    def score(example: Example, prediction: Prediction) -> float | None:
        if example.target.get(name) is None:
            return None
        wanted, given = _steps(example.target[name]), _steps(said(prediction, name))
        return _shared(wanted, given) / max(len(wanted), len(given))

    return score


def depth(name: str) -> Scorer:
    """For a taxonomy: how many levels are right from the root down."""

    def score(example: Example, prediction: Prediction) -> float | None:
        if example.target.get(name) is None:
            return None
        return float(_shared(_steps(example.target[name]), _steps(said(prediction, name))))

    return score


def level(name: str, number: int) -> Scorer:
    """For a taxonomy: 1 when the first `number` levels are right; None where the target has fewer."""

    def score(example: Example, prediction: Prediction) -> float | None:
        if example.target.get(name) is None or len(_steps(example.target[name])) < number:
            return None
        return float(_shared(_steps(example.target[name]), _steps(said(prediction, name))) >= number)

    return score


def token_f1(name: str = "text") -> Scorer:
    """F1 of the words shared with the target, as in SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250)."""

    def score(example: Example, prediction: Prediction) -> float | None:
        if example.target.get(name) is None:
            return None
        wanted, given = _words(example.target[name]), _words(said(prediction, name))
        shared = sum((Counter(wanted) & Counter(given)).values())
        total = len(wanted) + len(given)
        return 2 * shared / total if total else 1.0

    return score


def counts(example: Example, prediction: Prediction, name: str) -> Counts:
    """The field `name` as precision and recall count it: a wrong value is both said wrongly and missed.

    A list is counted item by item, whatever their order.
    """
    missed, wrong = _items(example.target.get(name)), []
    given = _items(said(prediction, name))
    for item in given:
        if item in missed:
            missed.remove(item)
        else:
            wrong.append(item)
    return Counts(right=len(given) - len(wrong), wrong=len(wrong), missed=len(missed))


def _items(value: JsonValue) -> list[JsonValue]:
    """The values that a field holds, as they are compared: none, one, or the items of a list."""
    items = [normal(item) for item in (value if isinstance(value, list) else [value])]
    return [item for item in items if item is not None]


def said(prediction: Prediction, name: str) -> JsonValue:
    """The prediction's value of a field; None when the output is invalid or leaves it out."""
    valid = prediction.value is not None and prediction.finish == "stop"
    return prediction.value.get(name) if valid and prediction.value is not None else None


def _steps(label: JsonValue) -> list[str]:
    return [] if label is None else str(label).split(LEVELS)


def _shared(a: list[str], b: list[str]) -> int:
    count = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        count += 1
    return count


def _words(text: JsonValue) -> list[str]:
    return re.findall(r"\w+", str(normal(text) or ""))

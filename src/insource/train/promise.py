"""What a confidence may promise: the threshold at which the task's risk holds on the dev rows."""

from collections.abc import Sequence
from typing import NamedTuple

from insource.nouns import Task
from insource.stats import threshold_for_risk

NOT_YET = "cannot be promised yet"


class Promise(NamedTuple):
    """The confidence that is demanded, what it promises in words, and whether nothing of a limit could be promised."""

    threshold: float | None
    words: str
    unpromised: bool = False


def promised(task: Task, confidences: Sequence[float], correct: Sequence[bool]) -> Promise:
    """The threshold at which the task's `max_error` holds with 95% confidence on these rows, and what it promises.

    Without enough rows to promise it, the threshold is the calibrated confidence 1 - max_error, and the words say so.
    A threshold set by hand promises nothing: the words say what it did to these rows.
    """
    risk = task.risk.max_error
    if task.risk.threshold is not None:
        fitted = None if risk is None else threshold_for_risk(confidences, correct, risk)[0]
        return Promise(fitted, _by_hand(task.risk.threshold, confidences, correct))
    if risk is None:
        return Promise(None, "no risk limit is set: every valid answer is given")
    threshold, coverage, needed = threshold_for_risk(confidences, correct, risk)
    if threshold is None:
        what = f"{needed:,} more labelled dev rows are needed" if needed else "its surest answers are wrong too often"
        alone = sum(confidence >= 1 - risk for confidence in confidences) / max(1, len(confidences))
        rest = f"until then {alone:.0%} are given automatically (dev rows), the rest go on to the next tier or a person"
        return Promise(1 - risk, f"at most {risk:.0%} error {NOT_YET}: {what}; {rest}", unpromised=True)
    return Promise(
        threshold,
        f"at most {risk:.0%} error among the {coverage:.0%} given automatically (95% confidence, dev rows)",
    )


def _by_hand(threshold: float, confidences: Sequence[float], correct: Sequence[bool]) -> str:
    given = [right for confidence, right in zip(confidences, correct, strict=True) if confidence >= threshold]
    share = len(given) / max(1, len(confidences))
    wrong = f", {given.count(False) / len(given):.1%} of them wrong" if given else ""
    return (f"no error is promised: a confidence of {threshold:g} is demanded by hand; "
            f"{share:.0%} are given automatically{wrong} (dev rows)")  # fmt: skip

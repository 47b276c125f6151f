"""What is watched of calls, told from records alone, which hold no text. Pure.

A feature is a column of numbers or kinds, a row a call. `words` are those of the input, `unknown words` the share of
them that no training row has, `rare words` of those that few have; calls of before these were counted have none of the
three. `confidence` is that of the release, asked first; a call of which it gave none counts as -1. `tokens` are those
of the input as the release counts them, `tier` who answered in the end, and each output of a classify task is a feature
of its labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET

from insource.nouns import WAITS, JsonObject, Noun, Record, Task
from insource.stats import shifts, wilson
from insource.watch.vocabulary import Terms

Columns = dict[str, list[Any]]
ALPHA = 0.01
NO_ANSWER = "(none)"


class Moved(Noun, frozen=True, kw_only=True):
    """A feature that is not as it was: how far, from 0 to 1, the p-value for all looks together, and in words."""

    feature: str
    against: str
    distance: float
    p: float
    words: str


class Estimate(Noun, frozen=True, kw_only=True):
    """A share with its 95% interval and n."""

    value: float
    low: float
    high: float
    n: int


def of_records(task: Task, records: Sequence[Record]) -> Columns:
    """The features of calls that the task's release was asked first."""
    columns: Columns = {"confidence": [], "tokens": [], "tier": []}
    columns |= {output.name: [] for output in task.outputs}
    for record in records:
        said = record.attempts[0].prediction if record.attempts else None
        columns["confidence"].append(-1.0 if said is None or said.confidence is None else said.confidence)
        columns["tokens"].append(float(said.usage.input_tokens) if said is not None else -1.0)
        columns["tier"].append(record.outcome if record.outcome in (*WAITS, "failed") else f"tier {record.tier}")
        for output in task.outputs:
            columns[output.name].append(_label(said.value if said is not None else None, output.name))
    firsts = [record.attempts[0].prediction if record.attempts else None for record in records]
    terms = [None if said is None else said.terms for said in firsts]
    return columns | of_terms([None if one is UNSET else one for one in terms] if UNSET not in terms else [])


def of_terms(counted: Sequence[Terms | None]) -> Columns:
    """The features of words; a call that nobody answered counts as -1 in each. None of nothing."""
    if not counted:
        return {}
    return {
        "words": [-1.0 if one is None else float(one[0]) for one in counted],
        "unknown words": [-1.0 if one is None else one[1] / max(1, one[0]) for one in counted],
        "rare words": [-1.0 if one is None else one[2] / max(1, one[0]) for one in counted],
    }


def of_answers(task: Task, answers: Sequence[tuple[JsonObject | None, float | None]]) -> Columns:
    """The features of a trainer's own answers, (value, confidence) each: labels and confidence."""
    columns: Columns = {"confidence": [-1.0 if sure is None else sure for _, sure in answers]}
    return columns | {output.name: [_label(value, output.name) for value, _ in answers] for output in task.outputs}


def moved(window: Columns, references: Mapping[str, Columns]) -> list[Moved]:
    """What is not as it was in one of the references, at the level of 1% for all features of all of them together."""
    found = []
    for name, reference in references.items():
        shared = [feature for feature in reference if feature in window]
        for shift in shifts({f: reference[f] for f in shared}, {f: window[f] for f in shared}):
            p = min(1.0, shift.p * len(references))  # Bonferroni over the references
            if p <= ALPHA:
                words = _words(reference[shift.feature], window[shift.feature])
                found.append(Moved(feature=shift.feature, against=name, distance=shift.distance, p=p, words=words))
    return found


def estimated(window: Columns) -> Estimate | None:
    """The accuracy that the confidences foretell: their mean, as each is the chance of being right.

    It is blind to a change of what is right: a text that means something else than it did is answered as surely as
    before. None without confidences.
    """
    sure = [each for each in window["confidence"] if each >= 0]
    if not sure:
        return None
    value = sum(sure) / len(sure)
    low, high = wilson(value * len(sure), len(sure))
    return Estimate(value=value, low=low, high=high, n=len(sure))


def share(right: int, n: int) -> Estimate | None:
    """A share that was counted; None for none."""
    if not n:
        return None
    low, high = wilson(right, n)
    return Estimate(value=right / n, low=low, high=high, n=n)


def _label(value: JsonObject | None, name: str) -> str:
    return NO_ANSWER if value is None else str(value.get(name, NO_ANSWER))


def _words(before: Sequence[Any], now: Sequence[Any]) -> str:
    """What moved most, for people."""
    if isinstance(now[0], str):
        kinds = {*before, *now}
        most = max(kinds, key=lambda kind: abs(now.count(kind) / len(now) - before.count(kind) / len(before)))
        return f"{most}: {before.count(most) / len(before):.1%} → {now.count(most) / len(now):.1%}"
    middle = sorted(before)[len(before) // 2], sorted(now)[len(now) // 2]
    if middle[0] != middle[1]:
        return f"median {middle[0]:.3g} → {middle[1]:.3g}"
    return f"mean {sum(before) / len(before):.3g} → {sum(now) / len(now):.3g}"

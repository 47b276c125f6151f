"""A verdict becomes a Review, and a Review becomes an Example. A corrected value must be valid for the task."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from insource.decode.check import faults, schema_of
from insource.errors import Invalid
from insource.nouns import Example, JsonObject, JsonValue, Pending, Review, Task, Verdict
from insource.nouns.lesson import TEACHING

FORM = "--correct LABEL, or --correct field=value for each field"


def verdict(
    task: Task, pending: Pending, said: Verdict, right: JsonObject | None = None, *, note: str = "", reviewer: str = ""
) -> Review:
    """The Review of `pending`. `right` is what the answer should have been, for the verdict "wrong".

    Raises `Invalid` when the verdict and the correction do not fit together, or the correction breaks the task.
    """
    if said == "none_of_these" and not task.outputs:
        raise Invalid(f"{task.name} has no labels, so it is never that none of these fits", hint="--verdict wrong")
    if said == "right" and pending.value is None:
        raise Invalid(f"{pending.record} has no proposed answer that could be right", hint=FORM)
    if said != "wrong" and right is not None:
        raise Invalid(f"a correction goes with the verdict wrong, not with {said}", hint=f"--verdict wrong {FORM}")
    if right is not None:
        wrong = faults(schema_of(task), right)
        if wrong:
            raise Invalid(f"the correction is no answer of {task.name}: {'; '.join(wrong)}", hint=FORM)
        if right == pending.value:
            raise Invalid("the correction is what was proposed", hint="--verdict right says that the answer is right")
    decided = datetime.now(UTC).isoformat(timespec="seconds")
    return Review(record=pending.record, verdict=said, corrected=right, note=note, reviewer=reviewer, decided=decided)


def corrected(task: Task, pending: Pending, words: Sequence[str]) -> JsonObject:
    """The value that `words` spell: a bare label (or text) for a task of one field, else field=value each.

    Fields left out keep the proposed value. Values of an `extract` task are JSON, or text where they are none.
    Raises `Invalid` naming the fields there are.
    """
    fields = task.fields
    value = dict(pending.value or {})
    for word in words:
        name, equals, said = word.partition("=")
        if equals and name in fields:
            value[name] = _spelled(task, said)
        elif len(fields) == 1:
            value[fields[0]] = _spelled(task, word)
        else:
            raise Invalid(f"{word!r} does not say which field: there are {', '.join(fields)}", hint=FORM)
    return value


def to_example(task: Task, pending: Pending, review: Review) -> Example | None:
    """The labelled row that a verdict gives: the proposal when right, the correction when wrong, tagged `failed`.

    None where nobody said what is right, or the text is not known. What was settled because nobody looked in time is no
    label, whatever another engine answered then.
    """
    if review.fallback:
        return None
    target = pending.value if review.verdict == "right" else review.corrected
    if target is None or not pending.input.strip():
        return None
    identity = Example.identity(task.name, pending.input, target)
    failed = review.verdict == "wrong" and pending.reason not in TEACHING
    tags = {"failed": "in production"} if failed else {}
    return Example(id=identity, task=task.name, input=pending.input, target=target, origin="human", tags=tags)


def _spelled(task: Task, said: str) -> JsonValue:
    if task.kind != "extract":
        return said
    try:
        return msgspec.json.decode(said)
    except msgspec.DecodeError:
        return said

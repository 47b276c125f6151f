"""Rows whose target is none of the task's: are they of an older form of it, or of something else? Pure."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from insource.collect.clean import Removal
from insource.collect.drift import translated
from insource.collect.intake import label_text
from insource.collect.read import Stray
from insource.collect.suspects import likely_labels
from insource.errors import Invalid, Missing
from insource.nouns import Example, JsonObject, Task

FEWEST = 3
AGREED = 0.6


def settle(task: Task, rows: Sequence[Example], strays: Sequence[Stray]) -> tuple[list[Removal], list[Stray]]:
    """Those that an older form of the task explains, each with what it would be today; and the others.

    An older form is a renamed field, another type, or a label spelled otherwise (`drift`); or a label that the task no
    longer has and whose rows read like those of one label that it has: at least 3 rows, 60% of them.
    """
    found, left = [], []
    for stray in strays:
        new = translated(task, stray.target)
        if new is None:
            left.append(stray)
        else:
            found.append(_removal(task, stray, new))
    more, left = _renamed(task, rows, left)
    return found + more, left


def _removal(task: Task, stray: Stray, new: tuple[JsonObject, str]) -> Removal:
    target, why = new
    row = Example(
        id=Example.identity(task.name, stray.input, target),
        task=task.name,
        input=stray.input,
        target=target,
        split=stray.split,
        origin=stray.origin,
    )
    return Removal(kind="drift", row=row, why=why, before=stray.target)


def _renamed(task: Task, rows: Sequence[Example], strays: Sequence[Stray]) -> tuple[list[Removal], list[Stray]]:
    if task.kind != "classify" or len(task.outputs) != 1 or not rows:
        return [], list(strays)
    output = task.outputs[0]
    by_label: dict[str, list[Stray]] = defaultdict(list)
    for stray in strays:
        by_label[_old(stray, output.name)].append(stray)
    known = [one for label, several in by_label.items() if label and len(several) >= FEWEST for one in several]
    try:
        guessed = dict(zip(map(id, known), likely_labels(task, rows, [one.input for one in known]), strict=True))
    except Missing:
        return [], list(strays)
    found, left = [], []
    for old, several in by_label.items():
        votes = Counter(guessed.get(id(one), "") for one in several)
        new, n = votes.most_common(1)[0]
        if not new or n < AGREED * len(several):
            left += several
            continue
        why = f"label {old[:80]!r} is {new!r} now: {n:,} of its {len(several):,} rows read like that"
        found += [_removal(task, one, ({output.name: new}, why)) for one in several]
    return found, left


def _old(stray: Stray, field: str) -> str:
    target = stray.target.get(field) if isinstance(stray.target, dict) else stray.target
    try:
        return label_text(target)
    except Invalid:
        return ""

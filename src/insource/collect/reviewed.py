"""Rows that people made by what they said of answers: cleaned before they join the others. Pure.

Left out, each with its reason: what nobody said is right, a text on which people say different things, a target that
the task no longer has, a row that is known already, and one that contradicts a known row: there a person should look at
the older one.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from insource.decode.check import faults, schema_of
from insource.nouns import Example, Noun, Task, likeness

UNSAID, DISAGREE, DRIFT, KNOWN, CONTRADICTS = (
    "nobody said which label is right, or its text is not known",
    "people say different things of the same text",
    "its target is none of the task's any more",
    "the row is known",
    "it contradicts a row that is known",
)


class Cleaned(Noun, frozen=True, kw_only=True):
    """The rows that may join, and how many were left out for each reason. `contradicted` are ids of older rows."""

    rows: tuple[Example, ...]
    left: dict[str, int]
    contradicted: tuple[str, ...] = ()


def cleaned(task: Task, made: Iterable[tuple[Example | None, str]], known: Sequence[Example]) -> Cleaned:
    """The rows that verdicts made, each with the month of its verdict as the tag `reviewed`; and what was left out."""
    left: dict[str, int] = defaultdict(int)
    by_text: dict[object, list[tuple[Example, str]]] = defaultdict(list)
    for row, month in made:
        if row is None:
            left[UNSAID] += 1
        elif faults(schema_of(task), row.target):
            left[DRIFT] += 1
        else:
            by_text[likeness(row.input)].append((row, month))
    before = {likeness(row.input): row for row in known}
    rows, contradicted = [], []
    for text, said in by_text.items():
        row, month = said[0]
        old = before.get(text)
        reason = _against(row, [other for other, _ in said[1:]], old)
        if reason:
            left[reason] += len(said)
            contradicted += [old.id] if old is not None and reason == CONTRADICTS else []
            continue
        left[KNOWN] += len(said) - 1
        rows.append(msgspec.structs.replace(row, split="", tags={**row.tags, "reviewed": month}))
    kept = tuple(sorted(rows, key=lambda row: row.id))
    return Cleaned(rows=kept, left={why: n for why, n in left.items() if n}, contradicted=tuple(contradicted))


def _against(row: Example, others: Sequence[Example], old: Example | None) -> str:
    """Why the row may not join; empty where it may."""
    if any(likeness(other.target) != likeness(row.target) for other in others):
        return DISAGREE
    if old is None:
        return ""
    return KNOWN if likeness(old.target) == likeness(row.target) else CONTRADICTS

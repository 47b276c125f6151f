"""Rows that would teach something wrong, taken out one by one: each with its rule, evidence and way back. Pure.

Nothing leaves the test for what a model thinks of it: a test that is cleaned by a classifier flatters classifiers. So
`label-errors`, `near-duplicates` and `leaks` take rows out of train alone. What a person said goes before what a model
said, and a row that somebody brought back is never taken out again.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from insource.collect.check_rows import by_group, said
from insource.collect.findings import cut
from insource.collect.near import plain
from insource.collect.split import rank
from insource.collect.suspects import suspicions
from insource.nouns import Example, JsonValue, Noun, Task

PER_GROUP = 3
ROUNDS = 2
KINDS = {
    "other-task": "rows that read like another task",
    "drift": "targets of an older form of the task",
    "contradictions": "the same text with different targets",
    "near-duplicates": "copies of a row that is kept",
    "leaks": "train rows whose like stands in another split",
    "label-errors": "labels that look wrong",
}
Progress = Callable[[str, int, int], None]


class Removal(Noun, frozen=True, kw_only=True):
    """One row taken out: `row` is what comes back if it is wanted, `why` the rule and what it saw.

    `other` is the text of the row that speaks against it, `before` the target as it came where `row` has another.
    """

    kind: str
    row: Example
    why: str
    other: str = ""
    before: JsonValue = None


def before_splits(task: Task, rows: Sequence[Example], spared: Collection[str]) -> list[Removal]:
    """What goes before rows are dealt to splits: contradictions, and copies. The rows carry groups."""
    gone = _spare(_contradictions(task, rows), spared)
    left = without(rows, gone)
    return gone + _spare(_copies(task, left), spared)


def after_splits(
    task: Task, rows: Sequence[Example], spared: Collection[str], *, progress: Progress = lambda *_: None
) -> list[Removal]:
    """What goes once the splits are known: leaks into train, then labels that look wrong, looked for twice.

    Labels are not looked at without scikit-learn (`Missing`).
    """
    gone = _spare(_leaks(rows), spared)
    if task.kind != "classify":
        return gone
    for _ in range(ROUNDS):
        found = _spare(_wrong(task, without(rows, gone), progress), spared)
        gone += found
        if not found:
            break
    return gone


def without(rows: Iterable[Example], gone: Iterable[Removal]) -> list[Example]:
    """The rows that are left."""
    ids = {one.row.id for one in gone}
    return [row for row in rows if row.id not in ids]


def tally(removals: Iterable[Removal]) -> dict[str, int]:
    """How many of each kind, in the order of `KINDS`."""
    found = Counter(one.kind for one in removals)
    return {kind: found[kind] for kind in KINDS if found[kind]}


def _spare(removals: Iterable[Removal], spared: Collection[str]) -> list[Removal]:
    return [one for one in removals if one.row.id not in spared]


def _contradictions(task: Task, rows: Sequence[Example]) -> list[Removal]:
    asked: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        asked[plain(row.input)].append(row)
    gone = []
    for group in asked.values():
        if len({said(task, row.target) for row in group}) > 1:
            gone += _against(task, group)
    return gone


def _against(task: Task, group: list[Example]) -> list[Removal]:
    """Rows that go: all but those of one target that a person gave, or the strictest split holds."""
    best = max(_weight(row) for row in group)
    trusted = {said(task, row.target) for row in group if _weight(row) == best}
    keep = trusted if len(trusted) == 1 and best > (0, 0) else set()
    answers = Counter(said(task, row.target) for row in group)
    listed = "; ".join(f"{cut(answer, 60)} ({n})" for answer, n in answers.most_common(4))
    why = "a person or the test says otherwise" if keep else "nobody can tell which is right"
    return [
        Removal(
            kind="contradictions",
            row=row,
            why=f"the same text has the targets {listed}: {why}",
            other=_other(row, group),
        )
        for row in group
        if said(task, row.target) not in keep
    ]


def _weight(row: Example) -> tuple[int, int]:
    return int(row.origin == "human"), max(0, rank(row.split))


def _other(row: Example, group: Sequence[Example]) -> str:
    return next((cut(one.input) for one in group if one.id != row.id), "")


def _copies(task: Task, rows: Sequence[Example]) -> list[Removal]:
    gone = []
    for group in by_group([row for row in rows if row.split in ("", "train")]):
        kept: dict[str, list[Example]] = defaultdict(list)
        for row in sorted(group, key=lambda row: (row.origin != "human", row.id)):
            before = kept[said(task, row.target)]
            same = next((one for one in before if plain(one.input) == plain(row.input)), None)
            if same is None and len(before) < PER_GROUP:
                before.append(row)
                continue
            rule = "the same words" if same else f"almost the same words as {PER_GROUP} kept rows"
            other = same or before[0]
            gone.append(
                Removal(kind="near-duplicates", row=row, why=f"{rule} and the same target", other=cut(other.input))
            )
    return gone


def _leaks(rows: Sequence[Example]) -> list[Removal]:
    gone = []
    for group in by_group(rows):
        strict = max(group, key=lambda row: (rank(row.split), row.id))
        if strict.split != "train":
            why = f"almost the same words stand in {strict.split}"
            gone += [
                Removal(kind="leaks", row=r, why=why, other=cut(strict.input)) for r in group if r.split == "train"
            ]
    return gone


def _wrong(task: Task, rows: Sequence[Example], progress: Progress) -> list[Removal]:
    by_id = {row.id: row for row in rows if row.split == "train" and row.origin != "human"}
    found: dict[str, Removal] = {}
    for one in suspicions(task, rows, progress=progress):
        for suspect in one.suspects:
            row = by_id.get(suspect.id)
            if row is not None:
                why = (
                    f"{one.field}: {cut(suspect.given, 60)!r} was given; a plain classifier that has not seen the row "
                )
                why += f"would say {cut(suspect.suggested, 60)!r} ({suspect.confidence:.2f})"
                found.setdefault(row.id, Removal(kind="label-errors", row=row, why=why))
    return list(found.values())

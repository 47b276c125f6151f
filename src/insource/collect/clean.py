"""Rows that would teach something wrong, taken out one by one: each with its rule, evidence and way back. Pure.

Nothing leaves the test for what a model thinks of it: a test that is cleaned by a classifier flatters classifiers. So
`label-errors`, `near-duplicates` and `leaks` take rows out of train alone. What a person said goes before what a model
said, and a row that somebody brought back is never taken out again.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from insource.collect.check_rows import by_group, said
from insource.collect.close import closest
from insource.collect.findings import cut
from insource.collect.near import plain
from insource.collect.split import WORTH, rank
from insource.collect.wrong import wrong_labels
from insource.nouns import Example, JsonValue, Noun, Task

PER_GROUP = 3
FREE = ("", "train")
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
    """What goes once the splits are known: leaks into train, then rows of another task and labels that look wrong.

    Raises `Missing` without scikit-learn.
    """
    gone = _spare(_leaks(rows), spared)
    return gone + _spare(_wrong(task, without(rows, gone), progress), spared)


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
    """Rows that go: all but those of one target whose origin is worth more, or that the strictest split holds.

    None of a test.
    """
    best = max(_weight(row) for row in group)
    trusted = {said(task, row.target) for row in group if _weight(row) == best}
    keep = trusted if len(trusted) == 1 else set()
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
        if said(task, row.target) not in keep and row.split in FREE
    ]


def _weight(row: Example) -> tuple[int, int]:
    return WORTH.index(row.origin), max(0, rank(row.split))


def _other(row: Example, group: Sequence[Example]) -> str:
    return next((cut(one.input) for one in group if one.id != row.id), "")


def _copies(task: Task, rows: Sequence[Example]) -> list[Removal]:
    gone = []
    for group in by_group([row for row in rows if row.split in FREE]):
        kept: dict[str, list[Example]] = defaultdict(list)
        for row in sorted(group, key=lambda row: (-WORTH.index(row.origin), row.id)):
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
    gone: dict[str, Removal] = {}
    for group in by_group(rows):
        strict = max(group, key=lambda row: (rank(row.split), row.id))
        for row in group if strict.split != "train" else ():
            if row.split == "train":
                gone[row.id] = _leak(row, strict, "almost the same words")
    train = [row for row in rows if row.split == "train" and row.id not in gone]
    others = [row for row in rows if row.split != "train"]
    for row, other in zip(train, closest([r.input for r in train], [r.input for r in others]), strict=True):
        if other is not None:
            gone[row.id] = _leak(row, others[other], "the same words but for a typo, or a few more,")
    return list(gone.values())


def _leak(row: Example, other: Example, what: str) -> Removal:
    return Removal(kind="leaks", row=row, why=f"{what} stand in {other.split}", other=cut(other.input))


def _wrong(task: Task, rows: Sequence[Example], progress: Progress) -> list[Removal]:
    by_id = {row.id: row for row in rows if row.split == "train" and row.origin != "human"}
    found = wrong_labels(task, rows, progress=progress) if task.kind == "classify" else []
    return [
        Removal(kind="other-task" if one.foreign else "label-errors", row=by_id[one.id], why=one.why, other=one.like)
        for one in found
        if one.id in by_id
    ]

"""Labels from a teacher: which inputs need one, which answers a second opinion is asked of, which may join. Pure.

A teacher's label trains and never tests. It goes to train, to dev where a near duplicate stands there, and nowhere
where a near duplicate stands in any other split: that would be a leak, and the teacher would mark its own work.
"""

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import msgspec

from insource.collect.near import near_groups, plain
from insource.collect.split import with_groups, with_splits
from insource.collect.take import Progress
from insource.nouns import Example, Noun, Task, canonical
from insource.nouns.lesson import Lesson
from insource.stats import clopper_pearson

TAUGHT = ("train", "dev")
BY = "teacher"  # the tag that names the engine


def quiet(what: str, done: int, total: int) -> None:
    """A progress that says nothing."""


class Left(Noun, frozen=True, kw_only=True):
    """The rows of a pool that need a label, in an order by chance; how many have one; near duplicates of test rows."""

    rows: tuple[Example, ...]
    labelled: int
    leaks: int


class Differing(Noun, frozen=True, kw_only=True):
    """Of `n` answers of a teacher, drawn by chance, `differ` are not what another engine says: the share, exactly 95%.

    The interval is Clopper and Pearson's (1934). Where both err alike nobody sees it: this is no error rate.
    """

    n: int
    differ: int
    rate: float
    low: float
    high: float


def unlabelled(pool: Sequence[Example], known: Sequence[Example], seed: int = 0, progress: Progress = quiet) -> Left:
    """What of the pool is to be asked. A text that is in the dataset, in whatever split, has its label."""
    texts = {plain(row.input) for row in known}
    free = [row for row in pool if plain(row.input) not in texts]
    leaking = _leaks(known, free, progress)
    rows = sorted((row for row in free if row.id not in leaking), key=lambda row: chance(seed, row.id))
    return Left(rows=tuple(rows), labelled=len(pool) - len(free), leaks=len(leaking))


def joined(task: Task, known: Sequence[Example], new: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """All rows of the dataset with the `new` ones, sorted by id, and those of the new ones that may not join.

    Groups are made anew. Where no row is in dev, a dev split is carved from train, as `collect` does.
    """
    texts, ids = {plain(row.input) for row in known}, {row.id for row in new}
    fresh = [row for row in new if plain(row.input) not in texts]
    leaking = _leaks(known, fresh, quiet)
    kept = [row for row in fresh if row.id not in leaking]
    rows = with_groups(sorted([*known, *kept], key=lambda row: row.id))
    in_dev = {row.group for row in rows if row.group and row.split == "dev" and row.id not in ids}
    placed = [
        row if row.split else msgspec.structs.replace(row, split="dev" if row.group in in_dev else "train")
        for row in rows
    ]
    return with_splits(task, placed), [row for row in fresh if row.id in leaking]


def example(task: Task, text: str, lesson: Lesson) -> Example:
    """The row that a lesson makes of its input; its split is still to be found."""
    target = lesson.target or {}
    return Example(
        id=Example.identity(task.name, text, target),
        task=task.name,
        input=text,
        target=target,
        split="",
        origin="teacher",
        tags={BY: lesson.engine},
    )


def without(rows: Iterable[Example], engine: str) -> list[Example]:
    """The rows but those that the engine labelled."""
    return [row for row in rows if row.origin != "teacher" or row.tags.get(BY) != engine]


def spread(task: Task, lessons: Sequence[Lesson], share: float, seed: int = 0) -> list[Lesson]:
    """A share of the lessons, rounded up: every so-manieth of them in the order of their labels, in an order by chance.

    So each label is in the sample as often as among all, as far as whole numbers allow (systematic sampling of a
    stratified list; Cochran, Sampling Techniques, 1977, ch. 8). The same lessons and seed give the same sample.
    """
    count = math.ceil(share * len(lessons))
    first = task.fields[0] if task.kind == "classify" else ""
    ordered = sorted(lessons, key=lambda one: (str((one.target or {}).get(first, "")), chance(seed, one.row)))
    start = chance(seed, "start")
    picked = [ordered[int((i + start) * len(ordered) / count)] for i in range(count)]
    return sorted(picked, key=lambda one: chance(seed + 1, one.row))


def differing(seconds: Sequence[Lesson]) -> Differing | None:
    """How often a second opinion differs; None where none was heard."""
    said = [one.became for one in seconds if one.became in ("agrees", "differs")]
    if not said:
        return None
    n, differ = len(said), said.count("differs")
    low, high = clopper_pearson(differ, n)
    return Differing(n=n, differ=differ, rate=differ / n, low=low, high=high)


def chance(seed: int, name: str) -> float:
    """A number from 0 up to 1 that hangs on the seed and the name alone."""
    said = blake2b(canonical([seed, name]), digest_size=8).digest()
    return int.from_bytes(said) / 2**64


def _leaks(known: Sequence[Example], new: Sequence[Example], progress: Progress) -> set[str]:
    """The ids of new rows of which a near duplicate is held out."""
    rows = [*known, *new]
    numbers = near_groups([row.input for row in rows], progress=progress)
    held = {number for number, row in zip(numbers, known, strict=False) if row.split not in TAUGHT}
    return {row.id for number, row in zip(numbers[len(known) :], new, strict=True) if number in held}

"""Who goes where: train, dev and test from content alone. Pure.

Rows that are near duplicates of each other form a bundle, and a bundle is never divided. Bundles are put in order of
label and then of the SHA-256 of their rows, and dealt one by one to the split that is furthest behind its share
(the largest-remainder rule run along a stratified list). So the same rows always split alike, in whatever order they
come, each label is spread evenly, and the shares hold to within the size of a bundle. The first bundle of each label
goes to train: what is asked in the test has been seen.

A split once given stays: rows that were kept before, or whose split the user forced, are not dealt again. There is one
exception: where no row is in dev, a dev split is carved from train, for without one no confidence can be calibrated.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from insource.collect.near import Progress, near_groups
from insource.nouns import Example, Noun, Task, digest, likeness

SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}
CARVE = 0.1
CARVE_MOST = 500
RANK = {"train": 0, "dev": 1, "test": 3}
OTHER = 2
WORTH = ("teacher", "traffic", "import", "human")  # whose word a row is, where several say the same


class Bundle(Noun, frozen=True, kw_only=True):
    """Rows that must stay together: `key` is the SHA-256 of their sorted ids, `stratum` their commonest label."""

    key: str
    stratum: str
    size: int


class Moved(Noun, frozen=True, kw_only=True):
    """A row that came twice with two splits; it is kept once, in `kept`, and left out of `dropped`."""

    id: str
    kept: str
    dropped: str


class Merged(Noun, frozen=True, kw_only=True):
    """Rows by identity, each once; how many came again; which of them came with two splits.

    `outdone` rows of teachers gave way to what others say.
    """

    rows: tuple[Example, ...]
    duplicates: int
    moved: tuple[Moved, ...]
    outdone: int = 0


def rank(split: str) -> int:
    """Which split wins when the same row is in two: test over any other name, over dev, over train, over none."""
    return -1 if not split else RANK.get(split, OTHER)


def merge(before: Iterable[Example], new: Iterable[Example]) -> Merged:
    """The rows of both, each identity once, sorted by id. A row can move to the test split, never out of it.

    What a teacher said of a text goes where somebody else says what it is; who says so takes its split, without one.
    What a model and a person say alike is the person's word.
    """
    before = list(before)
    left, new = _outdone(before, list(new))
    rows = {row.id: row for row in left}
    duplicates, moved = 0, []
    for row in new:
        known = rows.get(row.id)
        if known is None:
            rows[row.id] = row
            continue
        duplicates += 1
        high, low = sorted((known, row), key=lambda one: rank(one.split), reverse=True)
        if low.split and low.split != high.split:
            moved.append(Moved(id=row.id, kept=high.split, dropped=low.split))
        origin = max(known.origin, row.origin, key=WORTH.index)
        rows[row.id] = msgspec.structs.replace(known, split=high.split, origin=origin, tags={**known.tags, **row.tags})
    ordered = tuple(rows[key] for key in sorted(rows))
    return Merged(rows=ordered, duplicates=duplicates, moved=tuple(moved), outdone=len(before) - len(left))


def _outdone(before: list[Example], new: list[Example]) -> tuple[list[Example], list[Example]]:
    """Both, without the teachers' rows among the former whose texts are among the latter."""
    taught = {likeness(row.input): row for row in before if row.origin == "teacher"}
    if not taught:
        return before, new
    said = {row.id: taught[text] for row in new if (text := likeness(row.input)) in taught and row.origin != "teacher"}
    gone = {row.id for row in said.values()}
    placed = [
        msgspec.structs.replace(row, split=row.split or said[row.id].split) if row.id in said else row for row in new
    ]
    return [row for row in before if row.id not in gone], placed


def with_groups(rows: Sequence[Example], *, progress: Progress = lambda *_: None) -> list[Example]:
    """The rows, each near duplicate with the name of its group: the first 16 digits of the group's SHA-256."""
    numbers = near_groups([row.input for row in rows], progress=progress)
    members: dict[int, list[str]] = defaultdict(list)
    for number, row in zip(numbers, rows, strict=True):
        members[number].append(row.id)
    names = {number: digest(sorted(ids))[:16] if len(ids) > 1 else "" for number, ids in members.items()}
    return [
        row if row.group == names[number] else msgspec.structs.replace(row, group=names[number])
        for number, row in zip(numbers, rows, strict=True)
    ]


def with_splits(task: Task, rows: Sequence[Example]) -> list[Example]:
    """The rows, each with a split; expects groups. Deals the free rows 80/10/10, then carves a dev split if none is.

    A free row whose group already stands in a split joins it (the strictest, if it stands in several). The dev split
    is a tenth of train, at most 500 rows, taken in whole groups that stand in train alone.
    """
    taken: dict[str, str] = {}
    for row in rows:
        if row.group and row.split and rank(row.split) > rank(taken.get(row.group, "")):
            taken[row.group] = row.split
    dealt = deal(bundles(task, [r for r in rows if not r.split and home(r) not in taken]), SHARES, seen_first=True)
    rows = [r if r.split else _moved(r, taken.get(home(r)) or dealt[home(r)]) for r in rows]
    return _carved(task, rows)


def _carved(task: Task, rows: list[Example]) -> list[Example]:
    train = [row for row in rows if row.split == "train"]
    if not train or any(row.split == "dev" for row in rows):
        return rows
    elsewhere = {row.group for row in rows if row.group and row.split != "train"}
    free = [row for row in train if row.group not in elsewhere]
    share = min(CARVE, CARVE_MOST / len(train)) * len(train) / max(1, len(free))
    most = int(min(CARVE_MOST, CARVE * len(train)))
    shares = {"train": 1 - min(1.0, share), "dev": min(1.0, share)}
    dealt = deal(bundles(task, free), shares, seen_first=True, most={"dev": most})
    keys = {row.id for row in free}
    return [_moved(row, dealt[home(row)]) if row.id in keys else row for row in rows]


def bundles(task: Task, rows: Iterable[Example]) -> dict[str, Bundle]:
    """The bundles by the home of their rows: the group's name, or the row's id where it is alone."""
    members: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        members[home(row)].append(row)
    return {name: _bundle(task, together) for name, together in members.items()}


def home(row: Example) -> str:
    """What the row is dealt with: its group, or itself."""
    return row.group or row.id


def _bundle(task: Task, rows: list[Example]) -> Bundle:
    labels = Counter(_stratum(task, row) for row in rows)
    commonest = min(labels, key=lambda label: (-labels[label], label))
    return Bundle(key=digest(sorted(row.id for row in rows)), stratum=commonest, size=len(rows))


def _stratum(task: Task, row: Example) -> str:
    return str(row.target.get(task.fields[0], "")) if task.kind == "classify" and task.fields else ""


def deal(
    bundles: Mapping[str, Bundle], shares: Mapping[str, float], *, seen_first: bool = False,
    most: Mapping[str, int] | None = None,
) -> dict[str, str]:  # fmt: skip
    """For each bundle its split, by the rule of the module; depends on the set of bundles alone.

    `seen_first` gives each label's first bundle to the first of the shares; `most` bounds the rows of a split.
    """
    have = dict.fromkeys(shares, 0)
    limits = most or {}
    strata: set[str] = set()
    given: dict[str, str] = {}
    total = 0
    for name, bundle in sorted(bundles.items(), key=lambda item: (item[1].stratum, item[1].key)):
        total += bundle.size
        open_to = [s for s in shares if have[s] + bundle.size <= limits.get(s, total)]
        chosen = max(open_to, key=lambda s: shares[s] * total - have[s])
        if seen_first and bundle.stratum not in strata:
            chosen = next(iter(shares))
        strata.add(bundle.stratum)
        given[name] = chosen
        have[chosen] += bundle.size
    return given


def _moved(row: Example, split: str) -> Example:
    return msgspec.structs.replace(row, split=split)


def without_leaks(rows: Sequence[Example]) -> list[Example]:
    """The rows, those of train left out whose group also stands in another split."""
    elsewhere = {row.group for row in rows if row.group and row.split != "train"}
    return [row for row in rows if row.split != "train" or row.group not in elsewhere]


def counts(rows: Iterable[Example]) -> dict[str, int]:
    """Rows per split: train, dev and test first, others by name."""
    found = Counter(row.split for row in rows)
    order = sorted(found, key=lambda split: ({"train": 0, "dev": 1, "test": 2}.get(split, 3), split))
    return {split: found[split] for split in order}

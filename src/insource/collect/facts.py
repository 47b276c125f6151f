"""The figures behind the page: splits, labels per split, lengths. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

from insource.collect.check_rows import tokens
from insource.nouns import Example, Noun, Task

BINS = 24
PARTS = ("train", "dev", "test", "other")
Counts4 = tuple[int, int, int, int]


class Bar(Noun, frozen=True, kw_only=True):
    """One label, and its rows in train, dev, test and other splits."""

    label: str
    parts: Counts4

    @property
    def total(self) -> int:
        """Rows in all splits."""
        return sum(self.parts)


class Balance(Noun, frozen=True, kw_only=True):
    """The labels of one output, the commonest first; for `extract`, the fields and the rows that fill them."""

    field: str
    of_fields: bool
    bars: tuple[Bar, ...]


class Bin(Noun, frozen=True, kw_only=True):
    """Rows whose length is at least `low` and less than `high` characters."""

    low: int
    high: int
    rows: int


class Lengths(Noun, frozen=True, kw_only=True):
    """How long inputs are, in characters; tokens are an estimate, one for each 4 characters."""

    bins: tuple[Bin, ...]
    median: int
    p95: int
    longest: int
    median_tokens: int
    p95_tokens: int
    longest_tokens: int


def balances(task: Task, rows: Sequence[Example]) -> list[Balance]:
    """One balance per output of a classify task; one of fields for extract; none for generate."""
    if task.kind == "classify":
        return [_balance(output.name, _by_label(output.name, output.labels, rows)) for output in task.outputs]
    if task.kind == "extract":
        filled: dict[str, list[str]] = {field: [] for field in task.fields}
        for row in rows:
            for field, splits in filled.items():
                if row.target.get(field) not in (None, "", [], {}):
                    splits.append(row.split)
        return [_balance("fields", filled, of_fields=True)]
    return []


def _by_label(field: str, labels: Sequence[str], rows: Sequence[Example]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list, {label: [] for label in labels})
    for row in rows:
        found[str(row.target[field])].append(row.split)
    return found


def _balance(field: str, found: dict[str, list[str]], *, of_fields: bool = False) -> Balance:
    bars = [Bar(label=label, parts=_parts(splits)) for label, splits in found.items()]
    bars.sort(key=lambda bar: (-bar.total, bar.label))
    return Balance(field=field, of_fields=of_fields, bars=tuple(bars))


def _parts(splits: Sequence[str]) -> Counts4:
    found = Counter(split if split in PARTS[:3] else "other" for split in splits)
    return found["train"], found["dev"], found["test"], found["other"]


def lengths(rows: Sequence[Example]) -> Lengths:
    """The distribution of input lengths, in bins whose width grows evenly by a factor."""
    sizes = sorted(len(row.input) for row in rows)
    edges = _edges(max(1, sizes[0]), sizes[-1])
    bins = [Bin(low=low, high=high, rows=0) for low, high in pairwise(edges)]
    counted = [0] * len(bins)
    place = 0
    for size in sizes:
        while place < len(bins) - 1 and size >= bins[place].high:
            place += 1
        counted[place] += 1
    median, p95 = (sizes[min(len(sizes) - 1, int(q * len(sizes)))] for q in (0.5, 0.95))
    return Lengths(
        bins=tuple(Bin(low=b.low, high=b.high, rows=n) for b, n in zip(bins, counted, strict=True)),
        median=median,
        p95=p95,
        longest=sizes[-1],
        median_tokens=tokens("x" * median),
        p95_tokens=tokens("x" * p95),
        longest_tokens=tokens("x" * sizes[-1]),
    )


def _edges(low: int, high: int) -> list[int]:
    """Rising whole numbers from `low` to just above `high`."""
    step = math.log(max(high + 1, low + 1) / low) / BINS
    edges = {round(low * math.exp(step * i)) for i in range(BINS + 1)}
    return sorted({low, *(edge for edge in edges if low < edge <= high), high + 1})

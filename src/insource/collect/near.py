"""Near duplicates: MinHash with banded LSH, checked by the exact Jaccard similarity of character 4-grams.

Broder, "On the resemblance and containment of documents", 1997; Indyk and Motwani, STOC 1998.

Two texts are compared by their *shape*: Unicode NFKC, case folded, everything but letters and digits turned into
single blanks, and each run of digits turned into one 0, because rows that differ only in a part number, a date or an
amount are one template. Digits are kept where they carry the text: when fewer than half of its characters are letters,
or when it has fewer than 12 letters. A text longer than 20,000 characters is judged by its first 20,000.

The result depends on the set of texts alone, never on their order.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.8
GRAM = 4
CHARS = 20_000
PERMUTATIONS = 64
BAND = 4
CHUNK = 1_000_000
NEIGHBOURS = 48

Hashes = NDArray[np.uint64]
Progress = Callable[[str, int, int], None]


def plain(text: str) -> str:
    """The text with case, blanks and punctuation levelled; digits kept. Equal plain texts ask the same question.

    A text of punctuation alone stays as it is.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    level = " ".join(re.findall(r"\w+", folded))
    return level or folded.strip()


def shape(text: str) -> str:
    """The plain text, its runs of digits turned into 0 unless digits carry it (see the module)."""
    level = plain(text[:CHARS])
    letters = sum(map(str.isalpha, level))
    if letters < 12 or 2 * letters < len(level):
        return level
    return re.sub(r"\d+", "0", level)


def near_groups(texts: Sequence[str], *, progress: Progress = lambda *_: None) -> list[int]:
    """For each text the number of its group; texts joined by a chain of near duplicates share one.

    Numbers follow the sorted shapes, so they depend on the set of texts alone.
    """
    if not texts:
        return []
    shapes = [shape(text) for text in texts]
    distinct = sorted(set(shapes))
    forest = _Forest(len(distinct))
    grams = [_grams(one) for one in distinct]
    signatures = _signatures(grams, progress)
    sets: dict[int, frozenset[int]] = {}
    for left, right in _candidates(signatures):
        if forest.root(left) != forest.root(right) and _jaccard(grams, sets, left, right) >= THRESHOLD:
            forest.join(left, right)
    group = {one: forest.root(i) for i, one in enumerate(distinct)}
    return [group[one] for one in shapes]


class _Forest:
    """Union-find whose root is always the smallest member."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, item: int) -> int:
        """The smallest member of the item's tree."""
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, left: int, right: int) -> None:
        """Makes one tree of two."""
        low, high = sorted((self.root(left), self.root(right)))
        self._parent[high] = low


def _grams(text: str) -> Hashes:
    """The distinct 64-bit hashes of the text's character 4-grams, blanks added at both ends."""
    points = np.frombuffer(f" {text} ".ljust(GRAM).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    count = len(points) - GRAM + 1
    mixed = np.zeros(count, dtype=np.uint64)
    for offset in range(GRAM):
        mixed = mixed * np.uint64(0x100000001B3) + points[offset : offset + count]
    return np.unique(_scatter(mixed))


def _scatter(values: Hashes) -> Hashes:
    """SplitMix64's finaliser: near values become unrelated ones."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _signatures(grams: list[Hashes], progress: Progress) -> Hashes:
    """One row of 64 minima per text, shape (texts, 64)."""
    seeds = _scatter(np.arange(1, PERMUTATIONS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    ends = np.cumsum([0, *map(len, grams)])
    cuts = [0]
    for i in range(1, len(grams)):
        if ends[i + 1] - ends[cuts[-1]] > CHUNK:
            cuts.append(i)
    found = np.empty((len(grams), PERMUTATIONS), dtype=np.uint64)
    for start, end in pairwise([*cuts, len(grams)]):
        progress("comparing rows", start, len(grams))
        flat = np.concatenate(grams[start:end])
        for column, seed in enumerate(seeds):
            found[start:end, column] = np.minimum.reduceat(_scatter(flat ^ seed), ends[start:end] - ends[start])
    progress("comparing rows", len(grams), len(grams))
    return found


def _candidates(signatures: Hashes) -> Iterator[tuple[int, int]]:
    """Pairs that agree in a whole band and whose signatures promise enough, each band in the order of the rows."""
    floor = (THRESHOLD - 0.15) * PERMUTATIONS
    for first in range(0, PERMUTATIONS, BAND):
        keys = np.ascontiguousarray(signatures[:, first : first + BAND])
        for bucket in _buckets(keys):
            for step in range(1, min(len(bucket), NEIGHBOURS)):
                left, right = bucket[:-step], bucket[step:]
                agree = (signatures[left] == signatures[right]).sum(axis=1)
                yield from zip(left[agree >= floor].tolist(), right[agree >= floor].tolist(), strict=True)


def _buckets(keys: Hashes) -> Iterator[NDArray[np.int64]]:
    """The sets of at least two rows with the same key, each sorted."""
    order = np.lexsort(keys.T)
    ranked = keys[order]
    fresh = np.flatnonzero((ranked[1:] != ranked[:-1]).any(axis=1)) + 1
    for start, end in pairwise([0, *fresh.tolist(), len(order)]):
        if end - start > 1:
            yield np.sort(order[start:end])


def _jaccard(grams: list[Hashes], sets: dict[int, frozenset[int]], left: int, right: int) -> float:
    for one in (left, right):
        if one not in sets:
            sets[one] = frozenset(grams[one].tolist())
    common = len(sets[left] & sets[right])
    return common / (len(sets[left]) + len(sets[right]) - common)

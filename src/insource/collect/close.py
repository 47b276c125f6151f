"""Rows of train that ask what a row of another split asks: copies with a typo, or a few words more or turned round.

Near duplicates (`near.py`) are told by character 4-grams, of which a short text has few: three words more and it is
none. So each train row is also held against the one row elsewhere whose character 3-grams are most alike (cosine of
TF-IDF), by two rules: 94% of the characters stand in the same order, or at least six words are the same, in any order,
and at most two stand on one side alone.

On BANKING77 with 300 of its test rows copied into train these rules and the near duplicates find all that have a typo
and 9 in 10 that have words added and turned; they also name 1 in 20 of its own train rows, which ask the same.
"""

import difflib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from insource.collect.near import plain
from insource.errors import Missing

LETTERS = 0.94
WORDS = 6
MORE = 2
CHARS = 2_000
BLOCK = 500
COSINE = 0.5


def closest(texts: Sequence[str], others: Sequence[str]) -> list[int | None]:
    """For each text the number of the one of `others` that asks the same, None where none does.

    Raises `Missing` without scikit-learn.
    """
    if not texts or not others:
        return [None] * len(texts)
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError as error:
        raise Missing("looking for leaks needs scikit-learn", hint="pip install 'insource[data]'") from error
    ours, theirs = ([plain(text[:CHARS]) for text in some] for some in (texts, others))
    table = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), sublinear_tf=True, dtype=np.float32)
    both = table.fit_transform([f"{text} ." for text in (*ours, *theirs)])
    left, right = both[: len(ours)], both[len(ours) :].T.tocsr()
    found: list[int | None] = []
    for start in range(0, len(ours), BLOCK):
        cosine = (left[start : start + BLOCK] @ right).toarray()
        for row, (best, most) in enumerate(zip(cosine.argmax(axis=1), cosine.max(axis=1), strict=True), start):
            found.append(int(best) if most >= COSINE and asks_the_same(ours[row], theirs[best]) else None)
    return found


def asks_the_same(one: str, another: str) -> bool:
    """Whether two plain texts are the same but for a typo, or a few words more or in another order."""
    fewer, more = sorted((Counter(one.split()), Counter(another.split())), key=Counter.total)
    if fewer.total() >= WORDS and not fewer - more and (more - fewer).total() <= MORE:
        return True
    match = difflib.SequenceMatcher(None, one, another, autojunk=False)
    return match.real_quick_ratio() >= LETTERS and match.quick_ratio() >= LETTERS and match.ratio() >= LETTERS

"""Text → a sparse row of hashed terms: pieces of 2 to 5 bytes, words, and pairs of words. numpy alone, no vocabulary.

Every place of the text is hashed at once (Weinberger et al. 2009, arXiv:0902.2206), so that what is read of it takes
a fraction of a millisecond in one thread.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.intp]
Floats = NDArray[np.float32]
Hashes = NDArray[np.uint64]
BITS = 16
READ = 500  # characters, and bytes, from the beginning of a text: what a request is about stands there
GRAMS = (2, 3, 4, 5)
WORD = re.compile(r"\w+")
STEP, MIX = np.uint64(1099511628211), np.uint64(0x9E3779B97F4A7C15)  # FNV's prime, and the golden ratio of Fibonacci
SPACE = np.uint64(ord(" "))


def hashed(text: str) -> tuple[Places, Floats]:
    """The places (0 to 2^16 - 1, each once) of the text's terms, and 1 + log of how often each stands there."""
    spaced = " " + " ".join(WORD.findall(text[:READ].lower())) + " "
    letters = np.frombuffer(spaced.encode("utf-8", "replace")[:READ], np.uint8).astype(np.uint64)
    with np.errstate(over="ignore"):
        terms = np.concatenate([*_pieces(letters), *_words(letters)])
        places = (terms * MIX >> np.uint64(64 - BITS)).astype(np.intp)
    found, often = np.unique(places, return_counts=True)
    return found, (1 + np.log(often)).astype(np.float32)


def matrix(texts: Sequence[str]) -> Any:
    """Sparse [texts, 2^16] of what `hashed` says of each; one text at least."""
    from scipy.sparse import csr_array

    rows = [hashed(text) for text in texts]
    ends = np.cumsum([0, *(len(places) for places, _ in rows)], dtype=np.int32)  # scikit-learn takes 32 bits only
    columns = np.concatenate([places for places, _ in rows]).astype(np.int32)
    weights = np.concatenate([weight for _, weight in rows])
    return csr_array((weights, columns, ends), shape=(len(texts), 1 << BITS))


def _pieces(letters: Hashes) -> list[Hashes]:
    found, rolling = [], letters + np.uint64(1)
    for size in range(2, GRAMS[-1] + 1):
        if len(letters) < size:
            break
        rolling = rolling[:-1] * STEP + letters[size - 1 :] + np.uint64(1)
        found.append(rolling + np.uint64(size))
    return found


def _words(letters: Hashes) -> list[Hashes]:
    """The hash of each word is the sum of its letters times a power of their place in it."""
    inside = letters != SPACE
    edges = np.diff(inside.astype(np.int8), prepend=0)
    starts = np.flatnonzero(edges == 1)
    if not len(starts):
        return []
    place = np.arange(len(letters)) - starts[np.maximum(np.cumsum(edges == 1) - 1, 0)]
    place[~inside] = 0
    powers = np.cumprod(np.full(int(place.max()) + 1, STEP))
    words = np.add.reduceat(np.where(inside, letters * powers[place], np.uint64(0)), starts)
    return [words + np.uint64(GRAMS[-1] + 1), words[:-1] * STEP + words[1:]]

"""The words of the rows that a release was taught, as a table of hashes, and how many of a text are not among them.

Records hold no text, so what is to be known of a text's words is counted when it is answered. A word is found by its
CRC-32 in a table with thirty-two places a word: one unknown word in thirty-two, at most, is taken for a known one, in
the training rows as in the calls. Reading is bounded, so that a call costs microseconds. Pure.
"""

from binascii import crc32
from collections import Counter
from collections.abc import Iterable
from itertools import islice

PARTED = bytes(i if i >= 128 or chr(i).isalnum() else ord(" ") for i in range(256))
READ = 1_000  # characters of a text that are looked at
MOST_ROWS = 20_000
RARE = 2  # a word that so many rows have at most
PLACES = 32
UNKNOWN, SELDOM, KNOWN = 0, 1, 2
Terms = tuple[int, int, int]


class Vocabulary:
    """The words of `texts`, the first `MOST_ROWS` of them. Reading it is safe from several threads at once."""

    def __init__(self, texts: Iterable[str]) -> None:
        rows = Counter(word for text in islice(texts, MOST_ROWS) for word in set(_words(text)))
        size = 1 << max(10, (PLACES * len(rows) - 1).bit_length())
        table = bytearray(size)
        for word, count in rows.items():
            place = crc32(word) & (size - 1)
            table[place] = max(table[place], SELDOM if count <= RARE else KNOWN)
        self._table, self._mask = bytes(table), size - 1

    def count(self, text: str) -> Terms:
        """Words of the text, those of them that are unknown, and those that are rare."""
        table, mask = self._table, self._mask
        found = [table[crc32(word) & mask] for word in _words(text)]
        return len(found), found.count(UNKNOWN), found.count(SELDOM)


def _words(text: str) -> list[bytes]:
    """Runs of letters, digits and signs beyond ASCII, in small letters."""
    return text[:READ].lower().encode("utf-8", "replace").translate(PARTED).split()

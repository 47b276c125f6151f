"""The owner's own terms: words that must not leave, in whatever case, with whatever blanks between them.

A term is a sequence of words, signs and ideographs, and is found only as whole words. All terms are walked as one tree,
so thousands cost no more than one; from each word the walk goes at most as far as the longest term has words.
"""

import re
import unicodedata
from collections.abc import Iterable

from insource.errors import Invalid
from insource.nouns import Finding
from insource.scan.find import Reading, View

# one ideograph, kana or syllable; a word with its marks; or a sign. A longer word goes on as the next
IDEOGRAPH = r"\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
PART = re.compile(rf"[{IDEOGRAPH}]|(?:[^\W{IDEOGRAPH}]|[\u0300-\u036f]){{1,100}}|[^\w\s]")
MOST = 12  # parts of a term
BLANKS = 8  # between two parts of it
Node = dict[str, "Node"]
END = " "  # the key, which is no part, that says a term ends here


class Terms:
    """Finds `terms`, as findings of the kind "own_term". Raises `Invalid` for one without a word or with too many."""

    def __init__(self, terms: Iterable[str]) -> None:
        self.root: Node = {}
        for term in terms:
            parts = [_folded(part[0]) for part in PART.finditer(term)]
            if not 1 <= len(parts) <= MOST:
                raise Invalid(f"an own term has {len(parts)} parts", hint=f"1 to {MOST} words or signs")
            node = self.root
            for part in parts:
                node = node.setdefault(part, {})
            node[END] = {}

    def begin(self) -> Reading:
        """A pass over a new text."""
        return _TermsReading(self.root)


class _TermsReading:
    def __init__(self, root: Node) -> None:
        self.settled = 0
        self._root = root

    def read(self, view: View) -> list[Finding]:
        text = view.text.lower() if view.text.isascii() else view.text
        parts = [part.span() for part in PART.finditer(text, self.settled - view.base)]
        said = [text[start:stop] for start, stop in parts]
        folded = {word: _folded(word) for word in set(said)}
        words = [folded[word] for word in said]
        known = len(parts)
        if parts and not view.ended and parts[-1][1] == len(view.text):
            known -= 1  # the last word may go on
        following = parts[known][0] if known < len(parts) else len(view.text)
        self.settled = view.base + following
        found, place = [], 0
        while place < known:
            if words[place] not in self._root:
                place += 1
                continue
            length, alive = self._walk(parts, words, place, known)
            if alive and not view.ended and following - parts[known - 1][1] <= BLANKS:
                self.settled = view.base + parts[place][0]
                break
            if length:
                start, stop = parts[place][0], parts[place + length - 1][1]
                found.append(Finding(kind="own_term", start=view.base + start, stop=view.base + stop))
            place += length or 1
        return found

    def _walk(self, parts: list[tuple[int, int]], words: list[str], place: int, known: int) -> tuple[int, bool]:
        """Parts of the longest term from here, and whether a longer one may still come."""
        node, length, at = self._root, 0, place
        while at < known:
            apart = at > place and parts[at][0] - parts[at - 1][1] > BLANKS
            following = None if apart else node.get(words[at])
            if following is None:
                return length, False
            node, at = following, at + 1
            if END in node:
                length = at - place
        return length, len(node) > (END in node)


def _folded(part: str) -> str:
    return part.lower() if part.isascii() else unicodedata.normalize("NFKC", part).casefold()

r"""Regular expressions: what a validator means by one, said to a grammar engine that reads another dialect.

JSON Schema's patterns are ECMAScript's; the engine reads Rust's, in which `[[:alpha:]]` and `[a&&b]` are something else
and `\s` is a little less. Within `decode` patterns stay ECMAScript until `spoken` puts them into the engine's words.
"""

import math
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby, takewhile
from string import printable
from typing import NamedTuple

from insource.decode.check import faults

RUN = re.compile(r"\^\(?(\.|\[(?:[^\[\]\\^]|\\[\w.-])+\])\)?([*+]|\{\d{1,3}(?:,\d{0,3})?\}|)\$")
COUNTS = {"*": (0, math.inf), "+": (1, math.inf), "": (1, 1)}
SPECIAL = frozenset(".^$*+?()[]{}|\\/-")
UNSAFE = SPECIAL | frozenset("&~#")
DEEP = 100  # groups in groups; what the engine reads has its own limit above that
ENDS = r"\n\r\u2028\u2029"  # what a point does not stand for
BLANK = r"\t-\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}"
ANY = r"[\s\S]"
DIGIT, LETTER = "0-9", "0-9A-Za-z_"
OUTSIDE = {
    r"\d": f"[{DIGIT}]", r"\D": f"[^{DIGIT}]", r"\w": f"[{LETTER}]", r"\W": f"[^{LETTER}]",
    r"\s": f"[{BLANK}]", r"\S": f"[^{BLANK}]", ".": r"[^\n\r\x{2028}\x{2029}]",
}  # fmt: skip
IN_CLASS = {
    r"\d": DIGIT, r"\D": f"[^{DIGIT}]", r"\w": LETTER, r"\W": f"[^{LETTER}]", r"\s": BLANK, r"\S": f"[^{BLANK}]",
    "[": r"\[", "&": r"\&", "~": r"\~",
}  # fmt: skip


@lru_cache(maxsize=1024)
def spoken(pattern: str) -> str:
    """The same expression as the engine reads it."""
    said: list[str] = []
    inside = False
    for piece in re.findall(r"\\.|[^\\]|\\$", pattern, re.DOTALL):
        said.append((IN_CLASS if inside else OUTSIDE).get(piece, piece))
        inside = piece != "]" if inside else piece == "["
    return "".join(said)


def delimited(pattern: str) -> str:
    """A spoken pattern as it may stand between slashes."""
    return re.sub(
        r"\\.|/|\n", lambda found: {"/": r"\/", "\n": r"\n"}.get(found[0], found[0]), pattern, flags=re.DOTALL
    )


def any_of(texts: list[str], deep: int = DEEP) -> str:
    """A spoken pattern for exactly these: sorted, and none twice. What they share at the beginning is written once."""
    if len(texts) == 1 or deep == 0:
        return "|".join(map(_spelled, texts)) if len(texts) == 1 else f"(?:{'|'.join(map(_spelled, texts))})"
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(texts[0], texts[-1], strict=False))
    shared = "".join(first for first, _ in pairs)
    rest = [text[len(shared) :] for text in texts]
    ways = [any_of(list(group), deep - 1) for first, group in groupby(rest, key=lambda text: text[:1]) if first]
    return f"{_spelled(shared)}(?:{'|'.join(ways)}){'' if rest[0] else '?'}"


def _spelled(text: str) -> str:
    return "".join(f"\\x{{{ord(each):x}}}" if each in UNSAFE or not each.isprintable() else each for each in text)


class Alphabet(NamedTuple):
    """The characters a text may be made of: those in `only`, or all but those in `never`."""

    only: str = ""
    never: str = ""

    def but(self, taken: Iterable[str]) -> str:
        """The class of these characters without `taken`; empty when none is left."""
        if self.only:
            left = "".join(_escaped(each) for each in self.only if each not in taken)
            return f"[{left}]" if left else ""
        gone = "".join(map(_escaped, taken)) + self.never
        return f"[^{gone}]" if gone else ANY


EVERY = Alphabet()


def none_of(texts: list[str], alphabet: Alphabet = EVERY, low: float = 0, high: float = math.inf) -> str:
    """For every text of `low` to `high` characters of the alphabet but these. Without anchors; empty if there is none.

    `texts` are of the alphabet.
    """
    branches: dict[str, list[str]] = {}
    for text in texts:
        if text:
            branches.setdefault(text[0], []).append(text[1:])
    ways = [] if "" in texts or low > 0 else ["(?:)"]
    if high > 0:
        inner = {first: none_of(rest, alphabet, low - 1, high - 1) for first, rest in branches.items()}
        ways += [f"{_escaped(first)}(?:{rest})" for first, rest in inner.items() if rest]
        others = alphabet.but(branches)
        ways += [others + alphabet.but("") + _times(low - 1, high - 1)] if others else []
    return "|".join(ways)


def _times(low: float, high: float) -> str:
    least = max(0, int(low))
    return f"{{{least},{'' if high == math.inf else int(high)}}}" if least or high < math.inf else "*"


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern` is found in `text`, as validators look for it."""
    return not faults({"pattern": pattern}, text)


def matches_all(pattern: str) -> bool:
    """Whether it is found in every text: in the empty one, and nothing in it looks at an end or a border."""
    return not re.search(r"\$|\\[bBzZAG]|\(\?", pattern) and matches(pattern, "")


def but(pattern: str, names: list[str]) -> str:
    """A pattern for what `pattern` matches but these names, where it is a run of one class; else `pattern` itself.

    Empty when nothing is left.
    """
    run = RUN.fullmatch(pattern)
    if not run or not names or re.search(r"[^\x20-\x7e]|\\[^\w.-]|\\[a-ce-vx-zA-Z0-9]", run[1]):
        return pattern
    low, high = COUNTS.get(run[2]) or _counts(run[2])
    characters = "" if run[1] == "." else "".join(each for each in printable if re.fullmatch(run[1], each, re.ASCII))
    alphabet = Alphabet(characters) if characters else Alphabet(never=ENDS)
    known = [name for name in names if re.fullmatch(f"{alphabet.but('')}*", name)]
    left = none_of(known, alphabet, low, high)
    return f"^(?:{left})$" if left else ""


def _counts(said: str) -> tuple[float, float]:
    low, comma, high = said[1:-1].partition(",")
    return int(low), math.inf if comma and not high else int(high or low)


def _escaped(character: str) -> str:
    if character in SPECIAL:
        return f"\\{character}"
    return character if character.isprintable() else f"\\u{ord(character):04x}"

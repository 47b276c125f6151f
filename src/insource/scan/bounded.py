r"""Shapes: bounded regular expressions that also know their own beginnings.

A stream may send what can no longer become part of a finding. That is everything before the first place from which the
text so far is the beginning of some shape; so a shape is kept as two expressions, one for its words and one for the
beginnings of its words, and both come from the one line that is written in shapes.toml.

The language is a part of RE2's: literals, escapes, classes, groups, `|`, `?`, `{n}` and `{m,n}`. There is no `*` and no
`+`: a shape without a longest word would have to be held back for ever. After a count beyond a thousand, which RE2 does
not know, only parts that may be missing may follow.
"""

import re
from typing import NamedTuple

from insource.errors import Invalid

TOKEN = re.compile(
    r"(?P<open>\((?:\?:)?)|(?P<close>\))|(?P<bar>\|)|(?P<count>\?|\{\d+(?:,\d+)?\})"
    r"|(?P<atom>\[\^?\]?(?:\\x[0-9a-fA-F]{2}|\\.|[^\]\\])*\]|\\x[0-9a-fA-F]{2}|\\[^\d]|[^\\*+\[\]{}^$.])",
    re.DOTALL,
)
MOST = 1000  # repetitions, which is RE2's limit
TOLD = 64  # repetitions that are counted among beginnings: each costs RE2 in every step of a search for one


class Bounded(NamedTuple):
    """`whole` matches the words of a shape, `begun` at least their non-empty beginnings; `longest` is in bytes.

    `loose` matches at least the words; it is what beginnings are made of, since small expressions are quick to search.
    """

    whole: str
    loose: str
    begun: str
    longest: int


def bounded(said: str) -> Bounded:
    """The shape that `said` spells. Raises `Invalid` where it is not bounded or not in the language."""
    tokens, place = [], 0
    while place < len(said):
        found = TOKEN.match(said, place)
        if not found:
            raise Invalid(f"no shape: {said!r} at {place}", hint="bounded counts only: {m,n} for * and +")
        tokens.append((str(found.lastgroup), found[0]))
        place = found.end()
    tokens.reverse()
    made = _either(tokens)
    if tokens:
        raise Invalid(f"no shape: {said!r} closes what it did not open")
    return made


def _either(tokens: list[tuple[str, str]]) -> Bounded:
    branches = [_sequence(tokens)]
    while tokens and tokens[-1][0] == "bar":
        tokens.pop()
        branches.append(_sequence(tokens))
    if len(branches) == 1:
        return branches[0]
    whole = "|".join(branch.whole for branch in branches)
    loose = "|".join(branch.loose for branch in branches)
    begun = "|".join(branch.begun for branch in branches)
    return Bounded(f"(?:{whole})", f"(?:{loose})", f"(?:{begun})", max(branch.longest for branch in branches))


def _sequence(tokens: list[tuple[str, str]]) -> Bounded:
    parts: list[Bounded] = []
    while tokens and tokens[-1][0] in ("open", "atom"):
        parts.append(_counted(_part(tokens), tokens))
    if not parts:
        raise Invalid("no shape: a branch is empty or a count counts nothing")
    begun = parts[-1].begun
    for part in reversed(parts[:-1]):
        begun = f"(?:{part.begun}|{part.loose}{begun})"
    whole, loose = "".join(part.whole for part in parts), "".join(part.loose for part in parts)
    return Bounded(whole, loose, begun, sum(part.longest for part in parts))


def _part(tokens: list[tuple[str, str]]) -> Bounded:
    kind, text = tokens.pop()
    if kind == "atom":
        return Bounded(text, text, text, 1)
    inner = _either(tokens)
    if not tokens or tokens.pop()[0] != "close":
        raise Invalid("no shape: a group is not closed")
    return Bounded(f"{text}{inner.whole})", f"(?:{inner.loose})", f"(?:{inner.begun})", inner.longest)


def _counted(part: Bounded, tokens: list[tuple[str, str]]) -> Bounded:
    if not tokens or tokens[-1][0] != "count":
        return part
    count = tokens.pop()[1]
    low, _, high = ("0", ",", "1") if count == "?" else count[1:-1].partition(",")
    most = int(high or low)
    if most > MOST:
        return _long(part, int(low), most)
    if not int(low) <= most or not most:
        raise Invalid(f"no shape: the count {count}")
    fewest = min(int(low), TOLD)
    loose = f"(?:{part.loose}){count if most <= TOLD else f'{{{fewest},}}'}"
    before = f"(?:{part.loose}){f'{{0,{most - 1}}}' if most <= TOLD else '*'}" if most > 1 else ""
    return Bounded(f"(?:{part.whole}){count}", loose, f"(?:{before}{part.begun})", part.longest * most)


def _long(part: Bounded, low: int, most: int) -> Bounded:
    """More repetitions of one byte than RE2 counts: any number, which whoever finds it then cuts at `longest`."""
    if part.longest != 1 or low:
        raise Invalid(f"no shape: {{{low},{most}}}", hint=f"beyond {MOST:,} only of one byte, and from 0")
    return Bounded(f"{part.whole}*", f"{part.whole}*", f"{part.whole}+", most)

"""Texts as hands, scanners and keyboards spoil them: what was meant can still be read.

Each takes a text and dice and gives it back spoiled, as it was where there is nothing to spoil. Pure.
"""

import random
import re
from collections.abc import Callable

Spoil = Callable[[str, random.Random], str]
WORD = re.compile(r"[^\W\d_]{4,}")
OFTEN = 0.25
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
CYRILLIC = str.maketrans("aeopcxyAEOPCXTHKMB", "аеорсхуАЕОРСХТНКМВ")  # noqa: RUF001 - letters that look the same
FULL_WIDTH = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
UNSEEN = ("\u200b", "\u2060", "\u00ad", "\ufeff")  # zero-width space, word joiner, soft hyphen, zero-width no-break
MISREAD = (
    ("rn", "m"), ("m", "rn"), ("cl", "d"), ("O", "0"), ("0", "O"), ("l", "1"), ("1", "l"), ("I", "l"), ("S", "5"),
    ("B", "8"), ("e", "c"), ("h", "b"), ("ti", "li"), ("fi", "h"),
)  # fmt: skip


def typos(text: str, dice: random.Random) -> str:
    """A quarter of the longer words mistyped, one at least: a neighbouring key, two swapped, one left out or twice."""
    words = list(WORD.finditer(text))
    picked = [word for word in words if dice.random() < OFTEN] or (dice.sample(words, 1) if words else [])
    for word in reversed(picked):
        text = text[: word.start()] + _mistyped(word[0], dice) + text[word.end() :]
    return text


def misread(text: str, dice: random.Random) -> str:
    """As a scanner reads it: shapes taken for one another, words broken at a line's end, blanks lost."""
    pattern = re.compile("|".join(re.escape(shape) for shape, _ in MISREAD))
    shapes = dict(MISREAD)
    found = pattern.sub(lambda it: shapes[it[0]] if dice.random() < 0.15 else it[0], text)
    found = re.sub(r"(\w{3})(\w{4})", lambda it: f"{it[1]}-\n{it[2]}" if dice.random() < 0.08 else it[0], found)
    return re.sub(r"(?<=\w) (?=\w)", lambda it: "" if dice.random() < 0.1 else it[0], found)


def case(text: str, dice: random.Random) -> str:
    """All in capitals, none, the first of each word, or the wrong way round."""
    cased = dict.fromkeys((text.upper(), text.lower(), text.title(), text.swapcase()))
    others = [one for one in cased if one != text]
    return dice.choice(others) if others else text


def blanks(text: str, dice: random.Random) -> str:
    """Other blanks than there were, and more of them."""
    kinds = (" ", "  ", "\n", "\t", "\u00a0", "\r\n", "\u2003")
    return "\n" + "".join(dice.choice(kinds) if sign == " " else sign for sign in text) + "  \n"


def look_alikes(text: str, dice: random.Random) -> str:
    """A third of the words, one at least, in letters of another script, in full width, or with signs nobody sees."""
    words = text.split(" ")
    picked = {place for place in range(len(words)) if dice.random() < 1 / 3} or {dice.randrange(len(words))}
    return " ".join(dice.choice(DISGUISES)(word, dice) if at in picked else word for at, word in enumerate(words))


def _cyrillic(word: str, _: random.Random) -> str:
    return word.translate(CYRILLIC)


def _full_width(word: str, _: random.Random) -> str:
    return word.translate(FULL_WIDTH)


def _unseen(word: str, dice: random.Random) -> str:
    return "".join(sign + (dice.choice(UNSEEN) if dice.random() < 0.4 else "") for sign in word)


DISGUISES: tuple[Spoil, ...] = (_cyrillic, _full_width, _unseen)


def _mistyped(word: str, dice: random.Random) -> str:
    at = dice.randrange(1, len(word) - 1)
    slips: tuple[Callable[[], str], ...] = (
        lambda: word[:at] + _beside(word[at], dice) + word[at + 1 :],
        lambda: word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :],
        lambda: word[:at] + word[at + 1 :],
        lambda: word[:at] + word[at] + word[at:],
    )
    return dice.choice(slips)()


def _beside(sign: str, dice: random.Random) -> str:
    """A key beside it, to the left or the right; the sign itself where the keyboard has none of it."""
    row = next((keys for keys in KEYS if sign.lower() in keys), "")
    if not row:
        return sign
    at = row.index(sign.lower())
    found = dice.choice([row[place] for place in (at - 1, at + 1) if 0 <= place < len(row)])
    return found.upper() if sign.isupper() else found

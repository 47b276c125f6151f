"""The plain form of a text: one byte a character, so that places in it are places in the text.

What looks the same becomes the same: full-width and other digits are digits, any blank is a blank, any dash is a dash.
Other letters and marks are one byte, `LETTER`, other signs another, `SIGN`; lone surrogates are signs.
"""

import unicodedata

LETTER, SIGN = "\xaa", "\xa7"  # a letter and no letter in Latin-1 too
# what writers put for ASCII signs: DeepSeek's control tokens spell blanks with a lower block
ALIKE = {"\u2581": "_"}
KINDS = {"Zs": " ", "Pd": "-", "Zl": "\n", "Zp": "\n", "Mn": LETTER, "Mc": LETTER}


def plain(text: str) -> bytes:
    """The plain form of `text`; as many bytes as the text has characters."""
    if text.isascii():
        return text.encode("ascii")
    others = {ord(each): _one(each) for each in set(text) if not each.isascii()}
    return text.translate(others).encode("latin-1")


def _one(character: str) -> str:
    same = ALIKE.get(character) or unicodedata.normalize("NFKC", character)
    if len(same) == 1 and same.isascii():
        return same
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    kind = unicodedata.category(character)
    return KINDS.get(kind) or (LETTER if character.isalnum() else SIGN)

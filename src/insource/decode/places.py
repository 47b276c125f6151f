"""Where a value stands in its text. A place is never made up: what does not stand there literally has none.

Places are characters (Unicode code points) [start, stop) of the whole document.
"""

import re

from insource.nouns import JsonObject, JsonValue

Place = tuple[int, int]
WORD = re.compile(r"[A-Za-z0-9]")


def place(text: str, value: JsonValue, start: int = 0, stop: int | None = None) -> Place | None:
    """Where the text `value` first stands in `text[start:stop]`: to the letter, else with other blanks between words.

    An occurrence inside a longer word or number is none: "12" does not stand in "2012". None for what is no text, is
    blank, or does not occur.
    """
    if not isinstance(value, str) or not value.strip():
        return None
    end = len(text) if stop is None else stop
    words = value.split()
    return _first(re.escape(value.strip()), text, start, end, value) or (
        _first(r"\s+".join(map(re.escape, words)), text, start, end, value) if len(words) > 1 else None
    )


def places(text: str, value: JsonObject, start: int = 0, stop: int | None = None) -> JsonObject:
    """The place of every field of `value`: [start, stop) or None for a text, one such an item for a list, else None."""
    return {name: _of(text, item, start, stop) for name, item in value.items()}


def _of(text: str, value: JsonValue, start: int, stop: int | None) -> JsonValue:
    if isinstance(value, list):
        return [_of(text, item, start, stop) if isinstance(item, str) else None for item in value]
    found = place(text, value, start, stop)
    return None if found is None else list(found)


def _first(pattern: str, text: str, start: int, stop: int, value: str) -> Place | None:
    said = value.strip()
    before = "(?<![A-Za-z0-9])" if WORD.match(said[0]) else ""
    after = "(?![A-Za-z0-9])" if WORD.match(said[-1]) else ""
    for found in re.compile(before + pattern + after).finditer(text, start, stop):
        # what follows `stop` is hidden from the pattern
        if not (after and found.end() == stop and WORD.match(text[stop : stop + 1])):
            return found.span()
    return None

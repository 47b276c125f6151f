"""Where a value stands in its text. A place is never made up: what does not stand there literally has none.

Places are characters (Unicode code points) [start, stop) of the whole document. A text is searched in time that grows
with its length alone, however it repeats itself: Knuth, Morris, Pratt 1977 for long values, `str.find` for others.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from itertools import islice

from insource.nouns import JsonObject, JsonValue

Place = tuple[int, int]
WORD = re.compile(r"[A-Za-z0-9]")
UNBROKEN = re.compile(r"\S+")
SHORT = 64  # characters of a value which may be compared anew at every place


class Part:
    """`text[start:stop]`, in which values are sought one after the other."""

    def __init__(self, text: str, start: int = 0, stop: int | None = None) -> None:
        self._text, self._start, self._stop = text, start, len(text) if stop is None else stop

    def place(self, value: JsonValue) -> Place | None:
        """Where the text `value` first stands: to the letter, else with other blanks between words.

        An occurrence inside a longer word or number is none: "12" does not stand in "2012". None for what is no text,
        is blank, or does not occur.
        """
        if not isinstance(value, str) or not value.strip():
            return None
        said, words = value.strip(), value.split()
        at = _first(self._text, said, self._start, self._stop)
        if at is not None:
            return at, at + len(said)
        said = " ".join(words)
        at = _first(self._folded, said, 1, len(self._folded) - 1) if len(words) > 1 else None
        return None if at is None else (self._unfolded(at), self._unfolded(at + len(said) - 1) + 1)

    def place_of(self, value: JsonValue) -> JsonValue:
        """The place as JSON: [start, stop) or None for a text, one such an item for a list, else None."""
        if isinstance(value, list):
            return [self.place_of(item) if isinstance(item, str) else None for item in value]
        found = self.place(value)
        return None if found is None else list(found)

    @cached_property
    def _folded(self) -> str:
        """The part with one blank for each run of them, between the letters that stand before and after it."""
        text, start, stop = self._text, self._start, self._stop
        part = text[start:stop]
        lead, trail = " " * part[:1].isspace(), " " * part[-1:].isspace()
        return (text[start - 1 : start] or " ") + lead + " ".join(part.split()) + trail + (text[stop : stop + 1] or " ")

    def _unfolded(self, at: int) -> int:
        """Where in the text the letter `at` of the folded part stands."""
        number = self._folded.count(" ", 1, at) - self._text[self._start].isspace()
        runs = UNBROKEN.finditer(self._text, self._start, self._stop)
        run = next(islice(runs, number, None))
        return run.start() + at - max(1, self._folded.rfind(" ", 1, at) + 1)


def place(text: str, value: JsonValue, start: int = 0, stop: int | None = None) -> Place | None:
    """Where `value` first stands in `text[start:stop]`; `Part.place` says what counts."""
    return Part(text, start, stop).place(value)


def places(text: str, value: JsonObject, start: int = 0, stop: int | None = None) -> JsonObject:
    """The place of every field of `value` in `text[start:stop]`; `Part.place_of` says how."""
    part = Part(text, start, stop)
    return {name: part.place_of(item) for name, item in value.items()}


def _first(text: str, said: str, start: int, stop: int) -> int | None:
    """Where `said` first stands as a whole word."""
    before, after = WORD.match(said[0]), WORD.match(said[-1])
    for at in _occurrences(text, said, start, stop):
        end = at + len(said)
        if not (before and WORD.match(text[at - 1 : at])) and not (after and WORD.match(text[end : end + 1])):
            return at
    return None


def _occurrences(text: str, said: str, start: int, stop: int) -> Iterator[int]:
    """Where `said` stands, those that overlap among them."""
    at = text.find(said, start, stop)
    if at < 0:
        return
    if len(said) > SHORT:
        yield from _long(text, said, at, stop)
        return
    while at >= 0:
        yield at
        at = text.find(said, at + 1, stop)


def _long(text: str, said: str, start: int, stop: int) -> Iterator[int]:
    """The same in one pass: after a letter that differs, what was read of `said` is not read again."""
    back = [0]  # back[i]: how much of the beginning of `said` also ends its first i + 1 letters
    for letter in said[1:]:
        same = back[-1]
        while same and letter != said[same]:
            same = back[same - 1]
        back.append(same + (letter == said[same]))
    read = 0
    for at in range(start, stop):
        letter = text[at]
        while read and letter != said[read]:
            read = back[read - 1]
        read += letter == said[read]
        if read == len(said):
            yield at + 1 - read
            read = back[read - 1]

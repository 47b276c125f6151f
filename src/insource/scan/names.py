"""Names of people, places and organisations: found by a model where the owner has installed one, and else not at all.

No name is found by a list or a pattern here. A model is asked for one unit of the text at a time, a sentence or a line,
and the units depend on the text alone: so a stream gives what the whole text gives, and waits for a unit to end.
"""

import re
from collections.abc import Iterable
from typing import Protocol

from insource.errors import ScanFailed
from insource.nouns import Finding
from insource.scan.find import Reading, View

KINDS = ("person", "place", "organisation")
END = re.compile(r"\n|[.!?\u2026][\"'\u201d\u2019)\]]{0,3}\s|[\u3002\uff01\uff1f]")
UNIT = 1000  # characters, at most


class Names(Protocol):
    """A model that knows names."""

    def find(self, text: str) -> Iterable[tuple[str, int, int]]:
        """Kind (one of `KINDS`) and place, text[start:stop], of each name in a text of at most `UNIT` characters."""


class Named:
    """Finds what a model finds."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def begin(self) -> Reading:
        """A pass over a new text."""
        return _NamesReading(self.names)


class _NamesReading:
    def __init__(self, names: Names) -> None:
        self.settled = 0
        self._names = names

    def read(self, view: View) -> list[Finding]:
        found: list[Finding] = []
        while unit := self._unit(view):
            found += [self._one(unit, *each) for each in self._names.find(unit)]
            self.settled += len(unit)
        return sorted(found, key=lambda each: each.start)

    def _unit(self, view: View) -> str:
        """The next whole unit; empty when it has not ended."""
        start = self.settled - view.base
        text = view.text[start : start + UNIT]
        end = END.search(text)
        if end:
            return text[: end.end()]
        return text if view.ended or len(text) == UNIT else ""

    def _one(self, unit: str, kind: str, start: int, stop: int) -> Finding:
        if kind not in KINDS or not 0 <= start < stop <= len(unit):
            raise ScanFailed("the model for names named something that is not in the text")
        return Finding(kind=kind, start=self.settled + start, stop=self.settled + stop)

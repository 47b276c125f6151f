"""What was replaced, and by what: the map that undoes a redaction. Who holds it holds the data, so it hides."""

import re
from typing import NoReturn

PLACEHOLDER = re.compile(r"\[[a-z]{1,16}(?:_[a-z]{1,16})? [1-9][0-9]{0,6}\]")


class Originals:
    """Placeholders such as "[email 1]" and what they stand for; the same thing has the same placeholder.

    It belongs to one call: several texts of it may share one map. It has no JSON and no pickled form, and its `repr`
    gives only its size: it cannot be logged by mistake.
    """

    def __init__(self, *, after: dict[str, int] | None = None) -> None:
        self.escapes = after is None  # whether text that looks like a placeholder is to be replaced by one
        self._given: dict[tuple[str, str], str] = {}
        self._stands: dict[str, str] = {}
        self._last = dict(after or {})

    def placeholder(self, kind: str, value: str) -> str:
        """What stands for `value` from now on."""
        given = self._given.get((kind, value))
        if given is None:
            number = self._last[kind] = self._last.get(kind, 0) + 1
            given = self._given[kind, value] = f"[{kind} {number}]"
            self._stands[given] = value
        return given

    def restore(self, text: str) -> str:
        """The text with what its placeholders stand for; those that are not in the map stay as they are."""
        return PLACEHOLDER.sub(lambda found: self._stands.get(found[0], found[0]), text)

    def beyond(self) -> "Originals":
        """An empty map whose numbers go on after these: for an answer, which may speak of these placeholders."""
        return Originals(after=self._last)

    def __len__(self) -> int:
        return len(self._stands)

    def __repr__(self) -> str:
        return f"<{len(self)} originals>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("originals are not to be written down")

"""Where things stand in a text that may still go on: everything that is found by its shape.

A thing from one place depends on text to come only if all the text from that place on is the beginning of some shape.
So what begins before the first such place is settled, and a text in pieces gives what the whole text gives.
"""

import re
import tomllib
from collections import deque
from collections.abc import Collection, Iterator
from functools import cached_property
from importlib.resources import files
from typing import Protocol

import msgspec

from insource.nouns import Finding, Noun
from insource.scan.bounded import bounded
from insource.scan.checks import CHECKS, Check, numbered
from insource.scan.linear import Linear, Which
from insource.scan.phones import REGIONS, phone, said
from insource.scan.plain import plain

BEFORE = 64  # characters before a thing that may say what it is, and that a stream therefore remembers
TAIL = 64  # more characters than may follow a long count in a shape
WORD, BORDER = r"\w\xaa", r"\b"
SURROGATES = re.compile("[\ud800-\udfff]")


class View:
    """The part of a text that is at hand: its characters from `base` on, and whether it is the end of the text."""

    def __init__(self, text: str, base: int = 0, *, ended: bool = True) -> None:
        self.text, self.base, self.ended = text, base, ended

    @property
    def end(self) -> int:
        """Where the part ends in the whole text."""
        return self.base + len(self.text)

    @cached_property
    def lined(self) -> bytes:
        """The plain form between line ends, so that each character has one before it; the last has one when it is."""
        return b"\n" + plain(self.text) + (b"\n" if self.ended else b"")

    @cached_property
    def readable(self) -> str:
        """The part without lone surrogates, which no encoding has."""
        return self.text if self.text.isascii() else SURROGATES.sub("?", self.text)


class Reading(Protocol):
    """One pass over one text, in pieces: each view reaches further, and begins at least `BEFORE` ahead of `settled`."""

    settled: int

    def read(self, view: View) -> list[Finding]:
        """What begins before the new `settled` and not before the old one; nothing to come can change it."""


class Recogniser(Protocol):
    """Something that can find things."""

    def begin(self) -> Reading:
        """A pass over a new text."""


class Row(Noun, frozen=True, kw_only=True):
    """One form of the table, as kinds.toml explains it."""

    shape: str
    left: str = WORD
    right: str = WORD
    check: str = ""
    number: str = ""
    context: str = ""
    fold: bool = False


class _Form:
    """One row, ready to search."""

    def __init__(self, kind: str, form: str, row: Row, check: Check | None) -> None:
        made = bounded(row.shape)
        left, right = (f"[^{side}]" if side else "" for side in (row.left, row.right))
        self.kind, self.form, self.check, self.longest = kind, form, check, made.longest
        self.whole = f"(?{'i' if row.fold else ''}:{left}({made.whole}){right})"
        self.begun = f"(?{'i' if row.fold else ''}:{left}{made.begun})"
        self.context = re.compile(row.context, re.IGNORECASE) if row.context else None
        self.near = Linear(f"(?i:{row.context.replace(BORDER, '')})".encode()) if row.context else None
        self.ahead = 1 if left else 0  # bytes of a match before its shape
        self.words = Linear(self.whole)

    def find(self, view: View, start: int, until: int) -> Iterator[Finding]:
        """Things of this form whose shape begins in [start, until), none inside another."""
        place = start - view.base + 1 - self.ahead
        contexts = self._contexts(view)
        while found := self.words.search(view.lined, place):
            begin = found.start(1)
            if view.base + begin - 1 >= until:
                return
            first, last = (each - 1 for each in found.span(self.words.groups))
            while contexts and contexts[0][1] <= first - BEFORE:
                contexts.popleft()
            if self.context and (not contexts or contexts[0][0] >= first):
                if not contexts:
                    return
                place = max(begin, contexts[0][0])  # nothing counts before the next word of its context
                continue
            length = self._real(view, first, min(last, first + self.longest))
            if length:
                yield Finding(kind=self.kind, form=self.form, start=view.base + first, stop=view.base + first + length)
            place = (first + 1 + length if length else begin + 1) - self.ahead

    def _contexts(self, view: View) -> deque[tuple[int, int]]:
        """Where words of its context may stand. So many numbers are like any other that looking around each is dear."""
        return deque(self.near.spans(view.readable)) if self.near else deque()

    def _real(self, view: View, first: int, last: int) -> int:
        """How many characters of text[first:last] are the real thing."""
        if self.context and not self.context.search(view.text, max(0, first - BEFORE), first):
            return 0
        return self.check(view.lined[first + 1 : last + 1].decode("latin-1")) if self.check else last - first


class Shapes:
    """Finds whatever has the shape of one of `kinds`, from kinds.toml."""

    def __init__(self, kinds: Collection[str], regions: tuple[str, ...] = REGIONS) -> None:
        checks = {**CHECKS, "phone": phone(regions) if "phone" in kinds else said, "said": said}
        self.forms = [
            _Form(kind, form, row, numbered(row.number) if row.number else checks.get(row.check))
            for kind, forms in table().items()
            for form, row in forms.items()
            if kind in kinds
        ]
        self.which = Which(form.whole for form in self.forms)
        self.longest = max((form.longest for form in self.forms), default=0)
        self.held = Linear(f"(?:{'|'.join(form.begun for form in self.forms)})\\z") if self.forms else None

    def begin(self) -> Reading:
        """A pass over a new text."""
        return _ShapesReading(self)


class _ShapesReading:
    def __init__(self, shapes: Shapes) -> None:
        self.settled = 0
        self._shapes = shapes
        self._taken: dict[int, int] = {}  # where the last thing of a form stops, when that is not settled yet

    def read(self, view: View) -> list[Finding]:
        start, until = self.settled, self._until(view)
        found = []
        for number in self._shapes.which.search(view.lined[start - view.base :]):
            for one in self._shapes.forms[number].find(view, max(start, self._taken.get(number, 0)), until):
                found.append(one)
                self._taken[number] = one.stop
        self.settled = until
        self._taken = {number: stop for number, stop in self._taken.items() if stop > until}
        return found

    def _until(self, view: View) -> int:
        """The first place from which the text so far begins a shape, unless a shape cannot be that long."""
        if view.ended or not self._shapes.held:
            return view.end
        held = self._shapes.held.search(view.lined, self.settled - view.base)
        return (
            max(self.settled, view.base + held.start() - 1, view.end - self._shapes.longest - TAIL)
            if held
            else view.end
        )


def table() -> dict[str, dict[str, Row]]:
    """Every form of every kind, in their order."""
    text = files("insource.scan").joinpath("kinds.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), type=dict[str, dict[str, Row]])

"""Rows that cannot be used: counted by kind, and written one by one to a file that appears only when it is whole."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from insource.collect.lines import SHOWN
from insource.collect.read import Raw, Stray
from insource.nouns import JsonObject, to_json
from insource.store.files import disk

PEEK = 50
EXAMPLES = 10
PER_KIND = 3


def peek(rows: Iterable[Raw]) -> tuple[list[Raw], Iterator[Raw]]:
    """The first 50 rows, and an iterator over all of them: memory stays bounded."""
    source = iter(rows)
    seen = list(islice(source, PEEK))
    return seen, chain(seen, source)


class Rejects:
    """The rejects of one call, written to a hidden file in `folder` as they come; `keep` gives it its name.

    Use as a context manager: what was not kept is removed. Raises `StoreError` when the disk does not allow it.
    """

    def __init__(self, folder: Path) -> None:
        self.kinds: Counter[str] = Counter()
        self.examples: list[JsonObject] = []
        self._folder = folder
        self._part = folder / ".rejects.part"
        self._file: IO[bytes] | None = None

    @property
    def count(self) -> int:
        """How many rows were set aside."""
        return self.kinds.total()

    def add(self, file: str, raw: Raw, reason: str) -> None:
        """Sets one row aside. The reason's part before ":" is its kind."""
        kind = reason.partition(":")[0]
        self.kinds[kind] += 1
        shown = raw.shown[:SHOWN]
        if self.kinds[kind] <= PER_KIND and len(self.examples) < EXAMPLES:
            self.examples.append({"file": file, "line": raw.line, "reason": reason, "row": shown[:160]})
        with disk(self._part):
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = self._part.open("wb")
            self._file.write(to_json({"file": file, "line": raw.line, "reason": reason, "row": shown}) + b"\n")

    def stray(self, stray: Stray) -> None:
        """Sets a row aside whose target is none of the task's, by its text alone."""
        self.add(stray.file, Raw(stray.line, {}, stray.reason, stray.input), stray.reason)

    def keep(self, sha8: str) -> Path | None:
        """Names the file rejects-SHA8.jsonl and returns its path; None when nothing was rejected."""
        if self._file is None:
            return None
        place = self._folder / f"rejects-{sha8}.jsonl"
        with disk(place):
            self._file.close()
            self._part.replace(place)
        self._file = None
        return place

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with disk(self._part):
                try:
                    self._file.close()
                finally:
                    self._part.unlink(missing_ok=True)

"""Regular expressions that take time in proportion to the text, whatever either says: RE2's (Cox 2010)."""

from collections.abc import Iterable
from typing import Any

from insource.errors import EngineDown, Invalid

MEMORY = 64 << 20  # bytes that one expression may use for what it remembers; beyond it RE2 is slower, never wrong


class Linear:
    """One expression over plain forms. One that RE2 cannot read is `Invalid`. Given as UTF-8 it is one over texts."""

    def __init__(self, pattern: str | bytes) -> None:
        re2 = library()
        said = pattern.encode("latin-1") if isinstance(pattern, str) else pattern
        try:
            self._made = re2.compile(said, options(re2, text=isinstance(pattern, bytes)))
        except re2.error as error:
            raise Invalid(f"RE2 does not read {pattern[:80]!r}: {error}") from error

    def search(self, text: bytes, start: int) -> Any:
        """The leftmost match from `start` on, with `span` and `start`; None when there is none."""
        return self._made.search(text, start)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Every match in a text, in characters; one match hides those it overlaps."""
        return [found.span() for found in self._made.finditer(text)]

    @property
    def groups(self) -> int:
        """How many groups it captures; also the number of the last one."""
        return int(self._made.groups)

    def fullmatch(self, text: str) -> bool:
        """True when all of an ASCII text matches."""
        return self._made.fullmatch(text.encode("latin-1")) is not None


class Which:
    """Which of many expressions match anywhere in a text, in one pass."""

    def __init__(self, patterns: Iterable[str]) -> None:
        re2 = library()
        self._made = re2.Set.SearchSet(options(re2))
        for pattern in patterns:
            self._made.Add(pattern.encode("latin-1"))
        self._always = self._made.Add(b"")  # matches every text; when it is not told, the pass has failed
        self._made.Compile()

    def search(self, text: bytes) -> list[int]:
        """Numbers of the expressions that match, in order. Raises `EngineDown` when RE2 gave up."""
        found = sorted(self._made.Match(text))
        if not found or found.pop() != self._always:
            raise EngineDown("the scan ran out of memory", hint="scan shorter texts")
        return found


def library() -> Any:
    """RE2. Raises `EngineDown` where it is not installed."""
    try:
        import re2
    except ImportError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[scan]'") from error
    return re2


def options(re2: Any, *, text: bool = False) -> Any:
    """Bytes or a text, quietly, with enough memory."""
    made = re2.Options()
    encodings = re2.Options.Encoding
    made.encoding, made.log_errors, made.max_mem = encodings.UTF8 if text else encodings.LATIN1, False, MEMORY
    return made

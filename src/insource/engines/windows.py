"""A text longer than what is read at once, cut into windows that overlap.

What is no longer than the overlap, a quarter of a window, stands whole in at least one window. Windows are spread
evenly, so the last is no remnant, and reach out to whole words where a word ends within a few tokens.
"""

from collections.abc import Sequence

from insource.nouns import Noun

OVERLAP = 4
REACH = 8


class Window(Noun, frozen=True, kw_only=True):
    """The characters [start, stop) of a text, which are `tokens` tokens."""

    start: int
    stop: int
    tokens: int


def cut(text: str, offsets: Sequence[tuple[int, int]], room: int) -> list[Window]:
    """Windows over `text` of at most `room` tokens each; one window where all of it fits.

    `offsets` are the characters each token spells. A window is `room` less the reach to whole words at either end (an
    eighth, at most 8 tokens); the next one begins a quarter of it before its end, or sooner.
    """
    count = len(offsets)
    if count <= room:
        return [Window(start=0, stop=len(text), tokens=count)]
    reach = min(REACH, room // 8)
    size = room - 2 * reach
    stride = size - size // OVERLAP
    more = -(-(count - size) // stride)
    firsts = [i * (count - size) // more for i in range(more + 1)]
    return [_whole_words(text, offsets, first, first + size, reach) for first in firsts]


def _whole_words(text: str, offsets: Sequence[tuple[int, int]], first: int, last: int, reach: int) -> Window:
    """The tokens [first, last), and up to `reach` more at either end where a word begins or ends there."""
    starts = [at for at in range(first, max(-1, first - reach - 1), -1) if _between(text, offsets, at)]
    stops = [at for at in range(last, min(len(offsets), last + reach) + 1) if _between(text, offsets, at)]
    low, high = starts[0] if starts else first, stops[0] if stops else last
    start = offsets[low][0] if low else 0
    stop = offsets[high - 1][1] if high < len(offsets) else len(text)
    return Window(start=start, stop=stop, tokens=high - low)


def _between(text: str, offsets: Sequence[tuple[int, int]], at: int) -> bool:
    """Whether token `at` begins a word, or ends the text."""
    if at <= 0 or at >= len(offsets):
        return True
    start = offsets[at][0]
    return text[start : start + 1].isspace() or text[start - 1 : start].isspace()

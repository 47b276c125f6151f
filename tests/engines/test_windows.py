"""Windows lose nothing: every token is read, every short span whole, and no window is longer than what is read."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insource.engines.windows import OVERLAP, REACH, cut

TEXTS = st.text(alphabet="ab ,\n中", min_size=1, max_size=400)


def words(text):
    """Tokens of at most three characters, a blank before a word with it, as byte-level tokenizers have them."""
    return [found.span() for found in re.finditer(r"\s?[^\s]{1,3}|\s", text)]


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.integers(1, 120))
def test_every_token_is_in_a_window_and_no_window_is_too_long(text, room):
    offsets = words(text)
    windows = cut(text, offsets, room)
    assert windows[0].start == 0
    assert windows[-1].stop == len(text)
    assert [window.start for window in windows] == sorted({window.start for window in windows}), "no window twice"
    for window in windows:
        inside = [span for span in offsets if window.start <= span[0] and span[1] <= window.stop]
        assert len(inside) == window.tokens <= room
    seen = {span for span in offsets for window in windows if window.start <= span[0] and span[1] <= window.stop}
    assert seen == set(offsets)


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.integers(8, 120), st.data())
def test_what_is_no_longer_than_the_overlap_stands_whole_in_a_window(text, room, data):
    offsets = words(text)
    size = room - 2 * min(REACH, room // 8)
    length = data.draw(st.integers(1, max(1, size // OVERLAP)))
    first = data.draw(st.integers(0, max(0, len(offsets) - length)))
    start, stop = offsets[first][0], offsets[min(first + length, len(offsets)) - 1][1]
    assert any(window.start <= start and stop <= window.stop for window in cut(text, offsets, room))


def test_a_text_that_fits_is_one_window():
    assert [(w.start, w.stop, w.tokens) for w in cut("a b c", words("a b c"), 3)] == [(0, 5, 3)]
    assert [(w.start, w.stop, w.tokens) for w in cut("", [], 3)] == [(0, 0, 0)]


def test_windows_begin_and_end_at_words_where_words_are_short():
    text = " ".join(f"word{i}" for i in range(200))
    for window in cut(text, words(text), 64):
        piece = text[window.start : window.stop]
        assert re.fullmatch(r"(word\d+ ?)+", piece.strip() + " "), piece


def test_windows_are_of_even_length():
    text = "x " * 1000
    tokens = [window.tokens for window in cut(text, words(text), 100)]
    assert len(tokens) > 10
    assert max(tokens) - min(tokens) <= 2 * REACH


@pytest.mark.parametrize("room", [1, 2, 3])
def test_a_room_of_hardly_anything_still_reads_all(room):
    text = "abc def ghi jkl"
    assert "".join(sorted({c for w in cut(text, words(text), room) for c in text[w.start : w.stop]})) == "".join(
        sorted(set(text))
    )

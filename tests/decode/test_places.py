"""A place is where the value stands literally, or none."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insource.decode.places import place, places
from pace import within


@pytest.mark.parametrize(
    ("text", "value", "stands"),
    [
        ("Total 9.00 paid 9.00", "9.00", "9.00"),
        ("NO 5,\n  JALAN\tDEDAP", "NO 5, JALAN DEDAP", "NO 5,\n  JALAN\tDEDAP"),
        ("a  b, a b", "a b", "a b"),
        ("in 2012 and 12", "12", "12"),
        ("(ACME) Ltd", "(ACME)", "(ACME)"),
        ("x東京都y", "東京", "東京"),
        ("a \U0001f98a b", "\U0001f98a", "\U0001f98a"),
    ],
)
def test_it_is_found_to_the_letter_or_with_other_blanks(text, value, stands):
    found = place(text, value)
    assert found is not None
    assert text[found[0] : found[1]] == stands


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("in 2012", "12"), ("Total 19.00", "9.00"), ("acme", "ACME"), ("a-b", "a b"), ("", "x"), ("x", ""),
        ("x", "  "), ("12", 12), ("true", True), ("null", None), ("x", {"a": "x"}), ("ab", "a b"),
    ],
)  # fmt: skip
def test_what_does_not_stand_there_literally_has_no_place(text, value):
    assert place(text, value) is None


def test_the_letters_first_come_before_other_blanks():
    assert place("a  b then a b", "a b") == (10, 13)


def test_only_the_window_is_searched_and_a_word_cut_by_its_edge_is_no_word():
    text = "12 abc 12 123"
    assert place(text, "12", 3) == (7, 9)
    assert place(text, "12", 10) is None
    assert place(text, "12", 10, 12) is None
    assert place(text, "abc", 0, 6) == (3, 6)
    assert place(text, "bc", 4, 6) is None


def test_lists_have_a_place_an_item_and_other_values_none():
    found = places("seal and bearing", {"parts": ["bearing", "bolt", 3], "n": 3, "who": {"a": "seal"}, "one": "seal"})
    assert found == {"parts": [[9, 16], None, None], "n": None, "who": None, "one": [0, 4]}


@settings(deadline=None)
@given(st.text(alphabet="ab1 \n.é中", max_size=30), st.text(alphabet="ab1 \n.é中", min_size=1, max_size=6))
def test_a_place_always_spells_the_value(text, value):
    found = place(text, value)
    if found is not None:
        assert re.sub(r"\s+", " ", text[found[0] : found[1]]) == re.sub(r"\s+", " ", value.strip())
    elif not re.search(r"[A-Za-z0-9]", value) and value.strip():
        assert value.strip() not in text


def as_defined(text, value, start, stop):
    """The same, said by a pattern that tries every letter of the text."""
    said = value.strip()
    before, after = ("(?<![A-Za-z0-9])" if re.match("[A-Za-z0-9]", said[0]) else ""), re.match("[A-Za-z0-9]", said[-1])
    for words in ([said], said.split()):
        pattern = re.compile(before + r"\s+".join(map(re.escape, words)))
        for at in range(start, stop + 1):
            found = pattern.match(text, at, stop)
            if found and not (after and re.match("[A-Za-z0-9]", text[found.end() : found.end() + 1])):
                return found.span()
    return None


@pytest.mark.parametrize("short", [64, 0])
@settings(deadline=None, max_examples=400)
@given(
    st.text(alphabet="ab \n-", max_size=30),
    st.text(alphabet="ab \n-", min_size=1, max_size=8).filter(str.strip),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_it_is_the_first_place_of_all_for_short_values_and_for_long_ones(short, text, value, cut, end):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("insource.decode.places.SHORT", short)
        start, stop = min(cut, len(text)), max(min(cut, len(text)), len(text) - end)
        assert place(text, value, start, stop) == as_defined(text, value, start, stop)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a " * 500_000, "a " * 499 + "b"),
        ("a  " * 333_000, "a " * 499 + "b"),
        ("a" * 1_000_000, "a" * 999 + "b"),
        ("a" * 1_000_000, "a" * 1_000),
        ("ab-" * 333_000, "b-a" * 333 + "b"),
        ("-aa" * 333_000, "-aa" * 100_000 + "-a"),
        (" \n" * 500_000, "x y"),
    ],
    ids=["words", "blanks", "letters", "inside", "before", "after", "nothing"],
)
def test_a_text_that_repeats_itself_takes_no_longer_than_another(text, value):
    start = time.process_time()
    assert place(text, value) is None
    assert within(time.process_time() - start, 1.5)

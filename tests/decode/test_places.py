"""A place is where the value stands literally, or none."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insource.decode.places import place, places


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

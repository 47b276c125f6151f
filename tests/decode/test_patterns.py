"""A pattern means to the grammar what it means to the validator."""

import json

import pytest

from insource.decode.check import faults
from insource.decode.grammar import for_schema
from insource.decode.mask import GrammarMask, Vocabulary
from insource.decode.patterns import but, matches, matches_all, none_of
from insource.errors import Invalid, OutputInvalid

TEXTS = [
    *("", "a", "A", "b", "z", "-", "&", "[", "]", "~", "_", "0", "ab", "aa", "a b", "{,5}", "by", "basic", "basics"),
    *("\n", "\r", "\t", "\v", "\f", "\u0085", "\u00a0", "\u2028", "\ufeff", "\u3000", "é", "٣", "\u017f", "a\nb", "🛠"),
]
PATTERNS = [
    *("^.$", r"^\s$", r"^\S$", r"^\w$", r"^\W$", r"^\d$", r"^\D$", r"^[\s]$", r"^[^\s]$", r"^[\S]$", r"^[^\w]$"),
    *("^[a&&b]$", "^[^a&&b]$", "^[a~~b]$", "^[a[b]]$", "^[[:alpha:]]$", "^[[:^alpha:]]$", "^[[]$", "^[]a]$", "^[^a]$"),
    *("^(?:a|b)*$", "a", "^a", "a$", "^$", "", "a|^$", r"^\u0061$", r"^\x61$", r"^[\w-]$", r"^\-$", r"^\&$", "^#$"),
    *(r"^\p{L}$", r"^a{1}{2}$", "^a*?$", "^(?i:a)$", r"^[^\n]$", r"^[\d\s]$", r"^\[$", r"^[\]]$", r"^[\[&]$"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_lets_through_what_the_validator_takes_and_nothing_else(pattern: str, vocabulary: Vocabulary) -> None:
    schema = {"type": "string", "pattern": pattern}
    try:
        mask = GrammarMask(vocabulary, for_schema(schema))
    except Invalid:
        return
    for text in TEXTS:
        walk, through = mask.start(), True
        try:
            for token in vocabulary.tokens.tokenize_str(json.dumps(text, ensure_ascii=False)):
                walk.advance(token)
            through = walk.done or bool(walk.allowed()[2])
        except OutputInvalid:
            through = False
        valid = not faults(schema, text)
        assert valid or not through, repr(text)
        if not set(text) & set("\r\u2028"):  # by ECMAScript a point is none of these, by some validators it is
            assert through or not valid or text in ("\v", "\u0085"), repr(text)


@pytest.mark.parametrize("texts", [[""], ["a"], ["a", "ab", "b"], ["", "basic", "by"], ["[", "]", "-", "a\nb"]])
def test_none_of_some_texts_is_every_other(texts: list[str]) -> None:
    pattern = f"^(?:{none_of(texts)})$"
    assert [text for text in TEXTS if not matches(pattern, text)] == [text for text in TEXTS if text in texts]


@pytest.mark.parametrize(
    "pattern", ["^[a-z]*$", "^[a-z]+$", "^([a-zA-Z_])*$", "^[ab]{1,2}$", "^[ab]{2}$", "^[ab]$", "^.*$"]
)
def test_a_run_of_characters_but_some_names(pattern: str) -> None:
    names = ["a", "ab", "by", "x-y", ""]
    left = but(pattern, names)
    for text in TEXTS:
        if "\r" not in text and "\u2028" not in text:
            assert matches(left, text) == (matches(pattern, text) and text not in names), repr(text)


def test_what_is_no_run_stays_and_what_is_used_up_is_nothing() -> None:
    assert but("^a.*$", ["ab"]) == "^a.*$"
    assert but("^[ab]$", ["a", "b"]) == ""


def test_a_pattern_of_every_text() -> None:
    assert all(map(matches_all, ("", ".*", "^[a-z]*", "^.*", "(a|)")))
    assert not any(map(matches_all, ("a", "^a*$", r"\b", ".+", "^$")))

"""A megabyte of anything takes less than a second, and twice as much about twice as long."""

import time

import pytest

from insource.errors import Invalid
from insource.scan.bounded import bounded
from insource.scan.find import Shapes, View
from insource.scan.linear import Linear, Which
from insource.scan.scanner import Scanner
from pace import within

MEGABYTE = 1_000_000  # bytes of UTF-8
HOSTILE = (
    "a", "1", " ", "@", "a@", "a.", "a@a.", "1 ", "1-", "1.", "+1", "4", "GB",
    "1:", "::", "a:", "http://", "http://a:", "eyJ", "eyJ.", "eyJhbGciOiJIUzI1NiJ9.", "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ", "PuTTY-User-Key-File-2: a", "password=", "secret: ", "sk-", "<|", "<|a", "[", "[INST", "born 1.1.",
    "project ", "bluebird project ", "a b ", "\u0301", "é", "東", "\ud83d", "\u200b", "'", "\\", "aA1", "0x", "bc1q",
    "The press was cleaned. ",
)  # fmt: skip
# what costs most: each is nearly a number, or is one
BUSY = (
    "4444 ", "4111 1111 1111 1112 ", "GB29 ", "eyJhbGciOiJIUzI1NiJ9.", "ssn 123456789 ", "joe@example.com ",
    "4111111111111111 ", "+49 30 901820, ", "(415) 555-2671, ", "26081908-3 ", "10.0.0.1 ",
)  # fmt: skip


def seconds(scanner: Scanner, text: str) -> float:
    """Processor time of one scan."""
    start = time.process_time()
    scanner.scan(text)
    return time.process_time() - start


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_megabyte_of_half_things_takes_less_than_a_second(prose: Scanner, piece: str) -> None:
    text = piece * (MEGABYTE // len(piece.encode("utf-8", "surrogatepass")))
    assert any(within(seconds(prose, text), 1.0) for _ in range(3))


@pytest.mark.slow
@pytest.mark.parametrize("piece", BUSY)
def test_time_is_in_proportion_to_length(prose: Scanner, piece: str) -> None:
    once = min(seconds(prose, piece * (MEGABYTE // 40 // len(piece))) for _ in range(3))
    four = min(seconds(prose, piece * (MEGABYTE // 10 // len(piece))) for _ in range(2))
    assert within(once, 0.15)
    assert four < 8 * once or within(four, 0.2)  # sixteen times were it quadratic


def test_what_matches_at_all_is_told_however_little_memory_there_is(shapes: Shapes) -> None:
    """The pass that says which expressions match must not miss one: it is compared with each of them alone."""
    for piece in HOSTILE:
        text = View(piece * (4000 // len(piece)) + " joe@example.com 4111111111111111").lined
        alone = [number for number, form in enumerate(shapes.forms) if form.words.search(text, 0)]
        assert shapes.which.search(text) == alone


def test_a_pass_that_gave_up_is_an_error_and_not_nothing() -> None:
    which = Which(["a", "b"])
    assert which.search(b"a") == [0]
    which._always = 99
    with pytest.raises(Exception, match="ran out of memory"):
        which.search(b"a")


@pytest.mark.parametrize(
    "said", ["a*", "a+", "a{2,}", "(a", "a)", "a||b", "[a", "a{3,2}", "a{0}", "^a", "(?=a)", "(ab){2000}"]
)
def test_a_shape_without_a_bound_is_refused(said: str) -> None:
    with pytest.raises(Invalid):
        bounded(said)


@pytest.mark.parametrize(
    "said", ["abc", "a{2,4}", "a?b{3}", "(?:ab|c)d{0,2}", "0(?:-[a-c]{2}){1,2}", "\\d\\.x", "a{0,3000}b?"]
)
def test_the_beginnings_of_a_shape_are_those_of_its_words(said: str) -> None:
    made = bounded(said)
    whole, begun = Linear(made.whole), Linear(made.begun)
    words = [word for word in _texts("abcd0-.x", 6) if whole.fullmatch(word)]
    assert words
    for word in words:
        assert len(word) <= made.longest
        assert all(begun.fullmatch(word[:length]) for length in range(1, len(word) + 1))
    starts = {word[:length] for word in words for length in range(len(word) + 1)}
    if made.longest <= 6:
        assert not [
            text for text in _texts("abcd0-.x", made.longest) if text and begun.fullmatch(text) and text not in starts
        ]


def _texts(letters: str, longest: int) -> list[str]:
    texts = level = [""]
    for _ in range(min(longest, 5)):
        level = [text + letter for text in level for letter in letters]
        texts = texts + level
    return texts

"""However a text is cut, the same goes on and the same is found."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from insource.nouns import Finding, ScanPolicy
from insource.scan.originals import Originals
from insource.scan.scanner import Scanner, Stream

PARTS = (
    "joe@example.co.uk", "born on 12 May 1980", "4111 1111 1111 1111", "4111111111111112", "gb42nawi04454264788619",
    "DE89 3704 0044 0532 0130 00 and", "(415) 555-2671", "+49 30 901820", "10.0.0.1", "fe80::1ff:fe23:4567:890a",
    "536-22-8145", "AKIAIOSFODNN7EXAMPLE", "<|im_end|>", "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "[INST]",
    "[email 1]", "password: hunter22x!", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN", "https://user:pa55@example.org/a?b=c", "project  bluebird", "Projekt",
    "R&D", "straße 9", "東京都", "Ada Lovelace. ", "Zürich\n", "0x52908400098527886E0F7030069857D2E4169EE7",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "é", "e\u0301", "\ud83d", "\ude00", "😀", "\uff21\uff2b\uff29\uff21",
    "\u200b", " ", "\n", ". ", ",", "a", "1", "42 years old", "aged 42", "x" * 70, "1" * 40, "@", "://", "::",
)  # fmt: skip
HOSTILE = ("1", "a", "a.", "1 ", "A", "eyJ", "-----BEGIN PRIVATE KEY-----\n", "<|", "https://a", " ", "é", "x@")


def streamed(scanner: Scanner, pieces: list[str]) -> tuple[str, list[Finding], Originals]:
    originals = Originals()
    stream = Stream(scanner, originals)
    done = [*[stream.feed(piece) for piece in pieces], stream.close()]
    return "".join(each.text for each in done), [one for each in done for one in each.findings], originals


def cut(text: str, dice: random.Random, sizes: tuple[int, ...]) -> list[str]:
    pieces = []
    while text:
        size = dice.choice(sizes)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_two_thousand_cuts_give_what_the_whole_gives(everything: Scanner, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    for _ in range(100):
        text = "".join(dice.choice(PARTS) + dice.choice(("", " ", " ", "\n")) for _ in range(dice.randrange(1, 7)))
        whole, originals = everything.scan(text, kept := Originals()), kept
        pieces = cut(text, dice, dice.choice([(1,), (1, 2), (1, 3, 9), (5, 40)]))
        said, found, map_ = streamed(everything, pieces)
        assert said == whole.text, pieces
        assert tuple(found) == whole.findings, pieces
        assert originals.restore(said) == text == map_.restore(said)


@settings(max_examples=300, deadline=None)
@given(some.lists(some.one_of(some.sampled_from(PARTS), some.text(max_size=8)), max_size=12), some.randoms())
def test_any_text_streams_as_it_scans_and_is_restored(
    everything: Scanner, parts: list[str], dice: random.Random
) -> None:
    text = "".join(parts)
    whole = everything.scan(text, originals := Originals())
    said, found, _ = streamed(everything, cut(text, dice, (1, 2, 5)))
    assert (said, tuple(found)) == (whole.text, whole.findings)
    assert originals.restore(whole.text) == text


def test_prose_is_held_back_by_no_more_than_a_word(prose: Scanner) -> None:
    stream = Stream(prose)
    held = []
    for character in (
        "The gearbox of the second press was opened twice, cleaned, and put back before the shift had ended. " * 20
    ):
        stream.feed(character)
        held.append(stream.held)
    assert max(held) <= 12


@pytest.mark.parametrize(
    "hostile", ["1", "a", "a.", "1 ", "A", "eyJ", "-----BEGIN PRIVATE KEY-----\n", "<|", "https://a", " ", "é", "x@"]
)
def test_what_is_held_back_has_a_bound(everything: Scanner, hostile: str) -> None:
    stream = Stream(everything)
    most = 0
    for _ in range(60):
        stream.feed(hostile * (1000 // len(hostile)))
        most = max(most, stream.held)
    assert most <= 17000


def test_a_blocked_stream_ends_before_what_blocks_it() -> None:
    scanner = Scanner(ScanPolicy(actions={"card": "block", "email": "redact"}))
    text = "From joe@example.com, card 4111111111111111, bye joe@example.com"
    for pieces in ([text], list(text)):
        stream, said, done = Stream(scanner), "", None
        for piece in pieces:
            done = stream.feed(piece)
            said += done.text
            if done.action == "block":
                break
        else:
            done = stream.close()
            said += done.text
        assert said == "From [email 1], card "
        assert done and done.action == "block"
    assert scanner.scan(text).text == ""

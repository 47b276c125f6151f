"""Every form of the table finds what it is for, and leaves what only looks like it."""

import pytest
from national_ids import NUMBERS
from samples import SAMPLES

from insource.scan.find import Shapes, View, table


def found(shapes: Shapes, text: str, kind: str) -> set[str]:
    return {text[one.start : one.stop] for one in shapes.begin().read(View(text)) if one.kind == kind}


@pytest.mark.parametrize(("kind", "text", "expected", "near"), SAMPLES, ids=lambda said: said[:20])
def test_a_form_is_found_and_its_near_miss_is_not(
    shapes: Shapes, kind: str, text: str, expected: str, near: str
) -> None:
    assert found(shapes, text, kind) == {expected}
    assert found(shapes, near, kind) == set()


@pytest.mark.parametrize(("form", "valid", "near", "word"), NUMBERS, ids=lambda said: said[:20])
def test_a_national_number_is_found_and_one_with_a_wrong_digit_is_not(
    shapes: Shapes, form: str, valid: str, near: str, word: str
) -> None:
    def forms(text: str) -> set[tuple[str, str]]:
        return {(one.form, text[one.start : one.stop]) for one in shapes.begin().read(View(text))}

    assert (form, valid) in forms(f"{word} {valid}.")
    assert (form, near) not in forms(f"{word} {near}.")
    assert (form, valid) not in forms(f"{word} 7{valid}4.")
    if word:
        assert (form, valid) not in forms(f"part {valid}."), "without its word it is any number"


def test_no_form_is_without_a_sample(shapes: Shapes) -> None:
    told = {(one.kind, one.form) for _, text, *_ in SAMPLES for one in shapes.begin().read(View(text))}
    told |= {("national_id", form) for form, *_ in NUMBERS}
    assert told >= {(kind, form) for kind, forms in table().items() for form in forms}


WIDE = "".join(chr(0xFF10 + int(digit)) for digit in "4111111111111111")
ODD = ("4111\u00a01111\u20091111\u30001111", "4111\u20111111\u20131111\u20141111")


@pytest.mark.parametrize("digits", [WIDE, *ODD])
def test_digits_blanks_and_dashes_of_any_script_are_the_same(shapes: Shapes, digits: str) -> None:
    assert found(shapes, f"card: {digits}", "card") == {digits}


def test_what_is_found_is_told_in_characters(shapes: Shapes) -> None:
    text = "😀 Grüße, 東京 \ud83d joe@example.com"
    (one,) = shapes.begin().read(View(text))
    assert text[one.start : one.stop] == "joe@example.com"

"""The owner's own terms: whole words in any case, thousands of them as quick as one."""

import time

import pytest

from insource.errors import Invalid
from insource.scan.find import View
from insource.scan.terms import Terms
from pace import within

TERMS = ("Project Bluebird", "Bluebird", "R&D", "C++", "Straße 9", "東京", "café", "Ärger")


def found(text: str, terms: tuple[str, ...] = TERMS) -> list[str]:
    return [text[one.start : one.stop] for one in Terms(terms).begin().read(View(text))]


WRITTEN = (
    "project bluebird", "PROJECT  BLUEBIRD", "Project\nBluebird", "r & d", "r&d", "c++", "STRASSE 9", "straße 9",
    "東京", "CAFÉ", "cafe\u0301", "ÄRGER", "ärger",
)  # fmt: skip


@pytest.mark.parametrize("text", WRITTEN)
def test_a_term_is_found_in_any_case_and_spacing(text: str) -> None:
    assert found(f"The {text}, it is.") == [text]


@pytest.mark.parametrize(
    "text", ["bluebirds", "xbluebird", "project", "c+", "c", "rd", "strasse 99", "cafes", "blue bird", "東"]
)
def test_part_of_a_word_is_no_term(text: str) -> None:
    assert found(f"The {text} it is.") == []


def test_the_longest_term_wins_and_ideographs_need_no_blanks() -> None:
    assert found("Project Bluebird Bluebird") == ["Project Bluebird", "Bluebird"]
    assert found("私は東京都に") == ["東京"]
    assert found("project" + " " * 9 + "bluebird") == ["bluebird"]


@pytest.mark.parametrize("term", ["", "   ", "a " * 13])
def test_a_term_without_a_word_or_with_too_many_is_refused(term: str) -> None:
    with pytest.raises(Invalid):
        Terms((term,))


def test_ten_thousand_terms_cost_about_what_one_costs() -> None:
    text = "The gearbox of the second press was opened twice and part 4711 was put back. " * 4000

    def seconds(terms: tuple[str, ...]) -> float:
        made, best = Terms(terms), float("inf")
        for _ in range(3):
            start = time.process_time()
            made.begin().read(View(text))
            best = min(best, time.process_time() - start)
        return best

    many = tuple(f"part {n} of the {n} press" for n in range(5000)) + tuple(f"unit {n}" for n in range(5000))
    assert within(seconds(many) - 3 * seconds(("bluebird",)), 0.05)

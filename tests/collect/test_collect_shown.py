"""The figures that rows show, against ones worked out by hand; novelty where there is some, and where there is none."""

import math
import random

import msgspec
import pytest

from insource.collect.shown import shown, spread
from insource.collect.split import with_groups
from insource.nouns import Example, Output, Task

TASK = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("a", "b", "c")),))
WORDS = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(400)]


def row(text, label="a", **tags):
    target = {"label": label}
    return Example(id=Example.identity("t", text, target), task="t", input=text, target=target, tags=tags)


def dated(*, words=WORDS, late=WORDS, labels="ab", late_labels="ab", count=600, seed=0):
    """Rows of a year, a tag with their day; the last fifth may have other words and labels."""
    rng = random.Random(seed)  # noqa: S311 - rows, not secrets
    made = []
    for i in range(count):
        new = i >= count * 0.8
        text = " ".join(rng.choices(late if new else words, k=8))
        day = f"2026-{1 + i * 12 // count:02d}-{1 + i % 28:02d}" if i < count * 0.8 else f"2027-01-{1 + i % 28:02d}"
        made.append(row(text, rng.choice(late_labels if new else labels), day=day))
    return made


def test_entropy_by_hand():
    found = spread("label", ["a"] * 50 + ["b"] * 25 + ["c"] * 25)
    assert found.entropy == pytest.approx(1.5)
    assert found.even == pytest.approx(1.5 / math.log2(3))
    assert (found.labels, found.commonest, found.rare) == (3, 0.5, 0)
    assert spread("label", ["a"]).even == 0.0
    assert spread("label", ["a"] * 9 + ["b"] * 4).rare == 1


def test_lengths_are_in_tokens_of_four_characters():
    found = shown(TASK, [row("x" * (4 * i)) for i in range(1, 101)], context=99)
    assert (found.rows, found.tokens_median, found.tokens_p95, found.context) == (100, 51, 96, 99)


def test_the_same_text_with_two_answers_contradicts_itself_both_times():
    rows = [row("Where is my card?"), row("where is my CARD", "b"), *[row(f"text {i} is another") for i in range(18)]]
    found = shown(TASK, rows, context=1)
    assert (found.contradicting.value, found.contradicting.n) == (0.1, 20)
    assert found.at_odds is None


def test_a_near_copy_with_another_label_is_at_odds():
    text = "the pump of the second excavator is leaking oil again since monday morning"
    rows = with_groups([row(text), row(f"{text} ok"), row(f"{text} ok!!", "b"), row("nothing like it at all")])
    found = shown(TASK, rows, context=1)
    assert found.at_odds.n == 3
    assert found.at_odds.value == pytest.approx(1 / 3)


def test_what_stays_as_it_was_is_not_new():
    found = shown(TASK, dated(), context=1).novelty
    assert (found.of, found.since, found.n) == ("rows", "2027-01-01", 120)
    assert found.new_labels.value == 0
    assert found.p > 0.01
    assert found.unknown == pytest.approx(found.chance, abs=0.02)


def test_new_words_and_new_labels_of_the_newest_are_seen():
    other = [f"{word}x" for word in WORDS]
    found = shown(TASK, dated(late=WORDS[:200] + other[:200], late_labels="abc"), context=1).novelty
    assert found.new_labels.value == pytest.approx(1 / 3, abs=0.12)
    assert found.unknown == pytest.approx(0.5, abs=0.05)
    assert found.unknown > found.chance + 0.3
    assert found.p <= 0.001


def test_rows_without_a_date_or_too_few_of_them_tell_nothing_of_time():
    rows = dated()
    assert shown(TASK, [msgspec.structs.replace(one, tags={}) for one in rows], context=1).novelty is None
    assert (
        shown(TASK, [msgspec.structs.replace(one, tags={"day": "monday"}) for one in rows], context=1).novelty is None
    )
    assert shown(TASK, rows[:99], context=1).novelty is None
    same = [msgspec.structs.replace(one, tags={"day": "2026-01-01"}) for one in rows]
    assert shown(TASK, same, context=1).novelty is None, "nothing comes before it"


def test_no_rows_show_nothing():
    found = shown(TASK, [], context=7)
    assert (found.rows, found.tokens_p95, found.context) == (0, None, 7)


def test_texts_to_write_are_not_held_against_each_other():
    task = Task(name="t", kind="generate")
    made = [Example(id=str(i), task="t", input="same", target={"text": str(i)}) for i in range(9)]
    found = shown(task, made, context=1)
    assert (found.contradicting, found.at_odds, found.labels) == (None, None, ())

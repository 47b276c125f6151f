"""Splits from content alone: whatever the order, near duplicates together, shares kept. Properties, by hypothesis."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insource.collect.near import near_groups, plain, shape
from insource.collect.split import (
    CARVE_MOST,
    SHARES,
    bundles,
    counts,
    deal,
    merge,
    with_groups,
    with_splits,
    without_leaks,
)
from insource.nouns import Example, Output, Task

TASK = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("a", "b", "c")),))
WORDS = (
    "pump", "valve", "hose", "track", "bucket", "engine", "leaks", "broken", "noisy", "slow", "hot", "cold", "left",
    "right", "boom", "arm", "seal", "oil",
)  # fmt: skip


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a test that repeats


def row(text: str, label: str, split: str = "", group: str = "") -> Example:
    target = {"label": label}
    return Example(
        id=Example.identity("t", text, target), task="t", input=text, target=target, split=split, group=group
    )


def rows(count: int, seed: int = 0, split: str = "") -> list[Example]:
    chance = seeded(seed)
    made = [
        row(" ".join(chance.choices(WORDS, k=8)) + f" x{seed}y{i}", chance.choice("aab"), split) for i in range(count)
    ]
    return list(merge([], made).rows)


labels = st.sampled_from(["a", "b", "c"])
grouped = st.lists(
    st.tuples(st.text("abcdef ", min_size=1, max_size=12), labels, st.sampled_from(["", "", "g1", "g2", "g3", "g4"])),
    min_size=1, max_size=60, unique_by=lambda one: (one[0], one[1]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(made=grouped, seed=st.integers(0, 1000))
def test_the_same_rows_in_any_order_split_alike(made: list[tuple[str, str, str]], seed: int) -> None:
    some = [row(text, label, group=group) for text, label, group in made]
    other = seeded(seed).sample(some, len(some))
    splits = {one.id: one.split for one in with_splits(TASK, some)}
    assert splits == {one.id: one.split for one in with_splits(TASK, other)}


@settings(max_examples=150, deadline=None)
@given(made=grouped)
def test_no_group_stands_in_two_assigned_splits(made: list[tuple[str, str, str]]) -> None:
    split = with_splits(TASK, [row(text, label, group=group) for text, label, group in made])
    places: dict[str, set[str]] = {}
    for one in split:
        places.setdefault(one.group or one.id, set()).add(one.split)
    assert all(len(found) == 1 for found in places.values())
    assert {one.split for one in split} <= {"train", "dev", "test"}


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=30, max_size=120), strata=st.integers(1, 5))
def test_the_shares_hold_to_within_a_bundle_and_the_first_of_each_label(sizes: list[int], strata: int) -> None:
    some = [
        row(f"text {i} {j}", "abcde"[i % strata], group=f"g{i}") for i, size in enumerate(sizes) for j in range(size)
    ]
    total = len(some)
    have = counts(with_splits(TASK, some))
    for split, share in SHARES.items():
        assert abs(have.get(split, 0) - share * total) <= 2 * max(sizes) + strata


@settings(max_examples=60, deadline=None)
@given(made=grouped, extra=grouped)
def test_what_was_split_once_stays_where_it_is_but_for_a_dev_split_that_was_wanting(
    made: list[tuple[str, str, str]], extra: list[tuple[str, str, str]]
) -> None:
    first = with_splits(TASK, list(merge([], [row(t, label, group=g) for t, label, g in made]).rows))
    both = merge(first, [row(t, label, group=g) for t, label, g in extra]).rows
    after = {one.id: one.split for one in with_splits(TASK, both)}
    moved = {(one.split, after[one.id]) for one in first if after[one.id] != one.split}
    carved = {("train", "dev")} if "dev" not in counts(first) else set()
    assert moved <= carved


@settings(max_examples=60, deadline=None)
@given(made=grouped, extra=grouped, seed=st.integers(0, 99))
def test_groups_depend_on_the_set_of_texts_alone(
    made: list[tuple[str, str, str]], extra: list[tuple[str, str, str]], seed: int
) -> None:
    some = list(merge([], [row(t, label) for t, label, _ in made + extra]).rows)
    names = {one.id: one.group for one in with_groups(some)}
    assert names == {one.id: one.group for one in with_groups(seeded(seed).sample(some, len(some)))}


def test_each_label_is_spread_evenly_and_seen_in_train() -> None:
    some = with_splits(TASK, rows(2000))
    assert {split: round(n / 200) / 10 for split, n in counts(some).items()} == {"train": 0.8, "dev": 0.1, "test": 0.1}
    for label in "ab":
        mine = [one for one in some if one.target["label"] == label]
        share = sum(one.split == "test" for one in mine) / len(mine)
        assert 0.095 < share < 0.105
    lone = with_splits(TASK, [*rows(50), row("the only c there is", "c")])
    assert next(one.split for one in lone if one.target["label"] == "c") == "train"


@pytest.mark.parametrize(("train", "dev"), [(300, 30), (9000, CARVE_MOST)])
def test_a_dev_split_is_carved_from_train_when_there_is_none(train: int, dev: int) -> None:
    split = with_splits(TASK, rows(train, split="train"))
    assert abs(counts(split)["dev"] - dev) <= 2
    assert counts(split)["dev"] <= CARVE_MOST
    shares = Counter(one.target["label"] for one in split if one.split == "dev")
    assert 0.6 < shares["a"] / shares.total() < 0.73  # two of three rows are a


def test_no_dev_split_is_carved_where_one_is_and_test_rows_never_become_dev() -> None:
    some = [*rows(100, 1, "train"), *rows(20, 2, "dev"), *rows(20, 3, "test")]
    assert counts(with_splits(TASK, some)) == {"train": 100, "dev": 20, "test": 20}
    assert counts(with_splits(TASK, rows(50, 3, "test"))) == {"test": 50}


def test_a_leaking_group_is_never_carved_and_can_be_dropped_from_train() -> None:
    leak = [row("the pump leaks", "a", "train", "g"), row("the pump leaks!", "a", "test", "g")]
    split = with_splits(TASK, [*rows(100, split="train"), *leak])
    assert [one.split for one in split if one.group] == ["train", "test"]
    assert [one.split for one in without_leaks(split) if one.group] == ["test"]
    assert len(without_leaks(split)) == len(split) - 1


def test_a_free_row_joins_the_split_of_its_near_duplicates() -> None:
    some = [*rows(60), row("the pump leaks", "a", "test", "g"), row("the pump leaks!", "a", "", "g")]
    assert [one.split for one in with_splits(TASK, some) if one.group] == ["test", "test"]


def test_the_same_row_is_kept_once_and_can_move_to_the_test_but_not_out_of_it() -> None:
    train, test = row("x", "a", "train"), row("x", "a", "test")
    for order in ([train, test], [test, train]):
        found = merge([], order)
        assert [one.split for one in found.rows] == ["test"]
        assert (found.duplicates, found.moved[0].kept, found.moved[0].dropped) == (1, "test", "train")
    assert merge([test], [row("x", "a")]).rows[0].split == "test"
    assert merge([test], [row("x", "a")]).moved == ()


def test_a_bundle_never_exceeds_its_bound() -> None:
    made = bundles(TASK, rows(500))
    dealt = deal(made, {"train": 0.5, "dev": 0.5}, most={"dev": 7})
    assert Counter(dealt.values())["dev"] == 7


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("The Pump leaks.", "the pump  leaks!", True),
        ("Replace the cylinder on machine 14 today", "replace the cylinder on machine 207 today", True),
        ("Ref 4711", "Ref 4712", False),
        ("3.5 4.2 17", "3.5 4.2 18", False),
        ("Can you cancel my order number 5 please", "Can you cancel my order number 5 please, thanks", True),
        ("the engine is hot", "the bucket is broken", False),
        ("", "!!!", False),
    ],
)
def test_near_duplicates_are_told_by_their_shape(one: str, other: str, near: bool) -> None:
    left, right = near_groups([one, other])
    assert (left == right) is near


def test_digits_are_levelled_only_where_letters_carry_the_text() -> None:
    assert shape("Replace hose 14 on track 7") == "replace hose 0 on track 0"
    assert shape("code 14") == "code 14"
    assert plain("Error 5!") != plain("Error 7!")


def test_near_duplicates_of_many_rows_are_found_in_seconds() -> None:
    chance = seeded(0)
    texts = [
        " ".join(chance.choices(WORDS, k=9)) + f" part {chance.randrange(10**6)}ab{i % 7919}" for i in range(4_000)
    ]
    copies = [text.upper() + " !" for text in texts[:500]]
    numbers = near_groups(texts + copies)
    assert sum(numbers[i] == numbers[4_000 + i] for i in range(500)) == 500


def test_copies_with_a_word_changed_are_nearly_all_found() -> None:
    chance = seeded(1)
    texts = [" ".join(chance.choices(WORDS, k=20)) + f" q{i}z" for i in range(400)]
    changed = [text.replace(text.split()[3], "other", 1) for text in texts]
    numbers = near_groups(texts + changed)
    assert sum(numbers[i] == numbers[400 + i] for i in range(400)) > 380

"""Which inputs a teacher is asked for, which labels join and where: never where anything is held out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insource.collect.teach import chance, differing, example, joined, spread, unlabelled, without
from insource.nouns import Example, Output, Task
from insource.nouns.lesson import Lesson

TASK = Task(name="tickets", kind="classify", outputs=(Output(name="intent", labels=("refund", "status", "cancel")),))


def row(text: str, label: str = "", split: str = "", origin: str = "import") -> Example:
    target = {"intent": label} if label else {}
    return Example(
        id=Example.identity("tickets", text, target), task="tickets", input=text, target=target, split=split,
        origin=origin,
    )  # fmt: skip


def lesson(text: str, label: str, **more) -> Lesson:
    made = {"id": text, "task": "tickets", "row": text, "key": text, "engine": "large", "became": "label"}
    return Lesson(**(made | {"target": {"intent": label}} | more))


KNOWN = [
    row("please send my money back to the old card today", "refund", "test"),
    row("where on earth is the parcel that i ordered last week", "status", "train"),
    row("i do not want the green chair that i ordered any more", "cancel", "dev"),
]


def test_what_has_a_label_and_what_is_like_a_row_held_out_is_not_asked():
    pool = [
        row("Where on earth is the PARCEL that i ordered last week!"),
        row("please send my money back to the old card today ok"),
        row("i do not want the green chair that i ordered any more ok"),
        row("something else altogether, a broken lamp"),
    ]
    found = unlabelled(pool, KNOWN)
    assert (found.labelled, found.leaks) == (1, 1)
    assert {one.input for one in found.rows} == {pool[2].input, pool[3].input}


def test_the_order_is_by_chance_and_the_same_for_the_same_seed():
    pool = [row(f"{chr(97 + i % 26) * 9} {i * 7919}x") for i in range(200)]
    first = [one.input for one in unlabelled(pool, []).rows]
    assert first == [one.input for one in unlabelled(list(reversed(pool)), []).rows]
    assert first != [one.input for one in unlabelled(pool, [], seed=1).rows]
    assert 0.0 <= chance(0, "a") < 1.0


def test_labels_go_to_train_beside_dev_where_their_likes_are_and_nowhere_beside_test():
    new = [
        example(TASK, "please send my money back to the old card today ok", lesson("1", "refund")),
        example(TASK, "i do not want the green chair that i ordered any more ok", lesson("2", "cancel")),
        example(TASK, "a lamp came broken, what now", lesson("3", "refund")),
    ]
    rows, leaks = joined(TASK, KNOWN, new)
    assert leaks == [new[0]]
    by_text = {one.input: one for one in rows}
    assert by_text[new[1].input].split == "dev"
    assert by_text[new[2].input].split == "train"
    assert by_text[new[2].input].tags == {"teacher": "large"}
    assert {one.id for one in KNOWN} <= {one.id for one in rows}
    assert [one.id for one in without(rows, "large")] == [one.id for one in rows if one.origin != "teacher"]
    assert len(without(rows, "other")) == len(rows)


WORDS = st.lists(
    st.sampled_from(["lamp", "chair", "parcel", "money", "late", "broken", "green"]), min_size=1, max_size=4
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(WORDS, st.sampled_from(["train", "dev", "test", "holdout"])), max_size=12),
       st.lists(WORDS, max_size=12))  # fmt: skip
def test_no_group_of_near_duplicates_has_a_teachers_label_and_a_row_held_out(known, new):
    before = {" ".join(words): row(" ".join(words), "refund", split) for words, split in known}
    labels = {" ".join(words): example(TASK, " ".join(words), lesson("x", "status")) for words in new}
    rows, leaks = joined(TASK, list(before.values()), list(labels.values()))
    taught = [one for one in rows if one.origin == "teacher"]
    assert all(one.split in ("train", "dev") for one in taught)
    held = {one.group for one in rows if one.group and one.split in ("test", "holdout")}
    assert not [one for one in taught if one.group in held]
    assert len(taught) + len(leaks) + len(labels.keys() & before.keys()) >= len({one.id for one in labels.values()})
    assert not {one.input for one in taught} & set(before)


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0])
def test_a_sample_has_each_label_as_often_as_all_have_it(share):
    lessons = [lesson(f"{i}", ("refund", "status", "cancel")[0 if i < 400 else 1 + i % 2]) for i in range(600)]
    picked = spread(TASK, lessons, share)
    assert len(picked) == round(600 * share) == len({one.row for one in picked})
    refunds = sum(one.target == {"intent": "refund"} for one in picked)
    assert abs(refunds - 400 * share) <= 1
    assert picked == spread(TASK, list(reversed(lessons)), share)
    assert spread(TASK, [], share) == []


def test_every_row_is_drawn_as_often_as_every_other():
    lessons = [lesson(f"{i}", ("refund", "status")[i % 2]) for i in range(40)]
    times = dict.fromkeys(range(40), 0)
    for seed in range(400):
        for one in spread(TASK, lessons, 0.25, seed):
            times[int(one.row)] += 1
    assert min(times.values()) > 60
    assert max(times.values()) < 145


def test_how_often_they_differ_has_its_n_and_interval():
    said = [lesson(f"{i}", "refund", part="second", became="differs" if i < 3 else "agrees") for i in range(20)]
    found = differing([*said, lesson("x", "refund", part="second", became="failed")])
    assert (found.n, found.differ, found.rate) == (20, 3, 0.15)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0321, 0.3789)  # Clopper and Pearson, 3 of 20
    assert differing([]) is None

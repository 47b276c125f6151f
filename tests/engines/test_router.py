"""The router: which task, how sure, and when it does not know."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from router_rows import STRANGE, WORLDS, rows, splits

from insource.engines.hashed import BITS, hashed, matrix
from insource.engines.router import CARD, Router
from insource.errors import Invalid, Missing, Refused

TASKS = tuple(WORLDS)


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.fit(*splits(*TASKS, strange=True), max_error=0.1)


def test_it_tells_the_task_of_texts_it_never_saw(router):
    assert router.card.tasks == TASKS
    for task, text in {
        "mails": "please forward the newsletter to my boss",
        "recipes": "fry some onion with garlic",
        "trains": "is there a night train to Hamburg tomorrow",
    }.items():
        ranked = router.rank(text)
        assert ranked[0][0] == task
        assert ranked[0][1] >= router.card.threshold
        assert [chance for _, chance in ranked] == sorted((chance for _, chance in ranked), reverse=True)


def test_it_does_not_know_what_is_for_no_task(router):
    strange = ["", "12345", "hello there", "zzz qqq xxx", "who was the second emperor of Rome", "Привет, как дела?"]
    assert all(router.rank(text)[0][1] < router.card.threshold for text in strange)


def test_the_card_says_what_held_out_texts_showed(router):
    card = router.card
    _, dev = splits(*TASKS, strange=True)
    known = [row for row in dev if row.task]
    told = [(row.task, *router.rank(row.text)[0]) for row in known]
    answered = [task == said for task, said, chance in told if chance >= card.threshold]
    assert card.known == len(known)
    assert card.strange == len(dev), "the texts for no task, and every other one under weights that never saw its task"
    assert card.answered == pytest.approx(len(answered) / len(known))
    assert card.right == pytest.approx(np.mean(answered))
    assert 0 <= card.fooled < 0.2


def test_with_two_tasks_what_is_for_neither_must_be_shown():
    with pytest.raises(Invalid, match="what is for neither must be shown"):
        Router.fit(*splits("mails", "trains"), max_error=0.1)
    made = Router.fit(*splits("mails", "trains", strange=True), max_error=0.1)
    unseen = rows("recipes")
    assert np.mean([made.rank(row.text)[0][1] < made.card.threshold for row in unseen]) > 0.8


def test_one_task_needs_no_router_and_a_task_without_held_out_rows_has_none():
    with pytest.raises(Invalid, match="two tasks at least"):
        Router.fit(*splits("mails"), max_error=0.1)
    train, dev = splits(*TASKS)
    with pytest.raises(Invalid, match="held-out rows"):
        Router.fit(train, [row for row in dev if row.task != "mails"], max_error=0.1)


def test_a_strict_limit_that_nothing_can_promise_is_said():
    train, dev = splits(*TASKS)
    card = Router.fit(train, dev[::4], max_error=0.001).card
    assert card.threshold == pytest.approx(0.999)
    assert card.promise.startswith("no error can be promised: about ")


def test_a_saved_router_answers_as_the_fitted_one(router, tmp_path):
    router.save(tmp_path)
    again = Router.load(tmp_path)
    for text in (*STRANGE, *(row.text for row in rows("mails"))):
        assert again.rank(text) == router.rank(text)


def test_saving_replaces_and_what_was_changed_is_refused(router, tmp_path):
    router.save(tmp_path)
    other = Router.fit(*splits("mails", "trains", strange=True), max_error=0.1)
    other.save(tmp_path)
    assert Router.load(tmp_path).card.tasks == ("mails", "trains")
    (weights,) = tmp_path.glob("*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(Refused, match="is not what was trained"):
        Router.load(tmp_path)
    (tmp_path / CARD).write_text("{")
    with pytest.raises(Invalid):
        Router.load(tmp_path)
    (tmp_path / CARD).unlink()
    with pytest.raises(Missing):
        Router.load(tmp_path)


def test_the_same_rows_give_the_same_router(router):
    assert Router.fit(*splits(*TASKS, strange=True), max_error=0.1).card == router.card


def test_a_long_text_takes_no_longer_than_a_millisecond_of_the_processor(router):
    took = []
    for _ in range(200):
        began = time.thread_time()
        router.rank("forward the letter of last week to my boss " * 10_000)
        took.append(time.thread_time() - began)
    assert np.median(took) < 0.001


@given(st.text(st.characters(), max_size=60) | st.text("ab ", max_size=2000))
def test_any_text_is_hashed_to_places_that_exist_each_once(text):
    places, often = hashed(text)
    assert len(places) == len(set(places.tolist())) == len(often) > 0
    assert 0 <= places.min() <= places.max() < 1 << BITS
    assert (often >= 1).all()
    row = matrix([text, "a"])[[0]]
    assert row.indices.tolist() == places.tolist()


def test_words_count_whatever_stands_between_them_and_order_counts_a_little():
    assert hashed("Card, lost!")[0].tolist() == hashed("card lost")[0].tolist()
    assert hashed("card lost")[0].tolist() != hashed("lost card")[0].tolist()


def test_half_a_surrogate_is_no_reason_to_fail(router):
    assert router.rank("\ud800 forward the letter to my boss")[0][0] == "mails"

"""Words that a release was not taught are counted when a call is answered, and watched, without any text on record."""

import sys
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import folder, go_live, release

from insource.journeys.answer import answer
from insource.journeys.serve import close_path, open_path, vocabulary_of
from insource.journeys.watch import BEFORE, TRAINING, watch
from insource.nouns import Attempt, Decision, Prediction, Record, ask, from_json, to_json
from insource.settings import load_task
from insource.store import Store
from insource.watch.vocabulary import READ, Vocabulary
from insource.watch.window import of_records

TEXTS = [*["where is my order"] * 3, "my parcel, PLEASE!", "größe of my order"]
OLD = (
    b'{"text":"","value":{"intent":"status"},"tool_calls":[],"engine":"e","confidence":0.9,"fields":{},"places":{},'
    b'"alternatives":{},"usage":{"input_tokens":1,"output_tokens":1,"cut":0},"latency_ms":1.0,"finish":"stop"}'
)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("Where is my ORDER?", (4, 0, 0)),
        ("my parcel please", (3, 0, 2)),
        ("the GRÖSSE... my größe", (4, 2, 1)),
        ("", (0, 0, 0)),
        ("!?", (0, 0, 0)),
        ("\ud800 order", (1, 0, 0)),
    ],
)
def test_words_are_told_from_unknown_and_rare_ones(text, counts):
    assert Vocabulary(TEXTS).count(text) == counts


def test_few_unknown_words_are_taken_for_known_and_a_long_text_is_read_in_part():
    known = Vocabulary([f"word{i}" for i in range(5_000)] * 3)
    strangers = [f"other{i}" for i in range(5_000)]
    missed = sum(not known.count(word)[1] for word in strangers)
    assert missed <= 5_000 / 32 * 1.3
    assert known.count("word1 " * 10_000)[0] <= READ


def test_what_is_not_counted_is_not_written_and_old_records_read_as_they_were():
    old = from_json(OLD, Prediction)
    assert to_json(old) == OLD
    counted = msgspec.structs.replace(old, terms=(4, 1, 0))
    assert to_json(counted) == OLD[:-1] + b',"terms":[4,1,0]}'
    assert from_json(to_json(counted), Prediction) == counted


async def test_a_call_notes_its_words_and_the_chain_is_whole(tmp_path):
    settings = folder(tmp_path)
    async with await Store.open(settings) as store:
        made = await release(settings, store)
        await go_live(store, made.name)
        path = await open_path("tickets", settings, store)
        task = load_task(settings, "tickets")
        try:
            record = await answer(ask(task, "please qqqq my order zzzz", id="a" * 32), path, store.append)
        finally:
            await close_path(path)
        kept = await store.record("a" * 32)
        assert kept.attempts[0].prediction.terms == record.attempts[0].prediction.terms == (5, 2, 0)
        assert (await store.verify_chain()).faults == ()
        assert await vocabulary_of(msgspec.structs.replace(made, dataset="0" * 64), store) is None


def call(i: int, terms) -> Record:
    decision = Decision(engine="tickets@1.0.0", rule="task", accepted=True, reason="valid", confidence=0.9)
    said = Prediction(text="", value={"intent": "status"}, engine="tickets@1.0.0", confidence=0.9)
    said = msgspec.structs.replace(said, terms=terms) if terms else said
    return Record(id=f"{i:032x}", task="tickets", release="tickets@1.0.0", tenant="local", outcome="answered",
                  attempts=(Attempt(decision=decision, prediction=said),), input_hash="", latency_ms=1.0,
                  created=f"2026-11-{1 + i // 100:02}T00:00:00.000+00:00")  # fmt: skip


async def test_new_words_move_it_and_are_named(tmp_path):
    settings = folder(tmp_path)
    async with await Store.open(settings) as store:
        await go_live(store, (await release(settings, store)).name)
        for i in range(300):
            await store.append(call(i, (10, int(i % 3 == 0), 1)))
        for i in range(300, 500):
            await store.append(call(i, (10, 1 + i % 3, 1)))
        found = await watch(load_task(settings, "tickets"), settings, store, window=200)
    assert {"words", "unknown words", "rare words"} <= {look.partition(" against")[0] for look in found.looked_at}
    moved = {(one.feature, one.against): one.words for one in found.moved}
    assert ("unknown words", BEFORE) in moved
    assert ("unknown words", TRAINING) in moved
    assert moved["unknown words", BEFORE] == "median 0 → 0.2"
    assert ("rare words", BEFORE) not in moved


def test_calls_of_before_words_were_counted_have_no_such_feature(tmp_path):
    task = load_task(folder(tmp_path), "tickets")
    assert "unknown words" not in of_records(task, [call(1, (3, 1, 0)), call(2, None)])
    failed = msgspec.structs.replace(call(3, None), attempts=())
    assert of_records(task, [call(1, (4, 1, 0)), failed])["unknown words"] == [0.25, -1.0]

"""A stronger model labels what has no label: what joins, what a person sees, what stays aside, and what it costs."""

import sys
from pathlib import Path

import msgspec
import pytest
from teaching import PAID, SCRIPTED, fill, keep_rows, label_of, lesson, place, right_label, right_script, script, text

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from insource.errors import Denied, Missing
from insource.journeys import asking
from insource.journeys.improve import reviewed
from insource.journeys.taught import history, withdraw
from insource.journeys.teacher import terms
from insource.nouns import Example, Pending, Review
from insource.nouns.lesson import CALLER, DISPUTED, UNSURE
from insource.settings import EngineSettings, load_task
from insource.store import Store
from paid_server import PaidServer

LOCAL = SCRIPTED.format(name="large", region="premises")
OTHER = SCRIPTED.format(name="other", region="premises")
RIGHT = {text(number): right_label(number) for number in range(400)}


async def rows_of(store):
    found = await store.dataset("tickets")
    return await store.examples(found.id) if found else []


def human(number: int, split: str, said: str = "") -> Example:
    target = {"intent": said or right_label(number)}
    return Example(
        id=Example.identity("tickets", text(number), target), task="tickets", input=text(number), target=target,
        split=split,
    )  # fmt: skip


async def test_every_input_gets_a_label_that_says_who_gave_it(tmp_path):
    settings = place(tmp_path, LOCAL)
    right_script(tmp_path, "large")
    async with await Store.open(settings) as store:
        await fill(settings, store, 40)
        taught = await lesson(settings, store)
        assert taught.became == {"label": 40}
        rows = await rows_of(store)
        assert {row.input: row.target["intent"] for row in rows} == {text(n): right_label(n) for n in range(40)}
        assert {row.origin for row in rows} == {"teacher"}
        assert {row.tags["teacher"] for row in rows} == {"large"}
        assert set(taught.joined) <= {"train", "dev"}
        entry = (await store.dataset("tickets")).lineage[-1]
        assert (entry["origin"], entry["engine"], entry["kept"]) == ("teacher", "large", 40)
        assert len(entry["prompt"]) == 64
        found = await history(load_task(settings, "tickets"), store)
        assert [(one.engine, one.became, one.in_dataset) for one in found.teachings] == [("large", {"label": 40}, 40)]
        assert {(one.engine, one.prompt, one.became) for one in found.lessons} == {("large", entry["prompt"], "label")}
        records = await store.records("tickets", 100)
        assert len(records) == 40
        assert {record.caller for record in records} == {CALLER}
        assert (await store.verify_chain()).faults == ()


async def test_what_was_answered_is_not_asked_again_and_only_what_is_new_is(tmp_path):
    async with PaidServer(label_of) as server:
        settings = place(tmp_path, PAID.format(name="large", url=server.base_url, more=""))
        async with await Store.open(settings) as store:
            await fill(settings, store, 20)
            first = await lesson(settings, store, budget=1.0, rows=12)
            assert (first.became, server.calls) == ({"label": 12}, 12)
            assert first.spent == pytest.approx(server.billed)
            again = await lesson(settings, store, budget=1.0)
            assert (again.became, server.calls) == ({"label": 8}, 20)
            assert (await lesson(settings, store, budget=1.0)).plan.rows == 0
            await fill(settings, store, 25)
            assert (await lesson(settings, store, budget=1.0)).became == {"label": 5}
            assert server.calls == 25
            assert set(server.answered.values()) == {1}


async def test_labels_whose_rows_were_lost_come_back_without_a_call(tmp_path):
    async with PaidServer(label_of) as server:
        settings = place(tmp_path, PAID.format(name="large", url=server.base_url, more=""))
        async with await Store.open(settings) as store:
            await fill(settings, store, 10)
            await lesson(settings, store, budget=1.0)
            await keep_rows(store, [human(300, "train"), human(301, "dev")])  # as collect --replace would
            taught = await lesson(settings, store, budget=1.0)
            assert (taught.plan.rows, sum(taught.joined.values()), server.calls) == (0, 10, 10)


async def test_what_is_like_a_row_held_out_is_neither_asked_nor_taken(tmp_path):
    settings = place(tmp_path, LOCAL)
    right_script(tmp_path, "large")
    async with await Store.open(settings) as store:
        like = human(0, "test")
        like = msgspec.structs.replace(like, input=f"{like.input} please", id="f" * 64)
        await keep_rows(store, [like, human(300, "dev")])
        await fill(settings, store, 10)
        taught = await lesson(settings, store)
        assert (taught.plan.leaks, taught.plan.rows, taught.became) == (1, 9, {"label": 9})
        rows = await rows_of(store)
        assert text(0) not in {row.input for row in rows}
        assert [row.split for row in rows if row.origin == "teacher"] == ["train"] * 9


async def test_a_row_that_came_to_be_held_out_since_takes_no_label(tmp_path):
    settings = place(tmp_path, LOCAL)
    right_script(tmp_path, "large")
    async with await Store.open(settings) as store:
        await fill(settings, store, 6)
        await lesson(settings, store)
        like = msgspec.structs.replace(human(0, "test"), input=f"{text(0)} please", id="f" * 64)
        await keep_rows(store, [like, human(300, "dev")])
        taught = await lesson(settings, store)
        assert (taught.leaks, taught.joined) == (1, {"train": 5})


async def test_where_a_second_engine_answers_otherwise_a_person_decides(tmp_path):
    settings = place(tmp_path, LOCAL, OTHER)
    right_script(tmp_path, "large", '{"match": "money", "value": {"intent": "status"}, "confidence": 0.8}')
    right_script(tmp_path, "other")
    async with await Store.open(settings) as store:
        await fill(settings, store, 30)
        taught = await lesson(settings, store, second="other", share=1.0)
        assert taught.became == {"label": 20, "disputed": 10}
        assert (taught.differing.n, taught.differing.differ) == (30, 10)
        assert 0.17 < taught.differing.low < 1 / 3 < taught.differing.high < 0.53
        waits = await store.pending("tickets")
        assert {one.reason for one in waits} == {DISPUTED}
        assert {one.input for one in waits} == {text(number) for number in range(0, 30, 3)}
        assert waits[0].alternatives == {"intent": (("status", 0.8), ("refund", 0.9))}
        assert {row.target["intent"] for row in await rows_of(store)} == {"status", "cancel"}
        assert (await lesson(settings, store, second="other", share=1.0)).plan.rows == 0


async def test_labels_wait_for_a_second_engine_that_is_down(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "PAUSE_S", 0.001)
    settings = place(tmp_path, LOCAL, OTHER)
    right_script(tmp_path, "large")
    script(tmp_path, "other", '{"match": "*", "error": "down"}')
    async with await Store.open(settings) as store:
        await fill(settings, store, 60)
        taught = await lesson(settings, store, second="other", share=1.0)
        assert taught.stopped.startswith("other failed 20 times in a row")
        assert (taught.became, taught.joined, await store.dataset("tickets")) == ({"label": 60}, {}, None)
        right_script(tmp_path, "other")
        taught = await lesson(settings, store, second="other", share=1.0)
        assert (taught.plan.rows, taught.differing.n, sum(taught.joined.values())) == (0, 60, 60)


async def test_what_one_teacher_lost_in_a_dispute_another_may_give(tmp_path):
    settings = place(tmp_path, LOCAL, OTHER, SCRIPTED.format(name="third", region="premises"))
    right_script(tmp_path, "large")
    right_script(tmp_path, "third")
    right_script(tmp_path, "other", '{"match": "money", "value": {"intent": "status"}, "confidence": 0.8}')
    async with await Store.open(settings) as store:
        await fill(settings, store, 9)
        assert (await lesson(settings, store, second="other", share=1.0)).became == {"label": 6, "disputed": 3}
        assert (await lesson(settings, store, teacher="third")).became == {"label": 3}
        before = await store.dataset("tickets")
        taught = await lesson(settings, store, teacher="third")
        assert (taught.joined, taught.dataset) == ({}, before.id)
        assert len((await store.dataset("tickets")).lineage) == 2


async def test_a_sample_is_a_share_and_is_the_same_again(tmp_path):
    settings = place(tmp_path, LOCAL, OTHER)
    right_script(tmp_path, "large")
    right_script(tmp_path, "other")
    async with await Store.open(settings) as store:
        await fill(settings, store, 60)
        taught = await lesson(settings, store, second="other", share=0.2)
        assert (taught.plan.seconds, taught.differing.n, taught.differing.differ) == (12, 12, 0)
        lessons = (await history(load_task(settings, "tickets"), store)).lessons
        labels = {one.row: one.target["intent"] for one in lessons if one.part == "teacher"}
        said = [labels[one.row] for one in lessons if one.part == "second"]
        assert sorted(said) == sorted(["refund", "status", "cancel"] * 4)


async def test_what_the_teacher_is_not_sure_of_waits_the_unsurest_first(tmp_path):
    settings = place(tmp_path, LOCAL)
    right_script(
        tmp_path, "large",
        '{"match": "money", "value": {"intent": "refund"}, "confidence": 0.3}',
        '{"match": "where", "value": {"intent": "status"}, "confidence": 0.4}',
    )  # fmt: skip
    async with await Store.open(settings) as store:
        await fill(settings, store, 9)
        taught = await lesson(settings, store)
        assert taught.became == {"unsure": 6, "label": 3}
        waits = await store.pending("tickets")
        assert [one.confidence for one in waits] == [0.3] * 3 + [0.4] * 3
        assert {one.reason for one in waits} == {UNSURE}
        assert (await lesson(settings, store)).plan.answered == 6
        taught = await lesson(settings, store, sure=0.0, shots=0, max_tokens=99)  # asked with other words
        assert sum(taught.joined.values()) == 6


async def test_what_is_no_answer_stays_aside_with_its_reason_and_is_not_asked_again(tmp_path):
    settings = place(tmp_path, LOCAL)
    right_script(
        tmp_path, "large", '{"match": "money", "text": "sandwich"}', '{"match": "where", "error": "refusal"}',
    )  # fmt: skip
    async with await Store.open(settings) as store:
        await fill(settings, store, 9)
        taught = await lesson(settings, store)
        assert taught.became == {"invalid": 3, "refused": 3, "label": 3}
        assert taught.aside == {"the answer breaks the task's contract": 3, "the engine refused to answer": 3}
        assert await store.pending("tickets") == []
        assert (await lesson(settings, store)).plan.rows == 0


async def test_a_text_goes_only_where_the_task_lets_it(tmp_path):
    settings = place(tmp_path, SCRIPTED.format(name="large", region="us"), LOCAL.replace("large", "near"))
    right_script(tmp_path, "large")
    right_script(tmp_path, "near")
    async with await Store.open(settings) as store:
        await fill(settings, store, 5)
        with pytest.raises(Denied, match="large is in us"):
            await lesson(settings, store)
        with pytest.raises(Denied, match="large is in us"):
            await lesson(settings, store, teacher="near", second="large")
        assert await store.lessons.of("tickets") == []


async def test_a_rule_of_the_task_keeps_a_text_here(tmp_path):
    rule = 'sensitivity = "any"\n[[route]]\nwhen = { longer_than = 40 }\nsensitivity = "premises"'
    settings = place(tmp_path, SCRIPTED.format(name="large", region="us"), more=rule)
    right_script(tmp_path, "large")
    async with await Store.open(settings) as store:
        await fill(settings, store, 30)
        long = sum(len(text(number)) > 40 for number in range(30))
        taught = await lesson(settings, store)
        assert 0 < long < 30
        assert (taught.plan.kept_back, taught.became) == (long, {"label": 30 - long})
        assert all(len(row.input) <= 40 for row in await rows_of(store))


async def test_an_engine_whose_owner_forbids_it_is_not_asked_and_one_of_which_nothing_is_said_is_warned_of(tmp_path):
    settings = place(tmp_path, LOCAL + 'teach = "forbidden"\n', SCRIPTED.format(name="other", region="premises"))
    async with await Store.open(settings) as store:
        await fill(settings, store, 5)
        with pytest.raises(Denied, match="forbidden"):
            await lesson(settings, store)
        with pytest.raises(Missing, match="no engine"):
            await lesson(settings, store, teacher="nobody")
    hosted = EngineSettings(kind="openai", base_url="https://api.openai.com/v1", model="m", region="us")
    assert "https://openai.com/policies/" in terms("gpt", hosted)
    strange = EngineSettings(kind="openai", base_url="https://llm.example/v1", model="m", region="us")
    assert "The terms of llm.example say;" in terms("x", strange)
    assert terms("gpt", msgspec.structs.replace(hosted, teach="allowed")) == ""


async def test_examples_shown_are_of_train_and_of_people(tmp_path):
    seen = []

    async with PaidServer(lambda said: seen.append(said) or label_of(said)) as server:
        settings = place(tmp_path, PAID.format(name="large", url=server.base_url, more=""))
        async with await Store.open(settings) as store:
            await keep_rows(store, [human(300, "train"), human(301, "test"), human(302, "dev")])
            await fill(settings, store, 4)
            plain = await lesson(settings, store, budget=1.0, rows=2)
            shown = await lesson(settings, store, budget=1.0, shots=3)
            assert (plain.plan.shots, shown.plan.shots) == (0, 1)
            assert plain.plan.prompt != shown.plan.prompt


async def test_what_a_teacher_said_is_taken_back_and_what_people_said_stays(tmp_path):
    settings = place(tmp_path, LOCAL, OTHER)
    right_script(tmp_path, "large")
    right_script(tmp_path, "other")
    async with await Store.open(settings) as store:
        task = load_task(settings, "tickets")
        await keep_rows(store, [human(300, "train"), human(301, "dev"), human(302, "test")])
        await fill(settings, store, 12)
        await lesson(settings, store, rows=8)
        await lesson(settings, store, teacher="other")
        gone = await withdraw(task, "large", settings, store)
        assert gone.rows == {"train": 8}
        rows = await rows_of(store)
        assert {row.tags.get("teacher", "people") for row in rows} == {"people", "other"}
        assert len(rows) == 7
        assert (await store.dataset("tickets")).lineage[-1]["withdrawn"] == 8
        assert (await lesson(settings, store, teacher="other")).became == {"label": 8}
        with pytest.raises(Missing, match="taught tickets nothing"):
            await withdraw(task, "nobody", settings, store)


async def test_a_person_who_corrects_a_teacher_makes_no_failure_of_production(tmp_path):
    settings = place(tmp_path, LOCAL)
    right_script(tmp_path, "large", '{"match": "money", "value": {"intent": "status"}, "confidence": 0.2}')
    async with await Store.open(settings) as store:
        await keep_rows(store, [human(300, "train"), human(301, "dev"), human(302, "test")])
        await fill(settings, store, 3)
        await lesson(settings, store)
        waits = (await store.pending("tickets"))[0]
        said = Review(record=waits.record, verdict="wrong", corrected={"intent": "refund"},
                      decided="2026-11-02T00:00:00+00:00")  # fmt: skip
        await store.settle(said)
        _, rows = await reviewed(load_task(settings, "tickets"), store, await store.dataset("tickets"))
        mine = next(row for row in rows if row.input == waits.input)
        assert (mine.origin, mine.target, mine.tags) == ("human", {"intent": "refund"}, {"reviewed": "2026-11"})


async def test_a_person_outdoes_a_teacher(tmp_path):
    settings = place(tmp_path, LOCAL)
    script(tmp_path, "large", '{"match": "*", "value": {"intent": "status"}, "confidence": 0.9}')
    async with await Store.open(settings) as store:
        task = load_task(settings, "tickets")
        await keep_rows(store, [human(300, "train"), human(301, "dev"), human(302, "test")])
        await fill(settings, store, 3)
        await lesson(settings, store)
        record = next(one for one in await store.records("tickets") if one.answer)
        waits = Pending(record=record.id, task="tickets", input=text(0), value={"intent": "status"})
        verdict = Review(record=record.id, verdict="wrong", corrected={"intent": "refund"},
                         decided="2026-11-02T00:00:00+00:00")  # fmt: skip
        await store.settle_given(waits, verdict)
        found, rows = await reviewed(task, store, await store.dataset("tickets"))
        assert len(found.rows) == 1
        about = [row for row in rows if row.input == text(0)]
        assert [(row.origin, row.target["intent"], row.split) for row in about] == [("human", "refund", "train")]

"""Cleaning: what is taken out and why, what is never taken out, and that every row comes back when it is wanted."""

import json
import random

import pytest

from insource.collect.clean import Removal
from insource.collect.close import asks_the_same, closest
from insource.collect.drift import translated
from insource.collect.foreign import deviations
from insource.collect.infer import infer, schema_of
from insource.collect.private import Private
from insource.errors import Conflict, Invalid
from insource.journeys.removals import restored
from insource.nouns import Output, Task, from_json
from insource.store import Store

WORDS = {
    "refund": ["money", "back", "return", "refund", "reimburse", "amount", "paid", "charged", "twice", "receipt"],
    "status": ["where", "parcel", "delivery", "courier", "tracking", "late", "arrive", "shipping", "doorstep"],
    "cancel": ["cancel", "stop", "order", "abort", "withdraw", "before", "dispatched", "changed", "mind", "undo"],
}
LABELS = tuple(WORDS)


def sentence(label: str, i: int) -> str:
    rng = random.Random(f"{label}{i}")  # noqa: S311 - test data
    own = ["".join(rng.choices("bcdfgaeiou", k=6)) for _ in range(2)]
    return " ".join(["please", *rng.sample(WORDS[label], 6), *own])


def row(i: int, **more: str) -> dict:
    label = LABELS[i % 3]
    return {"input": sentence(label, i), "label": label, "split": "train", **more}


def written(workspace, rows: list[dict], name: str = "rows.jsonl"):
    return workspace.write(name, "".join(json.dumps(one) + "\n" for one in rows))


def removals(workspace, done) -> list[Removal]:
    return [from_json(line, Removal) for line in (workspace.root / done.removals).read_bytes().splitlines()]


async def restore(workspace, wanted: str):
    async with await Store.open(workspace.settings) as store:
        return await restored("orders", workspace.settings, store, wanted)


FAULTY = [
    *(row(i) for i in range(300)),
    *(row(i, split="test") for i in range(300, 360)),
    {"input": sentence("refund", 1000), "label": "status", "split": "train"},
    {"input": sentence("refund", 300) + " thanks", "label": "refund", "split": "train"},
    {"input": sentence("status", 1), "label": "cancel", "split": "train"},
    {"input": sentence("status", 4).upper() + "!", "label": "status", "split": "train"},
    {"input": sentence("cancel", 2000), "label": "CANCEL", "split": "train"},
    *({"input": sentence("cancel", i), "label": "storno", "split": "train"} for i in range(2001, 2005)),
]


async def test_each_fault_is_taken_out_with_its_reason_and_everything_else_stays(workspace) -> None:
    workspace.task("orders", *LABELS)
    done = await workspace.collect("orders", written(workspace, FAULTY), clean=True)
    assert done.removed == {"drift": 5, "contradictions": 2, "near-duplicates": 1, "leaks": 1, "label-errors": 1}
    assert done.rows.read == done.rows.kept + done.rows.removed == len(FAULTY)
    found = {(one.kind, one.row.input): one for one in removals(workspace, done)}
    wrong = found["label-errors", sentence("refund", 1000)]
    assert "status was given" in wrong.why
    assert "says refund" in wrong.why
    assert wrong.other.split()[1] in WORDS["refund"]
    assert found["leaks", sentence("refund", 300) + " thanks"].other == sentence("refund", 300)
    assert found["drift", sentence("cancel", 2000)].why == "label 'CANCEL' is spelled 'cancel' now"
    old = found["drift", sentence("cancel", 2001)]
    assert (old.before, old.row.target) == ({"label": "storno"}, {"label": "cancel"})
    assert "4 of its 4 rows" in old.why
    assert {text for kind, text in found if kind == "contradictions"} == {sentence("status", 1)}
    kinds = {finding.kind: finding for finding in done.findings}
    assert "--restore leaks" in kinds["removed-leaks"].do
    page = (workspace.root / done.page).read_text()
    assert "Taken out: leaks into train" in page
    assert sentence("refund", 1000) in page


async def test_without_the_wish_a_table_is_kept_as_it_is(workspace) -> None:
    workspace.task("orders", *LABELS)
    done = await workspace.collect("orders", written(workspace, FAULTY))
    assert (done.removed, done.removals, done.rows.removed) == ({}, None, 0)
    assert done.rows.rejected == 5


async def test_what_is_brought_back_stays_though_the_file_is_collected_again(workspace) -> None:
    workspace.task("orders", *LABELS)
    file = written(workspace, FAULTY)
    first = await workspace.collect("orders", file, clean=True)
    before = await workspace.rows("orders")
    back = await restore(workspace, "drift")
    assert (back.restored, back.removed) == ({"drift": 5}, {k: n for k, n in first.removed.items() if k != "drift"})
    rows = {one.input: one for one in await workspace.rows("orders")}
    assert len(rows) == len(before) + 5
    assert rows[sentence("cancel", 2001)].target == {"label": "cancel"}
    one = removals(workspace, first)[-1]
    assert one.kind == "label-errors"
    assert (await restore(workspace, one.row.id[:10])).restored == {"label-errors": 1}
    again = await workspace.collect("orders", file, clean=True)
    assert again.removed == {"contradictions": 2, "near-duplicates": 1, "leaks": 1}
    assert (again.rows.kept, again.rows.rejected) == (0, 0)
    assert one.row.id in {kept.id for kept in await workspace.rows("orders")}
    entry = (await workspace.dataset("orders")).lineage[-1]
    assert (entry["removed"], len(entry["restored"])) == (again.removed, 6)
    with pytest.raises(Invalid, match="no row that was taken out is called 'drift'"):
        await restore(workspace, "drift")


async def test_everything_brought_back_is_everything_that_was_read(workspace) -> None:
    workspace.task("orders", *LABELS)
    done = await workspace.collect("orders", written(workspace, FAULTY), clean=True)
    for kind in done.removed:
        await restore(workspace, kind)
    assert len(await workspace.rows("orders")) == len(FAULTY)
    with pytest.raises(Conflict, match="nothing was taken out"):
        await restore(workspace, "leaks")


async def test_a_persons_word_and_the_test_are_not_taken_out(workspace) -> None:
    workspace.task("orders", *LABELS)
    same = {"input": "is this one thing or the other thing", "split": "test"}
    rows = [
        *FAULTY,
        {**same, "label": "refund"},
        {**same, "label": "cancel"},
        {**same, "label": "cancel", "split": "train"},
    ]
    done = await workspace.collect("orders", written(workspace, rows), clean=True)
    assert all(one.row.split == "train" for one in removals(workspace, done))
    assert sum(one.split == "test" for one in await workspace.rows("orders")) == 62


async def test_a_run_that_is_stopped_leaves_the_rows_of_before(workspace) -> None:
    workspace.task("orders", *LABELS)
    await workspace.collect("orders", written(workspace, FAULTY[:300]), clean=True)
    before = await workspace.rows("orders")

    def stop(what: str, *_: int) -> None:
        if what.startswith("looking for wrong"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await workspace.collect("orders", written(workspace, FAULTY, "more.jsonl"), clean=True, progress=stop)
    assert await workspace.rows("orders") == before
    assert not workspace.leftovers()


SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "company": {"type": "string"}, "date": {"type": ["null", "string"]}},
    "required": ["total", "company", "date"],
    "additionalProperties": False,
}
RECEIPT = Task(name="receipts", kind="extract", schema=SCHEMA)
TICKET = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("card_lost", "card_late")),))


@pytest.mark.parametrize(
    ("task", "old", "new"),
    [
        (RECEIPT, {"total": "1,204.50", "company": "A", "date": None}, {"total": 1204.5, "company": "A", "date": None}),
        (RECEIPT, {"total": 3, "Company": "A", "date": "x"}, {"total": 3, "company": "A", "date": "x"}),
        (RECEIPT, {"total": 3, "vendor": "A", "date": "x"}, {"total": 3, "company": "A", "date": "x"}),
        (RECEIPT, '{"total": 3, "company": "A"}', {"total": 3, "company": "A", "date": None}),
        (RECEIPT, {"total": 3, "company": "A", "date": None, "tax": 1}, {"total": 3, "company": "A", "date": None}),
        (RECEIPT, {"total": "three", "company": "A", "date": None}, None),
        (RECEIPT, {"a": 1}, None),
        (RECEIPT, "no JSON", None),
        (TICKET, "Card-Lost", {"label": "card_lost"}),
        (TICKET, '{"intent": "card_late"}', {"label": "card_late"}),
        (TICKET, {"label": ["card_late"]}, None),
        (TICKET, "card_stolen", None),
    ],
)
def test_an_older_form_is_told_and_what_it_would_be_today(task, old, new) -> None:
    found = translated(task, old)
    assert (found[0] if found else None) == new
    assert not found or found[1]


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (["refund", "status"] * 20 + ["I am sorry, I cannot say what this customer wants from us."], "classify"),
        (
            [json.dumps({"intent": label, "urgency": u}) for label in ("a", "b") for u in ("low", "high")] * 9,
            "classify",
        ),
        ([json.dumps({"total": i, "company": f"firm {i}"}) for i in range(40)], "extract"),
        ([f"Dear customer number {i}, your parcel is on its way." for i in range(40)], "generate"),
        (["yes"] * 30, "generate"),
    ],
)
def test_the_kind_of_work_is_told_by_its_answers(answers, kind) -> None:
    assert infer("x", answers, "Do it.").kind == kind


def test_a_schema_is_what_most_objects_have_in_common() -> None:
    objects = [{"a": 1, "b": ["x"], "c": {"d": None if i % 2 else "y"}} for i in range(100)] + [
        {"a": 1.5, "old": 3}
    ] * 3
    assert schema_of(objects) == {
        "type": "object",
        "properties": {
            "a": {"type": "number"},
            "b": {"type": "array", "items": {"type": "string"}},
            "c": {
                "type": "object",
                "properties": {"d": {"type": ["null", "string"]}},
                "required": ["d"],
                "additionalProperties": False,
            },
        },
        "required": ["a"],
        "additionalProperties": False,
    }


def test_the_same_person_is_the_same_number_under_one_key_alone() -> None:
    one, again, other = (Private(key).text("a@b.org or A@B.ORG, +49 30 901820") for key in (b"1", b"1", b"2"))
    assert one == again != other
    assert one.split(" or ")[0] == one.split(" or ")[1].split(",")[0]
    assert one.startswith("[email ")
    spaced = {Private(b"1").text(f"call {said} now") for said in ("+49 30 901820", "+49-30-901820")}
    assert len(spaced) == 1


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        ("how do i get my money back from the shop", "hello how do i get my money back from the shop", True),
        ("how do i get my money back", "how do get i my money back", True),
        ("my card has not come yet what now", "my card has not cme yet what now", True),
        ("where is my card", "where is my new card", False),
        ("how do i close my account for good today", "how do i open an account for my son today", False),
    ],
)
def test_rows_that_ask_the_same_but_for_a_typo_or_two_words(one, another, same) -> None:
    assert asks_the_same(one, another) is same
    assert closest([one], ["something else entirely", another]) == [1 if same else None]


def test_values_that_hardly_differ_deviate_by_nothing() -> None:
    import numpy as np

    assert not deviations(np.ones(50)).any()
    assert deviations(np.arange(101.0))[100] == pytest.approx(50 / (1.4826 * 25))


async def test_a_cleaned_tables_rejects_are_free_of_personal_data_too(workspace) -> None:
    workspace.task("orders", *LABELS)
    rows = [*(row(i) for i in range(40)), {"input": "I am jo@example.org", "label": ""}]
    rows += [{"input": "no fit", "label": "call jo@example.org", "split": "train"}]
    done = await workspace.collect("orders", written(workspace, rows), clean=True)
    assert done.rows.rejected == 2
    words = (workspace.root / done.rejects).read_text() + (workspace.root / done.page).read_text()
    assert "[email " in words
    assert "example.org" not in words

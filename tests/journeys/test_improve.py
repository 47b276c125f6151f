"""Reviewed rows in, a retrained release out: what joins, what is left out, what happens next, and after a kill."""

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import folder, go_live, release

from insource.collect.reviewed import CONTRADICTS, DISAGREE, DRIFT, KNOWN, UNSAID, cleaned
from insource.errors import Conflict
from insource.journeys import improve as journey
from insource.journeys.improve import Wanted, improve
from insource.nouns import Example, Pending, Record, Review
from insource.nouns.signing import Signing
from insource.release.signature import make_key
from insource.settings import load_task
from insource.store import Store

WANTED = Wanted(least=20, base="linear")
NEW = {"refund": "the charge was made twice", "status": "still nothing at my door", "cancel": "i changed my mind"}


def row(text: str, label: str) -> Example:
    target = {"intent": label}
    identity = Example.identity("tickets", text, target)
    return Example(id=identity, task="tickets", input=text, target=target, origin="human")


async def said(store, text: str, label: str | None, *, number: int) -> None:
    """A person's verdict on an answer."""
    name = f"{number:032x}"
    waits = Pending(record=name, task="tickets", input=text, value={"intent": "refund"})
    record = Record(id=name, task="tickets", release=None, tenant="local", attempts=(), outcome="review",
                    input_hash="", latency_ms=1.0, created="2026-11-01T00:00:00.000+00:00")  # fmt: skip
    await store.append(record, waits)
    right = label == "refund"
    verdict = "unsure" if label is None else "right" if right else "wrong"
    corrected = None if right or label is None else {"intent": label}
    review = Review(record=name, verdict=verdict, corrected=corrected, decided="2026-11-02T00:00:00+00:00")
    await store.settle(review)


async def place(root):
    """A live release, and sixty verdicts of people."""
    settings = folder(root)
    store = await Store.open(settings)
    first = await release(settings, store)
    file = root / "tasks" / "tickets.toml"
    file.write_text(file.read_text() + "[acceptance]\naccuracy = 0.5\n")
    await go_live(store, first.name)
    for number in range(60):
        label = sorted(NEW)[number % 3]
        await said(store, f"{NEW[label]}, says customer {number} of the week {number * 7}", label, number=number)
    return settings, store


def test_what_may_not_join_is_left_out_with_its_reason(tmp_path):
    task = load_task(folder(tmp_path), "tickets")
    known = [row("where is it", "status"), row("take it back", "refund")]
    made = [
        (None, "2026-11"),
        (row("a", "refund"), "2026-11"), (row("A ", "status"), "2026-11"),
        (row("b", "gone"), "2026-11"),
        (known[0], "2026-11"), (row("take it back", "cancel"), "2026-11"),
        (row("c", "cancel"), "2026-10"), (row("c", "cancel"), "2026-11"),
    ]  # fmt: skip
    found = cleaned(task, made, known)
    assert found.left == {UNSAID: 1, DISAGREE: 2, DRIFT: 1, KNOWN: 2, CONTRADICTS: 1}
    assert [(one.input, one.split, one.tags) for one in found.rows] == [("c", "", {"reviewed": "2026-10"})]
    assert found.contradicted == (known[1].id,)


async def test_what_fits_no_label_joins_nothing_and_is_said(tmp_path):
    settings, store = await place(tmp_path)
    async with store:
        for number in (100, 101):
            name = f"{number:032x}"
            waits = Pending(record=name, task="tickets", input=f"it leaks {number}", value={"intent": "refund"})
            await store.settle_given(waits, Review(record=name, verdict="none_of_these", note="warranty"))
        found = await improve(load_task(settings, "tickets"), settings, store, replace(WANTED, least=1000))
        assert sum(found.joined.values()) == 60
        assert found.left[UNSAID] == 2
        assert "2 answers fit no label: proposed warranty (2)" in found.notes


async def test_what_people_said_becomes_a_release_in_the_shadow(tmp_path):
    settings, store = await place(tmp_path)
    async with store:
        task = load_task(settings, "tickets")
        before = await store.dataset("tickets")
        found = await improve(task, settings, store, WANTED)
        assert sum(found.joined.values()) == 60
        assert found.passed
        assert (found.release, found.stage) == ("tickets@1.1.0", "shadow")
        assert "reviews" in found.changelog
        assert {found.against.a, found.against.b} == {"tickets@1.0.0", "tickets@1.1.0"}
        assert found.notes[-1] == "tickets@1.1.0 is in shadow"
        rows = await store.examples(found.dataset)
        old = {one.id: one.split for one in await store.examples(before.id)}
        assert {one.id: one.split for one in rows if one.id in old} == old, "no row changes its split"
        groups = {}
        for one in rows:
            if one.group and one.id not in old:
                groups.setdefault(one.group, set()).add(one.split)
        assert all(len(splits) == 1 for splits in groups.values()), "near duplicates stay on one side"
        assert {one.origin for one in rows if one.id not in old} == {"human"}
        again = await improve(task, settings, store, WANTED)
        assert (again.release, again.stage, again.joined) == ("tickets@1.1.0", "shadow", {})
        assert len(await store.releases("tickets")) == 2


async def test_few_rows_train_nothing_and_no_rows_are_a_conflict(tmp_path):
    settings, store = await place(tmp_path)
    async with store:
        task = load_task(settings, "tickets")
        found = await improve(task, settings, store, replace(WANTED, least=61))
        assert found.release == ""
        assert found.notes == ("60 new rows, 61 are wanted: nothing was trained",)
        assert len(await store.releases("tickets")) == 1
        with pytest.raises(Conflict, match="no rows to improve on"):
            await improve(replace(task, name="orders"), settings, store, WANTED)


@pytest.mark.parametrize("at", ["train", "gate", "measure", "promote"])
async def test_stopped_before_any_step_the_same_call_goes_on(tmp_path, monkeypatch, at):
    settings, store = await place(tmp_path)
    async with store:
        task = load_task(settings, "tickets")

        async def killed(*_, **__):
            raise KeyboardInterrupt(at)

        with monkeypatch.context() as patch:
            patch.setattr(journey, at, killed)
            with pytest.raises(KeyboardInterrupt):
                await improve(task, settings, store, WANTED)
        found = await improve(task, settings, store, WANTED)
        assert (found.release, found.stage, found.passed) == ("tickets@1.1.0", "shadow", True)
        rows = await store.examples((await store.dataset("tickets")).id)
        assert sum(one.origin == "human" for one in rows) == 60
        assert len(await store.releases("tickets")) == 2


async def test_what_is_improved_waits_for_a_signature_where_one_is_asked_for(tmp_path):
    settings, store = await place(tmp_path)
    make_key(tmp_path / "key")
    asks = replace(settings, signing=Signing(trusted=("key.pub",)))
    told = await improve(load_task(settings, "tickets"), asks, store, WANTED)
    assert told.stage == "candidate"
    assert "waits for a signature" in told.notes[-1]
    await store.close()

"""The review queue as journeys see it: two people, what nobody looked at in time, and the figures of both."""

import asyncio
import dataclasses
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import folder, go_live, release
from serving import RULES, path_of, tickets, workspace

from insource.cli.main import main
from insource.engines.scripted import Rule, Scripted
from insource.errors import Invalid
from insource.journeys.answer import answer
from insource.journeys.nightly import nightly
from insource.journeys.overdue import overdue
from insource.journeys.review import figures
from insource.journeys.serve import close_path, open_path
from insource.journeys.trial import steps
from insource.nouns import Attempt, Decision, Pending, Prediction, Record, Review, Side, Trial, ask, stamp
from insource.review import eyes, is_disputed, rarity, to_example, worth
from insource.serve.late import settle_late
from insource.settings import load_settings, load_task
from insource.store import Store
from insource.store.trials import Seen

LABELLED = '{"match": "leak", "value": {"intent": "status"}, "confidence": 0.9}\n{"match": "*", "error": "down"}\n'


def named(i: int) -> str:
    return f"{i:032x}"


def place(root: Path, review: str):
    folder(root)
    file = root / "tasks" / "tickets.toml"
    file.write_text(file.read_text() + f"[review]\n{review}\n")
    (root / "hub.jsonl").write_text(LABELLED)
    return load_settings(root)


async def waits(store: Store, i: int, *, hours: float, text: str = "leaks", outcome="review", **more) -> Pending:
    created = stamp(time.time() - hours * 3600)
    record = Record(id=named(i), task="tickets", release=None, tenant="local", attempts=(), outcome=outcome,
                    input_hash="", latency_ms=1.0, created=created)  # fmt: skip
    item = Pending(record=record.id, task="tickets", input=text, value={"intent": "refund"}, created=created, **more)
    await store.append(record, item)
    return item


def said(i: int, who: str, verdict: str = "right", corrected=None, *, hours: float = 0.0) -> Review:
    decided = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")
    return Review(record=named(i), verdict=verdict, corrected=corrected, reviewer=who, decided=decided)


# ------------------------------------------------------------------ too late


@pytest.mark.parametrize("otherwise", ["provisional", "drop"])
async def test_what_nobody_settled_in_time_is_settled_by_the_fallback_once(tmp_path, otherwise):
    settings = place(tmp_path, f'within = "8h"\notherwise = "{otherwise}"')
    async with await Store.open(settings) as store:
        for i, hours in enumerate((9, 7, 10)):
            await waits(store, i, hours=hours)
        await waits(store, 3, hours=20, reason="drawn by chance", outcome="answered")
        await store.settle(said(2, "ann"))
        found = await overdue("tickets", settings, store)
        wanted = {"provisional": 2} if otherwise == "provisional" else {"drop": 1, "provisional": 1}
        assert found.settled == wanted, "what was given already stands"
        assert [one.record for one in await store.pending("tickets")] == [named(1)]
        assert (await overdue("tickets", settings, store)).settled == {}
        task = load_task(settings, "tickets")
        late = [(pending, review) for pending, review in await store.reviews("tickets") if review.fallback]
        assert {(review.reviewer, review.verdict) for _, review in late} == {("timeout", "unsure")}
        assert all(to_example(task, pending, review) is None for pending, review in late)
        assert (await store.verify_chain()).faults == ()


async def test_an_engine_is_asked_instead_on_record_and_its_answer_is_no_label(tmp_path):
    settings = place(tmp_path, 'within = "8h"\notherwise = "escalate"\nengine = "hub"')
    async with await Store.open(settings) as store:
        item = await waits(store, 0, hours=9)
        await waits(store, 1, hours=9, text="no answer to this")
        found = await overdue("tickets", settings, store)
        assert (found.settled, found.left) == ({"escalate": 1}, 1)
        assert "1 waits on" in found.words
        ((_, review),) = await store.reviews("tickets")
        assert (review.corrected, review.fallback) == ({"intent": "status"}, "escalate")
        asked = await store.record(review.note.rpartition(" ")[2])
        assert (asked.caller, asked.outcome, asked.attempts[0].decision.rule) == ("timeout", "answered", "timeout")
        assert to_example(load_task(settings, "tickets"), item, review) is None
        assert [one.record for one in await store.pending("tickets")] == [named(1)], "and nothing new waits"
        assert (await store.verify_chain()).faults == ()


@pytest.mark.parametrize("policy", ["provisional", "escalate", "drop"])
async def test_what_is_out_of_scope_gets_no_answer_by_waiting_and_what_was_given_stands(tmp_path, policy):
    settings = place(tmp_path, f'within = "8h"\notherwise = "{policy}"\nengine = "hub"')
    async with await Store.open(settings) as store:
        await waits(store, 0, hours=9, outcome="out_of_scope", reason="out of scope, 0.1% of the rows held out are")
        await waits(store, 1, hours=9, outcome="answered", reason="feedback")
        assert (await overdue("tickets", settings, store)).settled == {"drop": 1, "provisional": 1}
        said_of = {review.record: (review.fallback, review.corrected) for _, review in await store.reviews("tickets")}
        assert said_of == {named(0): ("drop", None), named(1): ("provisional", None)}
        assert len(await store.records("tickets")) == 2, "no engine was asked"


async def test_no_engine_is_paid_for_what_somebody_looks_at_and_what_it_cannot_answer_is_anybodys(tmp_path):
    settings = place(tmp_path, 'within = "1m"\notherwise = "escalate"\nengine = "hub"')
    async with await Store.open(settings) as store:
        await waits(store, 0, hours=2)
        await store.lease("tickets", "ann", 1, 60)
        await waits(store, 1, hours=1, text="no answer to this")
        found = await overdue("tickets", settings, store)
        assert (found.held, found.left, found.settled) == (1, 1, {})
        asked = [one for one in await store.records("tickets") if one.caller == "timeout"]
        assert [one.outcome for one in asked] == ["failed"], "of the other item nobody was asked"
        assert [one.record for one in await store.lease("tickets", "bob", 5, 60)] == [named(1)]


async def test_the_engine_is_not_asked_where_the_text_may_not_go(tmp_path):
    settings = place(tmp_path, 'within = "8h"\notherwise = "escalate"\nengine = "cloud"')
    async with await Store.open(settings) as store:
        await waits(store, 0, hours=9)
        found = await overdue("tickets", settings, store)
        assert (found.settled, found.left, found.why) == ({}, 1, "permission_denied")
        assert len(await store.records("tickets")) == 1


async def test_what_somebody_looks_at_is_left_to_them(tmp_path):
    settings = place(tmp_path, 'within = "1m"')
    async with await Store.open(settings) as store:
        await waits(store, 0, hours=1)
        await store.lease("tickets", "ann", 1, 60)
        found = await overdue("tickets", settings, store)
        assert (found.held, found.settled) == (1, {})
        await store.settle(said(0, "ann"))


async def test_nightly_does_it_and_without_a_limit_nothing_is_ever_late(tmp_path):
    settings = place(tmp_path, 'within = "8h"')
    async with await Store.open(settings) as store:
        await go_live(store, (await release(settings, store)).name)
        await waits(store, 0, hours=9)
        job = next(job for job in (await nightly(settings, store)).jobs if job.name == "review")
        assert (job.state, job.words) == ("done", "1 settled as provisional: nobody looked in time")
        await waits(store, 1, hours=9000)
        file = tmp_path / "tasks" / "tickets.toml"
        file.write_text(file.read_text().replace('within = "8h"', ""))
        job = next(job for job in (await nightly(settings, store)).jobs if job.name == "review")
        assert (job.state, job.words) == ("nothing to do", "nothing waits too long")


@pytest.mark.parametrize(
    "review", ['within = "8"', 'within = "h"', 'within = "-1h"', 'otherwise = "escalate"', "double = 1.5"]
)
def test_a_policy_that_means_nothing_is_told(tmp_path, review):
    settings = place(tmp_path, review)
    with pytest.raises(Invalid, match=r"tickets\.toml"):
        load_task(settings, "tickets")


# ------------------------------------------------------------------ two people


async def test_a_share_of_what_waits_has_to_be_seen_by_two(tmp_path):
    async with await Store.open(workspace(tmp_path)) as store:
        path = dataclasses.replace(path_of(store, tickets(), Scripted("one", RULES)), double=0.3)
        for i in range(200):
            await answer(ask(tickets(), f"unsure {i}", id=named(i * 7)), path, store.append)
        items = await store.pending("tickets", 500)
    twice = sum(item.eyes == 2 for item in items)
    assert len(items) == 200
    assert 35 <= twice <= 85
    assert all(item.eyes == eyes(item.record, 0.3) for item in items), "the same wherever it is drawn"
    assert all(eyes(item.record, 0.3) <= eyes(item.record, 0.5) for item in items)
    assert {eyes(item.record, 0.0) for item in items} == {1}
    assert {eyes(item.record, 1.0) for item in items} == {2}


async def test_the_settings_reach_the_path(tmp_path):
    settings = place(tmp_path, "double = 0.25")
    async with await Store.open(settings) as store:
        await go_live(store, (await release(settings, store)).name)
        path = await open_path("tickets", settings, store)
        assert path.double == 0.25
        assert path.rare == {"intent": {}}, "each label has its rows"
        await close_path(path)


def test_the_figures_say_how_long_how_far_people_agree_and_what_nobody_saw(tmp_path):
    settings = place(tmp_path, 'double = 1.0\nwithin = "30h"')

    async def made():
        async with await Store.open(settings) as store:
            for i in range(40):
                await waits(store, i, hours=20, eyes=2)
                await store.settle(said(i, "ann", hours=19))
                other = said(i, "bob", "wrong", {"intent": "cancel"}, hours=18) if i < 8 else said(i, "bob", hours=18)
                await store.settle(other)
                if i < 6:
                    await store.settle(said(i, "cem", "wrong", {"intent": "cancel"}, hours=10))
            await waits(store, 50, hours=40)
            await overdue("tickets", settings, store)
            return await figures(load_task(settings, "tickets"), store)

    found = asyncio.run(made())
    assert (found.waiting, found.half, found.third) == (2, 2, 6)
    assert found.verdicts == {"wrong": 6, "right": 32}
    assert found.timeouts == {"provisional": 1}
    half, most = found.took
    assert (half.n, round(half.seconds / 3600), round(most.seconds / 3600)) == (38, 2, 10)
    assert half.low <= half.seconds <= half.high
    assert (found.agreement.n, found.agreement.share) == (40, 0.8)
    assert found.agreement.kappa == 0.0, "ann always says the same: that says nothing"
    told = CliRunner().invoke(main, ["-C", str(tmp_path), "review", "tickets", "--stats"]).output
    assert "2 wait, the oldest since" in told
    assert "80.0% (65" in told
    assert "n 40), kappa 0.00" in told
    assert "6 went to a third" in told
    whole = json.loads(CliRunner().invoke(main, ["-C", str(tmp_path), "review", "tickets", "--stats", "--json"]).output)
    assert whole["took"][0]["n"] == 38
    # record 6: ann and bob disagree, and it waits for a third
    empty = CliRunner().invoke(
        main, ["-C", str(tmp_path), "review", "tickets", "--settle", named(6), "--verdict", "unsure"]
    )
    assert empty.exit_code == 0, empty.output
    assert empty.output.strip() == f"{named(6)}: unsure", "three people said three things, and it is settled"


def test_the_first_word_on_an_item_for_two_says_that_it_waits_on(tmp_path):
    settings = place(tmp_path, "double = 1.0")

    async def made():
        async with await Store.open(settings) as store:
            await waits(store, 0, hours=1, eyes=2)

    asyncio.run(made())
    words = ["-C", str(tmp_path), "review", "tickets", "--settle", named(0), "--verdict", "right"]
    first = CliRunner().invoke(main, words)
    assert first.output.strip() == f"{named(0)}: right; it waits for another person's word"
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 2
    assert "waits for the word of another than" in again.output
    back = CliRunner().invoke(main, ["-C", str(tmp_path), "review", "tickets", "--undo", named(0)])
    assert back.output.strip() == f"{named(0)} waits again"


# ------------------------------------------------------------------ what comes first


async def test_what_engines_dispute_and_what_training_hardly_knew_is_worth_more(tmp_path):
    first = Scripted("one", (Rule(match="*", value={"intent": "status"}, confidence=0.8),))
    other = Scripted("two", (Rule(match="odd", value={"intent": "other"}, confidence=0.8),
                             Rule(match="*", value={"intent": "status"}, confidence=0.8)))  # fmt: skip
    async with await Store.open(workspace(tmp_path)) as store:
        path = path_of(store, tickets(otherwise=("two", "review")), first, other)
        rare = rarity(tickets(), [{"intent": "status"}] * 20 + [{"intent": "refund"}] * 5)
        assert rare == {"intent": {"refund": 0.75, "other": 1.0}}
        for i, text in enumerate(("usual", "odd")):
            await answer(ask(tickets(), text, id=named(i)), dataclasses.replace(path, rare=rare), store.append)
        items = await store.pending("tickets")
        assert [item.input for item in items] == ["odd", "usual"]
        assert items[1].worth == pytest.approx(0.2)
        assert items[0].worth == pytest.approx(1 - 0.8 * 0.5 * 0.75)
        assert is_disputed(await store.record(named(1)))
        assert not is_disputed(await store.record(named(0)))


def test_worth_grows_with_doubt_dispute_and_novelty_and_stays_within_one():
    assert worth(None) == 1.0
    assert worth(0.9) == pytest.approx(0.1)
    assert worth(0.9) < worth(0.9, novel=0.5) < worth(0.9, novel=1.0) < worth(0.9, disputed=True)
    assert worth(0.9, novel=1.0, disputed=True) < worth(0.0) == 1.0


def test_where_no_label_fits_both_releases_were_wrong():
    def trial(ours: str, theirs: str) -> Trial:
        sides = [Side(release=f"t@{label}", accepted=True, value={"intent": label}) for label in (ours, theirs)]
        return Trial(record="r", task="t", ours=sides[0], theirs=sides[1], agrees=False)

    none = Seen(trial=trial("a", "b"), given={"intent": "b"}, right={})
    wrong = Seen(trial=trial("a", "b"), given={"intent": "b"}, right=None)
    ours = Seen(trial=trial("a", "b"), given={"intent": "b"}, right={"intent": "a"})
    assert steps([none, wrong, ours]) == {0: 1, -1: 1}


def test_a_record_without_an_answer_disputes_nothing():
    decision = Decision(engine="e", rule="task", accepted=False, reason="down")
    said_ = Attempt(decision=decision, prediction=Prediction(text="", engine="e", value={"a": "b"}))
    record = Record(id="r", task="t", release=None, tenant="local", attempts=(Attempt(decision=decision), said_),
                    outcome="review", input_hash="", latency_ms=1.0)  # fmt: skip
    assert not is_disputed(record)


async def test_the_gateway_settles_what_is_late_and_a_broken_task_stops_no_other(tmp_path):
    settings = place(tmp_path, 'within = "8h"')
    (tmp_path / "tasks" / "broken.toml").write_text("name = 7")
    async with await Store.open(settings) as store:
        await waits(store, 0, hours=9)
        at_work = asyncio.create_task(settle_late(settings, store, every_s=0.01))
        while await store.pending("tickets"):
            await asyncio.sleep(0.01)
        await waits(store, 1, hours=9)
        while await store.pending("tickets"):
            await asyncio.sleep(0.01)
        at_work.cancel()
        await asyncio.gather(at_work, return_exceptions=True)
        assert [review.fallback for _, review in await store.reviews("tickets")] == ["provisional"] * 2


async def test_a_folder_of_tasks_that_cannot_be_read_for_once_does_not_end_it(tmp_path, monkeypatch):
    settings = place(tmp_path, 'within = "8h"')
    bad = [OSError(13, "Permission denied")]

    def names(_):
        if bad:
            raise bad.pop()
        return ["gone", "tickets"]

    monkeypatch.setattr("insource.serve.late.task_names", names)
    async with await Store.open(settings) as store:
        await waits(store, 0, hours=9)
        at_work = asyncio.create_task(settle_late(settings, store, every_s=0.01))
        async with asyncio.timeout(20):
            while await store.pending("tickets") and not at_work.done():
                await asyncio.sleep(0.01)
        at_work.cancel()
        await asyncio.gather(at_work, return_exceptions=True)
        assert (bad, await store.pending("tickets")) == ([], [])

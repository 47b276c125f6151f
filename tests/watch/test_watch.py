"""What moved in the newest calls, what people found, and what that comes to."""

import asyncio
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import folder, go_live, release

from insource.cli.main import main
from insource.errors import Conflict
from insource.journeys.watch import watch
from insource.nouns import Attempt, Decision, Pending, Prediction, Record, Review, Usage, stamp
from insource.settings import load_task
from insource.store import Store
from insource.watch.triage import triage
from insource.watch.window import Estimate, Moved, estimated, share

LABELS = ("refund", "status", "cancel")


def call(i: int, label: str, *, tokens: int = 9, sure: float = 0.9) -> Record:
    decision = Decision(engine="tickets@1.0.0", rule="task", accepted=True, reason="valid", confidence=sure)
    said = Prediction(text="", value={"intent": label}, engine="tickets@1.0.0", confidence=sure,
                      usage=Usage(input_tokens=tokens, output_tokens=1))  # fmt: skip
    return Record(id=f"{i:032x}", task="tickets", release="tickets@1.0.0", tenant="local",
                  attempts=(Attempt(decision=decision, prediction=said),), outcome="answered", input_hash="",
                  latency_ms=1.0, created=stamp(1_790_000_000 + i))  # fmt: skip


async def calls(store, count: int, start: int, *, weights=(1, 1, 1), tokens: int = 9, seed: int = 1) -> None:
    dice = random.Random(seed + start)  # noqa: S311 - calls, not secrets
    for i in range(count):
        label = dice.choices(LABELS, weights)[0]
        length = int(tokens * dice.uniform(0.5, 1.5))
        await store.append(call(start + i, label, tokens=length, sure=dice.uniform(0.7, 1.0)))


async def place(root):
    settings = folder(root)
    store = await Store.open(settings)
    await go_live(store, (await release(settings, store)).name)
    return settings, store, load_task(settings, "tickets")


async def test_steady_traffic_is_steady_and_a_shift_is_named_against_what_came_before(tmp_path):
    settings, store, task = await place(tmp_path)
    async with store:
        await calls(store, 700, 0)
        found = await watch(task, settings, store, window=300)
        assert found.calls == 300
        assert [one for one in found.moved if one.against != "training"] == []
        await calls(store, 300, 1000, weights=(1, 4, 1), tokens=14)
        found = await watch(task, settings, store, window=300)
        before = {one.feature: one for one in found.moved if one.against == "the month before"}
        assert set(before) == {"intent", "tokens"}
        assert before["intent"].words.startswith("status: 3")
        assert found.triage.state == "drift"
        assert found.triage.next == "insource review tickets, then insource improve tickets"
        assert 0.8 < found.estimate.value < 0.9


def behind(i: int, first: str, then: str, release: str | None) -> Record:
    """A call of which `first` was not sure, with words and confidence of its own, and which `then` answered."""
    answered = call(i, "cancel")
    doubted = call(i, "refund", tokens=99, sure=0.1).attempts[0]
    asked = replace(doubted, decision=replace(doubted.decision, engine=first, accepted=False))
    answering = replace(answered.attempts[0], decision=replace(answered.attempts[0].decision, engine=then))
    return replace(answered, release=release, attempts=(asked, answering), outcome="escalated")


async def test_what_a_canary_said_is_not_counted_for_the_release_that_answered_behind_it(tmp_path):
    settings, store, task = await place(tmp_path)
    async with store:
        await calls(store, 600, 0)
        before = await watch(task, settings, store, window=300)
        for i in range(300):
            await store.append(behind(1000 + i, "tickets@1.1.0", "tickets@1.0.0", "tickets@1.0.0"))
        found = await watch(task, settings, store, window=300)
        assert (found.calls, found.until) == (300, before.until), "the canary's calls are the canary's"
        assert (found.estimate, found.moved) == (before.estimate, before.moved)


async def test_a_call_that_the_release_passed_on_is_still_one_of_its_calls(tmp_path):
    settings, store, task = await place(tmp_path)
    async with store:
        await calls(store, 600, 0)
        for i in range(150):
            await store.append(behind(1000 + i, "tickets@1.0.0", "hub", None))
            given = Pending(record=f"{1000 + i:032x}", task="tickets", input="t", value={"intent": "cancel"})
            await store.settle_given(given, Review(record=given.record, verdict="right"))
        found = await watch(task, settings, store, window=300)
        assert found.until == stamp(1_790_000_000 + 1149)
        assert {"tier", "confidence", "tokens"} <= {one.feature for one in found.moved}
        assert found.people is None, "what another engine answered says nothing of the release"


def test_what_is_not_known_yet_is_not_ticked(tmp_path):
    async def work():
        _, store, _ = await place(tmp_path)
        async with store:
            await calls(store, 99, 0)

    asyncio.run(work())
    said = CliRunner().invoke(main, ["-C", str(tmp_path), "watch", "tickets", "--window", "100"]).output
    assert "  · too few: 99 calls" in said
    assert "  promise             · no promise" in said
    assert "✓" not in said


async def test_too_few_calls_say_so_and_without_a_live_release_there_is_nothing_to_watch(tmp_path):
    settings, store, task = await place(tmp_path)
    async with store:
        await calls(store, 99, 0)
        found = await watch(task, settings, store, window=100)
        assert (found.triage.state, found.moved) == ("too few", ())
        assert found.triage.why == "99 calls of tickets@1.0.0, 100 are wanted"
    other = folder(tmp_path / "other")
    async with await Store.open(other) as empty:
        with pytest.raises(Conflict, match="nothing of tickets is live"):
            await watch(task, other, empty)


def test_what_people_found_wrong_is_degradation_before_it_is_drift(tmp_path):
    async def work():
        settings, store, _ = await place(tmp_path)
        file = tmp_path / "tasks" / "tickets.toml"
        file.write_text(file.read_text() + "[acceptance]\naccuracy = 0.9\n")
        async with store:
            await calls(store, 700, 0)
            await calls(store, 300, 1000, weights=(1, 4, 1))
            for i in range(1000, 1060):
                given = Pending(record=f"{i:032x}", task="tickets", input=f"text {i}", value={"intent": "status"})
                said = "right" if i % 2 else "wrong"
                await store.settle_given(given, Review(record=given.record, verdict=said))
            return await watch(load_task(settings, "tickets"), settings, store, window=300)

    found = asyncio.run(work())
    assert (found.people.value, found.people.n, found.people_of) == (0.5, 60, "those that were looked at")
    assert found.triage.state == "degradation"
    assert "90.0% is demanded" in found.triage.why
    said = CliRunner().invoke(main, ["-C", str(tmp_path), "watch", "tickets", "--window", "300"]).output
    assert said.splitlines()[0].endswith(" UTC")
    assert "degradation: people find 50.0% right" in said
    assert "next: insource improve tickets, or insource release rollback tickets" in said


async def test_answers_drawn_by_chance_tell_more_than_the_doubtful_ones(tmp_path):
    settings, store, task = await place(tmp_path)
    async with store:
        await calls(store, 100, 0)
        for i in range(40):
            reason = "drawn by chance" if i < 20 else "confidence 0.4 is below 0.5"
            given = Pending(
                record=f"{i:032x}", task="tickets", input=f"t {i}", value={"intent": "status"}, reason=reason
            )
            await store.settle_given(given, Review(record=given.record, verdict="right" if i < 19 else "wrong"))
        found = await watch(task, settings, store, window=100)
    assert (found.people.value, found.people.n, found.people_of) == (0.95, 20, "given, drawn by chance")


def test_answers_that_fit_no_label_are_wrong_and_said_with_what_was_proposed(tmp_path):
    async def work():
        settings, store, task = await place(tmp_path)
        async with store:
            await calls(store, 100, 0)
            for i in range(30):
                given = Pending(record=f"{i:032x}", task="tickets", input=f"t {i}", value={"intent": "status"})
                month = datetime.now(UTC) - timedelta(days=40 * (i % 3 == 1))
                said = Review(record=given.record, verdict="none_of_these" if i % 3 else "right", note="warranty",
                              decided=month.isoformat(timespec="seconds"))  # fmt: skip
                await store.settle_given(given, said)
            return await watch(task, settings, store, window=100)

    found = asyncio.run(work())
    assert round(found.people.value, 6) == round(1 / 3, 6)
    assert (found.unfit.n, found.unfit.proposed) == (10, (("warranty", 10),)), "those of the last month"
    said = CliRunner().invoke(main, ["-C", str(tmp_path), "watch", "tickets", "--window", "100"]).output
    assert "10 answers fit no label: proposed warranty (10)" in said


def test_an_estimate_has_its_n_and_none_is_made_of_nothing():
    assert estimated({"confidence": [-1.0, -1.0]}) is None
    found = estimated({"confidence": [0.5, 0.9, -1.0]})
    assert (round(found.value, 6), found.n) == (0.7, 2)
    assert share(0, 0) is None


@pytest.mark.parametrize(
    ("moved", "people", "state"),
    [
        ((), None, "steady"),
        ((), Estimate(value=0.8, low=0.7, high=0.95, n=30), "steady"),
        ((Moved(feature="tokens", against="training", distance=0.3, p=0.001, words="median 9 → 14"),), None, "drift"),
    ],
)
def test_only_what_chance_would_not_bring_is_called_anything(moved, people, state):
    assert triage("t", moved, people, 0.9).state == state

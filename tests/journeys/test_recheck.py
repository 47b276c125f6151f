"""A promise is held against what people said of answers drawn by chance; broken, more is demanded, and never less."""

import asyncio
import json
import random
import re
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import folder, go_live, rows
from serving import client, say, socket_of

from insource.cli.main import main
from insource.errors import Conflict
from insource.journeys.nightly import nightly
from insource.journeys.recheck import checked, recheck
from insource.journeys.serve import close_path, open_live, open_path
from insource.journeys.train import train
from insource.nouns import (
    DRAWN,
    Attempt,
    Dataset,
    Decision,
    Pending,
    Prediction,
    Record,
    Review,
    Tightening,
    digest,
    stamp,
)
from insource.serve.app import create_app
from insource.settings import load_settings, load_task
from insource.store import Store


async def place(root, limit: str = "max_error = 0.1"):
    folder(root)
    file = root / "tasks" / "tickets.toml"
    file.write_text(file.read_text().replace("threshold = 0.5", limit))
    settings = load_settings(root)
    store = await Store.open(settings)
    splits = ("train", "dev", "train", "test")
    examples = [msgspec.structs.replace(one, split=splits[i // 4 % 4]) for i, one in enumerate(rows())]
    await store.save_dataset(Dataset(id=digest(["r"]), task="tickets", counts={"train": 1}), examples)
    await go_live(store, (await train(load_task(settings, "tickets"), settings, store, base="linear")).name)
    return settings, store


async def looked_at(
    store, answers, *, at: int = 1_790_000_000, reason: str = DRAWN, start: int = 0, settled=lambda *_: True,
    release: str = "tickets@1.0.0", eyes: int = 1,
) -> None:  # fmt: skip
    """Answers given, (confidence, right) each, at which a person looked, or, where not `settled`, is to look."""
    for i, (sure, right) in enumerate(answers, start):
        decision = Decision(engine="tickets@1.0.0", rule="task", accepted=True, reason="r", confidence=sure)
        said = Prediction(text="", value={"intent": "refund"}, engine="tickets@1.0.0", confidence=sure)
        record = Record(id=f"{i:032x}", task="tickets", release=release, tenant="local",
                        attempts=(Attempt(decision=decision, prediction=said),), outcome="answered", input_hash="",
                        latency_ms=1.0, created=stamp(at + i))  # fmt: skip
        given = Pending(record=record.id, task="tickets", input=f"text {i}", value=said.value, confidence=sure,
                        reason=reason, created=record.created, eyes=eyes)  # fmt: skip
        await store.append(record, given)
        for who in ("ann", "bob")[: eyes * settled(i - start, right)]:
            await store.settle(Review(record=record.id, verdict="right" if right else "wrong", reviewer=who))


def drawn(n: int, error_below: float, error_above: float, cut: float = 0.9997) -> list[tuple[float, bool]]:
    """Answers of a confidence from 0.9994 to 1; below `cut` another share is wrong than above it."""
    dice = random.Random(7)  # noqa: S311 - answers, not secrets
    made = []
    for _ in range(n):
        sure = dice.uniform(0.9994, 1.0)
        made.append((sure, dice.random() >= (error_below if sure < cut else error_above)))
    return made


async def test_it_says_how_many_looks_are_missing_and_then_that_the_promise_holds(tmp_path):
    settings, store = await place(tmp_path)
    async with store:
        none = await checked("tickets", settings, store)
        assert (none.state, none.n) == ("too few", 0)
        assert none.missing > 20
        assert none.next == "[risk] audit = 0.02 in tasks/tickets.toml has people look at some"
        await looked_at(store, [(0.95, True)] * none.missing)
        enough = await recheck("tickets", settings, store)
        assert (enough.state, enough.n, enough.wrong) == ("holds", none.missing, 0)
        assert enough.high <= 0.1
        assert enough.tightened is None
        assert {job.name: job.state for job in (await nightly(settings, store)).jobs}["promise"] == "done"


async def test_only_answers_drawn_by_chance_count(tmp_path):
    settings, store = await place(tmp_path)
    async with store:
        await looked_at(store, [(0.95, False)] * 60, reason="feedback")
        assert (await checked("tickets", settings, store)).n == 0


async def test_what_an_application_settles_first_counts_when_those_drawn_before_it_were_looked_at(tmp_path):
    """Of 600 answers one in twenty-five is wrong, as promised, and the application complains of each wrong one."""
    settings, store = await place(tmp_path)
    async with store:
        answers = [(0.95, i % 25 != 7) for i in range(600)]
        await looked_at(store, answers, settled=lambda i, right: not right)
        found = await recheck("tickets", settings, store)
        assert (found.state, found.n, found.behind, found.tightened) == ("too few", 0, 24, None)
        assert found.next == "insource review tickets"
        assert found.why.endswith("24 more count once the oldest that waits was looked at")
        for i, (_, right) in enumerate(answers):
            if right and i != 300:
                await store.settle(Review(record=f"{i:032x}", verdict="right", reviewer="ann"))
        found = await checked("tickets", settings, store)
        assert (found.n, found.wrong, found.behind) == (300, 12, 299)
        await store.settle(Review(record=f"{300:032x}", verdict="unsure", reviewer="ann"))
        found = await checked("tickets", settings, store)
        assert (found.state, found.n, found.wrong, found.behind) == ("holds", 599, 24, 0)


async def test_one_that_waits_for_a_second_person_and_one_of_another_release_hold_up_nothing(tmp_path):
    settings, store = await place(tmp_path)
    async with store:
        await looked_at(store, [(0.95, True)] * 3, settled=lambda i, _: i > 0, eyes=2)
        await store.settle(Review(record="0" * 32, verdict="right", reviewer="ann"))
        await looked_at(store, [(0.95, True)], settled=lambda *_: False, start=9, release="tickets@0.9.0")
        await looked_at(store, [(0.95, True)] * 4, start=10)
        assert (await checked("tickets", settings, store)).n == 6


async def test_a_broken_promise_is_refitted_put_on_record_and_taken_up_by_a_running_gateway(tmp_path):
    settings, store = await place(tmp_path)
    async with store:
        paths, _ = await open_live(settings, store)
        before = paths["tickets"].threshold
        app = create_app(settings, store, paths, follow=True)
        async with socket_of(app) as url:
            ai = client(url)

            async def decided(text: str) -> tuple[str, float]:
                said = await ai.chat.completions.with_raw_response.create(**say(text))
                return said.headers["x-insource-decision"], float(said.headers["x-insource-confidence"])

            await looked_at(store, drawn(600, 0.5, 0.01))
            found = await recheck("tickets", settings, store)
            assert found.state == "broken"
            assert found.tightened.threshold == pytest.approx(0.9997, abs=0.0001)
            assert found.tightened.threshold > before
            assert (found.tightened.before, found.tightened.who) == (before, "insource")
            assert found.tightened.found["fitted_to"] == "600 reviewed answers"
            assert f"a confidence of {found.tightened.threshold:.3f} is demanded, not {before:.3f}" in found.why
            texts = [f"please money back number {i}" for i in range(3)] + ["track parcel", "where is my order number 3"]
            for _ in range(100):
                said = [await decided(text) for text in texts]
                if all((what == "answered") == (sure >= found.tightened.threshold) for what, sure in said):
                    break
                await asyncio.sleep(0.1)
            assert {what for what, _ in said} == {"answered", "review"}
            assert any(what == "review" and sure >= before for what, sure in said), "given before, and now not"
        path = await open_path("tickets", settings, store)
        await close_path(path)
        assert path.threshold == found.tightened.threshold
        again = await recheck("tickets", settings, store)
        assert (again.state, again.n, again.threshold) == ("too few", 0, found.tightened.threshold)
        assert (await store.verify_chain()).faults == ()


async def test_it_is_never_laxer_and_ends_with_the_limit_it_is_for(tmp_path):
    _, store = await place(tmp_path)
    async with store:
        made = Tightening(release="tickets@1.0.0", threshold=0.9999, before=0.9928, max_error=0.1, who="t", why="t")
        await store.tighten(made)
        with pytest.raises(Conflict, match="no more than is demanded"):
            await store.tighten(msgspec.structs.replace(made, threshold=0.9998))
        file = tmp_path / "tasks" / "tickets.toml"
        for limit, threshold in (("max_error = 0.1", 0.9999), ("max_error = 0.2", 0.8), ("threshold = 0.5", 0.5)):
            text = file.read_text()
            line = next(line for line in text.splitlines() if line.startswith(("max_error", "threshold")))
            file.write_text(text.replace(line, limit))
            path = await open_path("tickets", load_settings(tmp_path), store)
            await close_path(path)
            assert path.threshold == threshold


async def test_where_no_threshold_would_do_nothing_is_changed_and_a_person_is_called(tmp_path):
    settings, store = await place(tmp_path)
    async with store:
        await looked_at(store, drawn(300, 0.5, 0.5))
        found = await recheck("tickets", settings, store)
        assert (found.state, found.tightened) == ("broken", None)
        assert found.next == "insource improve tickets, or insource release rollback tickets"
        (job,) = [job for job in (await nightly(settings, store)).jobs if job.name == "promise"]
        assert (job.state, job.next) == ("look", found.next)
        assert "promise broken" in {one.cause for one in await store.open_alerts("tickets")}
        assert await store.tightened("tickets@1.0.0") is None


async def test_without_a_limit_nothing_is_promised(tmp_path):
    settings, store = await place(tmp_path, "threshold = 0.5")
    async with store:
        assert (await checked("tickets", settings, store)).state == "no promise"


def test_watch_shows_it(tmp_path):
    async def work():
        _, store = await place(tmp_path)
        async with store:
            await looked_at(store, drawn(300, 0.5, 0.5))

    asyncio.run(work())
    said = CliRunner().invoke(main, ["-C", str(tmp_path), "watch", "tickets"])
    assert said.exit_code == 0, said.output
    assert "broken: " in said.output
    assert "answers drawn by chance were wrong" in said.output
    assert "the limit is 10.0%" in said.output
    shown = CliRunner().invoke(main, ["-C", str(tmp_path), "release", "show", "tickets"])
    assert re.search(r"dev rows +accuracy [0-9.]+% \([0-9.]+% to [0-9.]+%, n [0-9]+\)", shown.output), shown.output
    assert "at most 10% error" in shown.output
    file = tmp_path / "tasks" / "tickets.toml"
    file.write_text(file.read_text().replace("max_error = 0.1", "max_error = 0.2"))
    shown = CliRunner().invoke(main, ["-C", str(tmp_path), "release", "show", "tickets"])
    assert "nothing is promised, for [risk] was changed since it was trained" in shown.output
    file.write_text(file.read_text().replace("max_error = 0.2", "max_error = 0.1"))
    shown = json.loads(CliRunner().invoke(main, ["-C", str(tmp_path), "watch", "tickets", "--json"]).stdout)
    assert (shown["promise"]["state"], shown["promise"]["n"]) == ("broken", 300)

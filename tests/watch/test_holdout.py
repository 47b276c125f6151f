"""The rolling holdout: which rows it holds, when it is asked, and what its trend comes to."""

import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import WORDS, folder, go_live, release

from insource.cli.main import main
from insource.errors import EngineDown
from insource.journeys import holdout as journey
from insource.journeys.holdout import HOLDOUT, holdout_trend, look
from insource.journeys.nightly import nightly
from insource.journeys.status import gather
from insource.nouns import DRAWN, Example, Pending, Record, Review
from insource.settings import load_task
from insource.store import Store
from insource.watch.holdout import FEWEST, Held, chosen, judged, result

NOW = datetime.now(UTC)
DEMANDED = "[acceptance]\naccuracy = 0.9\n"


async def place(root, more: str = ""):
    settings = folder(root)
    file = root / "tasks" / "tickets.toml"
    file.write_text(file.read_text() + more)
    store = await Store.open(settings)
    made = await release(settings, store)
    await go_live(store, made.name)
    return settings, store, load_task(settings, "tickets"), made


async def settled(store, i: int, days: float, *, label: str, said: str | None = None, reason: str = DRAWN) -> None:
    """An answer of so many days ago at which a person looked: `said` is right, `label` what the text is about."""
    text = f"kindly {WORDS[label][i % 2]} number {i} at once"  # the phrases that it was taught
    at = (NOW - timedelta(days=days)).isoformat()
    name = f"{i:032x}"
    await store.append(Record(id=name, task="tickets", release="tickets@1.0.0", tenant="local", attempts=(),
                              outcome="answered", input_hash="", latency_ms=1.0, created=at))  # fmt: skip
    given = Pending(record=name, task="tickets", input=text, value={"intent": label}, reason=reason, created=at)
    wrong = said is not None and said != label
    review = Review(record=name, verdict="wrong" if wrong else "right", corrected={"intent": said} if wrong else None,
                    decided=NOW.isoformat())  # fmt: skip
    await store.settle_given(given, review)


async def many(
    store, count: int, *, start: int = 0, other=lambda days: 0.0, reason: str = DRAWN, seed: int = 1
) -> None:
    """Rows over 80 days; a share `other(days)` of them people file elsewhere than the words say."""
    dice = random.Random(seed)  # noqa: S311 - rows, not secrets
    for i in range(start, start + count):
        label, days = dice.choice(list(WORDS)), dice.uniform(1, 80)
        elsewhere = next(one for one in WORDS if one != label)
        said = elsewhere if dice.random() < other(days) else label
        await settled(store, i, days, label=label, said=said, reason=reason)


async def test_what_stays_right_is_steady_and_is_asked_when_due_and_not_before(tmp_path):
    settings, store, task, made = await place(tmp_path, DEMANDED)
    async with store:
        await many(store, 60)
        assert await look(task, settings, store, now=NOW)
        assert not await look(task, settings, store, now=NOW + timedelta(days=3))
        found = await holdout_trend(task, store)
        (first,) = found.results
        assert (first.release, first.by_chance.n, first.looked_at) == (made.name, 60, None)
        assert first.by_chance.value > 0.95
        assert found.triage.state == "steady"
        assert sum(week.n for week in first.weeks) == 60
        report = await store.report(first.report)
        assert (report.split, report.rows, set(report.candidates[0].details)) == (HOLDOUT, (), {HOLDOUT})
        assert "kindly" not in str(report)
        later = NOW + timedelta(days=8)
        await many(store, 5, start=100)
        assert await look(task, settings, store, now=later)
        # what is too old has left, and a later look at the very same rows says nothing
        assert not await look(task, settings, store, now=later + timedelta(days=400))
        assert len((await holdout_trend(task, store)).results) == 2
        assert (await gather(task, settings, store)).candidates == ()


async def test_old_looks_go_and_the_newest_stays_however_old(tmp_path):
    settings, store, task, _ = await place(tmp_path)
    async with store:
        for n in range(3):
            await many(store, 40, start=100 * n, seed=n)
            assert await look(task, settings, store, now=NOW - timedelta(days=0.5 - 8 * n))
        looks = (await holdout_trend(task, store)).results
        assert await journey.outlived("tickets", store, looks[1].created) == [looks[0].report]
        assert await journey.outlived("tickets", store, "9999") == [looks[0].report, looks[1].report]
        await store.forget_reports([looks[0].report])
        assert (await holdout_trend(task, store)).results == looks[1:]


async def test_a_fall_is_drift_and_one_below_what_is_demanded_is_degradation(tmp_path):
    settings, store, task, _ = await place(tmp_path)
    async with store:
        await many(store, 300, other=lambda days: 0.3 if days < 30 else 0.0)
        night = await nightly(settings, store)
        job = next(job for job in night.jobs if job.name == "holdout")
        assert job.state == "look", job
        assert job.words.startswith("drift: ")
        (alert,) = [one for one in await store.open_alerts("tickets") if one.cause.startswith("holdout")]
        newest = (await holdout_trend(task, store)).results[-1]
        assert (alert.cause, alert.evidence) == ("holdout drift", newest.report)
        assert newest.slope < -0.1
        file = tmp_path / "tasks" / "tickets.toml"
        file.write_text(file.read_text() + "[acceptance]\naccuracy = 0.99\n")
        night = await nightly(settings, store)
        assert next(job for job in night.jobs if job.name == "holdout").words.startswith("degradation: ")
        causes = [one.cause for one in await store.open_alerts("tickets") if one.cause.startswith("holdout")]
        assert causes == ["holdout degradation"]
        assert "degradation" in (await gather(load_task(settings, "tickets"), settings, store)).holdout


def test_the_verbs_show_it(tmp_path):
    import asyncio

    async def made():
        settings, store, task, _ = await place(tmp_path)
        async with store:
            await many(store, 40)
            await look(task, settings, store)

    asyncio.run(made())
    said = CliRunner().invoke(main, ["-C", str(tmp_path), "watch", "tickets"]).output
    assert "holdout             ✓ steady: it does not fall" in said
    assert "holdout   steady" in CliRunner().invoke(main, ["-C", str(tmp_path), "status", "tickets"]).output


async def test_no_text_that_the_release_was_taught_is_held_whatever_its_target(tmp_path):
    settings, store, task, made = await place(tmp_path)
    async with store:
        train = (await store.examples(made.dataset, "train"))[:2]
        test = (await store.examples(made.dataset, "test"))[0]
        for i, row in enumerate((*train, test)):
            name = f"{i:032x}"
            given = Pending(record=name, task="tickets", input=row.input.upper(), value={"intent": "status"},
                            reason=DRAWN, created=NOW.isoformat())  # fmt: skip
            await store.append(Record(id=name, task="tickets", release=made.name, tenant="local", attempts=(),
                                      outcome="answered", input_hash="", latency_ms=1.0))  # fmt: skip
            await store.settle_given(given, Review(record=name, verdict="right", decided=NOW.isoformat()))
        assert await look(task, settings, store, now=NOW)
        assert (await holdout_trend(task, store)).results[0].n == 1


async def test_a_new_release_is_asked_at_once_and_a_kill_before_it_is_kept_asks_again(tmp_path, monkeypatch):
    settings, store, task, _ = await place(tmp_path)
    async with store:
        await many(store, 40)

        async def killed(_):
            raise KeyboardInterrupt

        monkeypatch.setattr(store, "save_report", killed)
        with pytest.raises(KeyboardInterrupt):
            await look(task, settings, store, now=NOW)
        monkeypatch.undo()
        assert (await holdout_trend(task, store)).results == ()
        assert await look(task, settings, store, now=NOW)
        second = await release(settings, store)
        await go_live(store, second.name, retire="tickets@1.0.0")
        assert await look(task, settings, store, now=NOW + timedelta(hours=1))
        assert [one.release for one in (await holdout_trend(task, store)).results] == ["tickets@1.0.0", second.name]


async def test_nothing_is_asked_without_rows_without_a_release_or_where_it_is_not_wanted(tmp_path, monkeypatch):
    settings, store, task, _ = await place(tmp_path, "[watch]\nholdout_days = 0\n")
    async with store:
        await many(store, 40)
        assert not await look(task, settings, store)
        file = tmp_path / "tasks" / "tickets.toml"
        file.write_text(file.read_text().replace("holdout_days = 0", "holdout_days = 1"))
        monkeypatch.setattr(journey, "measure", broken)
        with pytest.raises(EngineDown):
            await look(task, settings, store)
        assert (await holdout_trend(task, store)).triage.state == "too few"
    empty = folder(tmp_path / "empty")
    async with await Store.open(empty) as store:
        assert not await look(task, empty, store)


async def broken(*_, **__):
    raise EngineDown("it does not answer")


def held(i: int, *, days: float, drawn: bool) -> Held:
    row = Example(id=f"{i:04}", task="t", input=str(i), target={})
    return Held(row=row, at=(NOW - timedelta(days=days)).isoformat(), drawn=drawn)


def test_the_newest_are_chosen_and_those_drawn_by_chance_first():
    rows = [held(i, days=i, drawn=i % 2 == 0) for i in range(100)]
    since = (NOW - timedelta(days=90)).isoformat()
    assert [one.row.id for one in chosen(rows, since, ["0002"], 3)] == ["0000", "0004", "0006"]
    assert len(chosen(rows, since, [], 1000)) == 91


def test_hard_rows_alone_are_no_degradation_and_a_small_fall_is_noise():
    hard = result("r", "2026", "", [(held(i, days=i % 80, drawn=False), i % 2 == 0) for i in range(200)])
    assert judged("t", hard, 0.9).state == "steady"
    few = result("r", "2026", "", [(held(i, days=i, drawn=True), True) for i in range(FEWEST - 1)])
    assert judged("t", few, 0.9).state == "too few"
    rows = [(held(i, days=i / 2, drawn=True), i % 10 != 0 if i < 80 else i % 20 != 0) for i in range(160)]
    found = judged("t", result("r", "2026", "", rows), 0.5)
    assert found.state == "noise", found

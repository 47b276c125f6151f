"""The engines of others on the same rows every night: a silent change is told, the usual wavering is not."""

import asyncio
import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from behind import behind

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import WORDS, folder, go_live, release

from insource.cli.main import main
from insource.engines.scripted_server import Reply, ScriptedServer
from insource.errors import Missing
from insource.journeys.nightly import nightly
from insource.journeys.pinned import PINNED, ask_again, pinned
from insource.nouns import Cause, Dataset, Example, digest, stamp
from insource.settings import load_settings, load_task
from insource.store import Store
from insource.watch.pinned import Row, Run, compared, newest, wavering

NOW = datetime(2026, 11, 27, 3, tzinfo=UTC)
ANY = 'sensitivity = "any"\n'


def night(n: int) -> datetime:
    return NOW + timedelta(days=n)


def script(root: Path, *, wrong: str = "", prose: str = "") -> None:
    """The cloud files each text by its words; texts about `wrong` elsewhere, and those about `prose` in prose."""
    rules = []
    for label, phrases in WORDS.items():
        for phrase in phrases:
            said = f"I think it is {label}!" if label == prose else "refund" if label == wrong else label
            rules.append({"match": phrase, "text": said})
    (root / "hub.jsonl").write_text("\n".join(json.dumps(rule) for rule in rules))


async def place(root, *, task: str = ANY, more: str = ""):
    folder(root)
    file = root / "tasks" / "tickets.toml"
    file.write_text(file.read_text().replace('kind = "classify"\n', f'kind = "classify"\n{task}') + more)
    script(root)
    settings = load_settings(root)
    store = await Store.open(settings)
    await go_live(store, (await release(settings, store)).name)
    return settings, store, load_task(settings, "tickets")


async def test_the_first_run_is_what_later_ones_are_held_against_and_a_night_asks_once(tmp_path):
    settings, store, task = await place(tmp_path)
    async with store:
        (first,) = await ask_again(task, settings, store, now=NOW)
        assert (first.engine, first.asked, first.compared, first.fault) == ("cloud", True, None, "")
        (again,) = await ask_again(task, settings, store, now=NOW + timedelta(hours=3))
        assert not again.asked
        (second,) = await ask_again(task, settings, store, now=night(1))
        found = second.compared
        assert (found.n, found.same.value, found.changed) == (45, 1.0, ())
        reports = [one for one in await store.reports("tickets") if one.split == PINNED]
        assert len(reports) == 2
        assert "please" not in str(reports), "no text of a row is in it"
        assert reports[0].candidates[0].scores[0].value == 1.0


async def test_old_runs_go_but_for_those_that_later_ones_are_held_against(tmp_path):
    settings, store, task = await place(tmp_path)
    async with store:
        for n in range(12):
            (last,) = await ask_again(task, settings, store, now=night(n - 500))
        before = [one.id for one in await store.reports("tickets") if one.split == PINNED]
        await store.alerts.note("tickets", [Cause(cause="c", words="w", evidence=before[9])], (), stamp(0.0))
        job = next(job for job in (await nightly(settings, store)).jobs if job.name == "retention")
        assert (job.state, job.words.partition(";")[0]) == ("done", "0 records went, and 2 reports of nights")
        left = [one.id for one in await store.reports("tickets") if one.split == PINNED]
        # the first and its week, what an alert rests on, the newest; and tonight's
        assert left[:-1] == [*before[:8], before[9], before[11]]
        (now,) = await pinned("tickets", store)
        assert (now.since, now.changed) == (last.compared.since, ())


@pytest.mark.parametrize(
    ("change", "words"),
    [({"wrong": "cancel"}, "rows are right no more"), ({"prose": "status"}, "answers keep the form no more")],
)
def test_a_silent_change_is_an_alert_until_it_is_accepted_or_gone(tmp_path, change, words):
    async def nights(*moves):
        """Nightly after each move, a day apart, told by what the store holds."""
        settings = load_settings(tmp_path)
        for move in moves:
            move()
            with_age(tmp_path)  # while no store is open: SQLite's locks are a process's own
            async with await Store.open(settings) as store:
                found = await nightly(settings, store)
                alerts = await store.open_alerts("tickets")
        job = next(job for job in found.jobs if job.name == PINNED)
        return job, [one for one in alerts if one.cause.startswith(PINNED)]

    async def first():
        _, store, _ = await place(tmp_path)
        await store.close()

    asyncio.run(first())
    job, alerts = asyncio.run(nights(lambda: None, lambda: None))
    assert (job.state, alerts) == ("done", [])
    job, alerts = asyncio.run(nights(lambda: script(tmp_path, **change), lambda: None))
    assert job.state == "look", job
    assert [one.cause for one in alerts] == ["pinned cloud"]
    assert words in alerts[0].words
    assert alerts[0].next == "insource watch tickets --accept cloud"
    runner = CliRunner()
    assert words in runner.invoke(main, ["-C", str(tmp_path), "watch", "tickets"]).output
    job, alerts = asyncio.run(nights(lambda: script(tmp_path)))
    assert (job.state, alerts) == ("done", [])
    job, alerts = asyncio.run(nights(lambda: script(tmp_path, **change)))
    assert len(alerts) == 1
    done = runner.invoke(main, ["-C", str(tmp_path), "watch", "tickets", "--accept", "cloud"])
    assert "are what later ones are held against" in done.output
    job, alerts = asyncio.run(nights(lambda: None))
    assert (job.state, alerts) == ("done", [])
    assert runner.invoke(main, ["-C", str(tmp_path), "watch", "tickets", "--accept", "other"]).exit_code == 2


def with_age(root: Path) -> None:
    """Makes every pinned run a day older."""
    with behind(root) as database:
        rows = database.execute("SELECT seq, body FROM report").fetchall()
        for seq, body in rows:
            data = json.loads(body)
            if data["split"] == PINNED:
                at = (datetime.fromisoformat(data["created"]) - timedelta(days=1)).isoformat()
                data["created"] = data["candidates"][0]["details"][PINNED]["created"] = at
                database.execute("UPDATE report SET body = ? WHERE seq = ?", (json.dumps(data), seq))


async def test_no_row_goes_where_the_task_or_one_of_its_rules_forbids(tmp_path):
    settings, store, task = await place(tmp_path, task="")
    async with store:
        (kept,) = await ask_again(task, settings, store, now=NOW)
        assert "stays within premises" in kept.kept_out
        assert not kept.asked
        night_job = next(job for job in (await nightly(settings, store)).jobs if job.name == PINNED)
        assert night_job.state == "nothing to do"
    rule = '[[route]]\nwhen = {longer_than = 45}\nsensitivity = "premises"\nengines = ["release"]\n'
    settings, store, task = await place(tmp_path / "two", more=rule)
    async with store:
        long = [row for row in await store.examples((await store.dataset("tickets")).id, "test") if len(row.input) > 45]
        assert long
        await ask_again(task, settings, store, now=NOW)
        (report,) = [one for one in await store.reports("tickets") if one.split == PINNED]
        run = report.candidates[0].details[PINNED]
        assert run["left"] == len(long)
        assert not {row.id for row in long} & {row["id"] for row in run["rows"]}
        assert run["rows"]


async def test_the_purse_bounds_a_night_and_without_rows_nobody_is_asked(tmp_path):
    settings, store, task = await place(tmp_path, more="[watch]\npinned_usd = 0.05\n")
    config = tmp_path / "insource.toml"
    config.write_text(config.read_text() + "usd_per_million_output = 8.0\n")
    async with store:
        settings = load_settings(tmp_path)
        await ask_again(task, settings, store, now=NOW)
        (report,) = [one for one in await store.reports("tickets") if one.split == PINNED]
        run = report.candidates[0].details[PINNED]
        assert 0 < len(run["rows"]) < 45
        assert run["left"] == 45 - len(run["rows"])
        assert run["usd"] <= 0.05
        file = tmp_path / "tasks" / "tickets.toml"
        file.write_text(file.read_text() + "pinned_rows = 0\n")
        assert await ask_again(task, load_settings(tmp_path), store, now=night(2)) == []


async def test_the_rows_stay_those_of_the_first_run_though_the_test_split_grows(tmp_path):
    settings, store, task = await place(tmp_path)
    async with store:
        await ask_again(task, settings, store, now=NOW)
        old = await store.examples((await store.dataset("tickets")).id)
        more = [
            Example(
                id=f"{i:064x}", task="tickets", input=f"has it shipped {i}", target={"intent": "status"}, split="test"
            )
            for i in range(60)
        ]
        rows = [*old, *more]
        await store.save_dataset(Dataset(id=digest([row.id for row in rows]), task="tickets", counts={}), rows)
        (second,) = await ask_again(task, settings, store, now=night(1))
        assert second.compared.n == 45


async def test_a_server_that_says_it_is_another_model_and_one_that_is_down_are_told_apart(tmp_path):
    async with ScriptedServer([Reply(text="refund")], model="small-2026-01") as server:
        folder(tmp_path)
        (tmp_path / "insource.toml").write_text(
            f'[engines.cloud]\nkind = "openai"\nbase_url = "{server.base_url}"\nregion = "us"\n'
        )
        file = tmp_path / "tasks" / "tickets.toml"
        file.write_text(file.read_text().replace('kind = "classify"\n', f'kind = "classify"\n{ANY}'))
        settings = load_settings(tmp_path)
        async with await Store.open(settings) as store:
            task = load_task(settings, "tickets")
            await go_live(store, (await release(settings, store)).name)
            await ask_again(task, settings, store, now=NOW)
            (same,) = await ask_again(task, settings, store, now=night(1))
            assert (same.compared.changed, same.compared.served[1]) == ((), "small-2026-01")
            server._model = "tiny-2026-02"
            (other,) = await ask_again(task, settings, store, now=night(2))
            assert other.compared.changed == ("it says that it is tiny-2026-02, and was small-2026-01",)
            assert len(await pinned("tickets", store)) == 1
            server._replies, server._left = (Reply(status=401),), [-1]
            (down,) = await ask_again(task, settings, store, now=night(3))
            assert (down.fault, down.compared) == ("engine_error", None)


async def test_other_settings_are_another_engine(tmp_path):
    settings, store, task = await place(tmp_path)
    async with store:
        await ask_again(task, settings, store, now=NOW)
        config = tmp_path / "insource.toml"
        config.write_text(config.read_text().replace("[engines.cloud]", '[engines.cloud]\nmodel = "newer"'))
        (found,) = await ask_again(task, load_settings(tmp_path), store, now=night(1))
        assert (found.asked, found.compared) == (True, None)


def run(said: list[str], *, first: bool = False, day: int = 1) -> Run:
    rows = tuple(Row(id=str(i), said=one, right=one == "a") for i, one in enumerate(said))
    return Run(engine="e", created=f"2026-11-{day:02}", first=first, about="", pinned="", rows=rows)


def wavered(dice: random.Random, share: float) -> Run:
    """A night of an engine that says something else to a share of the rows."""
    return run([dice.choices(["a", "b"], [1 - share, share])[0] for _ in range(50)])


def test_an_engine_that_wavers_does_not_cry_wolf_and_a_swap_is_seen():
    dice = random.Random(3)  # noqa: S311 - rows, not secrets
    cried = caught = 0
    for share in (0.0, 0.05, 0.2):
        for _ in range(100):
            first = wavered(dice, share)
            twice = wavering(first.rows, wavered(dice, share).rows)
            runs = [msgspec.structs.replace(first, first=True, wavers=twice), *[wavered(dice, share) for _ in range(3)]]
            cried += bool(newest(runs).changed)
            caught += share < 0.1 and bool(newest([*runs, run(["a"] * 30 + ["c"] * 20)]).changed)
    assert cried <= 9, cried
    assert caught >= 190, caught


def test_a_few_broken_forms_are_told_where_there_were_none():
    first = msgspec.structs.replace(run(["a"] * 50, first=True), wavers=(50, 0, 0))
    assert compared(first, [], run([""] * 4 + ["a"] * 46)).changed == ("4 of 50 answers keep the form no more",)
    assert compared(first, [], run([""] + ["a"] * 49)).changed == ()
    week = [run(["a"] * 50) for _ in range(6)]
    assert compared(first, week, run([""] * 2 + ["a"] * 48)).changed == ("2 of 50 answers keep the form no more",)
    assert compared(first, [], run(["b"] * 5)).changed == (), "too few rows say nothing"


def test_a_slow_change_does_not_become_what_is_usual():
    first = msgspec.structs.replace(run(["a"] * 50, first=True), wavers=(50, 0, 0))
    slowly = [run(["c"] * (week // 4) + ["a"] * (50 - week // 4)) for week in range(30)]
    told = [bool(newest([first, *slowly[: i + 1]]).changed) for i in range(30)]
    assert told[:8] == [False] * 8
    assert told[-1]


def test_what_changed_is_not_usual_the_night_after():
    runs = [run(["a"] * 50, first=True), *[run(["c"] * 20 + ["a"] * 30, day=day) for day in range(2, 9)]]
    assert newest(runs).changed
    assert newest(runs[:1]) is None
    assert newest([]) is None


async def test_accepting_what_was_never_asked_is_said(tmp_path):
    from insource.journeys.pinned import accept

    _, store, _ = await place(tmp_path)
    async with store:
        with pytest.raises(Missing, match="never asked the pinned rows"):
            await accept("tickets", "cloud", store)

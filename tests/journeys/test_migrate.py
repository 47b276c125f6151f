"""A task taken from a sample to a verdict: what each verdict takes, what is kept, and that it can be told again."""

import json
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
import asyncio

from migrating import WANTED, filled, folder, migrated, rows, write

from insource.cli.main import main
from insource.collect.take_calls import Fact
from insource.engines.scripted_server import Reply, ScriptedServer
from insource.errors import EngineDown, Invalid, Missing
from insource.journeys.lineup import Lineup
from insource.journeys.migrate_begin import begin
from insource.journeys.migrate_kept import get_lines, put_lines
from insource.journeys.migrate_plan import plan
from insource.journeys.replay import replay, retold
from insource.journeys.status import status
from insource.measure.load import Load
from insource.nouns import Dataset, Example, ask, digest, to_json
from insource.nouns.assessment import Asked, Line
from insource.settings import load_settings, load_task
from insource.store import Store
from insource.store.stored import stored

LARGE = {"large": (40.0, 6)}


async def place(root: Path, engines: dict[str, tuple[float, int]] | None = None, **task: object):
    settings = folder(root, LARGE if engines is None else engines, **task)
    await filled(settings)
    return settings


async def test_what_is_as_good_and_cheaper_is_a_go_with_every_figure_behind_it(tmp_path: Path) -> None:
    settings = await place(tmp_path)
    found = await migrated(settings)
    assert (found.verdict.word, found.verdict.way) == ("go", "tickets@1.0.0")
    entrants = {one.name: one for one in found.entrants}
    assert set(entrants) == {"baseline", "large", "tickets@1.0.0"}
    assert entrants["large"].score is not None
    assert entrants["large"].score.value == 194 / 200
    way = next(way for way in found.case.ways if way.name == "tickets@1.0.0")
    assert way.against is not None
    assert way.against.n == 200
    assert way.against.difference == pytest.approx(0.03)
    assert way.against.low > -0.02
    assert entrants["tickets@1.0.0"].sure_wrong is not None, "it was attacked"
    assert entrants["tickets@1.0.0"].held, "and loaded"
    assert found.case.turns, "and the volume at which it turns is known"
    assert {change.what for change in found.verdict.changes} >= {"volume", "price", "quality", "margin"}
    async with await Store.open(settings) as store:
        for report in found.reports.values():
            assert (await store.report(report)).task == "tickets"
        (standing,) = await status(settings, store)
        assert "go" in standing.facts.assessed


@pytest.mark.slow
async def test_an_error_that_cannot_be_promised_yet_is_missing_and_no_go(tmp_path: Path) -> None:
    settings = await place(tmp_path, risk="max_error = 0.001")
    found = await migrated(settings)
    way = next(way for way in found.case.ways if way.name == "tickets@1.0.0")
    assert not way.promise
    assert found.verdict.word == "not yet"
    assert "promise" in {gap.what for gap in found.verdict.missing}
    assert "max_error" in {demand.name for demand in way.demands}


@pytest.mark.slow
async def test_at_a_low_volume_the_incumbent_stays_and_the_volume_at_which_it_turns_is_said(tmp_path: Path) -> None:
    settings = await place(tmp_path, calls=100)
    found = await migrated(settings)
    assert (found.verdict.word, found.verdict.way) == ("stay", "large")
    turn = next(change for change in found.verdict.changes if change.what == "volume")
    write(tmp_path, calls=int(turn.at * 1.01))
    assert (await migrated(settings)).verdict.word == "go"
    write(tmp_path, calls=int(turn.at * 0.99))
    assert (await migrated(settings)).verdict.word == "stay"


@pytest.mark.slow
async def test_a_cheap_api_that_is_as_good_is_named(tmp_path: Path) -> None:
    settings = await place(tmp_path, {"large": (40.0, 6), "mini": (0.1, 5)}, calls=1_000)
    found = await migrated(settings)
    assert (found.verdict.word, found.verdict.way) == ("cheaper", "mini")


@pytest.mark.slow
async def test_what_may_not_leave_is_asked_of_nobody_outside(tmp_path: Path) -> None:
    settings = await place(tmp_path, sensitivity="premises", incumbent="none")
    found = await migrated(settings)
    assert "stays within premises" in found.failed["large"]
    assert {way.name for way in found.case.ways} == {"baseline", "tickets@1.0.0"}
    assert found.verdict.word == "go"
    assert found.verdict.first == (
        "Nothing does this work today, as the task's file says: what was demanded decides alone.",
    )


@pytest.mark.slow
async def test_a_task_that_is_none_for_a_small_model_stays_whatever_was_measured(tmp_path: Path) -> None:
    settings = await place(tmp_path)
    file = tmp_path / "tasks" / "tickets.toml"
    file.write_text(file.read_text() + "[suitability]\nacross_domains = true\n")
    found = await migrated(settings)
    assert (found.verdict.word, found.verdict.rule) == ("stay", "unsuitable")
    assert found.verdict.sentence.startswith("Stay: it is not for a small model: ")


@pytest.mark.slow
async def test_without_an_incumbent_it_is_not_yet_and_says_so_first(tmp_path: Path) -> None:
    settings = await place(tmp_path, {}, incumbent="")
    found = await migrated(settings)
    assert found.verdict.word == "not yet"
    assert "was not asked these rows" in found.verdict.first[0]
    assert found.verdict.missing[0].what == "answers"


@pytest.mark.slow
async def test_the_log_of_the_model_so_far_is_the_incumbent_where_none_is_named(tmp_path: Path) -> None:
    settings = folder(tmp_path, {}, incumbent="", sensitivity="premises")
    facts = []
    for i, row in enumerate(rows()):
        if row.split == "test":
            said = row.target if i % 10 else {"intent": "refund"}
            facts.append(Fact(input=digest(row.input.encode()), answer=said, engine="gpt-x", input_tokens=300,
                              output_tokens=5, usd=0.002 if i else None, latency_ms=400.0))  # fmt: skip
    await filled(settings, facts)
    found = await migrated(settings)
    assert found.criteria.incumbent == "log:gpt-x"
    assert (found.verdict.word, found.verdict.way, found.verdict.first) == ("go", "tickets@1.0.0", ())
    ways = {way.name: way for way in found.case.ways}
    assert ways["log:gpt-x"].usd_per_1k == pytest.approx(2.0)
    assert ways["tickets@1.0.0"].against.n == 200
    assert not ways["log:gpt-x"].allowed, "nobody says where it is, and the texts stay on the premises"
    async with await Store.open(settings) as store:
        assert (await replay("tickets", store, found.run))[0].same
        summary = (await store.report(found.reports["sample"])).summary
    assert any("the mean of the 199 of its 200 calls" in line for line in summary)


@pytest.mark.slow
async def test_done_again_it_is_the_same_report_and_other_criteria_are_another_run(tmp_path: Path) -> None:
    settings = await place(tmp_path)
    first = await migrated(settings)
    assert to_json(await migrated(settings)) == to_json(first)
    other = await migrated(settings, msgspec.structs.replace(WANTED, margin=0.05))
    assert other.run != first.run
    assert other.before == (first.run,), "whose results were known when these criteria were written"
    assert other.entrants[0].answers == first.entrants[0].answers, "the same was said"


async def test_other_prices_places_levels_and_risks_are_other_criteria(tmp_path: Path) -> None:
    settings = await place(tmp_path)

    async def name() -> str:
        now = load_settings(tmp_path)
        async with await Store.open(now) as store:
            kept = await begin(load_task(now, "tickets"), now, store, WANTED, "", (lambda _: None, lambda *_: None))
            return kept.run.id

    names = [await name(), await name()]
    assert names[0] == names[1]
    config = (settings.root / "insource.toml").read_text()
    for old, new in (("usd_per_million_input = 40", "usd_per_million_input = 4"), ('region = "us"', 'region = "eu"')):
        assert old in config
        (settings.root / "insource.toml").write_text(config.replace(old, new))
        names.append(await name())
    (settings.root / "insource.toml").write_text(config)
    for words in ({"levels": "p95_ms = 900"}, {"risk": "out_of_scope = 0.05"}):
        write(tmp_path, **words)
        names.append(await name())
    write(tmp_path)
    assert len(set(names)) == 5
    assert await name() == names[0]


@pytest.mark.slow
async def test_a_release_of_the_same_rows_and_recipe_is_not_trained_again(tmp_path: Path) -> None:
    settings = await place(tmp_path)
    await migrated(settings)
    await migrated(settings, msgspec.structs.replace(WANTED, margin=0.05))
    async with await Store.open(settings) as store:
        assert [release.name for release in await store.releases("tickets")] == ["tickets@1.0.0"]


@pytest.mark.slow
async def test_who_was_down_is_asked_again_and_nobody_else(tmp_path: Path) -> None:
    settings = await place(tmp_path)
    said = tmp_path / "large.jsonl"
    words = said.read_text()
    said.write_text('{"match": "*", "error": "down"}\n')
    first = await migrated(settings)
    assert first.verdict.word == "not yet"
    assert "large" in first.failed
    same = await migrated(settings)
    assert to_json(same) == to_json(first), "still down: the same is said of it"
    said.write_text(words)
    found = await migrated(settings)
    assert (found.verdict.word, found.failed) == ("go", {})
    assert found.run == first.run
    kept = {name: sha for name, sha in first.pieces.items() if name in ("asked/baseline", "trained/linear", "prices")}
    assert len(kept) == 3
    assert kept.items() <= found.pieces.items()


@pytest.mark.slow
async def test_a_load_that_failed_is_done_again_by_the_next_run(tmp_path, monkeypatch):
    settings = await place(tmp_path)

    async def down(*_: object) -> Load:
        raise EngineDown("no room on this machine")

    with monkeypatch.context() as patch:
        patch.setattr("insource.journeys.migrate.load", down)
        first = await migrated(settings)
    assert (first.verdict.word, [gap.what for gap in first.verdict.missing]) == ("not yet", ["load"])
    found = await migrated(settings)
    assert (found.run, found.verdict.word) == (first.run, "go")


async def test_every_figure_is_told_again_to_the_byte(tmp_path: Path) -> None:
    settings = await place(tmp_path)
    found = await migrated(settings)
    async with await Store.open(settings) as store:
        again, told = await replay("tickets", store, found.run[:8])
        assert again.same
        assert not again.differs
        assert again.figures > 200
        assert told is not None
        assert to_json(told) == to_json(found)
        with pytest.raises(Missing):
            await replay("tickets", store, "0000")
        before = json.loads(to_json(found))  # as it was written before these were fields of it
        for entrant, way in zip(before["entrants"], before["case"]["ways"], strict=True):
            del entrant["instruction"], way["engine"]
        run = next(run for run in await store.assessments.of_task("tickets") if run.id == found.run)
        old = msgspec.structs.replace(run, report=store.blobs.put(json.dumps(before).encode()))
        assert (await retold(store, old))[0].same
        before["entrants"][0]["usd_per_1k"] = 99.0
        old = msgspec.structs.replace(run, report=store.blobs.put(json.dumps(before).encode()))
        assert not (await retold(store, old))[0].same


@pytest.mark.slow
async def test_an_answer_that_was_changed_afterwards_shows_in_the_figures_that_rest_on_it(tmp_path: Path) -> None:
    settings = await place(tmp_path)
    found = await migrated(settings)
    async with await Store.open(settings) as store:
        (run,) = await store.assessments.of_task("tickets")
        asked = stored(store.blobs.get(run.pieces["asked/large"]), Asked)
        lines = get_lines(store, asked.answers, Line)
        wrong = next(i for i, line in enumerate(lines) if line.correct == 0)
        right = next(row.target for row in await store.examples(found.criteria.dataset) if row.id == lines[wrong].row)
        lines[wrong] = msgspec.structs.replace(lines[wrong], value=right, correct=1.0)
        better = msgspec.structs.replace(asked, answers=put_lines(store, list(lines)))
        forged = msgspec.structs.replace(run, pieces=run.pieces | {"asked/large": store.blobs.put(to_json(better))})
        again, _ = await retold(store, forged)
        assert not again.same
        assert any("score.value" in one.at and one.said == "0.97" and one.told == "0.975" for one in again.differs)


@pytest.mark.slow
async def test_a_blob_that_was_damaged_is_named(tmp_path: Path) -> None:
    settings = await place(tmp_path)
    found = await migrated(settings)
    asked = next(one.answers for one in found.entrants if one.name == "large")
    path = settings.state / "blobs" / asked[:2] / asked
    path.write_bytes(path.read_bytes().replace(b'"correct":1.0', b'"correct":0.0', 1))
    async with await Store.open(settings) as store:
        again, told = await replay("tickets", store, found.run)
    assert not again.same
    assert told is None
    assert asked in again.differs[0].told


async def test_rows_and_an_incumbent_have_to_be_there(tmp_path: Path) -> None:
    settings = folder(tmp_path, {}, incumbent="none")
    with pytest.raises(Invalid, match="no rows collected"):
        await migrated(settings)
    await filled(settings)
    write(tmp_path, incumbent="gone")
    with pytest.raises(Invalid, match="no engine"):
        await migrated(settings)


async def test_the_plan_counts_the_tokens_of_the_request_that_is_sent(tmp_path: Path) -> None:
    labels = [f"the label number {i} of many" for i in range(77)]
    examples = [
        Example(id=f"e{i}", task="tickets", input=f"a text of some words, {i}", target={"intent": labels[i]},
                split="test" if i < 40 else "train") for i in range(77)
    ]  # fmt: skip
    async with ScriptedServer([Reply(text=labels[0])]) as server:
        engine = {"kind": "openai", "base_url": server.base_url, "model": "m", "region": "us",
                  "usd_per_million_input": 1e6, "usd_per_million_output": 0}  # fmt: skip
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in engine.items())
        (tmp_path / "tasks").mkdir()
        (tmp_path / "insource.toml").write_text(f'[networks]\nus = ["127.0.0.1"]\n[engines.hub]\n{lines}')
        made = {"name": "tickets", "kind": "classify", "instruction": "File it.", "sensitivity": "any"}
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in made.items())
        (tmp_path / "tasks" / "tickets.toml").write_text(f"{lines}[outputs.intent]\nlabels = {json.dumps(labels)}\n")
        settings = load_settings(tmp_path)
        task = load_task(settings, "tickets")
        async with await Store.open(settings) as store:
            counts = {"test": 40, "train": 37}
            await store.save_dataset(Dataset(id=digest(examples), task="tickets", counts=counts), examples)
            planned = await plan(task, settings, store, WANTED)
            hub = Lineup(settings, store, task).configured("hub")
            await hub.complete(ask(task, examples[0].input, id="r"))
            await hub.close()
    (part,) = [part for part in planned.parts if (part.step, part.what) == ("candidates", "hub")]
    (sent,) = server.seen
    said = "".join(turn["content"] for turn in sent["messages"]) + json.dumps(sent["response_format"])
    assert part.usd / part.rows == pytest.approx(len(said) / 4, rel=0.25)


@pytest.mark.slow
def test_the_verb_shows_the_plan_first_and_ends_with_1_where_a_replay_differs(tmp_path: Path) -> None:
    settings = asyncio.run(place(tmp_path))
    call = CliRunner().invoke(main, ["-C", str(tmp_path), "migrate", "tickets", "--json"])
    assert call.exit_code == 0, call.output
    planned = json.loads(call.stdout)
    assert [part["what"] for part in planned["parts"] if part["step"] == "candidates"] == ["baseline", "large"]
    assert planned["usd"] > 0
    assert "large" in call.stderr
    found = asyncio.run(migrated(settings))
    page = tmp_path / "verdict.html"
    words = ["-C", str(tmp_path), "migrate", "tickets", "--replay", found.run[:10], "--report", str(page)]
    assert CliRunner().invoke(main, words).exit_code == 0
    assert found.verdict.sentence in page.read_text("utf-8").replace("&#39;", "'")
    for blob in (settings.state / "blobs").glob("*/*"):
        if blob.name == found.run:
            blob.unlink()
    call = CliRunner().invoke(main, [*words, "--json"])
    assert call.exit_code == 1
    assert json.loads(call.stdout)["same"] is False

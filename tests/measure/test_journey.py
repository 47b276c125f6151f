import json

import pytest
from click.testing import CliRunner

from insource.cli.main import main
from insource.errors import EngineDown, Invalid, Missing
from insource.journeys.measure import measure, publish
from insource.nouns import Dataset, Example, digest
from insource.settings import load_settings, load_task
from insource.store import Store

LABELS = ("billing", "delivery", "returns")
WORDS = {"billing": "invoice charge card", "delivery": "parcel courier late", "returns": "refund exchange broken"}
TASK = """name = "tickets"
kind = "classify"
instruction = "File the ticket."
[outputs.topic]
labels = ["billing", "delivery", "returns"]
[acceptance]
accuracy = 0.9
"""
SETTINGS = """[engines.good]
kind = "scripted"
script = "good.jsonl"
region = "premises"
[engines.broken]
kind = "scripted"
script = "broken.jsonl"
region = "premises"
[engines.abroad]
kind = "scripted"
script = "good.jsonl"
region = "eu"
[engines.paid]
kind = "scripted"
script = "good.jsonl"
region = "premises"
usd_per_million_input = 1000.0
"""


def rows():
    made = []
    for number in range(260):
        label = LABELS[number % 3]
        word = WORDS[label].split()[number // 3 % 3]
        text, target = f"my {word} again, case {number}", {"topic": label}
        split = "test" if number % 4 == 0 else "dev" if number % 4 == 1 else "train"
        made.append(
            Example(
                id=Example.identity("tickets", text, target), task="tickets", input=text, target=target, split=split
            )
        )
    return made


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "tickets.toml").write_text(TASK)
    (tmp_path / "insource.toml").write_text(SETTINGS)
    good = [
        {"match": f"/{'|'.join(WORDS[label].split())}/", "value": {"topic": label}, "confidence": 0.97}
        for label in LABELS
    ]
    (tmp_path / "good.jsonl").write_text("\n".join(json.dumps(rule) for rule in good))
    (tmp_path / "broken.jsonl").write_text('{"match": "*", "error": "down"}')
    return tmp_path


async def opened(workspace, *, collected=True):
    settings = load_settings(workspace)
    store = await Store.open(settings)
    if collected:
        counts = {split: sum(row.split == split for row in rows()) for split in ("train", "dev", "test")}
        await store.save_dataset(Dataset(id=digest(rows()), task="tickets", counts=counts), rows())
    return settings, load_task(settings, "tickets"), store


async def measured(workspace, **plan):
    settings, task, store = await opened(workspace)
    async with store:
        report = await measure(task, settings, store, **plan)
        assert (await store.reports("tickets"))[-1] == report
    return report


async def test_candidates_are_measured_on_the_same_rows_and_the_report_is_kept(workspace) -> None:
    report = await measured(workspace, candidates=["baseline", "good"])
    assert [(c.candidate, c.kind, c.failures.n) for c in report.candidates] == [
        ("baseline", "baseline", 65),
        ("good", "remote", 65),
    ]
    assert report.pairs[0].n == 65
    assert report.split == "test"
    assert report.machine
    assert report.summary[0].startswith("The linear baseline is not beaten: 100.0% accuracy")
    assert "good ties with it" in report.summary[0]


async def test_a_candidate_that_fails_is_reported_and_the_others_go_on(workspace) -> None:
    report = await measured(workspace, candidates=["broken", "good", "abroad"])
    assert [c.candidate for c in report.candidates] == ["good"]
    assert set(report.failed) == {"broken", "abroad"}
    assert "stays within premises" in report.failed["abroad"]


async def test_no_text_is_sent_where_the_task_forbids_it(workspace) -> None:
    with pytest.raises(EngineDown, match="abroad is in eu"):
        await measured(workspace, candidates=["abroad"])


async def test_every_candidate_gets_the_same_sample(workspace) -> None:
    report = await measured(workspace, candidates=["baseline", "good"], rows=20)
    assert {c.failures.n for c in report.candidates} == {20}
    assert report.pairs[0].n == 20
    assert any("stratified sample of 20 of 65 rows" in line for line in report.summary)


async def test_a_price_is_known_only_where_the_engine_names_one(workspace) -> None:
    report = await measured(workspace, candidates=["paid", "good"])
    paid, good = report.candidates
    assert paid.usd_per_1k == pytest.approx(5.0)
    assert good.usd_per_1k is None


async def test_names_are_checked_before_anything_is_measured(workspace) -> None:
    for names, error in (
        (["bseline"], Missing), (["tickets@9.9.9"], Missing), (["other@1.0.0"], Invalid), (["good", "good"], Invalid),
    ):  # fmt: skip
        with pytest.raises(error):
            await measured(workspace, candidates=names)


async def test_without_rows_it_says_what_to_do(workspace) -> None:
    settings, task, store = await opened(workspace, collected=False)
    async with store:
        with pytest.raises(Invalid, match="no rows collected"):
            await measure(task, settings, store, candidates=["good"])
    with pytest.raises(Invalid, match="no rows in the split holdout") as caught:
        await measured(workspace, candidates=["good"], split="holdout")
    assert "test (65)" in caught.value.hint


async def test_two_measurements_of_the_same_give_the_same_scores(workspace) -> None:
    one, other = [await measured(workspace, candidates=["baseline", "good"]) for _ in range(2)]
    assert [c.scores for c in one.candidates] == [c.scores for c in other.candidates]
    assert one.pairs == other.pairs
    assert one.rows == other.rows


async def test_the_page_lies_under_the_state_folder(workspace) -> None:
    report = await measured(workspace, candidates=["good"])
    settings = load_settings(workspace)
    path = publish(report, load_task(settings, "tickets"), settings)
    assert path == settings.state / "reports" / "tickets" / f"{report.id[:8]}.html"
    assert [found.name for found in path.parent.iterdir()] == [path.name]


async def collected(workspace):
    await (await opened(workspace))[2].close()


@pytest.fixture
def typed(workspace):
    import asyncio

    asyncio.run(collected(workspace))

    def call(*words):
        return CliRunner().invoke(main, ["-C", str(workspace), "measure", "tickets", *words])

    return call


def test_the_verb_prints_a_table_and_where_the_page_is(typed, workspace) -> None:
    page = workspace / "out" / "report.html"
    done = typed("--candidate", "baseline", "--candidate", "good", "--report", str(page))
    assert done.exit_code == 0
    assert done.stdout.startswith("The linear baseline ")
    assert str(page) in done.stdout
    assert page.read_text().startswith("<!doctype html>")


def test_with_json_there_is_one_document_and_nothing_else(typed) -> None:
    done = typed("--candidate", "good", "--rows", "10", "--json")
    found = json.loads(done.stdout)
    assert found["candidates"][0]["candidate"] == "good"
    assert "scripted" not in done.stdout
    assert "good" in done.stderr


def test_measured_with_a_failure_is_done_and_nothing_measured_is_not(typed) -> None:
    assert typed("--candidate", "good", "--candidate", "broken").exit_code == 0
    nothing = typed("--candidate", "broken")
    assert nothing.exit_code == 4
    assert "no candidate could be measured" in nothing.stderr


@pytest.mark.parametrize(
    "words",
    [("--candidate", "gooood"), ("--rows", "0"), ("--report", "report.pdf"), ("--shots", "many"), ("--split", "none")],
)
def test_wrong_input_is_refused_with_a_message(typed, words) -> None:
    done = typed("--candidate", "good", *words)
    assert done.exit_code == 2
    assert "rror" in done.stderr


def test_a_report_that_cannot_be_written_is_said_so(typed, workspace) -> None:
    (workspace / "file").write_text("")
    done = typed("--candidate", "good", "--report", str(workspace / "file" / "report.html"))
    assert done.exit_code == 4
    assert "cannot be written" in done.stderr

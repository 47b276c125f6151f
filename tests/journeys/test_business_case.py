"""The business case of a workspace: the verdict on top, every figure with its source, three files of the same."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from migrating import filled, migrated, write
from migrating import folder as migrating

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
sys.path.insert(0, str(Path(__file__).parents[1] / "price"))
from live_workspace import folder
from recomputed import Recomputed

from insource.cli.main import main
from insource.journeys.business import business
from insource.journeys.price import Asked
from insource.settings import load_settings, load_task
from insource.store import Store

TODAY = "2026-11-27"


def cased(root, *lines):
    """The case of the workspace, with more lines in its task's file."""
    path = root / "tasks" / "tickets.toml"
    path.write_text(path.read_text() + "\n" + "\n".join(lines))
    return asyncio.run(_case(root))


async def _case(root):
    settings = load_settings(root)
    async with await Store.open(settings) as store:
        return await business(load_task(settings, "tickets"), settings, store, Asked(), TODAY)


def told(found):
    every = [*found.inputs, *(one for section in found.sections for one in section.figures)]
    return {one.key: one for one in every}


def test_of_a_task_of_which_nothing_is_known_every_input_is_assumed_listed_or_missing(tmp_path):
    folder(tmp_path)
    found = cased(tmp_path)
    kinds = {one.how for one in found.inputs}
    assert kinds == {"assumed", "listed", "missing"}
    assert found.verdict == ""
    assert found.lines[0].startswith("No verdict: insource migrate tickets has not come to its end")
    assert found.sections[0].finding.startswith("Nobody says who does it today")
    assert "not declared" in found.sections[2].finding
    assert found.sections[3].finding.startswith("Missing:")
    assert found.pilot.finding.startswith("Missing: [acceptance]")
    assert [one.words for one in found.governance if one.name == "owner"] == ["missing"]
    assert [stage.state for stage in found.stages] == ["here", "ahead", "ahead", "ahead", "ahead"]


def test_a_salary_that_the_company_declares_is_not_said_to_be_the_tasks(tmp_path):
    folder(tmp_path)
    with (tmp_path / "insource.toml").open("a") as file:
        file.write("\n[price]\nsalary_usd = 120000\n")
    salary = told(cased(tmp_path, "[price]", "calls_per_day = 1000", "[price.effort]", "fte = 0.25"))["salary"]
    assert (salary.value, salary.how, salary.of) == (120_000, "declared", "[price] salary_usd in insource.toml")


def test_what_the_files_say_is_declared_by_its_owner_in_a_file_and_under_a_key(tmp_path):
    folder(tmp_path)
    path = tmp_path / "tasks" / "tickets.toml"
    path.write_text('owner = "desk@shop.example"\n' + path.read_text())
    found = cased(
        tmp_path,
        "[acceptance]", "accuracy = 0.88", "p95_ms = 250",
        "[rollout]", "canary = [20, 100]", "min_calls = 500", "staging_days = 3",
        "[price]", 'incumbent = "gpt-4o"', "human_share = 0.1", "human_share_after = 0.02", "human_minutes = 6",
        "human_usd_per_hour = 30", "wrong_today = 0.07", "wrong_usd = 4", "calls_per_day = 5000", "days = 20",
    )  # fmt: skip
    known = told(found)
    assert known["hand.minutes"].of == "tasks/tickets.toml [price] human_minutes, declared by desk@shop.example"
    assert (known["pilot.staging"].how, known["pilot.shadow"].how) == ("declared", "assumed")
    assert known["pilot.staging"].of == "tasks/tickets.toml [rollout] staging_days"
    assert known["now.hours.hand"].value == pytest.approx(5000 * 20 * 0.1 * 6 / 60)
    assert known["then.hours.hand"].value == pytest.approx(5000 * 20 * 0.02 * 6 / 60)
    assert (known["wrong.now"].how, known["wrong.now"].value) == ("declared", 0.07)
    assert known["worth"].how == "missing", "nobody measured what it would be"
    assert found.pilot.finding.startswith("20% of the traffic for 2 days and 500 calls at least. With at least 88% "
                                          "accuracy on the holdout and 95% of volume within 250 ms")  # fmt: skip
    assert (found.governance[0].name, found.governance[0].words) == ("owner", "desk@shop.example")


def test_what_nobody_says_is_left_by_hand_is_as_much_as_today(tmp_path):
    folder(tmp_path)
    known = told(cased(tmp_path, "[price]", 'incumbent = "gpt-4o"', "human_share = 0.1", "human_minutes = 6",
                       "human_usd_per_hour = 30"))  # fmt: skip
    assert known["hand.left"].value == 0.1
    assert known["hand.left"].how == "assumed"
    assert known["hours.freed"].value == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_the_verdict_stands_on_top_and_wrong_answers_are_those_of_its_report(tmp_path):
    settings = migrating(tmp_path, {"large": (40.0, 9), "cheap": (1.0, 60)}, calls=1_000_000)
    asyncio.run(filled(settings))
    assessed = asyncio.run(migrated(settings))
    assert assessed.verdict.word == "go"
    found = cased(tmp_path)
    assert found.now == "large", "what [migrate] names does it today"
    assert (found.verdict, found.first) == ("go", assessed.verdict.sentence)
    assert found.lines[0] == f"The verdict is of {assessed.created[:10]}, run {assessed.run[:12]}."
    known = told(found)
    rows = {one.name: one.score for one in assessed.entrants}
    assert known["wrong.now"].value == pytest.approx(1 - rows["large"].value)
    assert known["wrong.now"].n == rows["large"].n == 200
    assert known["wrong.then"].value == pytest.approx(1 - rows[assessed.verdict.way].value)
    assert known["wrong.now"].of.startswith(f"report {assessed.reports['sample'][:12]}, 200 rows of test")
    assert (known["wrong.less.low"].value, known["wrong.less.high"].value) == pytest.approx(
        (assessed_against(assessed).low, assessed_against(assessed).high)
    )
    assert known["worth"].how == "missing"
    assert any(key.startswith("risk.") for key in known)

    write(tmp_path, calls=100)
    path = tmp_path / "tasks" / "tickets.toml"
    path.write_text(path.read_text().replace("[price.effort]", "wrong_usd = 3\n[price.effort]"))
    low = asyncio.run(migrated(load_settings(tmp_path)))
    assert low.verdict.word == "stay"
    stays = asyncio.run(_case(tmp_path))
    assert stays.first == low.verdict.sentence
    assert stays.first.startswith("Stay with large")
    assert told(stays)["worth"].value == pytest.approx(known["wrong.less"].value * 100 * 365 / 12 * 3)
    assert told(stays)["payback"].value == -1
    path.write_text(path.read_text().replace("accuracy = 0.9", "accuracy = 0.8"))
    assert "The task's file was changed after that verdict: acceptance." in asyncio.run(_case(tmp_path)).lines


@pytest.mark.slow
def test_what_a_migration_measured_to_be_answered_alone_is_not_assumed(tmp_path):
    settings = migrating(tmp_path, {"large": (40.0, 9)}, risk="max_error = 0.05")
    path = tmp_path / "tasks" / "tickets.toml"
    asyncio.run(filled(settings))
    assessed = asyncio.run(migrated(settings))
    (own,) = [one for one in assessed.entrants if one.release]
    reviewed = told(cased(tmp_path))["reviewed"]
    assert (reviewed.value, reviewed.how) == (pytest.approx(1 - own.automatic.value), "measured")
    assert f"{own.name} answered alone" in reviewed.of
    assert reviewed.of.endswith(f"run {assessed.run[:12]}")
    path.write_text(path.read_text().replace("max_error = 0.05", "max_error = 0.01"))
    assert told(asyncio.run(_case(tmp_path)))["reviewed"].how == "assumed", "it was measured of another task"


def assessed_against(assessed):
    return next(way for way in assessed.case.ways if way.name == assessed.verdict.way).against


def test_the_command_writes_three_files_of_the_same_facts(tmp_path):
    folder(tmp_path)
    words = ["-C", str(tmp_path), "price", "tickets", "--calls-per-day", "2000000", "--case", str(tmp_path / "case")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    first = done.output.splitlines()[0]
    page, text, book = (tmp_path / "case" / f"case.{end}" for end in ("html", "md", "xlsx"))
    assert first in page.read_text()
    assert text.read_text().startswith(f"# {first[:20]}")

    again = CliRunner().invoke(main, [*words, "--json"])
    document = json.loads(again.stdout)
    assert document["first"] == first
    whole = {one["key"]: one["value"] for section in document["sections"] for one in section["figures"]}
    assert Recomputed(book.read_bytes()).told("Case", "saved in 24 months") == pytest.approx(whole["saved"])
    both = CliRunner().invoke(main, [*words, "--report", str(tmp_path / "x.html")])
    assert both.exit_code == 2

"""What a task costs, from its own records, reports and files; each figure says where it comes from."""

import asyncio
import json
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from live_workspace import folder, rows

from insource.cli.main import main
from insource.errors import Invalid, Missing
from insource.journeys import known as figures
from insource.journeys import loads
from insource.journeys.known import Facts, Seen, seen
from insource.journeys.price import Asked, price
from insource.measure.load import Load, Step
from insource.nouns import Attempt, Dataset, Decision, Prediction, Record, Risk, Task, Usage, digest, stamp
from insource.nouns.pricing import TaskPricing
from insource.settings import load_settings, load_task
from insource.store import Store

DAY = 86_400
TODAY = "2026-11-27"


def record(i, engines, *, outcome="answered", at=1_790_000_000, seconds=60.0):
    """A call that `engines` were asked: (name, tokens in, tokens out, US dollars) each."""
    attempts = tuple(
        Attempt(
            decision=Decision(engine=name, rule="task", accepted=True, reason="r", confidence=0.9),
            prediction=Prediction(text="", value={"intent": "refund"}, engine=name, confidence=0.9,
                                  usage=Usage(input_tokens=read, output_tokens=written)),
            usd=usd,
        )
        for name, read, written, usd in engines
    )  # fmt: skip
    return Record(id=f"{i:032x}", task="tickets", release="tickets@1.0.0", tenant="local", attempts=attempts,
                  outcome=outcome, input_hash="", latency_ms=5.0, usd=sum(e[3] for e in engines),
                  created=stamp(at + i * seconds))  # fmt: skip


def load(held=40.0, created="2026-11-20T10:00:00+00:00", **more):
    step = Step(rate=40, seconds=20, calls=800, answered=800, failed={}, answered_per_s=40, goodput=0.99,
                total_ms=None, first_ms=None, token_ms=None, late_ms=0)  # fmt: skip
    told = {"task": "tickets", "candidate": "tickets@1.0.0", "url": "", "split": "test", "seed": 0, "target_ms": 200.0,
            "target_of": "x", "steps": (step,), "held": held, "machine": "a box", "created": created}  # fmt: skip
    return Load(**(told | more))


def priced(root, asked=None, task="", company="", records=(), data=False):
    """The task of the workspace priced, with more lines in its two files."""
    folder(root)
    for name, lines in (("tasks/tickets.toml", task), ("insource.toml", company)):
        path = root / name
        path.write_text(path.read_text() + "\n" + lines)
    settings = load_settings(root)

    async def work():
        async with await Store.open(settings) as store:
            for one in records:
                await store.append(one)
            if data:
                await store.save_dataset(Dataset(id=digest(["r"]), task="tickets", counts={"train": 180}), rows())
            return await price(load_task(settings, "tickets"), settings, store, asked or Asked(), TODAY)

    return asyncio.run(work())


def known(found):
    return {one.name: (one.value, one.how) for one in found.known}


def test_without_anything_every_figure_is_assumed_and_says_so(tmp_path):
    found = priced(tmp_path)
    told = {one.name: one.how for one in found.known}
    assert found.created == TODAY
    assert set(told.values()) == {"assumed"}
    assert all(one.of for one in found.known)
    assert found.finding.startswith(("Low volume", "A cheap API wins"))
    assert " a month at an assumed 1,000 calls a day" in found.finding, (
        "the first line does not hide that it is a guess"
    )
    assert {"gpt-6-luna", "claude-haiku-5.5", "gemini-2.5-flash-lite"} <= {one.option for one in found.costs}
    assert any("nobody has checked" in words for words in found.warnings)


def test_records_say_how_many_calls_tokens_escalations_and_reviews_there_are(tmp_path):
    calls = []
    for i in range(200):
        first = ("tickets@1.0.0", 100, 3, 0.0)
        if i % 10 == 0:
            calls.append(record(i, [first, ("cloud", 400, 30, 0.001)], outcome="escalated", seconds=1728.0))
        else:
            calls.append(record(i, [first], outcome="review" if i % 4 == 1 else "answered", seconds=1728.0))
    found = priced(tmp_path, records=calls)
    told = known(found)
    assert told["calls a day"] == (pytest.approx(200 / (199 * 1728 / DAY)), "measured")
    assert told["input tokens of a call to an API"] == (400.0, "measured")
    assert told["output tokens of a call to an API"] == (30.0, "measured")
    assert told["escalated share"] == (0.1, "measured")
    assert told["reviewed share"] == (0.25, "measured")
    assert told["median time of a call"] == (5.0, "measured")
    assert told["tokens of a call at engines' prices"] == (pytest.approx(0.0001), "measured")
    own = found.cost(found.own)
    lines = {line.name: line.usd for line in own.lines}
    escalated = 0.1 * found.use.calls_per_month * (400 * 2 + 30 * 10) / 1e6
    assert lines["escalation"] == pytest.approx(escalated)
    assert lines["people"] == pytest.approx(0.25 * found.use.calls_per_month * 2 / 60 * 40)


def test_the_volume_that_suitability_was_told_counts_here_too(tmp_path):
    found = priced(tmp_path, task="[suitability]\ncalls_per_day = 700\n")
    assert known(found)["calls a day"] == (700.0, "declared")


def test_what_failed_was_cut_short_or_given_again_is_no_call():
    calls = [record(i, [("x", 10, 1, 0.0)]) for i in range(30)]
    more = [record(99, [("x", 9999, 1, 0.0)], outcome=outcome) for outcome in ("failed", "interrupted")]
    assert seen([*calls, *more]).n == 30
    assert seen([*calls, *more]).own == (10, 1)
    assert seen(calls[:5]).per_day is None, "too few"
    assert seen(calls).per_day is None, "half an hour is no day"
    assert seen([]).n == 0


def test_the_newest_load_test_says_what_a_machine_answers(tmp_path):
    folder(tmp_path / "a")
    settings = load_settings(tmp_path / "a")
    assert loads.newest("tickets", settings) is None
    loads.keep(load(), settings)
    loads.keep(load(held=None, created="2026-11-22T10:00:00+00:00", steps=()), settings)
    loads.keep(load(held=30.0, created="2026-11-21T10:00:00+00:00"), settings)
    assert loads.newest("tickets", settings).held == 30
    assert loads.borne(load(held=None)) == 40, "one rate that was held says as much"

    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".insource").mkdir()
    (tmp_path / "a" / ".insource" / "loads").rename(tmp_path / "b" / ".insource" / "loads")
    found = priced(tmp_path / "b", Asked(calls_per_day=4_000_000))
    assert known(found)["calls a machine answers"] == (30.0, "measured")
    own = found.cost(found.own)
    assert own.machines == 4, "46.3 a second, twice as many at the peak, at 30 a machine"
    assert own.utilisation == pytest.approx(4_000_000 / DAY / 120)


def test_what_the_files_declare_comes_before_what_is_measured(tmp_path):
    task = """
    [price]
    calls_per_day = 5000
    hours_per_day = 8
    days = 21
    peak = 1.5
    tokens = { input = 900, cached = 600, output = 40 }
    incumbent = "house-api"
    machine = "box"
    paid = "reserved"
    calls_per_s = 12
    escalated = 0.05
    escalate_to = "house-api"
    reviewed = 0.02
    reviewed_api = 0
    review_minutes = 3
    [price.effort]
    fte = 0.5
    salary_usd = 120000
    """
    company = """
    [price]
    reviewer_usd_per_hour = 30
    months = 12
    [price.apis.house-api]
    input = 3
    cached_input = 0.3
    output = 12
    [price.machines.box]
    on_demand = 2
    reserved = 1
    """
    found = priced(tmp_path, task=task, company=company, records=[record(i, [("x", 1, 1, 0.0)]) for i in range(40)])
    of_calls = {"median time of a call", "95th percentile of it", "tokens of a call at engines' prices"}
    assert {how for name, (_, how) in known(found).items() if name not in of_calls} == {"declared"}
    assert found.today == found.before == "house-api"
    assert found.months == 12
    assert found.own == "tickets on box (reserved)"
    assert found.also.startswith("gpt-6-luna in place of house-api saves ")
    per_call = (300 * 3 + 600 * 0.3 + 40 * 12) / 1e6
    assert found.cost("house-api").month_usd == pytest.approx(5000 * 21 * per_call)
    assert found.cost(found.own).month_usd == pytest.approx(
        730 + 5000 + 5000 * 21 * (0.05 * per_call + 0.02 * 3 / 60 * 30)
    )


@pytest.mark.parametrize(
    ("otherwise", "price", "escalated", "reviewed"),
    [
        (("review",), {}, (0.0, "declared"), (0.25, "measured")),
        (("cloud", "review"), {}, (0.25, "measured"), (0.05, "assumed")),
        (("review",), {"reviewed": 0.5}, (0.0, "declared"), (0.5, "declared")),
    ],
)
def test_what_a_migration_saw_not_answered_alone_goes_where_the_task_sends_it(otherwise, price, escalated, reviewed):
    task = Task(name="t", kind="classify", outputs=(), risk=Risk(max_error=0.05, otherwise=otherwise))
    facts = Facts(task=task, said=TaskPricing(**price), seen=Seen(), automatic=(0.75, "run 1"))
    found = (figures.escalated(facts), figures.reviewed(facts))
    assert [(one.value, one.how) for one in found] == [escalated, reviewed]
    calls = msgspec.structs.replace(facts, seen=Seen(n=100, escalated=10, reviewed=20, since="a", until="b"))
    assert figures.reviewed(calls).value == (0.2 if not price else 0.5), "calls say better"


@pytest.mark.parametrize(
    ("effort", "words"),
    [
        ("fte = 0.25", "has fte and no salary_usd"),
        ("rows = 500", "has rows and no usd_per_row"),
        ("training_hours = 2", "has training_hours and no training_usd_per_hour"),
    ],
)
def test_effort_without_its_price_is_no_effort_for_nothing(tmp_path, effort, words):
    with pytest.raises(Invalid, match=words):
        priced(tmp_path, task=f"[price.effort]\n{effort}")


def test_a_price_that_the_effort_of_a_task_leaves_out_is_the_companys(tmp_path):
    effort, company = "[price.effort]\nfte = 0.25\nrows = 100", "[price]\nsalary_usd = 120000\nusd_per_row = 0.5"
    found = priced(tmp_path, task=effort, company=company)
    lines = {line.name: line.usd for line in found.cost(found.own).lines}
    assert lines["engineering"] == pytest.approx(2500)
    assert lines["labelling"] == pytest.approx(50 / found.months)
    said = {one.name: (one.value, one.of) for one in found.known}
    assert said["engineer's salary"] == (120_000, "[price] salary_usd in insource.toml")
    assert said["price of a label"] == (0.5, "[price] usd_per_row in insource.toml")


def test_tokens_are_told_from_rows_where_there_are_no_calls(tmp_path):
    found = priced(tmp_path, data=True)
    (told,) = [one for one in found.known if one.name == "input tokens of a call to an API"]
    mean = sum(len(one.input) for one in rows()) / len(rows()) / 4
    assert told.how == "assumed"
    assert mean < told.value < mean + 100
    assert known(found)["rows to label"] == (0.0, "measured")


def test_engines_of_the_workspace_with_a_price_stand_in_the_table(tmp_path):
    company = '[engines.paid]\nkind = "scripted"\nscript = "hub.jsonl"\nusd_per_million_output = 7\n'
    found = priced(tmp_path, company=company)
    assert (found.today, found.created) == ("", TODAY), "that it has a price does not say that it answers today"
    assert found.cost("paid").month_usd > 0


def test_people_who_do_it_today_stand_in_the_table(tmp_path):
    found = priced(
        tmp_path, task="[price]\ncalls_per_day = 400\nhuman_minutes = 6\nhuman_usd_per_hour = 30\ndays = 20\n"
    )
    assert found.today == found.before == "people, no model"
    assert found.cost("people, no model").month_usd == pytest.approx(400 * 20 * 3)


def test_what_no_table_has_is_missing_and_what_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(Missing, match="no API 'gpt-9'") as raised:
        priced(tmp_path / "a", Asked(apis=("gpt-9",)))
    assert "gpt-6-luna" in raised.value.hint
    with pytest.raises(Missing, match="no machine"):
        priced(tmp_path / "b", Asked(machines=("mainframe",)))
    with pytest.raises(Invalid, match="month must be"):
        priced(tmp_path / "d", company='[price.apis.x]\ninput = 1\noutput = 1\nchecked = "2026-13-01"')
    with pytest.raises(Invalid, match="cached tokens"):
        priced(tmp_path / "c", task="[price]\ntokens = { input = 1, cached = 2 }")


def test_the_command_says_the_finding_first_and_writes_the_page(tmp_path):
    folder(tmp_path)
    page = tmp_path / "price.html"
    words = ["-C", str(tmp_path), "price", "tickets", "--calls-per-day", "2000000", "--api", "gpt-4o"]
    done = CliRunner().invoke(main, [*words, "--report", str(page)])
    assert done.exit_code == 0, done.output
    first, *rest = done.output.splitlines()
    assert first.startswith(("Low volume", "A cheap API wins", "Owned is cheaper"))
    assert rest[0].startswith("! "), "what is to be doubted comes next"
    assert any("gpt-4o" in line and "2027-01-14" in line for line in rest)
    assert first in page.read_text()

    told = CliRunner().invoke(main, [*words, "--json"])
    assert json.loads(told.stdout)["finding"] + "." == first
    wrong = CliRunner().invoke(main, [*words, "--report", str(tmp_path / "price.pdf")])
    assert wrong.exit_code == 2


def test_the_same_state_says_the_same(tmp_path):
    calls = [record(i, [("x", 20, 2, 0.0)], seconds=7200.0) for i in range(60)]
    first, second = priced(tmp_path / "a", records=calls), priced(tmp_path / "b", records=calls)
    assert msgspec.json.encode(first) == msgspec.json.encode(second)

"""Answers before people: blind, shuffled, read back to the row, and no cell is a formula."""

import csv
import io
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from measure_rows import answered, said
from playwright.sync_api import sync_playwright
from test_render import Page

from insource.cli.main import main
from insource.errors import Invalid
from insource.measure.rating import Ratings, lay_out, rated
from insource.measure.rating_files import as_csv, as_html, plain, read_back
from insource.measure.render import html
from insource.measure.report import About, Contender, assemble
from insource.measure.run import Answered, Run
from insource.nouns import Example, Task
from insource.settings import load_settings

TASK = Task(name="replies", kind="generate")


def rows(words: str, count: int = 30) -> list[Answered]:
    made = [
        Example(id=f"r{i}", task="replies", input=f"question {i}", target={"text": f"wanted {i}"}) for i in range(count)
    ]
    return [Answered(i, row, said({"text": f"{words} {i}"})) for i, row in enumerate(made)]


RUNS = {"big": rows("a long answer"), "small": rows("short")}


def made(runs=RUNS):
    contenders = [Contender(name, "remote", lambda: None) for name in runs]
    return assemble(TASK, contenders, {n: Run(tuple(r), (1.0,), 1.0) for n, r in runs.items()}, {}, About("d", "test"))


def sheet(scale="marks", runs=RUNS, seed="s"):
    return lay_out(TASK, "report", runs, scale, seed)


def marks(key, give) -> dict[str, str]:
    """`give(candidate)` is what a rater says of each line."""
    return {number: give(item.candidates[0]) for number, item in key.items.items()}


def test_a_line_does_not_say_whose_answer_it_is_and_the_order_is_drawn():
    key, lines = sheet()
    assert len(lines) == 60
    for text in (as_csv(key, lines), as_html(key, lines)):
        body = text.partition("</style>")[2] or text
        assert "big" not in body
        assert "small" not in body
        assert "r17" not in body, "the row's name would tell"
    first = Counter(key.items[line.item].candidates[0] for line in lines[::2])
    assert 5 < first["big"] < 25
    assert [line.input for line in lines] != sorted(line.input for line in lines)
    again, _ = sheet(seed="another")
    assert again.items != key.items
    assert again.sheet != key.sheet


def test_each_line_leads_back_to_its_row_and_its_candidate():
    for scale in ("marks", "pairs"):
        key, lines = sheet(scale)
        for line in lines:
            item = key.items[line.item]
            number = item.row[1:]
            assert line.input == f"question {number}"
            assert line.answers == tuple(
                f"{'a long answer' if n == 'big' else 'short'} {number}" for n in item.candidates
            )


def test_what_two_answered_alike_is_rated_once_and_counts_for_both():
    runs = {"big": rows("the same", 4), "small": rows("the same", 4)}
    key, lines = sheet(runs=runs)
    assert len(lines) == 4
    report = rated(made(runs), key, [Ratings("ann", dict.fromkeys(key.items, "4"))])
    assert [one.score("rating").value for one in report.candidates] == [4.0, 4.0]
    assert report.pairs[-1].difference == 0.0


def test_marks_become_means_with_intervals_and_the_pair_says_who_is_better():
    key, _ = sheet()
    chance = random.Random(3)  # noqa: S311 - raters of a test
    people = [
        Ratings(name, marks(key, lambda who: chance.choice("45" if who == "big" else "23"))) for name in ("ann", "ben")
    ]
    report = rated(made(), key, people)
    big, small = (one.score("rating") for one in report.candidates)
    assert big.n == small.n == 30, "a row rated twice is one row"
    assert 4.2 <= big.low <= big.value <= big.high <= 5
    assert report.candidates[0].score("rated_good").value == 1.0
    pair = report.pairs[-1]
    assert (pair.metric, pair.a, pair.b) == ("rating", "big", "small")
    assert pair.low > 1
    assert report.summary[0].startswith("2 people rated blindly, marks from 1 to 5: big 4.")
    assert "a difference that these rows show" in report.summary[1]
    assert "kappa" in report.summary[2]
    assert report.id != made().id


def test_the_better_of_two_is_told_whichever_stood_first():
    key, _ = sheet("pairs")
    words = {number: "better" if item.candidates[0] == "big" else "worse" for number, item in key.items.items()}
    for number in list(words)[:6]:
        words[number] = "same"
    report = rated(made(), key, [Ratings("ann", words)])
    assert [one.score("preferred").value for one in report.candidates] == [0.8, 0.0]
    pair = report.pairs[-1]
    assert (pair.metric, pair.difference, pair.a_only, pair.b_only, pair.n) == ("preferred", 0.8, 24, 0, 30)
    assert pair.low > 0.5
    with pytest.raises(Invalid, match="two candidates, not of 1"):
        sheet("pairs", {"big": RUNS["big"]})


def test_the_interval_of_a_mean_mark_holds_what_it_says():
    """Marks drawn from a known law: the true mean is within about 95 times in 100."""
    chance, within = random.Random(5), 0  # noqa: S311 - a simulation
    key, _ = sheet(runs={"big": RUNS["big"]})
    for _ in range(100):
        report = rated(
            made({"big": RUNS["big"]}), key, [Ratings("a", {item: chance.choice("12345") for item in key.items})]
        )
        score = report.candidates[0].score("rating")
        within += score.low <= 3.0 <= score.high
    assert within >= 89


def test_rows_that_are_all_alike_prove_no_more_than_their_number():
    key, _ = sheet(runs={"big": RUNS["big"][:8]})
    report = rated(made({"big": RUNS["big"]}), key, [Ratings("a", dict.fromkeys(key.items, "4"))])
    score = report.candidates[0].score("rating")
    assert score.value == 4.0
    assert score.low < 3.8
    assert score.high > 4.2


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_is_a_formula_and_each_comes_back(text):
    assert plain(text) == f"'{text}"
    runs = {"big": [answered(0, {"text": text}, {"text": text}, text=text or "x")]}
    key, lines = lay_out(TASK, "report", runs, "marks", "s")
    cells = [cell for row in csv.reader(io.StringIO(as_csv(key, lines), newline="")) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


def filled(path: Path, key, lines, rating, **more) -> Path:
    """A sheet as somebody filled it in."""
    rows = list(csv.DictReader(io.StringIO(as_csv(key, lines), newline="")))
    for row in rows:
        row.update(rating=rating, **more)
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, rows[0].keys(), delimiter=more.get("delimiter", ","))
        out.writeheader()
        out.writerows(rows)
    return path


def test_a_filled_sheet_is_read_with_its_raters_and_blanks_are_left_out(tmp_path):
    key, lines = sheet()
    assert read_back(filled(tmp_path / "ann.csv", key, lines, " ")) == (key.sheet, [])
    name, found = read_back(filled(tmp_path / "ann.csv", key, lines, "4.0"))
    assert name == key.sheet
    assert [(one.rater, set(one.said.values())) for one in found] == [("ann", {"4"})]
    _, found = read_back(filled(tmp_path / "x.csv", key, lines, "Better", rater="ben"))
    assert [(one.rater, set(one.said.values())) for one in found] == [("ben", {"better"})]
    semicolons = tmp_path / "s.csv"
    semicolons.write_text("sheet;item;rating\nabc;1;5\n", "utf-8-sig")
    assert read_back(semicolons) == ("abc", [Ratings("s", {"1": "5"})])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("item,rating\n1,5\n", "no column sheet"),
        ("sheet,item,rating\nabc,1,5\nxyz,2,5\n", "2 sheets"),
        ("sheet,item,rating\nabc,1,5\nabc,1,4\n", "line 3: item 1 is rated twice"),
        ("", "no column"),
        ("sheet,item,rating\n", "0 sheets"),
        ('sheet,item,rating\n"abc,1,5\n', "no CSV"),
    ],
)
def test_what_is_no_filled_sheet_is_refused_with_its_place(tmp_path, text, fault):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(Invalid, match=fault):
        read_back(path)


def test_a_long_document_comes_back_in_its_sheet(tmp_path):
    """Longer than the 131,072 letters that Python's parser takes unless it is told."""
    key, lines = sheet(runs={"big": rows("word " * 60_000, 1), "small": rows("short", 1)})
    file = tmp_path / "a.csv"
    file.write_text(as_csv(key, lines).replace(",,\r\n", ",4,ann\r\n"), newline="")
    _, (one,) = read_back(file)
    assert one.said == dict.fromkeys(key.items, "4")
    assert csv.field_size_limit() == 131_072


@pytest.mark.parametrize("name", ["\x1b]0;x\x07", "a\u202eb", "n" * 101])
def test_a_rater_whose_name_steers_a_terminal_is_none(tmp_path, name):
    key, lines = sheet()
    with pytest.raises(Invalid, match="no name of a person") as told:
        read_back(filled(tmp_path / "a.csv", key, lines, lambda line: "4", rater=name))
    assert str(told.value).isprintable()


def test_the_page_of_a_sheet_stands_alone_and_no_text_of_it_is_run():
    hostile = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>'
    runs = {"big": [answered(0, {"text": hostile}, {"text": hostile}, text=hostile)]}
    page = as_html(*lay_out(TASK, "report", runs, "marks", "s"))
    found = Page(page)
    assert not found.links
    assert found.count("script") == 1
    assert found.count("img") == 0
    assert "default-src 'none'" in page


@pytest.mark.slow
def test_a_browser_saves_what_was_rated_and_keeps_it_meanwhile(tmp_path):
    key, lines = sheet("pairs")
    (tmp_path / "sheet.html").write_text(as_html(key, lines))
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path="/usr/bin/chromium")
        page = browser.new_page(viewport={"width": 360, "height": 800})
        page.goto(f"file://{tmp_path}/sheet.html")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.check('input[name="3"][value="worse"]')
        page.focus('input[name="5"][value="better"]')
        page.keyboard.press("Space")
        page.reload()
        assert page.inner_text("#count") == "2 of 30 rated"
        page.fill("#rater", '=ann "x"')
        with page.expect_download() as saved:
            page.click("button")
        saved.value.save_as(tmp_path / "saved.csv")
        browser.close()
    assert read_back(tmp_path / "saved.csv") == (key.sheet, [Ratings("ann  x", {"3": "worse", "5": "better"})])


def test_the_report_shows_what_people_said_beside_its_intervals():
    key, _ = sheet()
    people = [Ratings(name, marks(key, lambda who: "5" if who == "big" else "2")) for name in ("ann", "ben")]
    page = html(rated(made(), key, people), TASK)
    assert not Page(page).faults
    part = page[page.index('id="people"') : page.index('id="scores"')]
    assert "5.00" in part
    assert "● better" in part
    assert "ann rated 60 lines" in part


SCRIPTS = """[engines.big]
kind = "scripted"
script = "big.jsonl"
region = "premises"
[engines.small]
kind = "scripted"
script = "small.jsonl"
region = "premises"
"""


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "insource.toml").write_text(SCRIPTS)
    (tmp_path / "tasks" / "replies.toml").write_text('name = "replies"\nkind = "generate"\n')
    for name in ("big", "small"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"value": {"text": f"{name} answer"}}) + "\n")
    lines = [json.dumps({"text": f"question {i}", "answer": f"wanted {i}"}) for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    words = ("collect", "replies", str(tmp_path / "rows.jsonl"), "--input", "text", "--target", "answer")
    assert insource(tmp_path, *words).exit_code == 0
    return tmp_path


def insource(root: Path, *words: str):
    return CliRunner().invoke(main, ["-C", str(root), *words])


def test_from_the_terminal_to_people_and_back(workspace):
    ask = ("measure", "replies", "--candidate", "big", "--candidate", "small", "--split", "train", "--rows", "5")
    out = workspace / "sheet.csv"
    done = insource(workspace, *ask, "--rating-sheet", str(out), "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["split"] == "train, rated"
    rows = list(csv.DictReader(out.open(newline="")))
    assert len(rows) == 10
    for row in rows:
        row["rating"] = "5" if row["answer"] == "big answer" else "1"
    with (workspace / "ann.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    done = insource(workspace, "measure", "replies", "--ratings", str(workspace / "ann.csv"), "--json")
    assert done.exit_code == 0, done.output
    judged = json.loads(done.stdout)
    assert judged["id"] != report["id"]
    plain = insource(workspace, "status", "replies", "--json").stdout
    assert report["id"] not in plain
    assert judged["id"] not in plain
    assert judged["summary"][0].startswith("1 person rated blindly")
    said_of = {one["candidate"]: {s["metric"]: s["value"] for s in one["scores"]} for one in judged["candidates"]}
    assert (said_of["big"]["rating"], said_of["small"]["rating"]) == (5.0, 1.0)
    key = next((load_settings(workspace).state / "ratings" / "replies").glob("*.json")).read_text()
    assert "answer" not in key
    assert "question" not in key


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--rating-sheet", "s.xlsx"), "a rating sheet is a .csv or an .html"),
        (("--rating-sheet", "s.csv", "--adversarial"), "two measurements"),
        (("--scale", "pairs"), "--scale is about a rating sheet"),
        (("--ratings", "nothing.csv"), "cannot be read"),
    ],
)
def test_what_cannot_be_rated_is_refused(workspace, words, fault):
    done = insource(workspace, "measure", "replies", "--split", "train", *words)
    assert done.exit_code == 2
    assert fault in done.output


def test_a_sheet_of_elsewhere_and_a_word_of_no_scale_are_refused(workspace):
    other = workspace / "other.csv"
    other.write_text("sheet,item,rating\nffff,1,5\n")
    assert "has no rating sheet 'ffff'" in insource(workspace, "measure", "replies", "--ratings", str(other)).output
    outside = workspace / "outside.csv"
    outside.write_text("sheet,item,rating\n../../x,1,5\n")
    assert "has no rating sheet" in insource(workspace, "measure", "replies", "--ratings", str(outside)).output
    out = workspace / "s.csv"
    ask = ("measure", "replies", "--candidate", "big", "--split", "train", "--rows", "2", "--rating-sheet", str(out))
    assert insource(workspace, *ask).exit_code == 0
    name = next(csv.DictReader(out.open(newline="")))["sheet"]
    for item, rating, fault in (("1", "6", "is no rating"), ("99", "5", "has no item")):
        other.write_text(f"sheet,item,rating\n{name},{item},{rating}\n")
        assert fault in insource(workspace, "measure", "replies", "--ratings", str(other)).output


def test_nothing_rated_is_said():
    key, _ = sheet()
    with pytest.raises(Invalid, match="no line of the sheet is rated"):
        rated(made(), key, [Ratings("ann", {})])

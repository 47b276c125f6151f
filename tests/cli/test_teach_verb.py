"""`insource collect --unlabelled` and `insource teach`: what is printed, as JSON and in words, and how they end."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "journeys"))
from teaching import PAID, SCRIPTED, place, right_label, right_script, script, text

from insource.cli.main import main

BOTH = [SCRIPTED.format(name=name, region="premises") for name in ("large", "other")]


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A workspace with a pool of thirty inputs, as the folder that one stands in."""
    place(tmp_path, *BOTH)
    right_script(tmp_path, "large")
    right_script(tmp_path, "other", '{"match": "money", "value": {"intent": "cancel"}, "confidence": 0.7}')
    (tmp_path / "pool.jsonl").write_text(
        "".join(json.dumps({"messages": [{"role": "user", "content": text(n)}]}) + "\n" for n in range(30))
        + '{"messages": []}\n'
        + json.dumps({"messages": [{"role": "user", "content": text(3).upper()}]}) + "\n"
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*words, ends=0):
    done = CliRunner().invoke(main, [*words])
    assert done.exit_code == ends, done.output
    return done


def as_json(*words, ends=0):
    return json.loads(said("--json", *words, ends=ends).stdout)


def test_inputs_come_in_once_each_with_where_they_are_from(room):
    found = as_json("collect", "tickets", "pool.jsonl", "--unlabelled")
    assert (found["total"], found["labelled"]) == (30, 0)
    assert found["rows"] == {"read": 32, "kept": 30, "rejected": 1, "duplicates": 1, "removed": 0, "elsewhere": 0}
    assert (room / found["rejects"]).read_text().count("no user message") == 1
    again = as_json("collect", "tickets", "pool.jsonl", "--unlabelled")
    assert (again["pool"], again["rows"]["kept"], again["rows"]["duplicates"]) == (found["pool"], 0, 31)
    (room / "more.csv").write_text("said,other\nsomething new,1\n")
    assert "has no column called input" in said("collect", "tickets", "more.csv", "--unlabelled", ends=2).stderr
    assert as_json("collect", "tickets", "more.csv", "--unlabelled", "--input", "said")["total"] == 31
    assert as_json("collect", "tickets", "more.csv", "--unlabelled", "--input", "said", "--replace")["total"] == 1
    assert (
        "no column 'sayd'" in said("collect", "tickets", "more.csv", "--unlabelled", "--input", "sayd", ends=2).stderr
    )


def test_the_plan_the_labels_the_history_and_the_way_back(room):
    said("collect", "tickets", "pool.jsonl", "--unlabelled")
    plan = as_json("teach", "tickets", "--teacher", "large", "--second", "other", "--plan")
    assert (plan["rows"], plan["seconds"], plan["usd_most"]) == (30, 3, 0.0)
    done = said("teach", "tickets", "--teacher", "large", "--second", "other", "--second-share", "1", "--yes")
    assert "tickets: 20 labels, 10 disputed: a person decides" in done.stdout
    assert "33.3% differ (17.3% to 52.8%, n 30)" in done.stdout
    assert "next: insource review tickets" in done.stdout
    shown = as_json("teach", "tickets", "--show")
    assert [(one["engine"], one["part"]) for one in shown["teachings"]] == [("large", "teacher"), ("other", "second")]
    assert len(shown["lessons"]) == 60
    assert text(0) not in json.dumps(shown)
    words = said("teach", "tickets", "--show").stdout
    assert "second opinions: 33.3% differ" in words
    assert as_json("teach", "tickets", "--withdraw", "large")["rows"]["train"] > 10
    assert as_json("teach", "tickets", "--show")["teachings"][0]["became"] == {"withdrawn": 20, "disputed": 10}
    assert "taught tickets nothing" in said("teach", "tickets", "--withdraw", "nobody", ends=2).stderr


def test_nobody_is_asked_without_a_yes(room):
    said("collect", "tickets", "pool.jsonl", "--unlabelled")
    done = said("teach", "tickets", "--teacher", "large", ends=2)
    assert "nobody is there to say yes" in done.stderr
    assert "the plan" in done.stderr
    assert "who is to teach?" in said("teach", "tickets", ends=2).stderr
    assert as_json("teach", "tickets", "--show")["lessons"] == []
    assert "nobody taught it yet" in said("teach", "tickets", "--show").stdout


def test_money_wants_a_budget_and_a_server_that_is_down_ends_with_4(room, monkeypatch):
    from insource.journeys import asking

    monkeypatch.setattr(asking, "PAUSE_S", 0.001)
    config = room / "insource.toml"
    config.write_text(config.read_text() + PAID.format(name="paid", url="http://127.0.0.1:9/v1", more=""))
    said("collect", "tickets", "pool.jsonl", "--unlabelled")
    assert "--budget USD" in said("teach", "tickets", "--teacher", "paid", "--yes", ends=2).stderr
    plan = as_json("teach", "tickets", "--teacher", "paid", "--plan")
    assert 0 < plan["usd"] < plan["usd_most"]
    found = as_json("teach", "tickets", "--teacher", "paid", "--budget", "2", "--yes", ends=4)
    assert found["stopped"].startswith("paid failed 40 times in a row")
    assert 0 < found["usd"] <= 2
    found = as_json("teach", "tickets", "--teacher", "paid", "--budget", "0.001", "--yes")
    assert found["stopped"] == "the budget is used up"
    assert "the budget is used up; with a larger --budget the same command goes on" in said(
        "teach", "tickets", "--teacher", "paid", "--budget", "0.001", "--yes").stdout  # fmt: skip


def test_what_others_say_later_outdoes_a_teacher(room):
    script(room, "large", '{"match": "*", "value": {"intent": "status"}, "confidence": 0.9}')
    said("collect", "tickets", "pool.jsonl", "--unlabelled")
    taught = as_json("teach", "tickets", "--teacher", "large", "--yes")
    assert sum(taught["joined"].values()) == 30
    (room / "people.csv").write_text("text,intent\n" + "".join(f"{text(n)},{right_label(n)}\n" for n in range(12)))
    found = as_json("collect", "tickets", "people.csv", "--split", "test")
    assert found["rows"] == {"read": 12, "kept": 12, "rejected": 0, "duplicates": 0, "removed": 0, "elsewhere": 0}
    assert found["splits"]["test"] == 12
    assert sum(found["splits"].values()) == 30
    assert "12 labels of teachers gave way to those of these files" in found["notes"]
    assert [one for one in found["findings"] if one["kind"] == "contradictions"] == []


@pytest.mark.parametrize(
    "words",
    [
        *[("teach", "tickets", "--teacher", "large", "--yes", option, value)
          for option in ("--budget", "--sure", "--second-share") for value in ("nan", "inf", "-1")],
        ("price", "tickets", "--calls-per-day", "nan"),
        ("measure", "tickets", "--load", "--target-ms", "inf"),
        ("keys", "create", "desk", "--usd-per-day", "nan"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_no_amount_is_wrong_input_and_nobody_is_asked(room, words):
    assert said(*words, ends=2).stderr.splitlines()[-1].startswith("Error: Invalid value for '--")
    assert as_json("teach", "tickets", "--show")["lessons"] == []


def test_a_teacher_that_does_not_compute_here_is_not_asked_on_a_cluster(room):
    assert CliRunner().invoke(main, ["collect", "tickets", "pool.jsonl", "--unlabelled"]).exit_code == 0
    ended = CliRunner().invoke(main, ["teach", "tickets", "--teacher", "large", "--ray", "10.0.0.7:6379", "--yes"])
    assert ended.exit_code == 2
    assert "kind embedded" in ended.stderr

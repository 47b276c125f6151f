"""`insource batch` at the terminal: exit codes, words and JSON."""

import asyncio
import csv
import json

import pytest
from live_workspace import folder, go_live, release
from test_verbs import insource

from insource.store import Store


@pytest.fixture
def live(tmp_path):
    root = tmp_path / "w"
    settings = folder(root)

    async def make():
        async with await Store.open(settings) as store:
            made = await release(settings, store)
            await go_live(store, made.name)

    asyncio.run(make())
    return root


def answered(live, *words: str, code: int = 0) -> dict:
    done = insource(live, "batch", "tickets", *words, "--json")
    assert done.returncode == code, done.stderr.decode()
    return json.loads(done.stdout)


def test_a_table_in_and_a_table_out_and_nothing_is_asked_twice(live, tmp_path):
    source = tmp_path / "mails.csv"
    source.write_text("nr,text\n1,money back please\n2,track the parcel\n3,\n")
    words = (str(source), "--input", "text", "--id", "nr", "--out")
    first = answered(live, *words, str(tmp_path / "out.csv"))
    assert (first["rows"], first["answered"], first["bad"], first["reused"]) == (3, 2, 1, 0)
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["output.intent"] for row in csv.DictReader(file)] == ["refund", "status"]
    assert answered(live, *words, str(tmp_path / "other.jsonl"))["reused"] == 2
    (live / "tasks" / "tickets.toml").write_text(
        (live / "tasks" / "tickets.toml").read_text().replace("threshold = 0.5", "threshold = 0.51")
    )
    assert answered(live, *words, str(tmp_path / "out.csv"))["reused"] == 0


def test_another_model_behind_a_name_that_is_asked_answers_anew_and_nothing_else_of_the_engines(live, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": 1, "input": "money back please"}\n')
    words, file = (str(source), "--out", str(tmp_path / "out.jsonl")), live / "insource.toml"
    cloud = '[engines.cloud]\nkind = "vllm"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\nregion = "premises"\n'
    other = '[engines.other]\nkind = "scripted"\nscript = "hub.jsonl"\n'
    reused = []
    for said in (cloud, cloud + "timeout_s = 7\nusd_per_million_output = 2\n" + other, cloud.replace('"m"', '"n"')):
        file.write_text(said)
        reused.append(answered(live, *words)["reused"])
    assert reused == [0, 1, 0]


def test_a_limit_ends_it_with_4_and_says_how_to_go_on(live, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"id": i, "input": f"track the parcel {i}"}) + "\n" for i in range(300)))
    words = ("batch", "tickets", str(source), "--out", str(tmp_path / "out.jsonl"))
    stopped = insource(live, *words, "--max-minutes", "0")
    assert stopped.returncode == 4, stopped.stderr.decode()
    assert "the time is over" in stopped.stdout.decode()
    assert "the same command goes on" in stopped.stdout.decode()
    assert not (tmp_path / "out.jsonl").exists()
    assert answered(live, *words[2:])["rows"] == 300


def test_what_is_missing_or_wrong_ends_with_2(live, tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("a,b\n1,2\n")
    for words, said in (
        ((), "--out OUT"),
        ((str(source),), "--out OUT"),
        ((str(source), "--out", str(tmp_path / "o.jsonl")), "no column 'input'"),
        ((str(source), "--out", str(tmp_path / "o.jsonl"), "--max-usd", "nan"), "nan"),
        ((str(tmp_path / "none.csv"), "--out", str(tmp_path / "o.jsonl")), "cannot be read"),
    ):
        done = insource(live, "batch", "tickets", *words)
        assert done.returncode == 2, done.stderr.decode()
        assert said in done.stderr.decode()


def test_what_was_given_up_is_listed_and_tried_again(live):
    assert answered(live, "--dead") == {"task": "tickets", "dead": [], "retried": 0}
    assert answered(live, "--retry") == {"task": "tickets", "dead": [], "retried": 0}
    assert "0 documents of tickets given up" in insource(live, "batch", "tickets", "--dead").stdout.decode()
    assert insource(live, "batch", "nobody", "--dead").returncode == 2

"""The verbs of serving, typed into a shell, on a live linear release."""

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import httpx2 as httpx
import pytest
from click.testing import CliRunner
from live_workspace import folder, go_live, release
from serving import say

from insource.cli.main import main
from insource.store import Store


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("workspace") / "w"
    settings = folder(root)

    async def make():
        async with await Store.open(settings) as store:
            made = await release(settings, store)
            await go_live(store, made.name)

    asyncio.run(make())
    return root


class Done(NamedTuple):
    returncode: int
    stdout: bytes
    stderr: bytes


def insource(root: Path, *words: str, text: bytes = b"") -> Done:
    """The verb in this process, as the shell would see it; only `serve` needs one of its own."""
    done = CliRunner().invoke(main, ["-C", str(root), *words], input=text)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Done(done.exit_code, done.stdout_bytes, done.stderr_bytes)


def test_answer_gives_the_label_and_explains_the_decision(live):
    done = insource(live, "answer", "tickets", "--input", "please give my money back")
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "refund"
    assert "1. tickets@1.0.0: confidence" in done.stdout.decode()
    assert "cloud is in us" in done.stdout.decode()


def test_answer_as_json_is_one_document_and_a_doubt_ends_with_0(live):
    sure = json.loads(insource(live, "answer", "tickets", "--input", "-", "--json", text=b"track the parcel\n").stdout)
    assert list(sure) == ["id", "output", "confidence", "decision", "release", "record", "tier", "reason", "error"]
    assert (sure["output"], sure["decision"], sure["error"]) == ({"intent": "status"}, "answered", None)
    doubt = insource(live, "answer", "tickets@1.0.0", "--json", text=b"qqq")
    assert doubt.returncode == 0
    assert json.loads(doubt.stdout)["decision"] == "review"


def test_review_lists_and_settles_and_refuses_what_does_not_fit(live):
    record = json.loads(insource(live, "answer", "tickets", "--input", "zzzz", "--json").stdout)["record"]
    listed = json.loads(insource(live, "review", "tickets", "--json").stdout)
    assert record in [row["record"] for row in listed["pending"]]
    assert (
        insource(live, "review", "tickets", "--settle", record, "--verdict", "wrong", "--correct", "bogus").returncode
        == 2
    )
    settled = insource(
        live, "review", "tickets", "--settle", record, "--correct", "cancel", "--note", "read it", "--json"
    )
    proposed = next(row for row in listed["pending"] if row["record"] == record)["value"]["intent"]
    if proposed == "cancel":
        assert settled.returncode == 2
        settled = insource(live, "review", "tickets", "--settle", record, "--verdict", "right", "--json")
    assert settled.returncode == 0, settled.stderr.decode()
    assert json.loads(settled.stdout)["record"] == record
    again = insource(live, "review", "tickets", "--settle", record, "--verdict", "unsure")
    assert again.returncode == 2
    assert "settled already" in again.stderr.decode()
    assert record not in insource(live, "review", "tickets").stdout.decode()


def test_batch_answers_a_file_and_says_what_came_of_it(live, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "input": "money back please"}\nnonsense\n{"id": "b", "input": "track the parcel"}\n')
    done = insource(live, "batch", "tickets", str(source), "--out", str(tmp_path / "out.jsonl"), "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) | {"out": ""} == {
        "task": "tickets", "out": "", "rows": 3, "reused": 0, "answered": 2, "review": 0, "bad": 1, "failed": 0,
    }  # fmt: skip
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["output"] for row in out] == [{"intent": "refund"}, None, {"intent": "status"}]


def test_store_backs_up_and_restores(live, tmp_path):
    file = tmp_path / "b.tar"
    assert insource(live, "store", "backup", str(file)).returncode == 0
    settings = folder(tmp_path / "other")
    assert insource(settings.root, "store", "restore", str(file)).returncode == 0
    assert insource(settings.root, "answer", "tickets", "--input", "money back").stdout.decode().startswith("refund")
    assert insource(settings.root, "store", "restore", str(file)).returncode == 2
    assert insource(settings.root, "store", "migrate", "--json").returncode == 0


@contextlib.contextmanager
def serving(root: Path, *words: str):
    process = subprocess.Popen(
        [sys.executable, "-m", "insource", "-C", str(root), "serve", "--port", "0", "--json", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()


def test_serve_answers_follows_promotions_and_ends_in_order(live, tmp_path):
    (tmp_path / "b.tar").unlink(missing_ok=True)
    insource(live, "store", "backup", str(tmp_path / "b.tar"))
    settings = folder(tmp_path / "w")
    insource(settings.root, "store", "restore", str(tmp_path / "b.tar"))
    with serving(settings.root) as (process, url), httpx.Client(base_url=url, timeout=30) as http:
        answer = http.post("/v1/chat/completions", json=say("money back please"))
        assert answer.json()["choices"][0]["message"]["content"] == "refund"
        assert answer.headers["x-insource-release"] == "tickets@1.0.0"
        assert http.get("/readyz").status_code == 200
        ids = {model["id"] for model in http.get("/v1/models").json()["data"]}
        assert ids == {"tickets", "tickets@1.0.0", "hub", "cloud"}
        assert http.post("/v1/chat/completions", json=say("x", model="tickets@1.0.0")).status_code == 200

        async def promote():
            async with await Store.open(settings) as store:
                made = await release(settings, store)
                refused = await asyncio.to_thread(http.post, "/v1/chat/completions", json=say("x", model=made.name))
                assert refused.status_code == 409, refused.text
                await go_live(store, made.name, retire="tickets@1.0.0")
                assert (await asyncio.to_thread(http.get, "/readyz")).status_code in (200, 503)
                return made.name

        name = asyncio.run(promote())
        for _ in range(200):
            answer = http.post("/v1/chat/completions", json=say("money back please"))
            assert answer.status_code == 200
            if answer.headers["x-insource-release"] == name:
                break
            time.sleep(0.05)
        assert answer.headers["x-insource-release"] == name
        assert http.get("/readyz").status_code == 200
        http.close()
        process.send_signal(signal.SIGTERM)
        _, words = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "every call begun was answered" in words.decode()
        assert "from openai import OpenAI" in words.decode()


def test_a_port_in_use_is_said_with_one_that_is_free(live):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = insource(live, "serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    free = re.search(r"--port (\d+)", done.stderr.decode())
    assert free
    assert int(free.group(1)) != taken


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["serve", "--host", "192.0.2.1"], 3, "insource keys create"),
        (["serve", "--allow-network"], 3, "insource keys create"),
        (["serve", "--workers", "0"], 2, "--workers"),
        (["answer", "ticket", "--input", "x"], 2, "did you mean tickets"),
        (["answer", "tickets@9.9.9", "--input", "x"], 2, "tickets@1.0.0"),
        (["answer", "tickets", "--input", "-"], 2, "not UTF-8"),
        (["review", "nope"], 2, "no task"),
        (["review", "tickets", "--verdict", "right"], 2, "which answer"),
        (["batch", "tickets", "none.jsonl", "--out", "o.jsonl"], 2, "cannot be read"),
        (["store", "restore", "none.tar"], 2, "no backup"),
    ],
)
def test_what_is_wrong_is_said_with_a_next_step_and_the_right_exit_code(live, words, code, said):
    done = insource(live, *words, text=b"\xff\xfe")
    assert done.returncode == code, done.stderr.decode()
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_an_artefact_that_was_changed_is_not_served(live, tmp_path):
    insource(live, "store", "backup", str(tmp_path / "b.tar"))
    settings = folder(tmp_path / "w")
    insource(settings.root, "store", "restore", str(tmp_path / "b.tar"))
    file = next(p for p in (settings.state / "releases").rglob("*") if p.is_file() and p.name != "manifest.json")
    file.write_bytes(file.read_bytes() + b" ")
    done = insource(settings.root, "answer", "tickets", "--input", "x")
    assert done.returncode == 1, done.stderr.decode()
    with serving(settings.root) as (_, url):
        assert httpx.get(f"{url}/readyz").status_code == 503
        assert httpx.post(f"{url}/v1/chat/completions", json=say("x")).status_code == 409

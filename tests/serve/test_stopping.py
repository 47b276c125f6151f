"""A server that cannot wait any longer tells every caller so, and has each call on record."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest
from serving import say, workspace

from insource.errors import StoreError
from insource.store import Store

CHILD = Path(__file__).parent / "serving_child.py"


@contextmanager
def child(root: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    command = [sys.executable, str(CHILD), str(root), "kept"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process, process.stdout.readline().decode().strip()
        finally:
            process.kill()


async def outcomes(root: Path) -> list[tuple[str, str]]:
    async with await Store.open(workspace(root)) as store:
        return sorted((record.outcome, record.attempts[-1].decision.reason) for record in await store.records())


@pytest.mark.parametrize("again", [signal.SIGINT, signal.SIGTERM])
async def test_who_cannot_be_waited_for_is_told_and_on_record(tmp_path, again):
    with child(tmp_path) as (process, url):
        async with httpx.AsyncClient(base_url=url, timeout=40) as http:
            path = "/v1/chat/completions"
            plain = asyncio.create_task(http.post(path, json=say("never ends")))
            streamed = asyncio.create_task(http.post(path, json=say("crawl", model="hub", stream=True)))
            await asyncio.sleep(1.0)
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.4)
            process.send_signal(again)  # the user will not wait for the 30 s
            answered, begun = await asyncio.gather(plain, streamed)
        out, err = process.communicate(timeout=20)
    assert answered.status_code == 503
    assert answered.json()["error"]["code"] == "server_stopping"
    assert "server_stopping" in begun.text
    assert "[DONE]" not in begun.text
    assert process.returncode == 0, err.decode()
    assert out.decode().split() == ["closed", "2"]
    assert "Traceback" not in err.decode()
    found = await outcomes(tmp_path)
    assert [outcome for outcome, _ in found] == ["failed", "failed"]
    assert all("server stopped" in reason for _, reason in found), found


async def test_a_call_whose_process_is_killed_is_on_record_and_costs_what_was_reserved_for_it(tmp_path):
    with child(tmp_path) as (process, url):
        async with httpx.AsyncClient(base_url=url, timeout=40) as http:
            asked = say("crawl", model="hub", stream=True, max_tokens=1000)
            begun = asyncio.create_task(http.post("/v1/chat/completions", json=asked))
            await asyncio.sleep(1.0)
            process.kill()
            with pytest.raises(httpx.TransportError):
                await begun
    async with await Store.open(workspace(tmp_path)) as store:
        (lost,) = await store.interrupt()
        record = await store.record(lost)
        assert (record.outcome, record.usd) == ("interrupted", 1000 / 1_000_000)
        assert [spent.usd for spent in await store.spent("2000-01-01")] == [record.usd]


async def test_a_caller_that_leaves_inside_its_body_is_no_news(tmp_path):
    with child(tmp_path) as (process, url):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(b'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"m')
        time.sleep(0.5)
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            assert (await http.get("/healthz")).status_code == 200
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert out.decode().split() == ["closed", "0"]
    assert "Traceback" not in err.decode()
    assert await outcomes(tmp_path) == []


async def test_words_that_cannot_be_put_on_record_are_not_asked_for(tmp_path, monkeypatch):
    from serving import gateway

    async def full(*_: object) -> None:
        raise StoreError("the disk is full", hint="free some space")

    monkeypatch.setattr(Store, "intend", full)
    async with gateway(tmp_path) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        got = await http.post("/v1/chat/completions", json=say("hello", model="hub", stream=True))
        assert got.status_code == 503
        assert "Hello" not in got.text
        assert json.loads(got.text)["error"]["code"] == StoreError.code


@pytest.mark.parametrize("words", [["release", "list"], ["status"], ["--help"]])
def test_an_output_that_is_full_is_one_message(tmp_path, words):
    workspace(tmp_path)
    (tmp_path / "insource.toml").write_text("[workspace]\n")
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "insource", "-C", str(tmp_path), *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 4
    assert b"cannot be written: No space left" in done.stderr

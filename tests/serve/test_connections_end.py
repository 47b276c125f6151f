"""Connections that stand still, heads without an end, and what is no HTTP: each is told so, and nobody else waits."""

import asyncio
import json
import resource
import time
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2 as httpx
import pytest
from serving import gateway, say
from test_durable import child

from insource.errors import StoreError
from insource.serve.patience import MOST_HEAD

HOST = b"Host: 127.0.0.1\r\n"
MODELS = b"GET /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST
PART = {"type": "text", "text": "x"}


def whole(text: str, more: bytes = b"") -> bytes:
    body = json.dumps(say(text)).encode()
    return POST + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


@asynccontextmanager
async def connected(url: str):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        yield reader, writer
    finally:
        writer.close()


async def answers(reader: asyncio.StreamReader, wait: float = 20.0) -> list[tuple[int, bytes]]:
    """Every answer until the connection ends."""
    said = b""
    try:
        while piece := await asyncio.wait_for(reader.read(1 << 16), wait):
            said += piece
    except ConnectionError:
        pass
    found = []
    while said:
        head, _, rest = said.partition(b"\r\n\r\n")
        length = next(int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
        found.append((int(head[9:12]), rest[:length]))
        said = rest[length:]
    return found


def code(answer: tuple[int, bytes]) -> tuple[int, str]:
    error = json.loads(answer[1])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer[0], error["code"]


async def asked(url: str, *pieces: bytes) -> list[tuple[int, bytes]]:
    async with connected(url) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        return await answers(reader)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("patience")


async def test_a_request_that_does_not_come_whole_in_time_is_sent_away_and_the_others_are_answered(root):
    async def dripped(url, first, then):
        async with connected(url) as (reader, writer):
            began = time.monotonic()
            told = asyncio.create_task(answers(reader))
            writer.write(first)
            while not told.done():
                writer.write(then)
                await asyncio.wait({told}, timeout=0.3)
            return time.monotonic() - began, told.result()

    async with child(root, "kept", "1.5") as (_, url):
        head, body, silent, slow_call = await asyncio.gather(
            dripped(url, MODELS[:-2], b"X: y\r\n"),
            dripped(url, POST + b"Content-Length: 100000\r\n\r\n", b" "),
            dripped(url, b"", b""),
            asked(url, whole("late", b"Connection: close\r\n")),
        )
        assert [code(answer) for answer in head[1]] == [(408, "request_timeout")]
        assert [code(answer) for answer in silent[1]] == [(408, "request_timeout")]
        assert body[1] == []
        assert all(1.0 < took < 6.0 for took, _ in (head, body, silent))
        assert [status for status, _ in slow_call] == [200]


@pytest.mark.slow
async def test_a_call_may_take_longer_than_a_request_to_come(root):
    async with child(root, "kept", "0.5") as (_, url):
        text = json.dumps(say("crawl", model="hub")).encode()
        call = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(text) + text
        ((status, body),) = await asked(url, call)
        assert (status, b"one two three four" in body) == (200, True), "five seconds of an engine"


@pytest.mark.slow
async def test_who_does_not_read_is_let_go(root):
    asked_for = b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"
    async with child(root, "kept", "1.0") as (_, url), connected(url) as (reader, writer):
        writer.write(asked_for * 4_000)  # some 80 MB of answers: more than the sockets hold
        await asyncio.sleep(6)
        said = await asyncio.wait_for(until_end(reader), 30)
        assert 0 < said.count(b"HTTP/1.1 200") < 4_000
        assert [status for status, _ in await asked(url, whole("refund", b"Connection: close\r\n"))] == [200]


async def until_end(reader: asyncio.StreamReader) -> bytes:
    said = b""
    try:
        while piece := await reader.read(1 << 20):
            said += piece
    except ConnectionError:
        pass
    return said


async def test_what_is_no_http_is_told_so_in_the_form_of_every_error(root, tmp_path):
    flood = b"X: " + b"y" * 5_000 + b"\r\n"
    async with child(root, "kept", "5") as (process, url):
        for pieces, wanted in (
            ([b"\x16\x03\x01\x02"], (400, "bad_request")),
            ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], (400, "bad_request")),
            ([POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], (400, "bad_request")),
            ([POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], (400, "bad_request")),
            ([POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}"], (400, "bad_request")),
            ([b"GET /v1/models\xff HTTP/1.1\r\n" + HOST + b"\r\n"], (400, "bad_request")),
            ([MODELS[:-2] + flood * 20 + b"\r\n"], (431, "headers_too_large")),
            ([MODELS[:-2], *[flood] * 14], (431, "headers_too_large")),
            ([b"GET /", *[b"a" * 5_000] * 14], (431, "headers_too_large")),
        ):
            (answer,) = await asked(url, *pieces)
            assert code(answer) == wanted, pieces[0][:80]
        ((status, _),) = await asked(
            url, MODELS[:-2] + b"X: " + b"y" * (MOST_HEAD - 500) + b"\r\nConnection: close\r\n\r\n"
        )
        assert status == 200
        process.terminate()
        assert b"Invalid" not in await process.stdout.read()


async def test_what_comes_behind_a_whole_call_costs_it_nothing(root):
    async with child(root, "kept", "5") as (_, url):
        said = await asked(url, whole("late") + b"\x00\x01 garbage\r\n\r\n")
        assert [status for status, _ in said] == [200]
        said = await asked(url, MODELS * 3 + MODELS[:-2] + b"Connection: close\r\n\r\n" + b"\x00\r\n\r\n")
        assert [status for status, _ in said] == [200] * 4


async def test_the_body_behind_such_an_offer_is_no_request_of_its_own(root):
    hidden = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    offer = POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(hidden)
    async with child(root, "kept", "5") as (_, url):
        for pieces in ([offer + hidden], [offer, hidden], [offer + hidden[:10], hidden[10:]]):
            (answer,) = await asked(url, *pieces)
            assert code(answer) == (422, "invalid_request"), "it is a body, and no JSON"


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0"])
async def test_an_offer_of_another_protocol_is_answered_in_this_one(root, protocol):
    offer = b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n"
    async with child(root, "kept", "5") as (_, url):
        assert [status for status, _ in await asked(url, whole("refund", offer))] == [200]
        key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        assert [status for status, _ in await asked(url, MODELS[:-2] + offer + key + b"\r\n")] == [200]


async def test_who_says_nothing_takes_nobodys_place(root):
    async with child(root, "kept", "60") as (process, url):
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (80, 80))
        silent = []
        try:
            for _ in range(200):
                silent.append(await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2])))
            began, said = time.monotonic(), []
            while not said and time.monotonic() - began < 10:
                await asyncio.sleep(0.2)
                said = await asked(url, whole("refund", b"Connection: close\r\n"))
            assert [status for status, _ in said] == [200]
        finally:
            for _, writer in silent:
                writer.close()


async def test_many_who_ask_whether_it_is_ready_share_a_look(tmp_path):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        looks = []
        probe = store.probe

        async def counted() -> None:
            looks.append(time.monotonic())
            await probe()

        store.probe = counted
        began = time.monotonic()
        for _ in range(3):
            answers = await asyncio.gather(*[http.get("/readyz") for _ in range(60)])
            assert {answer.status_code for answer in answers} == {200}
        assert 3 <= len(looks) <= 5 * (time.monotonic() - began) + 2

        async def broken() -> None:
            raise StoreError("the disk is full")

        store.probe = broken
        assert (await http.get("/readyz")).status_code == 503, "at once: nothing is told from before"


@pytest.mark.parametrize(
    ("route", "body", "at"),
    [
        ("completions", {"model": "hub", "prompt": ["x"] * 128, "n": 2}, "n"),
        ("completions", {"model": "hub", "prompt": ["x"] * 129}, "prompt"),
        ("chat/completions", {"model": "hub", "messages": [{"role": "user"}] * 10_001}, "messages"),
        ("chat/completions", {"model": "hub", "messages": [{"role": "user", "content": [PART] * 10_001}]}, "messages"),
        ("chat/completions", say("x", "hub", tools=[{}] * 1_025), "tools"),
    ],
)
async def test_what_would_keep_everybody_waiting_is_refused(tmp_path, route, body, at):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        answer = await http.post(f"/v1/{route}", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, at)
        assert await store.records() == []


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=x.y", "text/plain;version=1.a", "*/*", "\xff,;="]
)
async def test_the_numbers_come_whatever_form_is_asked_for(tmp_path, accept):
    async with gateway(tmp_path) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        answer = await http.get("/metrics", headers={"accept": accept.encode("latin-1")})
        assert (answer.status_code, b"insource_in_flight" in answer.content) == (200, True)

"""Streams as a caller's socket sees them: what came at once, at once; nothing late, nothing lost, nothing piled up."""

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from serving import say

from insource.engines.bursts import after
from insource.journeys.answer import Path as Way
from insource.journeys.answer import Tier, discard
from insource.journeys.relay import LEFT, relay_bursts
from insource.journeys.scanned import open_scans
from insource.nouns import Prediction, Record, Request, Scan, ScanPolicy, Usage
from insource.serve import wire
from insource.serve.exchange import Exchange
from insource.serve.stream import GAP, Words, event

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import bad_days_parts as parts

END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def chunk(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


class Upstream:
    """A server that answers as `plan(writer)` says; `written` bytes went out, `left` is when the gateway hung up."""

    def __init__(self, plan):
        self.plan, self.written, self.left = plan, 0, 0.0

    async def write(self, writer, data):
        writer.write(data)
        await writer.drain()
        self.written += len(data)

    async def answer(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        try:
            await self.plan(self, writer)
        except ConnectionError:
            self.left = time.monotonic()
        writer.close()


@asynccontextmanager
async def between(root, plan, **settings):
    """A caller's connection that has asked for a stream, the upstream, and the store."""
    upstream = Upstream(plan)
    async with await asyncio.start_server(upstream.answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with parts.gateway(root, f"http://127.0.0.1:{port}/v1", **settings) as (url, store, _):
            at = int(url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", at, limit=1 << 16)
            body = json.dumps(say("x", model="s0", stream=True)).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{at}\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            try:
                yield reader, writer, upstream, store
            finally:
                writer.close()


async def piece(reader) -> bytes:
    """The next chunk of HTTP."""
    size = int(await reader.readline(), 16)
    return (await reader.readexactly(size + 2))[:-2]


def words(data: bytes) -> list[str]:
    events = [one.removeprefix("data: ") for one in data.decode().split("\n\n") if one]
    return [json.loads(one)["choices"][0]["delta"]["content"] for one in events]


async def test_what_came_at_once_goes_out_at_once_as_the_events_it_was(tmp_path):
    async def plan(upstream, writer):
        await upstream.write(writer, chunk("one"))
        await asyncio.sleep(0.1)
        await upstream.write(writer, chunk(" two") + chunk(' "three"\n') + chunk(" 🦊"))
        await asyncio.sleep(0.1)
        await upstream.write(writer, END)

    async with between(tmp_path, plan) as (reader, _, __, store):
        await reader.readuntil(b"\r\n\r\n")
        assert words(await piece(reader)) == ["one"]
        assert words(await piece(reader)) == [" two", ' "three"\n', " 🦊"]
        last = await piece(reader)
        assert b'"finish_reason":"stop"' in last
        rest = await reader.readuntil(b"0\r\n\r\n")
        assert (last + rest).count(b"data: [DONE]\n\n") == 1
        assert [record.outcome for record in await store.records()] == ["answered"]


async def test_no_event_waits_for_the_next(tmp_path):
    async def plan(upstream, writer):
        for word in ("one", " two"):
            await upstream.write(writer, chunk(word))
            await asyncio.sleep(0.1)
        await upstream.write(writer, chunk(" three") + chunk(" four")[:30])
        await asyncio.sleep(30)

    async with between(tmp_path, plan) as (reader, *_):
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(5):
            assert [words(await piece(reader)) for _ in range(3)] == [["one"], [" two"], [" three"]]


@pytest.mark.parametrize(("letters", "at_once"), [(8000, 10), (1500, 1)])  # given out, and put onward as they come
async def test_a_caller_who_reads_slowly_slows_the_engine_down_and_loses_nothing(tmp_path, letters, at_once):
    text, many = "w" * letters + "!", 32_000_000 // letters  # more than all buffers between them take

    async def plan(upstream, writer):
        await upstream.write(writer, chunk(text))
        await asyncio.sleep(0.1)
        for _ in range(many // at_once):
            await upstream.write(writer, chunk(text) * at_once)
            await asyncio.sleep(0)
        await upstream.write(writer, END)

    async with between(tmp_path, plan, idle_s=30.0) as (reader, _, upstream, store):
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        stood, before = 0, -1
        async with asyncio.timeout(20):
            while stood < 3:  # looks in a row that found nothing new
                await asyncio.sleep(0.1)
                stood, before = (stood + 1 if upstream.written == before else 0), upstream.written
        assert before < many * len(chunk(text)) * 0.8, "the rest waits at the server, not in the gateway"
        got, tail = 0, b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            data = await reader.read(1 << 18)
            assert data
            got, tail = got + data.count(b"!"), tail[-7:] + data
        assert got == many // at_once * at_once + 1
        assert [record.outcome for record in await store.records()] == ["answered"]


async def test_a_caller_who_leaves_in_the_middle_stops_the_engine_within_a_second(tmp_path):
    async def plan(upstream, writer):
        while True:
            await upstream.write(writer, chunk("word"))
            await asyncio.sleep(0.01)

    async with between(tmp_path, plan) as (reader, writer, upstream, store):
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(5):
            await piece(reader)
        writer.close()
        gone = time.monotonic()
        async with asyncio.timeout(5):
            while not upstream.left:
                await asyncio.sleep(0.01)
        assert upstream.left - gone < 1.0
        while not await store.records():
            await asyncio.sleep(0.01)
        (record,) = await store.records()
        assert (record.outcome, record.attempts[-1].decision.reason) == ("failed", LEFT)
        assert record.attempts[-1].prediction.usage.output_tokens >= 5


async def test_a_fault_after_words_is_an_error_event_and_no_end(tmp_path):
    async def plan(upstream, writer):
        await upstream.write(writer, chunk("one"))
        await asyncio.sleep(0.1)
        await upstream.write(writer, chunk(" two") + b"data: {no json\n\n")

    async with between(tmp_path, plan) as (reader, *_):
        whole = await reader.readuntil(b"\r\n0\r\n\r\n")
        assert b'"one"' in whole
        assert b'"code":"engine_down"' in whole
        assert b"[DONE]" not in whole
        assert b"finish_reason" not in whole.replace(b'"finish_reason":null', b"")


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("model", ["m", 'a "b" \\ \n', "data: \n\n", '"content":"\n"', "ü🦊"])
@pytest.mark.parametrize("text", ["a", 'q " \\ \n\r\t\x00\x1f', "ü🦊 ", "</script>", "data: [DONE]\n\n", "GAP\n"])
def test_a_word_put_into_a_form_is_the_event_written_whole(text, model, usage):
    said = {"model": model, "messages": [{"role": "user", "content": "x"}], "stream_options": {"include_usage": usage}}
    call = wire.read_call(json.dumps(said).encode())
    form = Words(wire.chunk("r1", call, call.model, 5, {"content": GAP}))
    assert form.event(text) == event(wire.chunk("r1", call, call.model, 5, {"content": text}))


class Bursting:
    """Says these bursts, then its last word."""

    def __init__(self, name, *said):
        self.name, self.said = name, said

    async def complete(self, request):
        raise AssertionError("it is heard as it speaks")

    async def bursts(self, request):
        for burst in self.said:
            yield burst
        text = "".join(word for burst in self.said for word in burst if isinstance(word, str))
        yield [Prediction(text=text, engine=self.name)]

    async def close(self):
        pass


async def test_bursts_pass_as_they_are_and_the_record_comes_alone():
    way = Way(task=None, tiers=(Tier(Bursting("one", ["a", "", "b"], ["c"])),))
    *said, last = [burst async for burst in relay_bursts(Request(id="r"), way, discard)]
    assert said == [["a", "b"], ["c"]]
    assert isinstance(last[0], Record)
    assert len(last) == 1
    assert last[0].answer.text == "abc"


class Putting(Bursting):
    """Puts its bursts where they are to go, where that is known, a while after each other."""

    async def bursts(self, request):
        into = None
        for burst in self.said:
            await asyncio.sleep(0.1)
            if into is None or not into(burst):
                into = yield burst
        yield [Prediction(text="".join(word for burst in self.said for word in burst), engine=self.name)]


async def heard(way, request, went):
    coming, given_out = relay_bursts(request, way, discard), []
    while (told := await after(coming, went if given_out else None)) is not None:
        given_out.append(told)
    return given_out


async def test_words_that_are_put_onward_are_each_waited_for_as_long_as_others():
    way, went = Way(task=None, tiers=(Tier(Putting("one", *[[word] for word in "abcdef"])),)), []
    first, (record,) = await heard(way, Request(id="r", deadline=0.3), lambda told: went.append(told) or True)
    assert [first, *went] == [[word] for word in "abcdef"]
    assert (record.outcome, record.answer.text) == ("answered", "abcdef")


async def test_words_that_a_scan_looks_at_are_not_put_onward_unseen():
    scans = open_scans(Scan(output=ScanPolicy(actions={"email": "redact"})))
    way, went = Way(task=None, tiers=(Tier(Putting("one", ["a"], ["b ann@example.com"], [" c"])),), scans=scans), []
    *said, (record,) = await heard(way, Request(id="r"), lambda told: went.append(told) or True)
    assert not went
    assert "ann@example.com" not in "".join(word for told in said for word in told)
    assert record.answer.text.startswith("ab")


class Caller:
    """As much of a connection as an answer has to do with; `out` is every write."""

    write_paused = False

    def __init__(self):
        self.out = []

    def write(self, data):
        self.out.append(data)

    def every_head(self):
        return b"date: now\r\n"


async def test_a_chunk_is_one_write_with_its_head_where_it_is_the_first_and_none_for_who_left():
    exchange = Exchange(caller := Caller(), {"method": "POST"}, keeps=True, expects=False)
    await exchange.begin([(b"content-type", b"text/event-stream")], b"first")
    assert exchange.begun
    assert exchange.put(b"data: a\n\n")
    caller.write_paused = True
    assert not exchange.put(b"b"), "the next one is to wait"
    exchange.leave()
    assert not exchange.put(b"c")
    head, *rest = caller.out
    assert head.startswith(b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-type: text/event-stream\r\n")
    assert head.endswith(b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    assert rest == [b"9\r\ndata: a\n\n\r\n", b"1\r\nb\r\n"]


async def test_who_leaves_before_the_record_has_left_whatever_came_with_the_last_word():
    end = Prediction(text="a", engine="one", usage=Usage(input_tokens=1, output_tokens=1))
    way, kept = Way(task=None, tiers=(Tier(Bursting("one", ["a", end])),)), []

    async def keep(record, pending):
        kept.append(record)

    reading = relay_bursts(Request(id="r"), way, keep)
    assert await anext(reading) == ["a"]
    await reading.aclose()
    assert [(record.outcome, record.attempts[-1].decision.reason) for record in kept] == [("failed", LEFT)]

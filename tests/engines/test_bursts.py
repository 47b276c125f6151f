"""What arrives at once goes on at once, cut as the server cut it: the same words however the bytes came."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talking import deployed, passed

from insource.engines.bursts import after, bursts
from insource.engines.dialects import dialect, dialects
from insource.engines.http_line import Line
from insource.engines.outbox import Outbox
from insource.engines.remote import MOST_AT_ONCE, Remote
from insource.engines.remote_chunk import Chunk, quick
from insource.engines.remote_openai import OPENAI
from insource.engines.remote_wire import Events, Heard, taken
from insource.errors import EngineDown, EngineSlow
from insource.nouns import Prediction, to_json
from insource.settings import EngineSettings

STREAMS = {
    "one line each": 'data: {"a": 1}\n\ndata: {"b": "grüße 🦊"}\n\ndata: [DONE]\n\n',
    "CRLF": 'data: {"a": 1}\r\n\r\ndata: {"b": "grüße 🦊"}\r\n\r\ndata: [DONE]\r\n\r\n',
    "CR": "data: a\r\rdata: grüße 🦊\r\rdata: c\r\r",
    "several lines": "data: a\ndata:  b\ndata\ndata: 🦊\n\ndata: c\n\n",
    "names and notes": ": ping\n\nevent: word\ndata: a\nid: 7\n\n\n\n: ping\ndata: ü\nretry: 3\n\ndata:b\n\n",
    "mixed": "data: a\n\ndata: b\r\n\r\ndata: c\rdata: d\n\ndata: e\n\n\ndata: f\n\n",
    "a CR within": 'data: a\n\ndata: {"b":\rdata:1}\n\ndata: c\n\n',
}


def read(raw: str) -> list[str]:
    """The data of every event, as WHATWG HTML section 9.2 has it, of a stream read whole."""
    found, held = [], []
    for line in raw.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        if name == "data":
            held.append(value.removeprefix(" "))
        elif not line and held:
            found.append("\n".join(held))
            held = []
    return found


def fed(pieces: list[bytes]) -> list[str]:
    events = Events()
    return [one.decode() for piece in [*pieces, b"\n\n"] for one in events.feed(piece)]


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_cut_once_at_any_byte_or_at_every_byte_reads_the_same(kind):
    raw, wanted = STREAMS[kind].encode(), read(STREAMS[kind])
    assert len(wanted) >= 2
    for at in range(len(raw) + 1):
        assert fed([raw[:at], raw[at:]]) == wanted, at
    assert fed([raw[at : at + 1] for at in range(len(raw))]) == wanted


LINES = st.sampled_from(["data: a", "data: {}", "data:b", "data", "data: ü🦊", "", "", ": note", "event: x", "id: 1"])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(LINES, st.sampled_from(["\n", "\n", "\r\n", "\r"])), max_size=30),
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
)
def test_any_lines_in_any_pieces_are_read_as_the_standard_reads_them_whole(lines, sizes):
    raw = "".join(line + end for line, end in lines) + "\n\n"
    data, pieces, at = raw.encode(), [], 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    assert fed(pieces) == read(raw)


@pytest.mark.parametrize("line", ["date: a", " data: a", "{}", "data : a"])
@pytest.mark.parametrize("before", ["", "data: b\n\n"])
def test_a_line_of_no_event_is_found_beside_plain_ones_too(line, before):
    with pytest.raises(EngineDown, match="belongs to no event"):
        Events().feed(f"{before}{line}\n\ndata: c\n\n".encode())


def heard() -> Heard:
    return Heard(dialect("openai"))


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.text(max_size=3), st.just([]), st.just({}))
DELTAS = st.dictionaries(st.sampled_from(["content", "role", "refusal", "tool_calls", "other"]), VALUES, max_size=3)
CHOICES = st.builds(
    lambda delta, more: {"delta": delta} | more,
    st.one_of(DELTAS, st.text(max_size=5).map(lambda text: {"content": text}), VALUES),
    st.dictionaries(st.sampled_from(["index", "finish_reason", "logprobs", "other"]), VALUES, max_size=2),
)
CHUNKS = st.builds(
    lambda choices, more: {"choices": choices} | more,
    st.lists(CHOICES, max_size=2),
    st.dictionaries(st.sampled_from(["id", "created", "model", "usage", "error", "other"]), VALUES, max_size=3),
)


@settings(max_examples=500, deadline=None)
@given(CHUNKS)
def test_what_is_read_in_one_step_is_what_the_wires_own_reader_makes_of_it(chunk):
    data, one, other = to_json(chunk), heard(), heard()
    text = quick(one, data)
    if text is None:
        assert one == heard(), "what is left to the other reader has changed nothing"
        return
    assert text == taken(OPENAI, other, msgspec.json.decode(data), "delta")
    assert one == other


@pytest.mark.parametrize(
    "data",
    [
        b"[DONE]",
        b"",
        b"\xff",
        b'{"choices": [{"delta": {"content": "\xff"}}]}',
        b'{"choices": [{"delta": {"content": "a"}}]} more',
        b'{"choices": [{"delta": {"content": "a"}}], "error": {"message": "no"}}',
        b'{"choices": [{"delta": {"content": "a"}}], "error": null}',
        b'{"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}',
        b'{"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}',
        b'{"choices": [{"delta": {"content": "a"}, "logprobs": {"content": []}}]}',
        b'{"choices": [{"delta": {"content": "a", "tool_calls": [{"index": 0}]}}]}',
        b'{"choices": [{"delta": {"content": "a"}}], "usage": {"prompt_tokens": 1}}',
        b'{"choices": [{"delta": {"content": "a"}, "index": 1}]}',
        b'{"choices": [], "usage": null}',
    ],
)
def test_what_has_more_to_say_is_left_to_the_wires_own_reader(data):
    one = heard()
    assert quick(one, data) is None
    assert one == heard()


def test_the_plainest_chunk_is_read_in_one_step():
    one = heard()
    assert quick(one, b'{"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]}') == "a"
    assert (
        quick(one, b'{"choices":[{"delta":{"content":"b"},"finish_reason":null,"logprobs":null}],"usage":null}') == "b"
    )
    assert one.text == "ab"


def test_nothing_a_dialect_looks_for_can_hide_in_a_chunk_read_in_one_step():
    names = set(Chunk.__struct_fields__) - {"choices", "usage"}
    looked_for = {path for each in dialects().values() for path in (*each.broke, *each.usage)}
    assert not {path for path in looked_for if path in names or path.startswith("choices")}


def chunk(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


@asynccontextmanager
async def writing(*writes: bytes, pause_s: float = 0.05):
    """The address of a server that answers every call with these bytes, each written at once."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for data in writes:
            await asyncio.sleep(pause_s)
            writer.write(data)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def told(url: str) -> list[list[str | Prediction]]:
    engine = deployed(EngineSettings(kind="openai", base_url=url, model="m", timeout_s=10.0))
    try:
        return [burst async for burst in engine.bursts(passed())]
    finally:
        await engine.close()


async def test_events_that_come_at_once_are_one_burst_with_their_bounds():
    async with writing(chunk("one"), chunk(" two") + chunk(" three") + chunk(" 🦊"), END) as url:
        *said, last = await told(url)
    assert said == [["one"], [" two", " three", " 🦊"]]
    assert last[0].text == "one two three 🦊"


async def test_an_event_cut_in_two_is_not_waited_for_by_those_before_it():
    whole = chunk(" three")
    async with writing(chunk("one") + chunk(" two") + whole[:40], whole[40:], END) as url:
        *said, last = await told(url)
    assert said == [["one", " two"], [" three"]]
    assert last[0].text == "one two three"


async def test_a_flood_goes_on_in_bounded_bursts_and_in_order():
    words = [f" {number}" for number in range(MOST_AT_ONCE * 3 + 7)]
    async with writing(b"".join(map(chunk, words)), END) as url:
        *said, last = await told(url)
    assert [word for burst in said for word in burst] == words
    assert max(map(len, said)) <= MOST_AT_ONCE
    assert last[0].text == "".join(words)


async def test_of_a_read_with_a_fault_in_it_nothing_goes_on():
    async with writing(chunk("one") + b'data: {"error": {"message": "broken"}}\n\n') as url:
        with pytest.raises(EngineDown, match="broken"):
            await told(url)


class Speaks:
    name = "speaks"

    async def complete(self, request):
        return Prediction(text="one two", engine=self.name)

    async def close(self):
        pass


class Sings(Speaks):
    async def stream(self, request):
        yield "one"
        yield " two"
        yield await self.complete(request)


@pytest.mark.parametrize(("engine", "wanted"), [(Speaks(), [["one two", ...]]), (Sings(), [["one"], [" two"], [...]])])
async def test_an_engine_that_knows_no_bursts_is_heard_piece_by_piece_or_whole(engine, wanted):
    said = [burst async for burst in bursts(engine, passed())]
    assert [[... if isinstance(one, Prediction) else one for one in burst] for burst in said] == wanted
    assert said[-1][-1].text == "one two"


async def test_who_takes_pieces_one_by_one_gets_them_so():
    async with writing(chunk("one") + chunk(" two"), END) as url:
        engine = Remote("r", EngineSettings(kind="openai", base_url=url, model="m"), "")
        *said, last = [piece async for piece in engine.stream(passed())]
        await engine.close()
    assert (said, last.text) == (["one", " two"], "one two")


async def poured(url: str, into, **more) -> list[list[str | Prediction]]:
    """What is given out by an engine that may put into `into` what comes behind the first burst."""
    engine = deployed(EngineSettings(kind="openai", base_url=url, model="m", timeout_s=10.0, **more))
    coming, given_out = engine.bursts(passed()), []
    try:
        while (burst := await after(coming, into if given_out else None)) is not None:
            given_out.append(burst)
        return given_out
    finally:
        await coming.aclose()
        await engine.close()


async def test_what_comes_behind_the_first_burst_is_put_where_it_is_to_go_and_the_last_is_given_out():
    went: list[list[str]] = []
    async with writing(chunk("one"), chunk(" two") + chunk(" three"), chunk(" 🦊"), END) as url:
        first, last = await poured(url, lambda burst: went.append(burst) or True)
    assert (first, went) == (["one"], [[" two", " three"], [" 🦊"]])
    assert last[0].text == "one two three 🦊"


async def test_it_goes_there_without_a_turn_of_the_loop():
    line, went = Line(Outbox()), []
    line.connection_made(Silent())
    asking = asyncio.ensure_future(line.ask(b"", asyncio.get_running_loop().time() + 5))
    await asyncio.sleep(0)
    line.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    await asking
    pouring = asyncio.create_task(line.pour(lambda data: went.append(data) or True, lambda: time.monotonic() + 5))
    await asyncio.sleep(0)
    line.data_received(b"3\r\none\r\n")
    line.data_received(b"3\r\ntwo\r\n")
    assert went == [b"one", b"two"]
    line.data_received(b"5\r\nthree\r\n0\r\n\r\n")
    await pouring
    assert await line.piece(0.0) == b"three", "the end is left to who reads"


class Silent(asyncio.Transport):
    def write(self, data):
        pass

    def is_closing(self):
        return False


async def test_who_takes_no_more_for_now_is_given_the_next_in_order():
    went: list[list[str]] = []

    def into(burst):
        went.append(burst)
        return len(went) != 2  # full, once

    words = [f" {number}" for number in range(6)]
    async with writing(*map(chunk, words), END) as url:
        *said, last = await poured(url, into)
    assert said == [[" 0"], [" 3"]]
    assert went == [[" 1"], [" 2"], [" 4"], [" 5"]]
    assert last[0].text == "".join(words)


async def test_a_flood_is_given_out_and_waited_for_even_where_some_would_take_it():
    went: list[list[str]] = []
    words = [f" {number}" for number in range(MOST_AT_ONCE * 3 + 7)]
    async with writing(chunk("one"), b"".join(map(chunk, words)), END) as url:
        _, *said, last = await poured(url, lambda burst: went.append(burst) or True)
    assert said
    assert max(map(len, [*said, *went])) <= MOST_AT_ONCE
    assert last[0].text == "".join(["one", *words])


async def test_of_a_read_with_a_fault_in_it_nothing_is_put_anywhere():
    went: list[list[str]] = []
    async with writing(chunk("one"), chunk(" two") + b'data: {"error": {"message": "broken"}}\n\n') as url:
        with pytest.raises(EngineDown, match="broken"):
            await poured(url, lambda burst: went.append(burst) or True)
    assert not went


async def test_a_stream_that_ends_without_its_mark_is_told_of_however_its_words_went():
    async with writing(chunk("one"), chunk(" two")) as url:
        with pytest.raises(EngineDown, match="not whole"):
            await poured(url, lambda _: True)


async def test_silence_is_measured_from_the_last_words_wherever_they_went():
    words = [chunk(f" {number}") for number in range(6)]
    async with writing(*words, END, pause_s=0.15) as url:
        *_, last = await poured(url, lambda _: True, idle_s=0.4)
    assert last[0].text == " 0 1 2 3 4 5"
    async with writing(*words[:3], END, pause_s=0.6) as url:
        with pytest.raises(EngineSlow, match=r"said nothing for 0\.4 s"):
            await poured(url, lambda _: True, idle_s=0.4)

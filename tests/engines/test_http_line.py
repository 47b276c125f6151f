"""A connection to a server: whatever is said over it, an answer is whole or an error, and never somebody else's."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from insource.engines import http_line, http_lines
from insource.engines.http_faults import Broken, NoLine
from insource.engines.http_lines import Lines, Place, framed, head
from insource.engines.outward import Outward

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@asynccontextmanager
async def served(*answers, close=False, pieces=0):
    """A server that says these bytes to one call after another, whole or so many bytes at a time; and what it heard."""
    left, heard = list(answers), []

    async def talk(reader, writer):
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while left:
                said = await reader.readuntil(b"\r\n\r\n")
                length = int(said.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                heard.append((said, await reader.readexactly(length)))
                answer = left.pop(0)
                size = pieces or max(1, len(answer))
                for start in range(0, len(answer), size):
                    writer.write(answer[start : start + size])
                    await writer.drain()
                    await asyncio.sleep(0)
                if close:
                    break
            else:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    lines = Lines(Place.of(url), Outward("engine x"), 2.0)
    try:
        yield lines, head(Place.of(url), url, {"X": "y"}), heard
    finally:
        lines.close()
        server.close()


def soon(seconds=5.0):
    return asyncio.get_running_loop().time() + seconds


async def whole(lines, start):
    """The status and the body of one call."""
    line = await lines.take(soon())
    await line.ask(framed(start, b"{}"), soon())
    body = b""
    while piece := await line.piece(soon()):
        body += piece
    lines.give(line)
    return line.status, body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK


@pytest.mark.parametrize("answer", [OK, CHUNKED, INTERIM])
@pytest.mark.parametrize("pieces", [0, 1, 2, 7])
async def test_an_answer_is_the_same_however_it_is_cut_and_the_line_is_kept(answer, pieces):
    async with served(answer, answer, answer, pieces=pieces) as (lines, start, heard):
        line = await lines.take(soon())
        lines.drop(line)
        for _ in range(2):
            assert await whole(lines, start) == (200, b"hello")
        assert len(lines._idle) == 1
        assert all(body == b"{}" and b"\r\nX: y\r\n" in said for said, body in heard)


async def test_a_body_without_a_length_ends_with_the_connection():
    async with served(b"HTTP/1.1 200 OK\r\n\r\nhello", close=True) as (lines, start, _):
        assert await whole(lines, start) == (200, b"hello")
        assert lines._idle == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
)
async def test_what_is_not_whole_is_never_an_answer(answer):
    async with served(answer, close=True) as (lines, start, _):
        with pytest.raises(Broken):
            await whole(lines, start)
        assert lines._idle == []


async def test_what_comes_behind_an_answer_is_nobodys():
    """The next call must not be told what the server said unasked."""
    more = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
    for pieces in (0, 1):
        async with served(OK + more, OK, pieces=pieces) as (lines, start, heard):
            assert await whole(lines, start) == (200, b"hello")
            await asyncio.sleep(0.05)
            assert not [line for line, _ in lines._idle if line.usable]
            line = await lines.take(soon())
            assert line.fresh
            lines.drop(line)
            assert len(heard) == 1


async def test_a_line_that_the_server_closed_meanwhile_is_not_used_again():
    async with served(OK, OK, close=True) as (lines, start, _):
        assert await whole(lines, start) == (200, b"hello")
        await asyncio.sleep(0.05)
        assert await whole(lines, start) == (200, b"hello")


async def test_idle_lines_are_closed_after_a_while(monkeypatch):
    monkeypatch.setattr(http_lines, "KEPT_S", 0.05)
    async with served(OK, OK) as (lines, start, _):
        await whole(lines, start)
        assert len(lines._idle) == 1
        await asyncio.sleep(0.15)
        assert lines._idle == []


async def test_nobody_waits_beyond_their_time():
    async with served(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello") as (lines, start, _):
        line = await lines.take(soon())
        await line.ask(framed(start, b"{}"), soon())
        assert await line.piece(soon()) == b"hello"
        with pytest.raises(TimeoutError):
            await line.piece(soon(0.05))
        lines.give(line)
        assert lines._idle == []


async def test_a_call_has_its_whole_time_whatever_time_those_before_it_had():
    hello = OK[:-1]  # its last byte does not come
    async with served(OK, OK, hello) as (lines, start, _):
        line = await lines.take(soon())
        for wait_s in (0.1, 30.0):
            await line.ask(framed(start, b"{}"), soon(wait_s))
            assert await line.piece(soon(wait_s)) == b"hello"
            lines.give(line)
            assert await lines.take(soon()) is line
            await asyncio.sleep(0.15)
        began = asyncio.get_running_loop().time()
        await line.ask(framed(start, b"{}"), soon(0.3))
        assert await line.piece(soon(0.3)) == b"hell"
        with pytest.raises(TimeoutError):
            await line.piece(soon(0.3))
        assert 0.25 < asyncio.get_running_loop().time() - began < 3
        lines.give(line)


def test_hundreds_of_calls_over_a_line_take_a_few_timers():
    class Counting(asyncio.SelectorEventLoop):
        timers = 0

        def call_at(self, when, callback, *args, context=None):
            self.timers += 1
            return super().call_at(when, callback, *args, context=context)

    async def story():
        async with served(*[OK] * 300) as (lines, start, _):
            for _ in range(300):
                assert await whole(lines, start) == (200, b"hello")

    loop = Counting()
    loop.run_until_complete(story())
    loop.close()
    assert loop.timers < 20


async def test_a_server_that_says_more_than_is_read_waits(monkeypatch):
    monkeypatch.setattr(http_line, "MOST_BUFFERED", 10_000)
    size = 3_000_000
    async with served(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size) as (lines, start, _):
        line = await lines.take(soon())
        await line.ask(framed(start, b"{}"), soon())
        await asyncio.sleep(0.1)
        assert len(line._body) < 1_000_000
        read = 0
        while piece := await line.piece(soon()):
            read += len(piece)
        assert read == size


async def test_where_nobody_listens_there_is_no_line():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(NoLine):
        await Lines(Place.of(f"http://127.0.0.1:{port}"), Outward("engine x"), 2.0).take(soon())


@pytest.mark.parametrize(
    "url", ["ftp://x", "http://", "http://u:p@x", "http://u@x/", "x", "http://[::1", "http://x:y/"]
)
def test_a_place_is_an_http_address_and_nothing_else(url):
    with pytest.raises(ValueError):
        Place.of(url)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\x00", "\u2028", "a\x7f"])
def test_a_header_cannot_hold_another(value):
    with pytest.raises(ValueError, match="header"):
        head(Place.of("http://x"), "http://x/v1", {"Authorization": value})


def test_a_head_names_its_host_and_quotes_its_path():
    place = Place.of("https://bücher.example:8443/a b")
    said = head(place, "https://bücher.example:8443/a b?x=1&y=ü", {})
    assert said.startswith(b"POST /a%20b?x=1&y=%C3%BC HTTP/1.1\r\nHost: xn--bcher-kva.example:8443\r\n")
    assert b"Host: [::1]\r\n" in head(Place.of("http://[::1]/"), "http://[::1]/", {})

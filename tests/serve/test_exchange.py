"""One call on a connection: its body comes in pieces, its answer goes out sound, the next call finds the line free."""

import asyncio
import logging
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from insource.engines.outbox import MOST, Outbox
from insource.serve.connection import Connection
from insource.serve.door import Door
from insource.serve.exchange import exchange_of
from insource.serve.metrics import Metrics
from insource.serve.patience import Patience, Watch

GET = b"GET /x?a=%2F HTTP/1.1\r\nHost: h\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: h\r\n"


class Line(asyncio.Transport):
    """What the caller reads, and whether the connection stands."""

    def __init__(self) -> None:
        super().__init__()
        self.said, self.closed, self.reading = b"", False, True

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.said += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def connected(app) -> tuple[Connection, Line]:
    config = uvicorn.Config(app, log_config=None, lifespan="off", proxy_headers=False)
    config.app = app
    app.state = SimpleNamespace(door=Door(9, Metrics()), outbox=Outbox())
    state = ServerState()
    state.default_headers = [(b"date", b"today")]
    connection, line = Connection(config, state, {}), Line()
    connection.connection_made(line)
    return connection, line


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def says(*messages):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool = False) -> dict:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_an_answer_without_a_length_goes_out_in_chunks():
    connection, line = connected(says(start(), body(b"ab", more=True), body(b"", more=True), body(b"c")))
    connection.data_received(GET + b"\r\n")
    await turns()
    head, _, rest = line.said.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [b"HTTP/1.1 200 OK", b"date: today", b"transfer-encoding: chunked"]
    assert rest == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    assert (line.closed, connection.idle) == (False, True)


async def test_who_asks_for_the_head_only_gets_no_body():
    length = (b"content-length", b"3")
    connection, line = connected(says(start(200, length), body(b"abc")))
    connection.data_received(GET.replace(b"GET", b"HEAD") + b"\r\n")
    await turns()
    assert line.said.endswith(b"content-length: 3\r\n\r\n")


async def test_an_answer_with_its_length_is_exactly_so_long(caplog):
    for said in (b"abcd", b"ab"):
        connection, line = connected(says(start(200, (b"content-length", b"3")), body(said)))
        connection.data_received(GET + b"\r\n")
        await turns()
        assert line.closed
        assert "not as long as it says" in caplog.text


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b", "a\nb", "a\rb", "a\0b"])
async def test_no_header_holds_another(value, caplog):
    async def whole(scope, receive, send):
        await exchange_of(scope).answer({"x-name": value}, b"{}")

    for app in (whole, says(start(200, (b"x-name", value.encode())), body(b"{}"))):
        connection, line = connected(app)
        connection.data_received(GET + b"\r\n")
        await turns()
        assert (line.said, line.closed) == (b"", True)
        assert "holds the end of a line" in caplog.text


async def test_a_whole_answer_says_when_the_connection_ends():
    async def app(scope, receive, send):
        await exchange_of(scope).answer({"x-a": "b"}, b"{}")

    connection, line = connected(app)
    connection.data_received(GET + b"Connection: close\r\n\r\n")
    await turns()
    assert line.said == (
        b"HTTP/1.1 200 OK\r\ndate: today\r\nx-a: b\r\nconnection: close\r\n"
        b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )
    assert line.closed


async def test_what_an_app_does_wrong_costs_its_own_call(caplog):
    async def fails(scope, receive, send):
        raise ZeroDivisionError("a secret")

    async def ends(scope, receive, send):
        await send(start())

    with caplog.at_level(logging.ERROR):
        for app, status in ((fails, b"HTTP/1.1 500"), (ends, b"HTTP/1.1 200")):
            connection, line = connected(app)
            connection.data_received(GET + b"\r\n")
            await turns()
            assert line.said.startswith(status)
            assert line.closed is (app is ends)
            assert b"secret" not in line.said
    assert "ZeroDivisionError" in caplog.text
    assert "not brought to its end" in caplog.text


async def whole(receive) -> bytes:
    said = b""
    while (message := await receive())["more_body"]:
        said += message["body"]
    return said + message["body"]


async def test_calls_sent_at_once_are_answered_in_their_order():
    seen, go = [], asyncio.Event()

    async def app(scope, receive, send):
        seen.append((scope["method"], scope["path"], scope["query_string"], await whole(receive)))
        await go.wait()
        await exchange_of(scope).answer({}, b"%d" % len(seen))

    connection, line = connected(app)
    connection.data_received(
        POST + b"Content-Length: 2\r\n\r\nab" + GET + b"\r\n" + POST + b"Content-Length: 2\r\n\r\nc"
    )
    await turns()
    assert (len(seen), line.reading, app.state.door.under_way) == (1, False, 1)
    go.set()
    await turns()
    assert app.state.door.under_way == 0, "the third has not come whole"
    assert line.reading
    connection.data_received(b"d")
    await turns()
    assert [part[-1:] for part in line.said.split(b"HTTP/1.1 200 OK")[1:]] == [b"1", b"2", b"3"]
    assert seen == [("POST", "/x", b"", b"ab"), ("GET", "/x", b"a=%2F", b""), ("POST", "/x", b"", b"cd")]


async def test_who_waits_to_be_told_to_go_on_is_told_when_the_body_is_wanted():
    wanted = asyncio.Event()

    async def app(scope, receive, send):
        await wanted.wait()
        await exchange_of(scope).answer({}, (await receive())["body"])

    connection, line = connected(app)
    connection.data_received(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    await turns()
    assert line.said == b""
    wanted.set()
    await turns()
    assert line.said == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.data_received(b"ok")
    await turns()
    assert line.said.endswith(b"\r\n\r\nok")


async def test_a_body_that_nobody_reads_stops_its_sender():
    async def app(scope, receive, send):
        await asyncio.sleep(60)

    connection, line = connected(app)
    connection.data_received(POST + b"Content-Length: 1000000\r\n\r\n")
    connection.data_received(b"x" * 70_000)
    assert not line.reading
    connection.connection_lost(None)


async def test_who_leaves_is_heard_of_at_once_and_holds_no_place():
    heard = []

    async def app(scope, receive, send):
        exchange = exchange_of(scope)
        exchange.on_leaving(lambda: heard.append("left"))
        await exchange.receive()
        heard.append((await exchange.receive())["type"])
        await exchange.answer({}, b"nobody reads it")

    connection, line = connected(app)
    connection.data_received(POST + b"Content-Length: 2\r\n\r\nab")
    await turns()
    assert app.state.door.under_way == 1
    connection.connection_lost(None)
    assert heard == ["left"]
    await turns()
    assert heard == ["left", "http.disconnect"]
    assert (line.said, app.state.door.under_way) == (b"", 0)


async def test_a_connection_without_calls_ends_after_a_time():
    connection, line = connected(says(start(204), body(b"")))
    connection.data_received(GET + b"\r\n")
    await turns()
    watch = Watch(Patience(idle_s=5), lambda: 1000)
    for now in (0.0, 4.0):
        watch.look([connection], now)
        assert not line.closed
    connection.data_received(GET + b"\r\n")
    await turns()
    for now in (5.0, 9.0):
        watch.look([connection], now)
        assert not line.closed, "there was a call meanwhile"
    watch.look([connection], 10.0)
    assert line.closed


async def test_of_a_full_outbox_each_connection_says_what_it_has():
    app = says(start(200, (b"content-length", b"2")), body(b"ok"))
    made = [connected(app) for _ in range(3)]
    outbox = made[0][0]._outbox
    for connection, _ in made:
        connection._outbox = outbox
    for _ in range(MOST - 1):
        outbox.put(SimpleNamespace(send=lambda: None))
    for connection, _ in made:
        connection.write(b"said")
    await turns()
    assert [line.said for _, line in made] == [b"said"] * 3

"""One call too many: refused by its first bytes, before anything is known of it, on a connection that stays sound."""

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from serving import path_of, tickets, workspace

from insource.engines.scripted import Scripted
from insource.serve import door
from insource.serve.app import create_app
from insource.serve.connection import Connection
from insource.serve.door import UNTOLD, unread
from insource.serve.run import listen
from insource.store import Store

BODY = json.dumps({"model": "hub", "messages": [{"role": "user", "content": "hello"}]}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n" % len(BODY)
CALL = HEAD + b"\r\n" + BODY


@asynccontextmanager
async def connected(root: Path):
    """A gateway as `insource serve` has it: its app, its store, and a connection to it."""
    settings = workspace(root)
    async with await Store.open(settings) as store:
        app = create_app(settings, store, {"tickets": path_of(store, tickets(), Scripted("one", ()))})
        bound = listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", http=Connection))
        running = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        try:
            yield app, store, (reader, writer)
        finally:
            writer.close()
            server.should_exit = True
            await running


async def answer(connection) -> tuple[int, dict[str, str], bytes]:
    head = (await asyncio.wait_for(connection[0].readuntil(b"\r\n\r\n"), 10)).decode()
    first, *lines = head.strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, await connection[0].readexactly(int(headers["content-length"]))


@pytest.mark.parametrize("cut", [0, 10, len(HEAD) + 2, len(HEAD) + 12])
async def test_it_is_told_as_openai_would_and_the_next_call_on_the_connection_is_answered(tmp_path, cut):
    async with connected(tmp_path) as (app, store, connection):
        full, app.state.door.admission.limit = app.state.door.admission.limit, 0
        for _ in range(3):
            for piece in (CALL[:cut], CALL[cut:]):
                connection[1].write(piece)
                await asyncio.sleep(0.05)
            status, headers, body = await answer(connection)
            assert (status, headers["retry-after"]) == (429, "1")
            assert "date" in headers
            assert json.loads(body)["error"]["code"] == "engine_busy"
        assert (await store.records(), await store.open_calls()) == ([], 0)
        page, _ = app.state.desk.seeing.metrics.page(door_now(), "")
        assert b'insource_refused_total{code="engine_busy",status="429"} 3.0' in page
        app.state.door.admission.limit = full
        connection[1].write(CALL)
        assert (await answer(connection))[0] == 200


async def test_who_has_an_answer_may_ask_again_at_once(tmp_path):
    """As many callers as there are places, each asking again as soon as it hears: nobody is one too many."""
    async with connected(tmp_path) as (app, _, connection):
        app.state.door.admission.limit = app.state.door.admission._most = 3
        others = [await asyncio.open_connection(*connection[1].get_extra_info("peername")) for _ in range(2)]

        async def caller(one):
            statuses = set()
            for _ in range(100):
                one[1].write(CALL)
                statuses.add((await answer(one))[0])
            return statuses

        assert await asyncio.gather(*map(caller, [connection, *others])) == [{200}] * 3
        await asyncio.sleep(0.05)
        assert app.state.door.under_way == 0
        for one in others:
            one[1].close()


def door_now():
    from insource.serve.metrics import Now

    return Now(0, 1, live={}, servers={}, waiting=None)


UNUSUAL = {
    "in chunks": HEAD.replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
    + b"\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "told to close": HEAD + b"Connection: close\r\n\r\n" + BODY,
    "in an older HTTP": CALL.replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@pytest.mark.parametrize("name", UNUSUAL)
async def test_what_is_not_plain_is_refused_as_well_without_its_body(tmp_path, name):
    async with connected(tmp_path) as (app, store, connection):
        app.state.door.admission.limit = 0
        connection[1].write(UNUSUAL[name])
        status, _, body = await answer(connection)
        assert (status, json.loads(body)["error"]["code"]) == (429, "engine_busy")
        assert (await store.records(), await store.open_calls()) == ([], 0)


async def test_who_looks_after_the_gateway_is_let_in(tmp_path):
    async with connected(tmp_path) as (app, _, connection):
        app.state.door.admission.limit = 0
        for path in (b"/healthz", b"/readyz", b"/metrics", b"/v1/models"):
            connection[1].write(b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path)
            assert (await answer(connection))[0] == 200


async def test_who_sends_slowly_keeps_nobody_out(tmp_path):
    async with connected(tmp_path) as (app, _, connection):
        app.state.door.admission.limit = 2
        where = connection[1].get_extra_info("peername")[:2]
        slow = [await asyncio.open_connection(*where) for _ in range(5)]
        for _, writer in slow:
            writer.write(CALL[:-5])
        await asyncio.sleep(0.1)
        assert app.state.door.under_way == 0
        connection[1].write(CALL)
        assert (await answer(connection))[0] == 200
        for one in slow[:4]:
            one[1].write(CALL[-5:])
        assert [(await answer(one))[0] for one in slow[:4]] == [200] * 4
        for _, writer in slow:
            writer.close()
        await asyncio.sleep(0.1)
        assert app.state.door.under_way == 0


async def test_a_body_that_looks_like_a_call_is_none(tmp_path):
    """The rest of a body begins as a call does, at the moment when calls are refused: it must not be answered."""
    inner = b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
    async with connected(tmp_path) as (app, _, connection):
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % (1 + len(inner))
        connection[1].write(head + b"{")
        await asyncio.sleep(0.1)
        app.state.door.admission.limit = 0
        connection[1].write(inner)
        status, _, body = await answer(connection)
        assert (status, json.loads(body)["error"]["code"]) == (422, "invalid_request")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection[0].read(1), 0.2)


SPELLED = {
    "whole": (CALL, 0),
    "its head": (HEAD + b"\r\n", len(BODY)),
    "kept alive": (HEAD + b"Connection: keep-alive\r\n\r\n", len(BODY)),
    "half a head": (HEAD, UNTOLD),
    "two calls": (CALL + CALL, UNTOLD),
    "two lengths": (HEAD + b"content-length: 1\r\n\r\n", UNTOLD),
    "a length of another name": (HEAD.replace(b"Content", b"X-Content") + b"\r\n", UNTOLD),
    "a length that is none": (HEAD.replace(b": %d" % len(BODY), b": +1") + b"\r\n", UNTOLD),
    "a length before a space": (HEAD.replace(b"Length:", b"Length :") + b"\r\n", UNTOLD),
    "a huge length": (HEAD.replace(b": %d" % len(BODY), b": " + b"9" * 5000) + b"\r\n", UNTOLD),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", UNTOLD),
    "a bare line end": (HEAD + b"X: 1\nTransfer-Encoding: chunked\r\n\r\n", UNTOLD),
    "expecting to be told": (HEAD + b"Expect: 100-continue\r\n\r\n", UNTOLD),
    "another method": (CALL.replace(b"POST", b"PUT"), UNTOLD),
    "another path": (CALL.replace(b"/v1/", b"/metrics"), UNTOLD),
    "an older HTTP": (CALL.replace(b"HTTP/1.1", b"HTTP/1.0"), UNTOLD),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01", UNTOLD),
}


@pytest.mark.parametrize("name", SPELLED)
def test_how_much_of_a_body_is_to_come_is_told_by_plain_calls_only(name):
    data, rest = SPELLED[name]
    assert unread(data) == rest


async def test_the_looks_are_taken_while_a_server_runs():
    from uvicorn.server import ServerState

    from insource.serve.metrics import Metrics

    looked = []
    keeper = door.Door(5, Metrics())
    keeper.admission.hear = looked.append
    watching = asyncio.create_task(keeper.watch(ServerState(), lambda: 0.0))
    await asyncio.sleep(0.1)
    watching.cancel()
    assert len(looked) > 2
    assert {(one.under_way, one.ended) for one in looked} == {(0, 0)}
    assert all(0 <= one.waited_s < 5 for one in looked)

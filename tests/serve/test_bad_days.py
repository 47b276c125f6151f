"""A gateway whose servers fail and whose callers leave: what a caller gets, what is on record, what the server sees."""

import asyncio
import json
import random
import time
from contextlib import asynccontextmanager

import httpx2 as httpx
import openai
import pytest
from serving import client, say, socket_of

from insource.engines.scripted_server import Reply, ScriptedServer
from insource.journeys.relay import LEFT
from insource.serve.app import create_app
from insource.settings import EngineSettings, Settings
from insource.store import Store

TEXT = "the whole of the answer, from its first word to its last"


@asynccontextmanager
async def gateway(root, *servers, **more):
    """A gateway before these servers: engine "s0" goes on to "s1", "s1" to nobody."""
    engines = {}
    for number, server in enumerate(servers):
        then = (f"s{number + 1}",) if number + 1 < len(servers) else ()
        given = {"kind": "openai", "base_url": server.base_url, "model": "m", "idle_s": 1.0, "first_byte_s": 20.0}
        engines[f"s{number}"] = EngineSettings(**(given | more), otherwise=then)
    settings = Settings(root=root, cache=root, engines=engines)
    async with await Store.open(settings) as store:
        app = create_app(settings, store, {})
        async with socket_of(app) as url:
            yield url, store, app.state.desk


async def events(http, body):
    """The status and the data of each event."""
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        raw = (await answer.aread()).decode()
    found = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: ")]
    return answer.status_code, found


def text_of(found):
    chunks = [json.loads(one) for one in found if one != "[DONE]"]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices"))


@pytest.mark.parametrize("at", ["middle", "late"])
@pytest.mark.parametrize(
    "play", ["reset", "ends in order", "hang", "error event", "noise", "cut json", "end mark early"]
)
async def test_after_the_first_word_a_fault_is_an_error_event_and_never_an_end(tmp_path, play, at):
    bad, good = Reply(text=TEXT, play=play, at=at), Reply(text=TEXT)
    async with ScriptedServer([bad]) as first, ScriptedServer([good]) as second:  # noqa: SIM117 - their addresses
        async with gateway(tmp_path, first, second) as (url, store, _), httpx.AsyncClient(base_url=url) as http:
            status, found = await events(http, say("x", model="s0", stream=True))
            (record,) = await store.records()
            assert status == 200
            heard = text_of(found)
            if found[-1] == "[DONE]":
                assert heard == TEXT
            else:
                assert heard, "without a word the second server would have been asked"
                assert json.loads(found[-1])["error"]["code"].startswith("engine_")
                assert not any("finish_reason" in one and '"stop"' in one for one in found)
                assert (record.outcome, len(second.seen)) == ("failed", 0)
                async with client(url) as ai:
                    with pytest.raises(openai.APIError):
                        async for _chunk in await ai.chat.completions.create(**say("x", model="s0"), stream=True):
                            pass


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("play", ["reset", "html", "busy", "empty", "no status", "moved", "error event"])
async def test_before_the_first_word_the_next_engine_answers_and_the_record_says_so(tmp_path, play, stream):
    async with ScriptedServer([Reply(play=play)]) as first, ScriptedServer([Reply(text=TEXT)]) as second:  # noqa: SIM117
        async with gateway(tmp_path, first, second) as (url, store, _), httpx.AsyncClient(base_url=url) as http:
            body = say("x", model="s0", stream=stream)
            if stream:
                status, found = await events(http, body)
                said, done = text_of(found), found[-1] == "[DONE]"
            else:
                got = await http.post("/v1/chat/completions", json=body)
                status, said, done = got.status_code, got.json()["choices"][0]["message"]["content"], True
            assert (status, said, done) == (200, TEXT, True)
            (record,) = await store.records()
            assert (record.outcome, record.tier) == ("escalated", 2)
            assert [attempt.decision.engine for attempt in record.attempts] == ["s0", "s1"]
            assert record.attempts[0].decision.reason.startswith("engine_")


async def test_ready_names_the_servers_that_rest_and_stays_ready(tmp_path):
    async with ScriptedServer([Reply(status=503)]) as first, ScriptedServer([Reply(text=TEXT)]) as second:  # noqa: SIM117
        async with (
            gateway(tmp_path, first, second) as (url, _, __),
            httpx.AsyncClient(base_url=url, timeout=20) as http,
        ):
            assert (await http.get("/readyz")).json() == {"status": "ready", "faults": [], "resting": []}
            for _ in range(3):
                got = await http.post("/v1/chat/completions", json=say("x", model="s0"))
                assert got.status_code == 200
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()["resting"]) == (200, ["s0 rests after failures"])


async def cut(url, body, after_s):
    """Sends a call and closes the connection after so many seconds; the time at which it was closed."""
    host, port = url.removeprefix("http://").split(":")
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    await asyncio.sleep(after_s)
    del reader
    writer.close()
    return time.monotonic()


async def until(condition):
    for _ in range(500):
        if await condition():
            return
        await asyncio.sleep(0.02)


async def cuts(root, number, seed):
    """The worst time until the server saw it, how many servers saw it, and the records' outcomes."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    plays = [(at, stream) for stream in (True, False) for at in ("before", "middle", "late")]
    worst, seen = 0.0, 0
    replies = [Reply(match=f"<{at}>", text=TEXT, play="hang", at=at) for at in ("before", "middle", "late")]
    async with ScriptedServer(replies) as server, gateway(root, server, idle_s=60.0) as (url, store, desk):
        for turn in range(number):
            at, stream = plays[turn % len(plays)]
            before = len(server.left)
            closed = await cut(url, say(f"<{at}>", model="s0", stream=stream), dice.uniform(0.03, 0.6))

            async def noticed(before=before):
                return len(server.left) > before

            await until(noticed)
            seen += len(server.left) - before
            worst = max(worst, server.left[-1] - closed) if server.left else 99.0

        async def kept():
            return len(await store.records(limit=10_000)) >= number and not desk.in_flight

        await until(kept)
        records = await store.records(limit=10_000)
        engine = desk._engines["s0"].tiers[0].engine
        free = engine.turnstile._seats._value == engine.turnstile._settings.max_concurrent
        return worst, seen, records, desk.in_flight, free


def hold(found, number):
    worst, seen, records, in_flight, free = found
    assert seen == number
    assert worst <= 1.0, f"{worst:.2f} s"
    assert len({record.id for record in records}) == len(records) == number
    assert {record.outcome for record in records} == {"failed"}
    assert {record.attempts[-1].decision.reason for record in records} == {LEFT}
    assert (in_flight, free) == (0, True)


async def test_who_leaves_ends_the_call_at_the_server_and_is_on_record(tmp_path):
    hold(await cuts(tmp_path, 6, seed=1), 6)


@pytest.mark.slow
async def test_twenty_callers_who_leave_at_any_moment(tmp_path):
    hold(await cuts(tmp_path, 20, seed=2), 20)

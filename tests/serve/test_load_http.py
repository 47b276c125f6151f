"""A load on a gateway over HTTP, and the verb."""

import json

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner
from live_workspace import folder, release
from serving import gateway
from watching import serving

from insource.cli.main import main
from insource.errors import Invalid
from insource.journeys.load import Wanted, load
from insource.measure.load import Pace, hold
from insource.measure.load_http import over_http
from insource.settings import load_task
from insource.store import Store


def silent(what, done, total):
    pass


async def test_a_gateway_is_loaded_over_http_with_first_token_and_every_further_one(tmp_path):
    async with gateway(tmp_path) as (url, store), over_http(url, "hub", "") as send:
        step = await hold(send, ["linger a while", "hello"], 20, Pace(seconds=1.0, target_ms=20_000), silent)
        records = await store.records(limit=100)
    assert step.calls == step.answered == len(records)
    assert step.goodput == 1.0
    assert step.first_ms.n == step.token_ms.n == step.calls
    assert step.first_ms.p50 < step.total_ms.p50
    assert not step.failed


async def test_a_tasks_answer_comes_whole_and_its_refusals_have_their_codes(tmp_path):
    async with gateway(tmp_path, queue=2) as (url, _), over_http(f"{url}/v1/", "tickets", "") as send:
        pace = Pace(seconds=1.0, target_ms=20_000)
        step = await hold(send, ["refund", "down", "slowly", "slowly", "slowly"], 40, pace, silent)
    assert step.token_ms is None
    assert step.first_ms.n == step.answered
    assert set(step.failed) == {"engine_down", "engine_busy"}
    assert step.answered + sum(step.failed.values()) == step.calls


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n', "broken_off"),
        (b'data: {"error": {"code": "engine_slow"}}\n\ndata: [DONE]\n\n', "engine_slow"),
        (b"data: not json\n\ndata: [DONE]\n\n", ""),
        (b"", "broken_off"),
    ],
)
async def test_a_stream_that_is_not_whole_is_no_answer(body, error):
    async def answer(_):
        return web.Response(body=body, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with serving(app) as url, over_http(url, "m", "") as send:
        assert (await send("x")).error == error


async def test_where_nobody_listens_calls_fail_and_the_load_goes_on():
    async with over_http("http://127.0.0.1:9", "m", "") as send:
        assert (await send("x")).error == "no_connection"


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://[", "http://:80"])
async def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(Invalid, match="no address"):
        async with over_http(url, "m", ""):
            pass


async def test_the_key_comes_from_the_environment_and_the_target_from_the_task(tmp_path, monkeypatch):
    settings = folder(tmp_path)
    path = tmp_path / "tasks" / "tickets.toml"
    path.write_text(path.read_text() + "[levels]\np95_ms = 900\n[acceptance]\np95_ms = 700\n")
    monkeypatch.setenv("INSOURCE_KEY", "insource_abc")
    heard = []

    async def answer(http):
        heard.append((http.headers.get("authorization"), await http.json()))
        return web.Response(body=b"data: [DONE]\n\n", content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with serving(app) as url, await Store.open(settings) as store:
        await release(settings, store)
        wanted = Wanted(url=url, rate=20, seconds=0.3)
        found = await load(load_task(settings, "tickets"), settings, store, wanted, silent)
        assert (found.target_ms, found.target_of) == (900, "[levels] p95_ms")
        inputs = {example.input for example in await store.examples((await store.dataset("tickets")).id, "test")}
    assert {key for key, _ in heard} == {"Bearer insource_abc"}
    assert {body["model"] for _, body in heard} == {"tickets"}
    assert {body["messages"][0]["content"] for _, body in heard} <= inputs


def test_the_verb_loads_the_release_and_writes_a_page_and_keeps_no_record(tmp_path):
    import asyncio

    settings = folder(tmp_path)

    async def prepare():
        async with await Store.open(settings) as store:
            await release(settings, store)

    async def kept():
        async with await Store.open(settings) as store:
            return await store.records()

    asyncio.run(prepare())
    words = ["-C", str(tmp_path), "measure", "tickets", "--load", "--rate", "30", "--seconds", "1"]
    done = CliRunner().invoke(main, [*words, "--target-ms", "5000", "--report", str(tmp_path / "r.html"), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["task"], found["candidate"], found["target_ms"]) == ("tickets", "tickets@1.0.0", 5000)
    step = found["steps"][0]
    assert step["calls"] == step["answered"] == step["total_ms"]["n"] > 10
    assert step["goodput"] == 1.0
    assert step["first_ms"] is None, "what comes whole has no first token"
    assert "tickets@1.0.0 at 30 calls a second" in (tmp_path / "r.html").read_text()
    assert asyncio.run(kept()) == []
    table = CliRunner().invoke(main, words)
    assert "calls/s" in table.output
    assert "in this process" in table.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "5"], "--rate is about a load"),
        (["--url", "http://x"], "--url is about a load"),
        (["--until-saturated"], "--until-saturated is about a load"),
        (["--load", "--rate", "5", "--until-saturated"], "leave one of them out"),
        (["--load", "--candidate", "a", "--candidate", "b"], "one candidate at a time"),
        (["--load", "--rows", "5"], "--rows is about scores"),
        (["--load"], "no rows collected"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, words, said):
    folder(tmp_path)
    done = CliRunner().invoke(main, ["-C", str(tmp_path), "measure", "tickets", *words])
    assert done.exit_code == 2
    assert said in done.output


def test_a_load_is_json_there_and_back():
    from insource.measure.load import Step, Times

    one = Times(p50=1, p95=2, p99=3, n=4)
    step = Step(
        rate=1, seconds=1, calls=1, answered=1, failed={}, answered_per_s=1, goodput=1, total_ms=one, first_ms=None,
        token_ms=None, late_ms=0,
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(step), type=Step) == step

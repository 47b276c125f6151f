"""Spans as a collector gets them: whose they are, what they say, and that no content is in them."""

import re

import httpx2 as httpx
import pytest
from aiohttp import web
from serving import client, say
from test_seeing import HOSTILE, ask
from watching import attributes, collector, serving, watched

from insource.errors import EngineDown, Invalid
from insource.nouns import Observe
from insource.serve.seeing import Seeing
from insource.settings import EngineSettings, Settings
from insource.store.egress import FILE, read

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
pytest.importorskip("opentelemetry.sdk")


class Server:
    """An engine with OpenAI's API that remembers the headers it got."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    async def embeddings(self, http: web.Request) -> web.Response:
        self.headers.append(dict(http.headers))
        data = [{"index": 0, "embedding": [0.1, 0.2], "object": "embedding"}]
        return web.json_response({"data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}})

    async def chat(self, http: web.Request) -> web.StreamResponse:
        self.headers.append(dict(http.headers))
        message = {"role": "assistant", "content": "SAID-BY-THE-ENGINE"}
        usage = {"prompt_tokens": 7, "completion_tokens": 3}
        if not (await http.json()).get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({"choices": [choice], "usage": usage})
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(http)
        import json

        for delta, finish in ((message, None), ({}, "stop")):
            piece = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": usage}
            await answer.write(f"data: {json.dumps(piece)}\n\n".encode())
        await answer.write(b"data: [DONE]\n\n")
        return answer


def by_name(spans) -> dict[str, list]:
    found: dict[str, list] = {}
    for span in spans:
        found.setdefault(span.name, []).append(span)
    return found


async def test_a_call_and_its_engine_are_spans_below_the_callers_own_and_the_server_hears_of_it(tmp_path):
    server, app = Server(), web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    async with serving(app) as there, collector() as otlp:
        remote = EngineSettings(kind="openai", base_url=f"{there}/v1", model="big-one")
        observe = Observe(otlp=otlp.url, log_json=True)
        async with watched(tmp_path, observe, {"far": remote}) as (url, store, _, lines):
            for more in ({}, {"stream": True}):
                body = say("hello", "far", seed=7, max_tokens=5, **more)
                async with httpx.AsyncClient() as http:
                    said = {"traceparent": CALLER, "tracestate": "a=CANARY"}
                    answer = await http.post(f"{url}/v1/chat/completions", json=body, headers=said)
                assert answer.status_code == 200
            records = await store.records()
    calls, attempts = by_name(otlp.spans)["chat far"], by_name(otlp.spans)["chat big-one"]
    assert len(calls) == len(attempts) == 2
    for call, attempt, headers, record in zip(calls, attempts, server.headers, reversed(records), strict=True):
        assert call.trace_id.hex() == attempt.trace_id.hex() == TRACE
        assert call.parent_span_id.hex() == "00f067aa0ba902b7"
        assert attempt.parent_span_id == call.span_id
        assert headers["traceparent"] == f"00-{TRACE}-{attempt.span_id.hex()}-01"
        assert "tracestate" not in {name.lower() for name in headers}
        assert (call.kind, attempt.kind) == (2, 3), "server and client"
        said, of = attributes(attempt), attributes(call)
        assert said["gen_ai.operation.name"] == of["gen_ai.operation.name"] == "chat"
        assert said["gen_ai.provider.name"] == "openai"
        assert (said["gen_ai.request.model"], said["gen_ai.request.seed"], said["gen_ai.request.max_tokens"]) == (
            "big-one", 7, 5,
        )  # fmt: skip
        assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (7, 3)
        assert said["gen_ai.response.finish_reasons"] == ["stop"]
        assert said["server.address"] == "127.0.0.1"
        assert of["insource.record"] == record.id
        assert of["http.response.status_code"] == 200
        assert call.start_time_unix_nano <= attempt.start_time_unix_nano < attempt.end_time_unix_nano
        assert attempt.end_time_unix_nano <= call.end_time_unix_nano
    assert attributes(attempts[1])["gen_ai.request.stream"] is True
    assert attributes(attempts[1])["gen_ai.response.time_to_first_chunk"] > 0
    assert {line["trace"] for line in lines} == {TRACE}


async def test_choices_completions_and_embeddings_are_spans_too(tmp_path):
    server, app = Server(), web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_post("/v1/embeddings", server.embeddings)
    async with serving(app) as there, collector() as otlp:
        remote = EngineSettings(kind="openai", base_url=f"{there}/v1", model="big-one")
        async with watched(tmp_path, Observe(otlp=otlp.url), {"far": remote}) as (url, store, *_), client(url) as ai:
            headers = {"traceparent": CALLER}
            await ai.chat.completions.create(**say("hello", "far"), n=3, extra_headers=headers)
            await ai.completions.create(model="far", prompt="hello CANARY", extra_headers=headers)
            await ai.embeddings.create(model="far", input=["hello CANARY"], extra_headers=headers)
            records = await store.records()
    names = {name: len(spans) for name, spans in by_name(otlp.spans).items()}
    assert names == {"chat far": 4, "chat big-one": 4, "embeddings far": 1, "embeddings big-one": 1}
    assert {span.trace_id.hex() for span in otlp.spans} == {TRACE}
    ids = {attributes(span)["insource.record"] for span in otlp.spans if span.name.endswith(" far")}
    assert ids == {record.id for record in records}
    assert {headers["traceparent"][3:35] for headers in server.headers} == {TRACE}
    assert len(server.headers) == 5
    assert b"CANARY" not in b"".join(otlp.bodies)


async def test_a_caller_that_traces_nothing_gets_a_trace_and_one_that_declines_gets_none(tmp_path):
    async with collector() as otlp, watched(tmp_path, Observe(otlp=otlp.url)) as (url, *_), client(url) as ai:
        assert await ask(ai, "refund") == 200
        assert await ask(ai, "refund", extra_headers={"traceparent": CALLER.removesuffix("1") + "0"}) == 200
        for odd in ("garbage", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", CALLER + "-\"x'", "ff" + CALLER[2:]):
            assert await ask(ai, "refund", extra_headers={"traceparent": odd}) == 200
    traces = [span.trace_id.hex() for span in otlp.spans if span.name == "chat tickets"]
    assert len(set(traces)) == 5
    assert TRACE not in traces
    assert all(re.fullmatch("[0-9a-f]{32}", trace) for trace in traces)


async def test_a_share_of_the_calls_is_traced_and_a_caller_that_traces_is_always(tmp_path):
    async with collector() as otlp, watched(tmp_path, Observe(otlp=otlp.url, sample=0)) as (url, *_), client(url) as ai:
        for _ in range(3):
            assert await ask(ai, "refund") == 200
        assert await ask(ai, "refund", extra_headers={"traceparent": CALLER}) == 200
    assert {span.trace_id.hex() for span in otlp.spans} == {TRACE}


async def test_what_failed_says_so_and_a_call_without_a_record_ends_too(tmp_path):
    async with (
        collector() as otlp,
        watched(tmp_path, Observe(otlp=otlp.url)) as (url, store, desk, _),
        client(url) as ai,
    ):
        assert await ask(ai, "down") == 503
        assert await ask(ai, "break off", "hub", stream=True) == 503
        await store._thread.run(lambda c: c.exec_driver_sql("CREATE TRIGGER no BEFORE INSERT ON record BEGIN SELECT RAISE(ABORT, 'no'); END"))  # fmt: skip # noqa: E501
        assert await ask(ai, "refund") == 503
        assert not desk.seeing._traces._spans
        assert not desk.seeing._open
    kinds = [(s.name, s.status.code, attributes(s).get("error.type")) for s in otlp.spans]
    assert sorted(kinds) == sorted([
        ("chat one", 2, "engine_down"), ("chat tickets", 2, "503"), ("chat hub-large", 2, "engine_down"),
        ("chat hub", 2, "503"), ("chat one", 0, None), ("chat tickets", 2, "store_unavailable"),
    ])  # fmt: skip


async def test_no_text_stands_in_a_span_whatever_is_sent(tmp_path):
    server, app = Server(), web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    canary = "CANARY-7f3a"
    async with serving(app) as there, collector() as otlp:
        remote = EngineSettings(kind="openai", base_url=f"{there}/v1", model="m", api_key_env="SOME_KEY")
        observe = Observe(otlp=otlp.url)
        async with watched(tmp_path, observe, {"far": remote}) as (url, *_), client(url) as ai:
            for words in HOSTILE:
                headers = {"tracestate": f"a={canary}", "baggage": f"text={canary}", "x-note": canary}
                for prefix in ("refund ", "broken ", "down ", "unsure "):
                    await ask(ai, f"{prefix}{canary} {words}", extra_headers=headers)
                await ask(ai, f"{canary} {words}", "far", stop=[canary], user=canary, extra_headers=headers)
                await ask(ai, f"{canary} {words}", "far", stream=True, metadata={"a": canary})
                await ask(ai, f"break off {canary} {words}", "hub", stream=True)
                await ask(ai, "refund", f"no model {canary}")
    assert len(otlp.spans) >= len(HOSTILE) * 7 * 2
    sent = b"".join(otlp.bodies)
    for secret in (canary, "SAID-BY-THE-ENGINE", "SECRETKEY", "Musterfrau", "forged", "injected"):
        assert secret.encode() not in sent, secret


async def test_the_collector_gets_the_headers_of_the_setting_and_its_absence_hurts_no_call(tmp_path, monkeypatch):
    monkeypatch.setenv("COLLECTOR_HEADERS", "x-team = quality ,authorization=Bearer abc")
    async with collector() as otlp:
        observe = Observe(otlp=otlp.url, otlp_headers_env="COLLECTOR_HEADERS")
        async with watched(tmp_path, observe) as (url, *_), client(url) as ai:
            assert await ask(ai, "refund") == 200
    assert otlp.headers[0]["x-team"] == "quality"
    assert otlp.headers[0]["Authorization"] == "Bearer abc"
    left = {(one.purpose, one.destination): one for one in read([tmp_path / ".insource" / FILE])[0]}
    collected = left["traces", otlp.url.split("/")[2]]
    assert collected.connections == 1
    assert collected.sent == len(otlp.bodies[0])


async def test_a_collector_that_is_away_or_sends_on_hurts_no_call_and_is_told_of_once(tmp_path, caplog):
    async def moved(http):
        raise web.HTTPTemporaryRedirect(otlp.url)

    app = web.Application()
    app.router.add_post("/v1/traces", moved)
    async with collector() as otlp, serving(app) as there:
        for place in ("http://127.0.0.1:9/v1/traces", f"{there}/v1/traces", "http://169.254.169.254/v1/traces"):
            caplog.clear()
            root = tmp_path / place[-30:-10].replace("/", "")
            async with watched(root, Observe(otlp=place)) as (url, *_), client(url) as ai:
                for _ in range(3):
                    assert await ask(ai, "refund") == 200
            assert len([one for one in caplog.records if "spans are not taken" in one.getMessage()]) == 1
    assert otlp.bodies == []


@pytest.mark.parametrize("url", ["localhost:4318", "ftp://x/v1", "http://", "http://[", "http://h:99999/"])
def test_an_address_that_is_none_stops_the_start(tmp_path, url):
    with pytest.raises(Invalid, match="no http address"):
        Seeing(Settings(root=tmp_path, cache=tmp_path, observe=Observe(otlp=url)))


def test_headers_of_another_form_stop_the_start_and_are_not_said(tmp_path, monkeypatch):
    monkeypatch.setenv("COLLECTOR_HEADERS", "Bearer SECRET")
    observe = Observe(otlp="http://localhost:4318/v1/traces", otlp_headers_env="COLLECTOR_HEADERS")
    with pytest.raises(Invalid, match="name=value") as caught:
        Seeing(Settings(root=tmp_path, cache=tmp_path, observe=observe))
    assert "SECRET" not in f"{caught.value}{caught.value.hint}"


def test_without_the_library_the_start_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.common.trace_encoder", None)
    with pytest.raises(EngineDown, match="is not installed") as caught:
        Seeing(Settings(root=tmp_path, cache=tmp_path, observe=Observe(otlp="http://localhost:4318/v1/traces")))
    assert caught.value.hint == "pip install 'insource[traces]'"


async def test_an_answer_that_is_given_again_is_a_span_that_says_so_with_no_engine_below_it(tmp_path):
    server, app = Server(), web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    async with serving(app) as there, collector() as otlp:
        remote = EngineSettings(kind="openai", base_url=f"{there}/v1", model="big-one", cache=True)
        observe = Observe(otlp=otlp.url, log_json=True)
        async with watched(tmp_path, observe, {"far": remote}) as (url, _, __, lines), httpx.AsyncClient() as http:
            for more in ({}, {"stream": True}, {}):
                body = say("hello", "far", temperature=0, **more)
                assert (await http.post(f"{url}/v1/chat/completions", json=body)).status_code == 200
    found = by_name(otlp.spans)
    assert len(server.headers) == len(found["chat big-one"]) == 1
    assert [attributes(call).get("insource.cache") for call in found["chat far"]] == [None, "hit", "hit"]
    assert [line.get("cache") for line in lines] == [None, "hit", "hit"]

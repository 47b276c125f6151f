"""What a policy forbids does not pass the gateway: not to an engine, not to a caller, not into a record or a log."""

import json
import logging
from contextlib import asynccontextmanager

import httpx2 as httpx
import pytest

pytest.importorskip("re2")
pytest.importorskip("phonenumbers")
pytest.importorskip("stdnum")

from serving import client, gateway, say, socket_of, tickets
from test_api import vectors

from insource.engines.scripted import Rule, Scripted
from insource.engines.scripted_server import Reply, ScriptedServer, Written
from insource.errors import ScanFailed
from insource.journeys.answer import Path, Tier
from insource.journeys.scanned import open_scans
from insource.nouns import Scan, ScanPolicy
from insource.serve.app import create_app
from insource.settings import EngineSettings, Settings
from insource.store import Store

MAIL, CARD = "ada@example.com", "4111 1111 1111 1111"
TERMS = ("Project Bluebird",)
PASSED = Scan(
    input=ScanPolicy(actions={"email": "redact", "card": "block", "ip_address": "note"}),
    output=ScanPolicy(actions={"email": "redact", "card": "block", "own_term": "redact", "ip_address": "note"}),
    own_terms=TERMS,
)
TOOL = {"type": "function", "function": {"name": "send", "parameters": {"type": "object"}}}


@asynccontextmanager
async def passed(root, *replies: Reply, scan: Scan = PASSED):
    """A gateway that passes calls on to a scripted server under `scan`: a client, its URL, the server and the store."""
    async with ScriptedServer(replies) as server:
        hub = EngineSettings(kind="openai", base_url=server.base_url, model="scripted")
        settings = Settings(root=root, cache=root, engines={"hub": hub}, scan=scan)
        async with (
            await Store.open(settings) as store,
            socket_of(create_app(settings, store, {})) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as http,
        ):
            yield http, url, server, store


async def chat(http, text: str, **more):
    return await http.post("/v1/chat/completions", json=say(text, "hub", **more))


def told(server: ScriptedServer) -> str:
    return json.dumps(server.seen, ensure_ascii=False)


def shows_card(text: str) -> bool:
    """Whether the half of the card's number is there: four digits stand in some digest sooner or later."""
    return CARD[:9] in text or CARD[:9].replace(" ", "") in text


def on_disk(root) -> bytes:
    """Everything the workspace has written."""
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


# ------------------------------------------------------------------ what is asked


async def test_what_is_blocked_reaches_no_engine_and_is_on_record_without_its_text(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with passed(tmp_path, Reply(text="never")) as (http, _, server, store):
        answer = await chat(http, f"charge {CARD} for 10.1.2.3")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (403, "content_blocked", "messages")
        assert "card" in error["message"]
        assert not shows_card(answer.text)
        assert server.seen == []
        record = await store.record(answer.headers["x-insource-record"])
        assert (record.outcome, record.usd, record.attempts[0].decision.rule) == ("failed", 0.0, "scan")
        assert record.attempts[0].decision.reason == "content_blocked"
        assert [(hit.kind, hit.action, hit.count, hit.places) for hit in record.found] == [
            ("card", "block", 1, ("messages[0].content 7:26",)),
            ("ip_address", "note", 1, ("messages[0].content 31:39",)),
        ]
        streamed = await chat(http, f"charge {CARD}", stream=True)
        assert (streamed.status_code, streamed.json()["error"]["code"]) == (403, "content_blocked")
        assert server.seen == []
        assert await store.open_calls() == 0
    assert not shows_card(caplog.text)
    assert not shows_card(on_disk(tmp_path).decode("latin-1"))


async def test_what_is_redacted_is_a_placeholder_to_the_engine_and_itself_again_to_the_caller(tmp_path):
    echo = Reply(text="Dear [email 1], or [email 2]? Not [email 3].")
    async with passed(tmp_path, echo) as (http, _, server, store):
        answer = await chat(http, f"write to {MAIL}, copy bob@example.com, {MAIL}")
        assert server.seen[0]["messages"][0]["content"] == "write to [email 1], copy [email 2], [email 1]"
        assert answer.json()["choices"][0]["message"]["content"] == f"Dear {MAIL}, or bob@example.com? Not [email 3]."
        record = await store.record(answer.headers["x-insource-record"])
        assert [(hit.kind, hit.count, len(hit.places)) for hit in record.found] == [("email", 3, 3)]
        assert record.outcome == "answered"
    assert b"example.com" not in on_disk(tmp_path)


async def test_where_it_is_not_wanted_nothing_is_put_back(tmp_path):
    scan = Scan(input=PASSED.input, restore=False)
    async with passed(tmp_path, Reply(text="Dear [email 1]"), scan=scan) as (http, *_):
        answer = await chat(http, f"write to {MAIL}")
        assert answer.json()["choices"][0]["message"]["content"] == "Dear [email 1]"


async def test_one_call_never_sees_what_another_hid(tmp_path):
    async with passed(tmp_path, Reply(text="[email 1]")) as (http, *_):
        await chat(http, MAIL)
        assert (await chat(http, "what is [email 1]?")).json()["choices"][0]["message"]["content"] == "[email 1]"


async def test_every_part_of_a_call_that_an_engine_gets_is_scanned(tmp_path):
    secret = {"type": "object", "properties": {"to": {"enum": [MAIL]}}}
    body = {
        "model": "hub",
        "messages": [
            {"role": "system", "content": f"you work for {MAIL}"},
            {"role": "user", "name": MAIL, "content": [{"type": "text", "text": f"hello {MAIL}"}]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {
                    "name": "send", "arguments": '{"to":"ada\\u0040example.com","to":"bob\\u0040example.com"}'}}]},
            {"role": "tool", "tool_call_id": "c1", "content": f"sent to {MAIL}"},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": f"https://pictures.example.com/?who={MAIL}"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]},
        ],
        "tools": [{"type": "function", "function": {"name": "a", "description": f"as {MAIL}", "parameters": secret}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": secret}},
        "stop": [MAIL],
    }  # fmt: skip
    async with passed(tmp_path, Reply()) as (http, _, server, store):
        answer = await http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        assert "example.com" not in told(server).replace("https://pictures.example.com/?who=", "")
        seen = server.seen[0]
        assert seen["messages"][4]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="
        assert seen["tools"][0]["function"]["parameters"]["properties"]["to"]["enum"] == ["[email 1]"]
        assert json.loads(seen["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"to": "[email 2]"}
        (hit,) = (await store.record(answer.headers["x-insource-record"])).found
        assert (hit.count, len(hit.places)) == (10, 8)
        assert "messages[2].tool_calls[0].arguments 0:15" in hit.places


# ------------------------------------------------------------------ what is answered


async def test_an_answer_that_may_not_pass_is_an_error_and_costs_what_it_cost(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with passed(tmp_path, Reply(text=f"the card is {CARD}.")) as (http, _, server, store):
        answer = await chat(http, "which card?")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "content_blocked")
        assert not shows_card(answer.text)
        assert len(server.seen) == 1
        record = await store.record(answer.headers["x-insource-record"])
        (attempt,) = record.attempts
        assert (record.outcome, attempt.withheld, attempt.decision.reason) == ("failed", True, "content_blocked")
        assert [(hit.kind, hit.places) for hit in attempt.found] == [("card", ("content 12:31",))]
        assert attempt.prediction.usage.output_tokens > 0
    assert not shows_card(caplog.text)
    assert not shows_card(on_disk(tmp_path).decode("latin-1"))


async def test_answers_are_redacted_with_numbers_after_those_of_the_question(tmp_path):
    reply = Reply(text="ask eve@example.com about project  BLUEBIRD, not [email 1]")
    async with passed(tmp_path, reply) as (http, *_):
        answer = await chat(http, f"I am {MAIL}")
        assert answer.json()["choices"][0]["message"]["content"] == f"ask [email 2] about [own_term 1], not {MAIL}"


async def test_arguments_of_calls_are_scanned_as_the_json_they_are(tmp_path):
    call = {"id": "c", "type": "function", "function": {
        "name": "send", "arguments": '{"to":"[email 1]","cc":"eve\\u0040example.com","ip":"10.1.2.3"}'}}  # fmt: skip
    reply = Reply(text="", tool_calls=(call,), finish="tool_calls")
    quoted = f'"a b"@example.com {MAIL}'
    async with passed(tmp_path, reply) as (http, url, _, store):
        for stream in (False, True):
            async with client(url) as ai:
                asked = say(f"send {quoted}", "hub", tools=[TOOL])
                if stream:
                    async with ai.chat.completions.stream(**asked) as events:
                        done = await events.get_final_completion()
                else:
                    done = await ai.chat.completions.create(**asked)
            (made,) = done.choices[0].message.tool_calls
            assert json.loads(made.function.arguments) == {"to": MAIL, "cc": "[email 2]", "ip": "10.1.2.3"}
        for record in await store.records():
            assert [(hit.kind, hit.places[0]) for hit in record.attempts[0].found] == [
                ("email", "tool_calls[0].arguments 0:15"),
                ("ip_address", "tool_calls[0].arguments 0:8"),
            ]
        call["function"]["arguments"] = json.dumps({"card": int(CARD.replace(" ", ""))})
        for stream in (False, True):
            answer = await chat(http, "pay", tools=[TOOL], stream=stream)
            assert "content_blocked" in answer.text
            assert not shows_card(answer.text)
            assert "[DONE]" not in answer.text


async def test_what_is_put_back_into_json_is_spelled_as_json(tmp_path):
    scan = Scan(input=ScanPolicy(actions={"own_term": "redact"}), own_terms=('the "big" one',))
    async with passed(tmp_path, Reply(text='{"what":"[own_term 1]"}'), scan=scan) as (http, *_):
        for stream in (False, True):
            answer = await chat(http, 'about the "big" one', response_format={"type": "json_object"}, stream=stream)
            text = streamed(answer.text)[0] if stream else answer.json()["choices"][0]["message"]["content"]
            assert json.loads(text) == {"what": 'the "big" one'}


# ------------------------------------------------------------------ streams


def streamed(body: str) -> tuple[str, str]:
    """The words of a stream, and how it ended: with [DONE] or with the code of an error."""
    text, end = "", ""
    for line in body.splitlines():
        data = line.removeprefix("data: ")
        if not line or data == "[DONE]":
            end = end or data
            continue
        event = json.loads(data)
        end = end or event.get("error", {}).get("code", "")
        text += "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))
    return text, end


SPOKEN = "Dear [email 1], eve@example.com says: Project Bluebird is at 10.1.2.3 [email 9]"


@pytest.mark.parametrize(
    ("spoken", "end"), [(SPOKEN + ".", "[DONE]"), (f"{SPOKEN} on {CARD}, and more", "content_blocked")]
)
async def test_however_a_stream_is_cut_the_same_goes_on(spoken, end, tmp_path):
    cuts = [*range(1, len(spoken))]
    replies = [
        Reply(match=f"cut {cut}.", tokens=(Written(text=spoken[:cut]), Written(text=spoken[cut:]))) for cut in cuts
    ]
    letters = Reply(match="letters", tokens=tuple(Written(text=each) for each in spoken))
    expected = f"Dear {MAIL}, [email 2] says: [own_term 1] is at 10.1.2.3 [email 9]"
    async with passed(tmp_path, letters, *replies) as (http, _, server, store):
        for asked in ["letters", *(f"cut {cut}." for cut in cuts)]:
            text, ended = streamed((await chat(http, f"{asked} I am {MAIL}", stream=True)).text)
            assert (text, ended) == (expected + (" on " if end != "[DONE]" else "."), end), asked
        assert MAIL not in told(server)
        found = {
            tuple((hit.kind, hit.count, hit.places) for hit in record.attempts[0].found)
            for record in await store.records(limit=500)
        }
        assert len(found) == 1
        assert {record.outcome for record in await store.records(limit=500)} == {
            "answered" if end == "[DONE]" else "failed"
        }
    assert b"example.com" not in on_disk(tmp_path)


async def test_a_stream_blocked_before_its_first_word_is_a_plain_error(tmp_path):
    async with passed(tmp_path, Reply(text=CARD)) as (http, *_):
        answer = await chat(http, "card?", stream=True)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "content_blocked")


# ------------------------------------------------------------------ a scan that is broken


class Broken:
    """A recogniser that fails as soon as it reads."""

    settled = 0

    def begin(self):
        return self

    def read(self, view):
        raise ValueError(f"not this: {view.text}")


@pytest.mark.parametrize("side", ["asked", "said"])
async def test_a_broken_scan_lets_nothing_pass(side, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    engine = Scripted("one", [Rule(value={"intent": "refund"}, confidence=0.99)])
    scans = open_scans(Scan(input=ScanPolicy(actions={"email": "note"}), output=ScanPolicy(actions={"card": "note"})))
    getattr(scans, side).recognisers.append(Broken())
    task = tickets()
    path = Path(task=task, tiers=(Tier(engine, "tickets@1.0.0"),), threshold=0.85, scans=scans)
    async with gateway(tmp_path, path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        answer = await http.post("/v1/chat/completions", json=say(f"refund {MAIL}"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, ScanFailed.code)
        assert answer.headers["retry-after"]
        record = await store.record(answer.headers["x-insource-record"])
        assert (record.outcome, record.attempts[0].decision.reason) == ("failed", "scan_failed")
        assert await store.pending() == []
        assert MAIL not in answer.text + caplog.text
    assert b"example.com" not in on_disk(tmp_path)


@pytest.mark.parametrize("side", ["asked", "said"])
async def test_a_broken_scan_ends_a_stream_without_its_end_mark(side, tmp_path):
    async with ScriptedServer([Reply(text="all is well")]) as server:
        hub = EngineSettings(kind="openai", base_url=server.base_url, model="scripted")
        settings = Settings(root=tmp_path, cache=tmp_path, engines={"hub": hub}, scan=PASSED)
        async with await Store.open(settings) as store:
            app = create_app(settings, store, {})
            path = await app.state.desk._path("hub")
            getattr(path.scans, side).recognisers.append(Broken())
            async with socket_of(app) as url, httpx.AsyncClient(base_url=url, timeout=20) as http:
                answer = await chat(http, MAIL, stream=True)
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "scan_failed")
                assert len(server.seen) == (side == "said")


# ------------------------------------------------------------------ the other routes


async def test_completions_and_several_choices_are_scanned_too(tmp_path):
    async with passed(tmp_path, Reply(text="Dear [email 1]")) as (http, _, server, store):
        said = await http.post("/v1/completions", json={"model": "hub", "prompt": ["hi", f"I am {MAIL}"], "n": 2})
        assert [choice["text"] for choice in said.json()["choices"]] == [*["Dear [email 1]"] * 2, *[f"Dear {MAIL}"] * 2]
        assert MAIL not in told(server)
        await refused_as_blocked(http, store, "completions", {"model": "hub", "prompt": CARD})
        assert len(server.seen) == 4


async def test_what_is_embedded_is_scanned_too(tmp_path):
    async with vectors() as (base_url, seen):
        hub = EngineSettings(kind="openai", base_url=base_url, model="embedder")
        settings = Settings(root=tmp_path, cache=tmp_path, engines={"hub": hub}, scan=PASSED)
        async with (
            await Store.open(settings) as store,
            socket_of(create_app(settings, store, {})) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as http,
        ):
            said = await http.post("/v1/embeddings", json={"model": "hub", "input": ["hi", f"I am {MAIL}"]})
            assert said.status_code == 200, said.text
            (hit,) = (await store.record(said.headers["x-insource-record"])).found
            assert hit.places == ("messages[1].content 5:20",)
            await refused_as_blocked(http, store, "embeddings", {"model": "hub", "input": CARD})
        assert [each["input"] for each in seen] == [["hi", "I am [email 1]"]]
    assert b"example.com" not in on_disk(tmp_path)


async def refused_as_blocked(http, store: Store, route: str, body: dict) -> None:
    refused = await http.post(f"/v1/{route}", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "content_blocked")
    record = await store.record(refused.headers["x-insource-record"])
    (attempt,) = record.attempts
    assert (record.outcome, attempt.decision.rule, attempt.decision.reason) == ("failed", "scan", "content_blocked")

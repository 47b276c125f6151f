"""Answers given again by a gateway on a real socket: to whom, for what, and never to anybody else."""

import asyncio
from contextlib import asynccontextmanager

import httpx2 as httpx
import pytest
from serving import client, say, socket_of

from insource.engines.scripted_server import Reply, ScriptedServer
from insource.journeys import keys
from insource.journeys.serve import close_path, open_passthrough
from insource.nouns import Key, Limits, Scan, ScanPolicy, Usage
from insource.serve.app import create_app
from insource.settings import CacheSettings, EngineSettings, Settings
from insource.store import Store

ON = CacheSettings(on=True)
SURE = {"temperature": 0}


class Place:
    """A gateway before a scripted server."""

    def __init__(self, url: str, server: ScriptedServer, store: Store, http: httpx.AsyncClient) -> None:
        self.url, self.server, self.store, self.http = url, server, store, http

    async def ask(self, text="hello", *, sent=None, model="hub", **more) -> httpx.Response:
        body = say(text, model, **(SURE | more))
        return await self.http.post("/v1/chat/completions", json=body, headers=sent or {})

    async def hit(self, *given, **more) -> bool:
        answer = await self.ask(*given, **more)
        assert answer.status_code == 200, answer.text
        return answer.headers.get("x-insource-cache") == "hit"

    async def metrics(self) -> dict[str, float]:
        page = (await self.http.get("/metrics")).text
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in page.split("\n") if line)
                if name.startswith("insource_")}  # fmt: skip


@asynccontextmanager
async def place(root, *replies: Reply, answers=ON, scan=None, **engine):
    async with ScriptedServer(replies or (Reply(text="well, hello"),)) as server:
        more = {"base_url": server.base_url, "usd_per_million_input": 5.0, "usd_per_million_output": 10.0} | engine
        hub = EngineSettings(kind="openai", model="scripted", retries=0, **more)
        spare = EngineSettings(kind="openai", base_url=server.base_url, model="scripted")
        settings = Settings(
            root=root, cache=root, answers=answers, scan=scan or Scan(), engines={"hub": hub, "spare": spare}
        )
        async with (
            await Store.open(settings) as store,
            socket_of(create_app(settings, store, {})) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as http,
        ):
            yield Place(url, server, store, http)


async def test_a_hit_says_so_costs_nothing_and_is_on_record_like_any_call(tmp_path):
    async with place(tmp_path) as here:
        first, again = await here.ask(), await here.ask()
        assert ("x-insource-cache" in first.headers, again.headers["x-insource-cache"]) == (False, "hit")
        one, two = first.json(), again.json()
        assert one["choices"] == two["choices"]
        assert one["usage"] == two["usage"]
        assert ("cache" in one["insource"], two["insource"]["cache"]) == (False, "hit")
        for name in ("release", "tier", "confidence", "decision"):
            assert first.headers[f"x-insource-{name}"] == again.headers[f"x-insource-{name}"]
        assert one["id"] != two["id"]
        assert len(here.server.seen) == 1
        kept = [await here.store.record(answer.headers["x-insource-record"]) for answer in (first, again)]
        assert kept[0].usd > 0 == kept[1].usd
        assert kept[1].answer.usage == Usage()
        decision = kept[1].attempts[0].decision
        assert (decision.engine, decision.rule, decision.accepted) == ("hub", "cache", True)
        assert decision.reason.startswith(f"as record {kept[0].id} was answered ")
        assert kept[0].input_hash == kept[1].input_hash
        assert await here.store.open_calls() == 0
        assert b"well, hello" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        found = await here.metrics()
        assert found['insource_cache_total{result="hit",task="-"}'] == 1
        assert found['insource_cache_total{result="miss",task="-"}'] == 1
        assert found['insource_attempts_total{engine="hub",result="cached"}'] == 1
        assert found['insource_attempts_total{engine="hub",result="accepted"}'] == 1
        assert found["insource_cache_entries"] == 1
        assert found["insource_cache_bytes"] > 300


async def test_without_being_asked_for_nothing_is_kept(tmp_path):
    async with place(tmp_path, answers=CacheSettings()) as here:
        assert [await here.hit() for _ in range(3)] == [False] * 3
        assert len(here.server.seen) == 3
        assert not any(name.startswith("insource_cache_total") for name in await here.metrics())


@pytest.mark.parametrize(
    ("cache", "engine", "kept"),
    [
        (CacheSettings(), {"cache": True}, True),
        (CacheSettings(), {"cache": True, "region": "premises"}, True),
        (ON, {}, True),
        (ON, {"cache": False}, False),
        (ON, {"region": "premises"}, False),
        (ON, {"region": "eu"}, False),
    ],
)
async def test_an_engine_that_is_held_to_a_place_says_so_itself(tmp_path, cache, engine, kept):
    async with place(tmp_path, answers=cache, **engine) as here:
        assert [await here.hit() for _ in range(2)] == [False, kept]


async def test_an_engine_of_other_settings_or_another_scan_is_another_scope(tmp_path):
    async def scope(scan=Scan(), **more) -> str:  # noqa: B008 - frozen
        hub = EngineSettings(kind="openai", base_url="http://127.0.0.1:9/v1", cache=True, **more)
        spare = EngineSettings(kind="openai", base_url="http://127.0.0.1:9/v1")
        engines = {"hub": hub, "spare": spare}
        settings = Settings(root=tmp_path, cache=tmp_path, engines=engines, scan=scan)
        async with await Store.open(settings) as store:
            path = open_passthrough("hub", settings, store)
            await close_path(path)
            return path.scope

    pytest.importorskip("re2")
    noted = Scan(input=ScanPolicy(actions={"email": "note"}))
    made = [await scope(), await scope(model="m"), await scope(region="eu"), await scope(otherwise=("spare",))]
    assert len({*made, await scope(noted)}) == 5
    assert made[0] == await scope()


async def test_a_base_model_in_the_process_is_on_premises_too(tmp_path):
    async def scope(**more) -> str:
        small = EngineSettings(kind="scripted", script="s.jsonl", **more)
        settings = Settings(root=tmp_path, cache=tmp_path, answers=ON, engines={"small": small})
        (tmp_path / "s.jsonl").write_text('{"match": "*", "text": "x"}\n')
        async with await Store.open(settings) as store:
            path = open_passthrough("small", settings, store)
            await close_path(path)
            return path.scope

    assert await scope()
    assert not await scope(region="premises")
    assert EngineSettings(kind="embedded").place == "premises"


# ------------------------------------------------------------------ to whom


async def made(store: Store, name: str, **more) -> dict[str, str]:
    return {"authorization": f"Bearer {(await keys.create(store, Key(id='', name=name, **more)))[1]}"}


async def test_a_tenants_answers_are_for_all_its_keys_and_for_no_other_tenant(tmp_path):
    async with place(tmp_path) as here:
        ada = await made(here.store, "ada", tenant="north")
        bob = await made(here.store, "bob", tenant="north")
        eve = await made(here.store, "eve", tenant="south")
        assert [await here.hit(sent=sent) for sent in (ada, ada, bob)] == [False, True, True]
        assert [await here.hit(sent=sent) for sent in (eve, eve)] == [False, True]
        assert len(here.server.seen) == 2


async def test_a_tenant_that_is_left_out_is_never_answered_so(tmp_path):
    async with place(tmp_path, answers=CacheSettings(on=True, not_for=("south",))) as here:
        eve = await made(here.store, "eve", tenant="south")
        assert [await here.hit(sent=eve) for _ in range(3)] == [False] * 3
        assert len(here.server.seen) == 3


async def test_a_hit_takes_a_key_a_scope_and_room_in_the_limits(tmp_path):
    async with place(tmp_path) as here:
        two = await made(here.store, "two", limits=Limits(requests_per_minute=2))
        other = await made(here.store, "other", scopes=("spare",))
        assert [await here.hit(sent=two) for _ in range(2)] == [False, True]
        over = await here.ask(sent=two)
        assert (over.status_code, "x-insource-cache" in over.headers) == (429, False)
        assert (await here.ask(sent=other)).status_code == 403
        assert (await here.ask()).status_code == 401


async def test_a_hit_takes_nothing_from_a_budget(tmp_path):
    async with place(tmp_path) as here:
        key = await made(here.store, "thrifty", limits=Limits(usd_per_day=0.02))
        assert not await here.hit(sent=key, max_tokens=100)
        for _ in range(30):  # each would cost a little, and reserves a thousandth while it is answered
            assert await here.hit(sent=key, max_tokens=100)
        spent = await here.store.spent("2000-01-01")
        assert sum(one.usd for one in spent) == pytest.approx(10 * 5e-6 + 3 * 10e-6)


# ------------------------------------------------------------------ for what


@pytest.mark.parametrize(
    "more",
    [
        {"text": "hello "},
        {"seed": 3},
        {"max_tokens": 5},
        {"stop": "x"},
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"temperature": 0.1, "seed": 1},
        {"model": "spare"},
        {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]},
    ],
)
async def test_another_call_is_another_answer(tmp_path, more):
    async with place(tmp_path, Reply(text='{"a": 1}')) as here:
        assert not await here.hit()
        assert not await here.hit(**more)
        assert await here.hit(**more)
        assert await here.hit()


async def test_who_asks_for_chance_gets_it(tmp_path):
    async with place(tmp_path) as here:
        for chance in ({"temperature": 0.7}, {"temperature": None}):
            assert [await here.hit(**chance) for _ in range(2)] == [False, False]
        choices = await here.ask(n=3, temperature=1)
        assert len(choices.json()["choices"]) == 3
        assert len(here.server.seen) == 7
        seeded = [await here.ask(n=3, temperature=1, seed=5) for _ in range(2)]
        assert [answer.headers.get("x-insource-cache") for answer in seeded] == [None, "hit"]
        assert len(here.server.seen) == 10


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="cut", finish="length"),
        Reply(text="", refusal="no"),
        Reply(text=""),
        Reply(status=503),
        Reply(status=400),
        Reply(fault="bad_json"),
    ],
)
async def test_what_is_no_whole_answer_is_not_kept(tmp_path, reply):
    async with place(tmp_path, reply, breaker=False) as here:
        for _ in range(2):
            assert "x-insource-cache" not in (await here.ask()).headers
        assert len(here.server.seen) >= 2


async def test_what_a_second_engine_answered_is_not_kept(tmp_path):
    async with place(tmp_path, base_url="http://127.0.0.1:9/v1", otherwise=("spare",)) as here:
        for more in ({}, {}, {"stream": True}, {"stream": True}):
            answer = await here.ask(**more)
            assert answer.headers["x-insource-decision"] == "escalated"
            assert "x-insource-cache" not in answer.headers
        assert len(here.server.seen) == 4


@pytest.mark.parametrize("action", ["note", "redact"])
async def test_a_call_in_which_a_scan_found_something_is_neither_kept_nor_answered_so(tmp_path, action):
    pytest.importorskip("re2")
    mail = ScanPolicy(actions={"email": action})
    said = (Reply(match="mail", text="ask ada@example.com"), Reply(text="well, hello"))
    async with place(tmp_path, *said, scan=Scan(input=mail, output=mail)) as here:
        for text in ("write to ada@example.com", "your mail?"):
            assert [await here.hit(text) for _ in range(2)] == [False, False], text
        assert [await here.hit("your mail?", stream=True) for _ in range(2)] == [False, False]
        assert [await here.hit("hello") for _ in range(2)] == [False, True]
        assert [await here.hit("[email 1]") for _ in range(2)] == [False, False]  # another's placeholder, replaced


# ------------------------------------------------------------------ how


async def test_a_call_may_have_an_answer_of_its_own_or_leave_no_trace(tmp_path):
    async with place(tmp_path) as here:
        no_store = {"Cache-Control": "max-age=60, No-Store"}
        assert [await here.hit(sent=no_store) for _ in range(2)] == [False, False]
        assert not await here.hit()
        assert not await here.hit(sent=no_store)
        fresh = await here.ask(sent={"cache-control": "no-cache"})
        own = fresh.headers["x-insource-record"]
        assert "x-insource-cache" not in fresh.headers
        again = await here.ask(stream=True, sent={"cache-control": "max-age=60"})
        assert again.headers["x-insource-cache"] == "hit"
        record = await here.store.record(again.headers["x-insource-record"])
        assert own in record.attempts[0].decision.reason
        assert not await here.hit(stream=True, sent=no_store)


async def test_the_same_call_from_many_at_once_goes_out_once(tmp_path):
    async with place(tmp_path, Reply(text="slow", delay_s=0.3)) as here:
        hits = await asyncio.gather(*[here.hit() for _ in range(20)])
        assert (sum(hits), len(here.server.seen)) == (19, 1)
        assert await here.store.open_calls() == 0


async def test_streams_and_both_apis_take_part(tmp_path):
    async with place(tmp_path) as here, client(here.url) as ai:
        assert not await here.hit(stream=True)
        assert await here.hit()
        stream = await ai.chat.completions.with_raw_response.create(**say("hello", "hub", **SURE), stream=True)
        assert stream.headers["x-insource-cache"] == "hit"
        chunks = [chunk async for chunk in stream.parse()]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "well, hello"
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert chunks[-1].model_extra["insource"]["cache"] == "hit"
        for more in ({}, {"stream": True}):
            raw = await ai.completions.with_raw_response.create(model="hub", prompt="hello", temperature=0, **more)
            assert raw.headers["x-insource-cache"] == "hit"
        assert len(here.server.seen) == 1


async def test_an_answer_has_its_time(tmp_path):
    async with place(tmp_path, answers=CacheSettings(on=True, max_age_s=0.5)) as here:
        assert [await here.hit() for _ in range(2)] == [False, True]
        await asyncio.sleep(0.6)
        assert not await here.hit()

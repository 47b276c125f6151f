"""Who may call what: every route for every identity, keys made and ended while the gateway runs, tenants apart."""

import asyncio
import itertools
import time
from contextlib import asynccontextmanager

import httpx2 as httpx
import openai
import pytest
from serving import client, gateway, path_of, say, socket_of, tickets, workspace
from starlette.applications import Starlette
from starlette.routing import Mount, Route, WebSocketRoute

from insource.engines.scripted import Rule, Scripted
from insource.errors import Conflict
from insource.journeys import keys
from insource.nouns import Key, key_text
from insource.serve import app as gateway_app
from insource.serve.app import ROUTES, create_app, home
from insource.serve.auth import Guarded
from insource.store import Store

ROLES = ("caller", "reviewer", "operator", "admin")
BODIES = {
    "/v1/chat/completions": say("refund please"),
    "/v1/completions": {"model": "tickets", "prompt": "refund please"},
    "/v1/embeddings": {"model": "tickets", "input": "refund please"},
}
NOTHING_SENT = {("/v1/files", "POST"): 422, ("/v1/batches", "POST"): 422}  # let in, and told what is missing
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WRONG = key_text("AAAAAAAA", bytes(32))


async def made(store: Store, name: str, **more) -> str:
    return (await keys.create(store, Key(id="", name=name, **more)))[1]


def bearer(text: str | None) -> dict[str, str]:
    return {} if text is None else {"authorization": f"Bearer {text}"}


@asynccontextmanager
async def watched(root):
    """A gateway whose keyring has taken in what the store holds, and a function that makes a key it knows."""
    async with gateway(root) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        yield url, store, http


@pytest.fixture(scope="module")
def identities() -> tuple[str, ...]:
    return ("none", "wrong", *ROLES)


def allowed(route: Guarded, identity: str) -> int:
    """What the declaration demands: 200 and what follows from it, 401 or 403."""
    if not route.roles:
        return 200
    if identity not in ROLES:
        return 401
    return 200 if identity in route.roles else 403


async def test_every_route_and_method_answers_every_identity_as_declared(tmp_path, identities):
    async with watched(tmp_path) as (_, store, http):
        texts = {"none": None, "wrong": WRONG} | {role: await made(store, role, roles=(role,)) for role in ROLES}
        await http.get("/v1/models", headers=bearer(texts["caller"]))  # from here on it asks: it has seen a key
        seen = 0
        for route, method, identity in itertools.product(ROUTES, METHODS, identities):
            path = route.path.replace("{id:path}", "tickets")
            body = BODIES.get(route.path)
            answer = await http.request(method, path, json=body, headers=bearer(texts[identity]))
            wanted = allowed(route, identity)
            if wanted == 200 and method not in route.methods:
                wanted = 405
            if wanted == 200 and route.path in ("/v1/embeddings", "/v1/feedback"):
                wanted = 422  # let in, and told that a task has none, or that nothing was said
            if wanted == 200:
                wanted = 404 if "{id}" in route.path else NOTHING_SENT.get((route.path, method), 200)
            assert answer.status_code == wanted, (method, path, identity, answer.text)
            seen += 1
        assert seen == len(ROUTES) * 7 * 6
        assert {route.roles for route in ROUTES} >= {(), ("caller",)}
        assert len(await store.records()) == 2


@pytest.mark.parametrize(
    "route", [Route("/x", home), Mount("/x", app=Starlette()), WebSocketRoute("/x", home)], ids=["route", "mount", "ws"]
)
async def test_a_route_that_declares_nobody_stops_the_start(tmp_path, monkeypatch, route):
    monkeypatch.setattr(gateway_app, "ROUTES", [*ROUTES, route])
    settings = workspace(tmp_path)
    async with await Store.open(settings) as store:
        with pytest.raises(Conflict, match="the route /x does not declare who may use it"):
            create_app(settings, store, {})


async def test_without_a_key_it_is_open_and_from_the_first_on_it_asks(tmp_path):
    async with watched(tmp_path) as (_, store, http):
        answer = await http.post("/v1/chat/completions", json=say("refund please"), headers=bearer("none"))
        assert answer.status_code == 200
        assert [(r.tenant, r.caller) for r in await store.records()] == [("local", "")]
        text = await made(store, "desk")
        good = await http.post("/v1/chat/completions", json=say("refund please"), headers=bearer(text))
        assert good.status_code == 200
        assert (await http.get("/v1/models")).status_code == 401
        await keys.revoke(store, (await store.keys())[0][0].id)
        await until_refused(http, text)
        assert (await http.get("/v1/models")).status_code == 401, "the last key's end opens nothing"


async def until_refused(http: httpx.AsyncClient, text: str) -> float:
    began = time.monotonic()
    while (await http.get("/v1/models", headers=bearer(text))).status_code == 200:
        assert time.monotonic() - began < 10
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def test_from_the_network_nobody_calls_without_a_key(tmp_path):
    settings = workspace(tmp_path)
    async with await Store.open(settings) as store:
        path = path_of(store, tickets(), Scripted("one", [Rule(match="*", value={"intent": "other"})]))
        async with (
            socket_of(create_app(settings, store, {"tickets": path}, network=True)) as url,
            httpx.AsyncClient(base_url=url) as http,
        ):
            assert (await http.post("/v1/chat/completions", json=say("x"))).status_code == 401
            text = await made(store, "desk")
            assert (await http.get("/v1/models", headers=bearer(text))).status_code == 200


async def test_a_revoked_key_is_refused_within_two_seconds(tmp_path):
    async with watched(tmp_path) as (_, store, http):
        await made(store, "other")
        took = []
        for i in range(5):
            text = await made(store, f"desk{i}")
            assert (await http.get("/v1/models", headers=bearer(text))).status_code == 200
            await asyncio.sleep(0.17 * i)
            await keys.revoke(store, (await store.keys())[0][-1].id)
            took.append(await until_refused(http, text))
        assert max(took) < 2.0, took


async def test_all_that_can_be_wrong_with_a_key_looks_the_same(tmp_path):
    async with watched(tmp_path) as (_, store, http):
        good = await made(store, "good")
        other = await made(store, "other")
        ended = (await keys.create(store, Key(id="", name="ended"), lasts=keys.timedelta(0)))[1]
        gone = await made(store, "gone")
        await keys.revoke(store, (await store.keys())[0][-1].id)
        mixed = good[:17] + other[17:]
        headers = [
            [],
            *[[("authorization", f"Bearer {text}")] for text in (WRONG, ended, gone, mixed, good[:-1], "none")],
            [("authorization", f"Basic {good}")],
            [("authorization", good)],
            [("authorization", f"Bearer {good}"), ("authorization", f"Bearer {good}")],
            [("x-api-key", good)],
        ]
        assert (await http.get("/v1/models", headers=bearer(good))).status_code == 200
        answers = [await http.get("/v1/models", headers=given) for given in headers]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.content for answer in answers}) == 1
        assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
        error = answers[0].json()["error"]
        assert (error["code"], error["type"]) == ("invalid_api_key", "invalid_request_error")
        for scheme in ("Bearer", "bearer"):
            given = {"authorization": f"{scheme} {good}"}
            assert (await http.get("/v1/models", headers=given)).status_code == 200


async def test_guessing_costs_the_store_few_looks(tmp_path):
    async with watched(tmp_path) as (_, store, http):
        await made(store, "desk")
        looks = []
        told = store.keys

        async def counted(after: int = 0):
            looks.append(after)
            return await told(after)

        store.keys = counted
        began = time.monotonic()
        guesses = [key_text(f"guess{i:03}", bytes(32)) for i in range(200)]
        answers = await asyncio.gather(*[http.get("/v1/models", headers=bearer(guess)) for guess in guesses])
        assert {answer.status_code for answer in answers} == {401}
        assert 1 <= len(looks) <= 11 * (time.monotonic() - began) + 2


async def test_a_key_calls_what_its_scopes_name_and_sees_nothing_else(tmp_path):
    async with watched(tmp_path) as (url, store, http):
        scopes = {
            "task": (("tickets",), {"tickets"}),
            "engine": (("hub",), {"hub", "hub-large"}),
            "model": (("hub-large",), {"hub", "hub-large"}),
            "release": (("tickets@1.0.0",), set()),
            "all": ((), {"tickets", "hub", "hub-large"}),
        }
        for name, (scope, seen) in scopes.items():
            text = await made(store, name, scopes=scope)
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=text, max_retries=0) as ai:
                assert {model.id async for model in ai.models.list()} == seen
                for model in ("tickets", "hub", "hub-large"):
                    if model in seen:
                        assert (await ai.models.retrieve(model)).id == model
                        assert (await ai.chat.completions.create(**say("refund", model))).choices
                        continue
                    with pytest.raises(openai.NotFoundError):
                        await ai.models.retrieve(model)
                    for stream in (False, True):
                        with pytest.raises(openai.PermissionDeniedError):
                            await ai.chat.completions.create(**say("refund", model), stream=stream)
        text = await made(store, "narrow", scopes=("tickets",))
        unknown = await http.post("/v1/chat/completions", json=say("x", "nope"), headers=bearer(text))
        assert unknown.status_code == 403, "what there is besides is not told"
        pinned = await http.post("/v1/chat/completions", json=say("refund", "tickets@1.0.0"), headers=bearer(text))
        assert pinned.status_code == 200


async def test_the_official_client_works_with_a_key_and_without_is_told(tmp_path):
    async with watched(tmp_path) as (url, store, _):
        text = await made(store, "desk", tenant="plant")
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=text, max_retries=0) as ai:
            assert (await ai.chat.completions.create(**say("refund"))).choices[0].message.content == "refund"
            stream = await ai.chat.completions.create(**say("hi", "hub"), stream=True)
            assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Hello there, friend."
        async with client(url) as ai:
            with pytest.raises(openai.AuthenticationError):
                await ai.chat.completions.create(**say("refund"))
        assert {(record.tenant, record.caller) for record in await store.records()} == {("plant", "desk")}


async def test_tenants_are_apart_on_record(tmp_path):
    async with watched(tmp_path) as (_, store, http):
        texts = {tenant: await made(store, f"desk-{tenant}", tenant=tenant) for tenant in ("a", "b")}
        for text in texts.values():
            for _ in range(2):
                await http.post("/v1/chat/completions", json=say("unsure, the same words"), headers=bearer(text))
        found = await store.records()
        hashes = {tenant: {r.input_hash for r in found if r.tenant == tenant} for tenant in texts}
        assert [len(of) for of in hashes.values()] == [1, 1]
        assert hashes["a"].isdisjoint(hashes["b"]), "that two tenants said the same cannot be told"


async def test_a_secret_stands_nowhere_but_in_the_call(tmp_path, caplog):
    caplog.set_level(0)
    async with watched(tmp_path) as (_, store, http):
        text = await made(store, "canary", scopes=("tickets",))
        secret = text.rpartition("_")[2]
        shown = []
        for body in (
            say("refund"),
            say("down"),
            say("unsure"),
            say("broken"),
            say("x", "hub"),
            {"model": 5},
            say("x", stream=True),
        ):
            answer = await http.post("/v1/chat/completions", json=body, headers=bearer(text))
            shown += [answer.text, str(answer.headers)]
        for path in ("/v1/models", "/v1/models/nope", "/v1/nope", "/", "/readyz", "/v1/chat/completions"):
            answer = await http.get(path, headers=bearer(text))
            shown += [answer.text, str(answer.headers)]
        shown += [(await http.get("/v1/models", headers=bearer(text[:-1] + "x"))).text]
        shown += [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
        assert not [words for words in shown if secret in words or secret[:20] in words]
        for file in (tmp_path / ".insource").rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file


async def test_what_one_may_read_is_kept_by_no_cache(tmp_path):
    async with watched(tmp_path) as (_, store, http):
        text = await made(store, "desk")
        calls = [
            http.get("/v1/models", headers=bearer(text)),
            http.get("/v1/models"),
            http.post("/v1/chat/completions", json=say("refund"), headers=bearer(text)),
            http.post("/v1/chat/completions", json=say("refund", stream=True), headers=bearer(text)),
        ]
        for answer in await asyncio.gather(*calls):
            assert answer.headers["cache-control"] == "no-store"

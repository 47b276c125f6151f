"""POST /v1/feedback: a verdict by record, on what waits and on what was given, from whom it concerns."""

import dataclasses

import httpx2 as httpx
import pytest
from serving import RULES, gateway, path_of, socket_of, tickets, workspace

from insource.engines.scripted import Scripted
from insource.journeys import keys
from insource.nouns import Key
from insource.review import to_example
from insource.serve.app import create_app
from insource.store import Store

SURE, UNSURE = "refund please", "unsure what this is"


async def asked(http, text: str, key: str = "") -> str:
    body = {"model": "tickets", "messages": [{"role": "user", "content": text}]}
    said = await http.post("/v1/chat/completions", json=body, headers=bearer(key))
    assert said.status_code == 200, said.text
    return said.headers["x-insource-record"]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


async def tell(http, key: str = "", **body):
    return await http.post("/v1/feedback", json=body, headers=bearer(key))


async def test_a_verdict_settles_what_waits_and_what_was_given(tmp_path):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url) as http:
        waits, given = await asked(http, UNSURE), await asked(http, SURE)
        said = await tell(http, record=waits, verdict="wrong", correct="refund", note="asks for money")
        assert said.json() == {
            "object": "feedback", "record": waits, "verdict": "wrong", "corrected": {"intent": "refund"}}  # fmt: skip
        assert (await tell(http, record=given, verdict="right", input=SURE)).status_code == 200
        assert await store.pending("tickets") == []
        (first, one), (second, other) = await store.reviews("tickets")
        assert (one.note, one.corrected, first.input) == ("asks for money", {"intent": "refund"}, UNSURE)
        assert (other.verdict, second.input, second.reason) == ("right", SURE, "feedback")
        again = await tell(http, record=given, verdict="wrong", correct="other")
        assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
        assert (await store.verify_chain()).faults == ()


async def test_an_application_may_say_that_no_label_fits(tmp_path):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url) as http:
        given = await asked(http, SURE)
        said = await tell(http, record=given, verdict="none_of_these", note="warranty", input=SURE)
        assert (said.status_code, said.json()["corrected"]) == (200, None)
        ((pending, review),) = await store.reviews("tickets")
        assert (review.verdict, review.note, pending.input) == ("none_of_these", "warranty", SURE)
        assert to_example(tickets(), pending, review) is None
        refused = await tell(http, record=await asked(http, SURE), verdict="none_of_these", correct="status")
        assert refused.status_code == 422


async def test_without_the_text_a_verdict_counts_and_makes_no_row(tmp_path):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url) as http:
        given = await asked(http, SURE)
        assert (await tell(http, record=given, verdict="wrong", correct={"intent": "status"})).status_code == 200
        ((pending, review),) = await store.reviews("tickets")
        assert (pending.input, review.corrected) == ("", {"intent": "status"})
        assert to_example(tickets(), pending, review) is None


@pytest.mark.parametrize(
    ("body", "status", "at"),
    [
        ({"verdict": "right"}, 422, ""),
        ({"record": "0" * 32, "verdict": "right"}, 404, "record"),
        ({"verdict": "splendid"}, 422, ""),
        ({"verdict": "wrong", "correct": "no such label"}, 422, ""),
        ({"verdict": "wrong", "correct": {"intent": 7}}, 422, ""),
        ({"verdict": "wrong", "correct": {"colour": "red"}}, 422, ""),
        ({"verdict": "right", "correct": "status"}, 422, ""),
        ({"verdict": "wrong", "correct": "refund"}, 422, ""),
        ({"verdict": "right", "input": "another text"}, 422, "input"),
        ({"verdict": "right", "note": "x" * 20_000}, 422, "note"),
    ],
)
async def test_what_is_no_feedback_is_told_and_settles_nothing(tmp_path, body, status, at):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url) as http:
        record = await asked(http, SURE)
        full = body if body == {"verdict": "right"} else {"record": record} | body
        said = await tell(http, **full)
        assert said.status_code == status, said.text
        assert (said.json()["error"]["param"] or "") == at or not at
        assert await store.reviews("tickets") == []


async def test_nobody_says_anything_of_another_tenants_answers(tmp_path):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url) as http:
        texts = {}
        for name, tenant, roles, scopes in [
            ("mine", "a", ("caller",), ()), ("desk", "a", ("reviewer",), ()), ("other", "b", ("caller",), ()),
            ("narrow", "a", ("caller",), ("elsewhere",)), ("ops", "a", ("operator",), ()),
        ]:  # fmt: skip
            key = Key(id="", name=name, tenant=tenant, roles=roles, scopes=scopes)
            texts[name] = (await keys.create(store, key))[1]
        record = await asked(http, SURE, texts["mine"])
        unknown = await tell(http, texts["other"], record="0" * 32, verdict="right")
        for name, status in [("other", 404), ("narrow", 404), ("ops", 403), ("desk", 200), ("mine", 409)]:
            said = await tell(http, texts[name], record=record, verdict="right")
            assert said.status_code == status, (name, said.text)
            if status == 404:
                assert said.text.replace(record, "0" * 32) == unknown.text
        ((_, review),) = await store.reviews("tickets")
        assert review.reviewer == "desk"


async def test_of_the_given_answers_a_share_drawn_by_chance_waits_for_a_person_too(tmp_path):
    async with await Store.open(workspace(tmp_path)) as store:
        path = dataclasses.replace(path_of(store, tickets(), Scripted("one", RULES)), audit=0.5)
        settings = workspace(tmp_path)
        async with (
            socket_of(create_app(settings, store, {"tickets": path})) as url,
            httpx.AsyncClient(base_url=url) as http,
        ):
            for i in range(60):
                await asked(http, f"{SURE} {i}")
            waits = await asked(http, UNSURE)
            drawn = [one for one in await store.pending("tickets", 100) if one.record != waits]
            assert 15 <= len(drawn) <= 45
            assert {(one.reason, one.worth) for one in drawn} == {("drawn by chance", 1.0)}
            assert all(one.input.startswith(SURE) for one in drawn)
            assert (await store.pending("tickets", 100))[-1].record == waits, "sure ones drawn by chance come first"
            assert (await store.record(drawn[0].record)).outcome == "answered"

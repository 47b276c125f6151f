"""Limits around real calls: never above, given back on every path, remembered over a restart."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

import httpx2 as httpx
import msgspec
import openai
import pytest
from serving import gateway, path_of, say, socket_of, tickets, workspace
from test_keys import bearer, made

from insource.engines.scripted import Rule, Scripted
from insource.errors import EngineError, OverLimit
from insource.journeys.answer import Path, Tier, answer
from insource.nouns import Key, Limits, Message, Record, Request
from insource.route.need import Need
from insource.serve import meter as metering
from insource.serve.app import create_app
from insource.serve.meter import Meter
from insource.settings import load_settings
from insource.store import Store

WORDS = "one two three four five six seven eight"
RULES = (
    Rule(match="fail", error="down"),
    Rule(match="slow", text=WORDS, delay_s=0.002),
    Rule(match="*", text=WORDS),
)
NO_LIMITS = Limits()
PRICE = 1000.0  # USD per million tokens out: the words cost 0.008


class Busy(Scripted):
    """The scripted engine, and how many calls were with it at once."""

    now = most = 0

    async def complete(self, request):
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await super().complete(request)
        finally:
            self.now -= 1


class Races:
    """Rounds of 64 calls at once, each round in a minute of its own, all of one day."""

    def __init__(self, limits: Limits, tenant: Limits = NO_LIMITS) -> None:
        self.key = Key(id="k", name="desk", tenant="plant", limits=limits)
        self.engine = Busy("one", RULES)
        self.path = Path(task=None, tiers=(Tier(self.engine, usd_per_million=(0.0, PRICE)),))
        self.seconds, self.day = 0.0, datetime(2026, 11, 26, tzinfo=UTC)
        self.meter = Meter({"plant": tenant}, clock=lambda: self.seconds, now=self.day.timestamp)
        self.records: list[Record] = []
        self.refused = 0

    async def keep(self, record, _) -> None:
        self.meter.settle(record)
        self.records.append(record)

    async def call(self, id: str, words: str) -> None:
        messages = (Message(role="user", content=words),)
        request = Request(id=id, messages=messages, max_tokens=8, tenant="plant", caller="desk")
        try:
            with self.meter.hold(self.key, request, self.path) as request:
                await asyncio.sleep(0)
                await answer(request, self.path, self.keep)
        except OverLimit:
            self.refused += 1
        except EngineError:
            pass

    async def round(self, number: int, dice: random.Random) -> list[Record]:
        self.records = []
        kinds = dice.choices(["hello", "slow", "fail", "slow cut"], [5, 3, 1, 1], k=64)
        calls = [asyncio.create_task(self.call(f"{number}-{i}", words)) for i, words in enumerate(kinds)]
        await asyncio.sleep(0)
        for call, words in zip(calls, kinds, strict=True):
            if words == "slow cut":
                call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        self.seconds += 61.0
        return self.records

    def at_rest(self) -> None:
        assert self.meter.ledger.held == 0
        for book in self.meter.ledger._books.values():
            assert (book.reserved, book.calls) == (0, 0)


def tokens(record: Record) -> int:
    said = [attempt.prediction.usage for attempt in record.attempts if attempt.prediction]
    return sum(usage.input_tokens + usage.output_tokens for usage in said)


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [
        {"requests_per_minute": 20},
        {"tokens_per_minute": 400},
        {"concurrent": 7},
        {"usd_per_day": 0.5},
        {"requests_per_minute": 30, "tokens_per_minute": 600, "concurrent": 12, "usd_per_day": 40.0},
    ],
    ids="+".join,
)
@pytest.mark.parametrize("of", ["key", "tenant"])
async def test_200_races_of_64_calls_never_go_above_a_limit_and_give_all_back(limits, of):
    races = Races(*((Limits(**limits),) if of == "key" else (NO_LIMITS, Limits(**limits))))
    dice, spent, answered = random.Random(4), 0.0, 0  # noqa: S311 - the same races each time
    for number in range(200):
        records = await races.round(number, dice)
        answered += len(records)
        spent += sum(record.usd for record in records)
        assert len(records) <= limits.get("requests_per_minute", 64)
        assert sum(map(tokens, records)) <= limits.get("tokens_per_minute", 10_000)
        assert spent <= limits.get("usd_per_day", 1e9)
        races.at_rest()
    assert races.engine.most <= limits.get("concurrent", 64)
    assert races.refused > 1000, "the limit was reached"
    assert answered > (50 if "usd_per_day" in limits and len(limits) == 1 else 1000)


@pytest.mark.parametrize("limits", [{"tokens_per_minute": 400}, {"usd_per_day": 0.02}], ids="+".join)
async def test_without_reservation_the_same_races_go_above(monkeypatch, limits):
    # the negative control: what a call took is counted only after it
    monkeypatch.setattr(metering, "need", lambda *_: Need(tokens=1, usd=1e-9))
    races, dice = Races(Limits(**limits)), random.Random(4)  # noqa: S311
    rounds = [await races.round(number, dice) for number in range(20)]
    most = max(sum(map(tokens, records)) for records in rounds)
    spent = sum(record.usd for records in rounds for record in records)
    assert most > limits.get("tokens_per_minute", 0) or spent > limits.get("usd_per_day", 1e9)
    assert most > 440 or spent > 0.1, (most, spent)


async def test_a_minute_of_requests_is_refused_as_openai_does_and_names_who_and_when(tmp_path):
    async with gateway(tmp_path) as (url, store):
        text = await made(store, "desk", limits=Limits(requests_per_minute=3))
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=text, max_retries=0) as ai:
            for _ in range(3):
                await ai.chat.completions.create(**say("refund"))
            for stream in (False, True):
                with pytest.raises(openai.RateLimitError) as refused:
                    await ai.chat.completions.create(**say("refund"), stream=stream)
                assert "desk of local has 3 requests a minute" in refused.value.message
                assert refused.value.code == "rate_limit_exceeded"
                assert 50 <= int(refused.value.response.headers["retry-after"]) <= 61
        other = await made(store, "other")
        async with httpx.AsyncClient(base_url=url) as http:
            assert (
                await http.post("/v1/chat/completions", json=say("refund"), headers=bearer(other))
            ).status_code == 200
        assert len(await store.records()) == 4


async def test_what_can_never_fit_has_no_retry_after(tmp_path):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url) as http:
        text = await made(store, "desk", limits=Limits(tokens_per_minute=500))
        answer = await http.post("/v1/chat/completions", json=say("x" * 600), headers=bearer(text))
        assert answer.status_code == 429
        assert "retry-after" not in answer.headers
        assert "500 tokens a minute" in answer.json()["error"]["message"]
        assert (
            await http.post("/v1/chat/completions", json=say("x", max_tokens=5), headers=bearer(text))
        ).status_code == 200


async def test_an_answer_of_no_length_is_limited_to_what_was_reserved(tmp_path):
    asked = []

    class Noted(Scripted):
        async def complete(self, request):
            asked.append(request.max_tokens)
            return await super().complete(request)

    key = Key(id="k", name="desk", limits=Limits(tokens_per_minute=5000))
    path = Path(task=None, tiers=(Tier(Noted("one", RULES)),))
    request = Request(id="a", messages=(Message(role="user", content="hi"),))
    for held, wanted in ((key, 1024), (msgspec.structs.replace(key, limits=Limits(concurrent=1)), None)):
        with Meter({}).hold(held, request, path) as made_of:
            await path.tiers[0].engine.complete(made_of)
        assert asked.pop() == wanted


async def test_calls_at_once_are_limited_until_their_streams_end_or_break(tmp_path):
    async with gateway(tmp_path) as (url, store):
        text = await made(store, "desk", limits=Limits(concurrent=1, tokens_per_minute=100_000))
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=text, max_retries=0) as ai:
            for words in ("crawl", "linger"):
                async with asyncio.timeout(20):
                    stream = asyncio.create_task(ai.chat.completions.create(**say(words, "hub"), stream=True))
                    await asyncio.sleep(0.2)
                    with pytest.raises(openai.RateLimitError, match="1 calls at once"):
                        await ai.chat.completions.create(**say("hi", "hub"))
                    if words == "crawl":
                        stream.cancel()
                    else:
                        assert [chunk async for chunk in await stream]
                    await until_free(ai)
            with pytest.raises(openai.APIStatusError):
                await ai.chat.completions.create(**say("break off", "hub"), stream=True)
            await until_free(ai)


async def until_free(ai: openai.AsyncOpenAI) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 8:
        try:
            await ai.chat.completions.create(**say("hi", "hub"))
        except openai.RateLimitError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError("the call's place was never given back")


async def test_a_restart_forgets_neither_money_nor_the_last_minute(tmp_path):
    settings = workspace(tmp_path)
    now = datetime.now(UTC)
    limits = Limits(usd_per_month=1.0, requests_per_minute=3)

    def kept(id: str, age: timedelta, usd: float, caller: str = "desk") -> Record:
        created = (now - age).isoformat(timespec="milliseconds")
        return Record(
            id=id, task="tickets", release=None, tenant="plant", caller=caller, attempts=(), outcome="answered",
            input_hash="", latency_ms=1.0, usd=usd, created=created,
        )  # fmt: skip

    async with await Store.open(settings) as store:
        text = await made(store, "desk", tenant="plant", limits=limits)
        await store.append(kept("a", timedelta(seconds=5), 0.75))
        await store.append(kept("b", timedelta(seconds=20), 0.0))
        await store.append(kept("c", timedelta(seconds=300), 0.0))
        await store.append(kept("d", timedelta(seconds=1), 0.5, caller="other"))
    async with await Store.open(settings) as store:
        engine = Scripted("one", [Rule(match="*", value={"intent": "other"})])
        dear = Path(task=tickets(None), tiers=(Tier(engine, usd_per_million=(0.0, 300.0)),), key=store.tenant_key)
        app = create_app(settings, store, {"tickets": dear})
        async with socket_of(app) as url, httpx.AsyncClient(base_url=url, headers=bearer(text)) as http:
            answer = await http.post("/v1/chat/completions", json=say("x", max_tokens=900))
            assert answer.status_code == 429
            assert "1 USD a month" in answer.json()["error"]["message"]
            assert (await http.post("/v1/chat/completions", json=say("x", max_tokens=500))).status_code == 200
            answer = await http.post("/v1/chat/completions", json=say("x", max_tokens=500))
            assert "3 requests a minute" in answer.json()["error"]["message"]


async def test_a_tenants_keys_share_the_limits_of_the_workspace_and_a_replaced_key_those_of_the_old(tmp_path):
    workspace(tmp_path)
    (tmp_path / "insource.toml").write_text("[tenants.plant]\nrequests_per_minute = 4\n")
    settings = load_settings(tmp_path)
    assert settings.tenants == {"plant": Limits(requests_per_minute=4)}
    async with await Store.open(settings) as store:
        path = path_of(store, tickets(), Scripted("one", [Rule(match="*", value={"intent": "other"})]))
        app = create_app(settings, store, {"tickets": path})
        texts = [
            await made(store, name, tenant="plant", limits=Limits(requests_per_minute=2)) for name in ("a", "b", "c")
        ]
        old = (await store.keys())[0][0]
        from insource.journeys.keys import rotate

        texts.append((await rotate(store, old.id, overlap=timedelta(hours=1)))[1])
        async with socket_of(app) as url, httpx.AsyncClient(base_url=url) as http:
            codes = []
            for text in (texts[0], texts[3], texts[3], texts[1], texts[1], texts[2]):
                answer = await http.post("/v1/chat/completions", json=say("x"), headers=bearer(text))
                codes.append(answer.status_code)
            assert codes == [200, 200, 429, 200, 200, 429]
            assert "tenant plant has 4 requests a minute" in answer.json()["error"]["message"]

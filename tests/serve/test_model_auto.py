"""The model "auto" over HTTP: the task is told, or the caller hears that it is not."""

import re
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path as FilePath

import msgspec
import openai
import pytest
from serving import client, path_of, say, socket_of, workspace

from insource.engines.scripted import Rule, Scripted
from insource.journeys.answer import Path, Tier
from insource.journeys.auto import router_folder
from insource.journeys.keys import create
from insource.journeys.plan import Plan, policy_of
from insource.nouns import Key, Limits, Output, Risk, Route, Task, When
from insource.route import RELEASE
from insource.serve.app import create_app
from insource.settings import RouterSettings, Settings
from insource.store import Store

sys.path.insert(0, str(FilePath(__file__).parents[1] / "engines"))
from router_rows import splits

from insource.engines.router import Router

MAIL, STRANGE = "forward the newsletter to my boss", "who won the world cup in 1954"


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.fit(*splits("mails", "trains", "recipes", strange=True), max_error=0.1)


def task(name: str, *routes: Route) -> Task:
    return Task(
        name=name,
        kind="classify",
        outputs=(Output(name="label", labels=("a", "b")),),
        risk=Risk(threshold=0.5),
        routes=routes,
    )


def settings_of(root: FilePath, **router: str) -> Settings:
    settings = msgspec.structs.replace(workspace(root), router=RouterSettings(**router))
    far = msgspec.structs.replace(settings.engines["hub"], region="us", model="far-large")
    near = msgspec.structs.replace(settings.engines["hub"], region="premises")
    for name in ("mails", "trains"):
        (root / "tasks" / f"{name}.toml").write_text(f'name = "{name}"\nkind = "generate"\n')
    return msgspec.structs.replace(settings, engines={"far": far, "hub": near})


def path(store: Store, one: Task, settings: Settings) -> Path:
    engine = Scripted(f"own-{one.name}", [Rule(match="*", value={"label": "a"}, confidence=0.9)])
    made = path_of(store, one, engine)
    return replace(made, choose=Plan(policy_of(settings), {RELEASE: made.tiers[0]}, lambda _: ""))


@asynccontextmanager
async def gateway(settings: Settings, *routes: Route):
    async with await Store.open(settings) as store:
        paths = {name: path(store, task(name, *routes), settings) for name in ("mails", "trains")}
        async with socket_of(create_app(settings, store, paths)) as url:
            yield url, store


async def first_rule(store: Store) -> str:
    (record,) = await store.records(limit=1)
    return record.attempts[0].decision.rule


async def test_a_call_that_names_no_task_is_answered_by_the_task_it_is_for(tmp_path, router):
    settings = settings_of(tmp_path)
    router.save(router_folder(settings))
    async with gateway(settings) as (url, store), client(url) as api:
        assert "auto" in {model.id for model in (await api.models.list()).data}
        raw = await api.chat.completions.with_raw_response.create(**say(MAIL, "auto"))
        assert raw.headers["x-insource-release"] == "mails@1.0.0"
        assert raw.parse().choices[0].message.content == "a"
        assert re.fullmatch(r"router: mails at (0\.\d\d|1\.00)", await first_rule(store))
        stream = await api.chat.completions.create(**say("cancel the night train", "auto"), stream=True)
        assert "".join([piece.choices[0].delta.content or "" async for piece in stream]) == "a"
        assert (await first_rule(store)).startswith("router: trains at ")


async def test_the_rules_of_the_task_hold_for_it_as_well(tmp_path, router):
    settings = settings_of(tmp_path)
    router.save(router_folder(settings))
    rule = Route(when=When(longer_than=10), engines=("review",))
    async with gateway(settings, rule) as (url, store), client(url) as api:
        with pytest.raises(openai.InternalServerError, match="it waits for a person") as raised:
            await api.chat.completions.create(**say(MAIL, "auto"))
        assert raised.value.response.headers["x-should-retry"] == "false"
        assert raised.value.response.headers["x-insource-decision"] == "review"
        assert (await first_rule(store)).endswith("; rule: longer than 10 characters")
        assert [pending.input for pending in await store.pending("mails")] == [MAIL]


async def test_what_the_router_does_not_know_is_said_with_the_likeliest_tasks(tmp_path, router):
    settings = settings_of(tmp_path)
    router.save(router_folder(settings))
    async with gateway(settings) as (url, store), client(url) as api:
        for text in (STRANGE, "", "bake the potatoes with garlic"):  # recipes has no release
            with pytest.raises(openai.UnprocessableEntityError) as raised:
                await api.chat.completions.create(**say(text, "auto"))
            assert raised.value.param == "model"
            assert "it is not known which task the call is for" in str(raised.value)
            assert "mails (" in str(raised.value)
            assert "recipes" not in str(raised.value)
        assert not await store.records()


async def test_a_stated_engine_answers_what_is_not_known_where_the_text_may_go(tmp_path, router):
    settings = settings_of(tmp_path, otherwise="hub")
    router.save(router_folder(settings))
    async with gateway(settings) as (url, store), client(url) as api:
        said = await api.chat.completions.create(**say(STRANGE, "auto"))
        assert said.choices[0].message.content == "Hello there, friend."
        assert (await first_rule(store)).startswith("router: does not know")
        stream = await api.chat.completions.create(**say(STRANGE, "auto"), stream=True)
        assert "".join([p.choices[0].delta.content or "" async for p in stream if p.choices]) == "Hello there, friend."
        assert (await first_rule(store)).startswith("router: does not know")
    settings = msgspec.structs.replace(settings, router=RouterSettings(otherwise="far"))
    async with gateway(settings) as (url, _), client(url) as api:
        with pytest.raises(openai.UnprocessableEntityError):
            await api.chat.completions.create(**say(STRANGE, "auto"))
    settings = msgspec.structs.replace(settings, router=RouterSettings(otherwise="far", sensitivity="any"))
    async with gateway(settings) as (url, _), client(url) as api:
        assert (await api.chat.completions.create(**say(STRANGE, "auto"))).model == "far"


async def test_a_key_hears_of_no_task_that_it_may_not_call(tmp_path, router):
    settings = settings_of(tmp_path)
    router.save(router_folder(settings))
    async with await Store.open(settings) as store:
        _, text = await create(store, Key(id="", name="desk", scopes=("auto", "trains")))
        paths = {name: path(store, task(name), settings) for name in ("mails", "trains")}
        async with socket_of(create_app(settings, store, paths)) as url, client(url) as api:
            api.api_key = text
            assert (
                await api.chat.completions.create(**say("cancel my seat to Vienna", "auto"))
            ).model == "trains@1.0.0"
            with pytest.raises(openai.UnprocessableEntityError) as raised:
                await api.chat.completions.create(**say(MAIL, "auto"))
            assert "mails" not in str(raised.value)


async def test_without_a_router_there_is_no_model_auto_and_a_new_one_is_taken_up(tmp_path, router):
    settings = settings_of(tmp_path)
    async with gateway(settings) as (url, _), client(url) as api:
        assert "auto" not in {model.id for model in (await api.models.list()).data}
        with pytest.raises(openai.NotFoundError, match="insource train --router"):
            await api.chat.completions.create(**say(MAIL, "auto"))
        router.save(router_folder(settings))
        assert (await api.chat.completions.create(**say(MAIL, "auto"))).model == "mails@1.0.0"
        Router.fit(*splits("trains", "recipes", strange=True), max_error=0.1).save(router_folder(settings))
        with pytest.raises(openai.UnprocessableEntityError):
            await api.chat.completions.create(**say(MAIL, "auto"))


async def test_a_rule_is_paid_for_by_the_engines_it_asks(tmp_path):
    """What is reserved is for the tiers of this request, not for those of another."""
    settings = settings_of(tmp_path)
    async with await Store.open(settings) as store:
        dear = Tier(Scripted("dear", [Rule(match="*", value={"label": "b"}, confidence=0.9)]), None, (0.0, 1e6))
        one = path(store, task("mails", Route(when=When(longer_than=10), engines=("hub",))), settings)
        plan = Plan(policy_of(settings), {RELEASE: one.tiers[0], "hub": dear}, lambda _: "")
        paths = {"mails": replace(one, choose=plan, spare=(dear,))}
        limited = msgspec.structs.replace(settings, tenants={"local": Limits(usd_per_day=1.0)})
        async with socket_of(create_app(limited, store, paths)) as url, client(url) as api:
            assert (await api.chat.completions.create(**say("short", "mails"))).choices[0].message.content == "a"
            with pytest.raises(openai.RateLimitError):
                await api.chat.completions.create(**say("longer than that", "mails"))

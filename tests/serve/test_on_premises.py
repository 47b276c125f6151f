"""A task that stays on premises, with everything at home down or unsure and the frontier in the best of health."""

import asyncio
import dataclasses
import json
import socket
from contextlib import asynccontextmanager

import openai
import pytest
from click.testing import CliRunner
from live_workspace import TASK, folder, go_live, release
from serving import client, say, socket_of

from command_line import started
from insource.cli.main import main
from insource.engines.remote import Remote
from insource.errors import Outside
from insource.journeys.answer import Tier, answer
from insource.journeys.serve import close_path, open_path
from insource.nouns import ask
from insource.serve.app import create_app
from insource.settings import EngineSettings, load_settings
from insource.store import Store
from trap import Watch, trap

ENGINE = '[engines.{}]\nkind = "openai"\nbase_url = "{}"\nmodel = "m"\nregion = "{}"\n'
UNSURE = TASK.replace("threshold = 0.5", "threshold = 1.0")


@pytest.fixture(scope="module")
def watch():
    return Watch()


@pytest.fixture
def frontier():
    """Healthy, and not on the premises."""
    with trap("127.0.0.2") as one:
        yield one


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def workspace(root, engines, premises=("127.0.0.1/32",), sensitivity='"premises"', **networks):
    """Settings with a live release that is never sure, and `engines` (name → address, region) to help it."""
    fresh = folder(root)
    async with await Store.open(fresh) as store:
        made = await release(fresh, store)
        await go_live(store, made.name)
    lists = "".join(f"{name} = {json.dumps(places)}\n" for name, places in ({"premises": premises} | networks).items())
    text = "".join(ENGINE.format(name, *where) for name, where in engines.items())
    (root / "insource.toml").write_text(f"[networks]\n{lists}{text}")
    task = UNSURE.replace('["cloud", "review"]', json.dumps([*engines, "review"]))
    (root / "tasks" / "tickets.toml").write_text(f"sensitivity = {sensitivity}\n{task}")
    return load_settings(root)


@asynccontextmanager
async def served(settings):
    """An official client of a gateway for the workspace, and its store."""
    async with await Store.open(settings) as store:
        path = await open_path("tickets", settings, store)
        async with socket_of(create_app(settings, store, {"tickets": path})) as url:
            unproxied = openai.DefaultAsyncHttpxClient(trust_env=False)
            async with client(url, http_client=unproxied) as ai:
                yield ai, store


def engines_at(frontier, sends_on):
    return {
        "dead": (f"http://127.0.0.1:{closed_port()}/v1", "premises"),
        "frontier": (f"{frontier.url}/v1", "us"),
        "liar": (f"{frontier.url}/v1", "premises"),
        "dressed": (f"http://[::ffff:127.0.0.2]:{frontier.port}/v1", "premises"),
        "turned": (f"{sends_on.url}/v1", "premises"),
    }


async def test_the_frontier_is_never_called_when_all_at_home_are_unsure_or_down(tmp_path, frontier, watch, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, frontier.url)
    with trap("127.0.0.1", location=f"{frontier.url}/v1/chat/completions") as sends_on:
        settings = await workspace(tmp_path / "w", engines_at(frontier, sends_on))
        with watch.watching() as seen:
            async with served(settings) as (ai, store):
                for text in ("please give my money back", "zzz", "where is my order"):
                    raw = await ai.chat.completions.with_raw_response.create(**say(text))
                    assert raw.headers["x-insource-decision"] == "review"
                    record = await store.record(raw.headers["x-insource-record"])
                    reasons = {one.decision.engine: one.decision.reason for one in record.attempts}
                    assert (reasons["liar"], reasons["dressed"]) == ("outside_networks", "outside_networks")
                    assert reasons["dead"] == "engine_down"
                    assert reasons["turned"] == "engine_error"
                    assert "frontier" not in reasons
        assert sends_on.connections() >= 3
    assert {address[0] for address in seen if len(address) >= 2} == {"127.0.0.1"}
    assert frontier.connections() == 0


async def test_with_the_specialist_down_too_the_call_fails_and_stays(tmp_path, frontier):
    with trap("127.0.0.1", location=frontier.url) as sends_on:
        settings = await workspace(tmp_path / "w", engines_at(frontier, sends_on))
        async with await Store.open(settings) as store:
            path = await open_path("tickets", settings, store)
            down = EngineSettings(kind="openai", base_url=f"http://127.0.0.1:{closed_port()}", region="premises")
            last = [tier for tier in path.tiers if tier.engine.name == "liar"]
            path = dataclasses.replace(path, tiers=(Tier(Remote("specialist", down, "")), *last))
            with pytest.raises(Outside, match="2 is outside premises"):
                await answer(ask(path.task, "money back", id="1"), path, store.append)
            record = await store.record("1")
            await close_path(path)
    assert record.outcome == "failed"
    assert [one.decision.reason for one in record.attempts] == ["engine_down", "outside_networks"]
    assert frontier.connections() == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_called_by_its_name_is_held_to_its_region_too(tmp_path, frontier, stream):
    settings = await workspace(tmp_path / "w", {"liar": (f"{frontier.url}/v1", "premises")})
    async with served(settings) as (ai, store):
        with pytest.raises(openai.PermissionDeniedError, match="outside premises") as caught:
            await ai.chat.completions.create(**say("hello", "liar", stream=stream))
        assert caught.value.code == "outside_networks"
        with pytest.raises(openai.PermissionDeniedError, match="outside premises"):
            await ai.embeddings.create(model="liar", input="hello")
        calls, _ = await store.calls(0)
    assert [call.record.attempts[0].decision.reason for call in calls] == ["outside_networks"] * 2
    assert frontier.connections() == 0


async def test_where_the_frontier_is_on_the_list_it_is_asked(tmp_path, frontier):
    """Else none of these tests could fail."""
    engines = {"liar": (f"{frontier.url}/v1", "premises"), "frontier": (f"{frontier.url}/v1", "us")}
    settings = await workspace(tmp_path / "w", engines, premises=("127.0.0.0/30",), sensitivity='["us"]')
    async with served(settings) as (ai, _):
        await ai.chat.completions.create(**say("zzz"))
    assert frontier.connections() == 2


@pytest.mark.parametrize(("places", "asked"), [(["127.0.0.2/32"], 1), (["127.0.0.3/32"], 0), (["frontier.example"], 0)])
async def test_a_task_of_a_region_reaches_what_is_listed_for_the_region(tmp_path, frontier, places, asked):
    engines = {"europe": (f"{frontier.url}/v1", "eu"), "america": (f"{frontier.url}/v1", "us")}
    settings = await workspace(tmp_path / "w", engines, sensitivity='["eu"]', eu=places)
    async with served(settings) as (ai, _):
        raw = await ai.chat.completions.with_raw_response.create(**say("zzz"))
    assert raw.headers["x-insource-decision"] == "review"
    assert frontier.connections() == asked


def test_the_report_lists_what_left_and_what_did_not_over_restarts(tmp_path, frontier, monkeypatch):
    monkeypatch.setenv("INSOURCE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "w"
    with trap("127.0.0.1") as home:
        engines = {"liar": (f"{frontier.url}/v1", "premises"), "home": (f"{home.url}/v1", "premises")}

        async def story():
            settings = await workspace(root, engines)
            for _ in range(3):
                async with served(settings) as (ai, _):
                    for _ in range(2):
                        await ai.chat.completions.create(**say("zzz"))

        assert json.loads(shown(tmp_path / "none", root, "--json", fresh=True)) == {"egress": [], "unreadable": 0}
        asyncio.run(story())
    report = json.loads(shown(tmp_path, root, "--json"))
    found = {one["purpose"]: one for one in report["egress"]}
    assert list(found) == ["engine home", "engine liar"]
    assert (found["engine liar"]["connections"], found["engine liar"]["refused"], found["engine liar"]["sent"]) == (
        0,
        6,
        0,
    )
    assert (found["engine home"]["connections"], found["engine home"]["refused"]) == (6, 0)
    assert found["engine home"]["sent"] > 1000
    assert found["engine home"]["destination"] == f"127.0.0.1:{home.port}"
    assert found["engine home"]["first"] <= found["engine home"]["last"]
    words = shown(tmp_path, root)
    assert f"✗ engine liar: 127.0.0.2:{frontier.port}: 127.0.0.2 is outside premises" in words
    assert "zzz" not in (root / ".insource" / "egress.jsonl").read_text()
    assert frontier.connections() == 0


def shown(place, root, *words, fresh=False):
    """What `audit egress` prints; of a fresh workspace beside `root` where there is none yet."""
    if fresh:
        root = place
        folder(root)
    done = CliRunner().invoke(main, ["-C", str(root), "audit", "egress", *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_gateway_says_at_its_start_which_region_is_only_a_word(tmp_path):
    root = tmp_path / "w"
    folder(root)
    text = "".join(ENGINE.format(name, f"http://{name}.example/v1", name) for name in ("eu", "us", "premises"))
    (root / "insource.toml").write_text(f'[networks]\neu = ["eu.example"]\n{text}')
    process = started(root, "serve", "--port", "0")
    said = []
    try:
        while not said or not said[-1].startswith("ready"):
            said.append(process.stderr.readline())
            assert said[-1], said
    finally:
        process.terminate()
        process.communicate(timeout=30)
    held = [line for line in said if line.startswith("not held")]
    assert held == ["not held to us: us; us has no list under [networks]\n"]

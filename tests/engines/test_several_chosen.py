"""Which of several servers is asked, under which limits, within which networks; and what is no list of servers."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from pooled import lost, outcome, passed, pool, servers

from insource.engines.dialects import dialects
from insource.engines.replicas import LONG, prefix_of
from insource.engines.scripted_server import Reply
from insource.errors import EngineError, Outside
from insource.nouns import Message, Networks, Output, Task, ask
from insource.settings import EngineSettings

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "several-servers.md"


async def test_all_places_are_those_of_the_engine_not_of_each():
    async with AsyncExitStack() as stack:
        each = await servers(stack, *[[Reply(text="ok", delay_s=0.3)]] * 3)
        engine = pool(*[one.base_url for one in each], max_concurrent=6, max_waiting=0)
        said = await asyncio.gather(*[outcome(engine) for _ in range(9)])
        assert said.count("ok") == 6
        assert sorted(len(one.seen) for one in each) == [2, 2, 2]
        assert all("is full: 6 calls are with it" in str(one) for one in lost(said))
        await engine.close()


async def test_each_address_is_held_to_the_region_and_the_key_goes_to_all_that_are_in_it():
    async with AsyncExitStack() as stack:
        one, two = await servers(stack, [Reply(text="ok")], [Reply(text="ok")])
        inside = Networks(places={"eu": ("127.0.0.1/32",)})
        outside = "http://127.0.0.2:8000/v1"
        engine = pool(one.base_url, two.base_url, outside, region="eu", networks=inside)
        assert [await outcome(engine) for _ in range(9)] == ["ok"] * 9
        assert {*one.keys, *two.keys} == {"Bearer sk-canary"}
        await engine.close()
        engine = pool(outside, "http://127.0.0.3:8000/v1", region="eu", networks=inside)
        assert isinstance(await outcome(engine), Outside)
        await engine.close()
        engine = pool("http://169.254.169.254/v1", "http://127.0.0.3:8000/v1", region="eu", networks=inside)
        assert isinstance(await outcome(engine), Outside)
        await engine.close()


async def test_a_long_beginning_goes_where_it_was_read_before_and_a_popular_one_everywhere():
    async with AsyncExitStack() as stack:
        each = await servers(stack, *[[Reply(text="ok", delay_s=0.02)]] * 3)
        engine = pool(*[one.base_url for one in each])

        def said(tenant, turns):
            system = Message(role="system", content=f"{tenant} " * LONG)
            first = Message(role="user", content="good morning")
            more = [Message(role=role, content=f"{n}") for n in range(turns) for role in ("assistant", "user")]
            return msgspec.structs.replace(passed(), messages=(system, first, *more))

        for turns in range(3):
            for tenant in range(30):
                assert await outcome(engine, said(f"tenant {tenant}", turns)) == "ok"
        homes = {}
        for at, one in enumerate(each):
            for body in one.seen:
                homes.setdefault(body["messages"][0]["content"][:10], []).append(at)
        assert all(len(where) == 3 for where in homes.values())
        assert sum(len(set(where)) == 1 for where in homes.values()) == 30
        assert {where[0] for where in homes.values()} == {0, 1, 2}

        before = [len(one.seen) for one in each]
        await asyncio.gather(*[outcome(engine, said("everybody's", 0)) for _ in range(90)])
        assert all(20 <= len(one.seen) - old <= 40 for one, old in zip(each, before, strict=True))
        await engine.close()


def test_what_a_call_begins_with():
    system = Message(role="system", content="s" * LONG)
    turns = [
        Message(role="user", content="hi"),
        Message(role="assistant", content="ho"),
        Message(role="user", content="x"),
    ]
    name = prefix_of(msgspec.structs.replace(passed(), messages=(system, turns[0])))
    assert name
    assert prefix_of(msgspec.structs.replace(passed(), messages=(system, *turns))) == name
    assert prefix_of(msgspec.structs.replace(passed(), messages=(system, turns[2]))) != name
    assert prefix_of(passed("short")) == ""
    short = Task(name="t", kind="classify", outputs=(Output(name="o", labels=("a", "b")),))
    long = msgspec.structs.replace(short, instruction="i" * LONG)
    assert prefix_of(ask(short, "x" * 9000, id="r")) == ""
    assert prefix_of(ask(long, "x", id="r")) == prefix_of(ask(long, "y", id="r")) != ""
    assert "s" * 10 not in name


def test_the_how_to_names_the_kinds_that_are_asked_for_their_health():
    row = next(line for line in HOW_TO.read_text("utf-8").splitlines() if "its pause is over" in line)
    names = {"vllm": "vLLM", "llamacpp": "llama.cpp", "tgi": "TGI", "lmdeploy": "LMDeploy"}
    with_health = [kind for kind, one in dialects().items() if one.health]
    assert f"({', '.join(names[kind] for kind in with_health)})" in row


async def test_embeddings_go_to_another_replica_too():
    async with AsyncExitStack() as stack:
        (well,) = await servers(stack, [Reply(text="ok")], kind="openai")
        engine = pool("http://127.0.0.1:9/v1", well.base_url, kind="openai")
        with pytest.raises(EngineError) as caught:
            await engine.embed(passed(), {})
        assert "404" in str(caught.value), "the scripted server has none, and says so: it was asked"
        await engine.close()


FAULTS = {
    "both": ({"base_url": "http://a:1/v1", "replicas": ("http://b:1/v1",)}, "base_url names one server"),
    "twice": ({"replicas": ("http://a:80/v1", "http://A./v1/")}, "a:80 twice"),
    "user": ({"replicas": ("http://me:secret@a:1/v1",)}, "without user or password"),
    "no address": ({"replicas": ("a:8000",)}, "http(s)://HOST"),
    "port": ({"replicas": ("http://a:99999/v1",)}, "http(s)://HOST"),
    "none": ({"replicas": ()}, "length >= 1"),
    "kind": ({"kind": "embedded", "replicas": ("http://a:1",)}, "has no server"),
}


@pytest.mark.parametrize("given, words", FAULTS.values(), ids=FAULTS)
def test_replicas_that_cannot_be_are_wrong_settings(given, words):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"kind": "vllm", **given}, type=EngineSettings)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)

"""Three gateways on one PostgreSQL: limits raced from all of them, and what one says that the others must hear."""

import asyncio
import contextlib
import time
from collections import Counter

import httpx2 as httpx
import pytest
from live_workspace import folder, go_live, release
from outages import served
from serving import say
from test_keys import bearer, made

from insource.errors import OverLimit, StoreError
from insource.journeys.answer import Path
from insource.nouns import Key, Limits, Message, Record, Request, StageChange, stamp
from insource.serve.meter import Meter
from insource.serve.sharing import Sharing
from insource.settings import Settings, StoreSettings, load_settings
from insource.store import Store
from insource.store.process import this_process

GATEWAYS, SOON_S = 3, 1.0
WORDS = "one two three four five six seven eight"


def on_server(root, postgres, more: str = "") -> Settings:
    """The workspace, with a schema of its own on the server."""
    file = root / "insource.toml"
    text = file.read_text("utf-8") if file.exists() else ""
    file.write_text(f'{text}\n{more}\n[store]\nurl = "{postgres.url}?schema=w_{{workspace}}"\n', "utf-8")
    return load_settings(root)


@contextlib.asynccontextmanager
async def gateways(root, count: int = GATEWAYS):
    """The URLs of so many `insource serve` in one workspace, and their processes."""
    async with contextlib.AsyncExitStack() as stack:
        found = await asyncio.gather(*[stack.enter_async_context(served(root)) for _ in range(count)])
        yield [url for _, url in found], [process for process, _ in found]


@pytest.mark.slow
async def test_a_stage_change_and_a_revoked_key_reach_three_gateways_within_a_second(tmp_path, postgres):
    folder(tmp_path / "w")
    settings = on_server(tmp_path / "w", postgres)
    async with await Store.open(settings) as store:
        first, second = await release(settings, store), await release(settings, store)
        await go_live(store, first.name)
        text = await made(store, "desk")
        async with gateways(tmp_path / "w") as (urls, _), contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(httpx.AsyncClient(base_url=url)) for url in urls]

            async def until(wanted) -> float:
                began = time.monotonic()
                while True:
                    got = await asyncio.gather(
                        *[
                            one.post("/v1/chat/completions", json=say("money back"), headers=bearer(text))
                            for one in clients
                        ]
                    )
                    if all(wanted(one) for one in got):
                        return time.monotonic() - began
                    assert time.monotonic() < began + 20, [one.text for one in got]
                    await asyncio.sleep(0.02)

            def answers(name):
                return lambda got: got.status_code == 200 and got.headers["x-insource-release"] == name

            await until(answers(first.name))
            await go_live(store, second.name, retire=first.name)
            took = [await until(answers(second.name))]
            for _ in range(4):  # both are open by now, as after a promotion that went by a trial
                one, other = (first, second) if len(took) % 2 else (second, first)
                back = StageChange(release=one.name, before="retired", after="live", who="test", why="test")
                await store.change_stage(back, retire=other.name)
                took.append(await until(answers(one.name)))
            await store.revoke_key((await store.keys())[0][0].id, "2026-11-01T00:00:00+00:00")
            took.append(await until(lambda got: got.status_code == 401))
            assert max(took) <= SOON_S, took


@pytest.mark.slow
async def test_limits_raced_from_three_gateways_are_never_exceeded_and_without_shares_they_are(tmp_path, postgres):
    for shared in (True, False):
        root = tmp_path / f"shared-{shared}"
        settings = Settings(root=root, cache=root, store=StoreSettings(url=postgres.url + "?schema=w_{workspace}"))
        admitted, most = await raced(settings, shared=shared)
        if shared:
            assert 20 <= admitted["a"] <= 30, admitted
            assert most <= 5
            assert admitted["money"] <= 40
        else:
            assert admitted["a"] > 30


async def raced(settings: Settings, *, shared: bool) -> tuple[Counter[str], int]:
    """How many calls three meters admit within a minute, of a key of 30 a minute and 5 at once; the most at once."""
    key = Key(id="k", name="a", tenant="plant", limits=Limits(requests_per_minute=30, concurrent=5))
    admitted, now, most = Counter[str](), 0, 0
    ends = time.monotonic() + 6

    async def caller(meter: Meter, number: int) -> None:
        nonlocal now, most
        i = 0
        while time.monotonic() < ends:
            i += 1
            messages = (Message(role="user", content=WORDS),)
            request = Request(id=f"{number} {i}", messages=messages, max_tokens=8, tenant="plant", caller="a")
            try:
                with await meter.take(key, request, Path(task=None, tiers=())):
                    now += 1
                    most, admitted["a"] = max(most, now), admitted["a"] + 1
                    await asyncio.sleep(0.05)
                    now -= 1
            except OverLimit:
                await asyncio.sleep(0.05)

    async with contextlib.AsyncExitStack() as stack:
        meters, work = [], []
        for number in range(GATEWAYS):
            store = await stack.enter_async_context(await Store.open(settings))
            meter = Meter({})
            meters.append(meter)
            if shared:
                meter.room = sharing = Sharing(settings, store, meter.ledger, process=f"elsewhere boot {number} 1")
                await sharing.begin()
                work.append(asyncio.create_task(sharing.work()))
        await asyncio.gather(*[caller(meter, 10 * i + j) for i, meter in enumerate(meters) for j in range(4)])
        for one in work:
            one.cancel()
        await asyncio.gather(*work, return_exceptions=True)
    return admitted, most


async def test_a_gateway_cut_off_for_its_lease_refuses_keys_with_limits_and_goes_on_with_others(tmp_path):
    settings = Settings(root=tmp_path, cache=tmp_path)
    now = 0.0
    async with await Store.open(settings) as store:
        meter = Meter({})
        meter.room = sharing = Sharing(settings, store, meter.ledger, clock=lambda: now)
        await sharing.begin()
        work = asyncio.create_task(sharing.work())
        limited = Key(id="k", name="a", tenant="plant", limits=Limits(requests_per_minute=9))
        free = Key(id="f", name="b", tenant="plant")

        async def call(key: Key, id: str) -> None:
            messages = (Message(role="user", content="x"),)
            request = Request(id=id, messages=messages, max_tokens=8, tenant="plant", caller=key.name)
            with await meter.take(key, request, Path(task=None, tiers=())):
                pass

        await call(limited, "1")
        assert sharing.duty
        work.cancel()  # from here on it hears nothing
        now = settings.serve.lease_s - 1
        await call(limited, "2")
        now = settings.serve.lease_s + 1
        with pytest.raises(StoreError, match="shared with other gateways"):
            await call(limited, "3")
        await call(free, "4")
        assert not sharing.duty
        await sharing._turn()
        work = asyncio.create_task(sharing.work())
        await call(limited, "5")
        work.cancel()


async def test_a_clean_end_gives_shares_back_but_what_was_used_counts_for_a_minute(tmp_path):
    settings = Settings(root=tmp_path, cache=tmp_path)
    now = 0.0
    limits = Limits(requests_per_minute=10)
    key = Key(id="k", name="a", tenant="plant", limits=limits)

    async def admitted(meter: Meter, count: int, name: str) -> int:
        done = 0
        for i in range(count):
            request = Request(id=f"{name}{i}", messages=(Message(role="user", content="x"),), max_tokens=8)
            with contextlib.suppress(OverLimit), await meter.take(key, request, Path(task=None, tiers=())):
                done += 1
        return done

    async with await Store.open(settings) as store:
        meters = [Meter({}, clock=lambda: now) for _ in range(2)]
        rooms = [
            Sharing(settings, store, meter.ledger, clock=lambda: now, process=f"elsewhere boot {i} 1")
            for i, meter in enumerate(meters)
        ]
        for meter, room in zip(meters, rooms, strict=True):
            meter.room = room
            await room.begin()
        work = [asyncio.create_task(room.work()) for room in rooms]
        assert await admitted(meters[0], 4, "a") == 4
        work[0].cancel()
        await asyncio.gather(work[0], return_exceptions=True)
        await rooms[0].close()
        assert await admitted(meters[1], 12, "b") == 6, "ten, without the four of the other"
        now = 63.5
        await asyncio.sleep(0.7)
        now = 130.0
        await asyncio.sleep(1.2)
        assert await admitted(meters[1], 12, "c") == 10
        replicas, _ = await store.shares.look("")
        assert [one.process for one in replicas if one.process != "earlier"] == ["elsewhere boot 1 1"]
        work[1].cancel()


async def test_one_of_several_has_the_duty_and_when_it_is_gone_another(tmp_path):
    settings, now = Settings(root=tmp_path, cache=tmp_path), 0.0
    async with await Store.open(settings) as store:
        names = [f"elsewhere boot {i} 1" for i in range(3)]
        rooms = [Sharing(settings, store, Meter({}).ledger, clock=lambda: now, process=name) for name in names]
        for room in rooms:
            await room.begin()
        assert [room.duty for room in rooms] == [True, False, False]
        now = settings.serve.lease_s / 2
        for room in rooms[1:]:
            await room._turn()
        assert not any(room.duty for room in rooms[1:]), "the first is late, and may be there"
        now = settings.serve.lease_s * 1.02 + 1.5
        assert not rooms[0].duty, "it has stopped by itself before another begins"
        for room in rooms[1:]:
            await room._turn()
        assert [room.duty for room in rooms] == [False, True, False]
        await rooms[0]._turn()
        assert [room.duty for room in rooms] == [False, True, False], "one that comes back does not take it from it"


async def test_of_a_process_that_was_killed_no_more_counts_than_the_records_show(tmp_path):
    """Its host and boot are this one's, and there is no such process: what it held and did not use is free at once."""
    settings = Settings(root=tmp_path, cache=tmp_path)
    host, boot, _, started_at = this_process().split(" ")
    gone = f"{host} {boot} 4194399 {started_at}"
    key = Key(id="k", name="a", tenant="plant", limits=Limits(requests_per_minute=10))
    async with await Store.open(settings) as store:
        first, second = Meter({}), Meter({})
        first.room = dead = Sharing(settings, store, first.ledger, process=gone)
        await dead.begin()
        work = asyncio.create_task(dead.work())
        for i in range(3):
            request = Request(id=f"a{i}", messages=(Message(role="user", content="x"),), max_tokens=8)
            with await first.take(key, request, Path(task=None, tiers=())):
                kept = Record(
                    id=f"a{i}", task=None, release=None, tenant="plant", caller="a", attempts=(),
                    outcome="answered", input_hash="h", latency_ms=1.0, created=stamp(time.time()),
                )  # fmt: skip
                await store.append(kept)
        work.cancel()
        held = (await store.shares.of(gone))[0]
        assert sum(stake.parts["requests_per_minute"].share for stake in held.values()) > 3
        second.room = lives = Sharing(settings, store, second.ledger)
        await lives.begin()
        work, done = asyncio.create_task(lives.work()), 0
        for i in range(12):
            request = Request(id=f"b{i}", messages=(Message(role="user", content="x"),), max_tokens=8)
            with contextlib.suppress(OverLimit), await second.take(key, request, Path(task=None, tiers=())):
                done += 1
        work.cancel()
        assert done == 7

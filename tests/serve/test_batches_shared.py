"""Batches of several tenants and gateways: none starves, fills or repeats what is another's."""

import asyncio
import hashlib
import json
import time
from pathlib import Path

import msgspec
import openai
import pytest
from serving import RULES, client, gateway, path_of, socket_of, tickets, workspace
from sqlalchemy import update
from test_batches_api import ENDED, SLOW, begun, ended, lines, rows_of
from test_keys import made

from insource.engines.scripted import Scripted
from insource.nouns import Limits
from insource.nouns.filing import CallBatch
from insource.serve.app import create_app
from insource.settings import StoreSettings
from insource.store import Store
from insource.store.batches import Settled
from insource.store.blobs import Blobs
from insource.store.tables import BATCH_ITEM

ELSEWHERE = "elsewhere boot 1 2#a"


async def sent(ai: openai.AsyncOpenAI, data: bytes, **more) -> CallBatch:
    """A batch of a file that is kept already, as a gateway writes it down."""
    file = await ai.files.create(file=("in.jsonl", data), purpose="batch")
    now = int(time.time())
    batch = CallBatch(
        id="batch_ours", tenant="local", key="", endpoint="/v1/chat/completions", input=file.id,
        created=now, expires=now + 3600,
    )  # fmt: skip
    return msgspec.structs.replace(batch, **more)


async def settled(store: Store, batch: CallBatch, name: str) -> dict:
    """Keeps an answer to the line called `name`, and returns it."""
    key = hashlib.sha256(f"{batch.id} {name}".encode()).hexdigest()
    response = {"status_code": 200, "request_id": "x", "body": {}}
    body = {"id": "x", "custom_id": name, "response": response, "error": None}
    await store.batches.settle(Settled(key, "", "done", ELSEWHERE, 1, None, json.dumps(body)))
    return body


def blobs(store: Store) -> list[Path]:
    return sorted(file for file in store.blobs.folder.rglob("*") if file.is_file())


async def test_a_tenant_whose_batches_wait_for_its_limit_leaves_room_for_those_of_others(tmp_path):
    async with gateway(tmp_path) as (url, store):
        slow = await made(store, "slow", tenant="a", limits=Limits(requests_per_minute=1))
        other = await made(store, "other", tenant="b")
        async with (
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=slow, max_retries=0, timeout=20) as one,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=other, max_retries=0, timeout=20) as two,
        ):
            waiting = [await begun(one, lines("refund", "refund", "refund")) for _ in range(4)]
            done = await ended(two, (await begun(two, lines("refund"))).id, 15)
            assert (done.status, done.request_counts.completed) == ("completed", 1)
            now = [(await one.batches.retrieve(batch.id)).status for batch in waiting]
            assert sorted(now) == ["in_progress", "in_progress", "validating", "validating"]


async def test_a_file_with_more_lines_than_a_batch_may_have_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("insource.serve.batch_work.MOST_LINES", 3)
    async with gateway(tmp_path) as (url, _), client(url) as ai:
        most = lines("one", "two", "three")
        done = await ended(ai, (await begun(ai, most + b"\r\n\n")).id)
        assert (done.status, done.request_counts.completed) == ("completed", 3), "an empty line is none"
        many = lines("one", "two", "three", "four") + b"what nobody reads\n" * 10
        failed = await ended(ai, (await begun(ai, many)).id)
        assert failed.status == "failed"
        assert [fault.code for fault in failed.errors.data] == ["too_many_lines"]


async def test_nothing_stays_of_a_file_that_was_refused(tmp_path, monkeypatch):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        await ai.files.create(file=("in.jsonl", b"x" * 100), purpose="batch")
        kept = blobs(store)
        monkeypatch.setattr("insource.store.filing.MOST_FILES", 1)
        put = store.blobs.put
        written = []

        def counted(data: bytes) -> str:
            written.append(data)
            return put(data)

        async def there_was(_) -> None:
            """Room, which somebody else took since."""

        monkeypatch.setattr(store.blobs, "put", counted)
        with pytest.raises(openai.ConflictError, match="1 files of"):
            await ai.files.create(file=("in.jsonl", b"secret"), purpose="batch")
        assert (written, blobs(store)) == ([], kept)
        monkeypatch.setattr(store.filing, "check_room", there_was)
        with pytest.raises(openai.ConflictError, match="1 files of"):
            await ai.files.create(file=("in.jsonl", b"secret"), purpose="batch")
        assert (len(written), blobs(store)) == (1, kept)


@pytest.mark.slow
async def test_a_batch_that_another_took_over_is_not_asked_on_nor_ended(tmp_path):
    settings = workspace(tmp_path)
    async with await Store.open(settings) as store:
        app = create_app(settings, store, {"tickets": path_of(store, tickets(), Scripted("one", SLOW))})
        async with socket_of(app) as url, client(url) as ai:
            batch = await begun(ai, lines(*[f"text {i}" for i in range(300)]))
            while not (await ai.batches.retrieve(batch.id)).request_counts.completed:
                await asyncio.sleep(0.05)
            await store.batches.beat(ELSEWHERE, 60)
            theirs = update(BATCH_ITEM).where(BATCH_ITEM.c.key == batch.id).values(holder=ELSEWHERE)
            await store._thread.run(lambda c: c.execute(theirs))
            await asyncio.sleep(2.0)
            asked = len(await store.records(limit=500))
            await asyncio.sleep(1.0)
            assert 0 < len(await store.records(limit=500)) == asked < 300
            assert (await ai.batches.retrieve(batch.id)).status == "in_progress"
            await store.batches.leave(ELSEWHERE)
            done = await ended(ai, batch.id)
            assert (done.status, done.request_counts.completed) == ("completed", 300)
            assert len(await store.records(limit=500)) == 300, "what was under way then is not asked twice"


async def test_a_batch_is_late_only_where_lines_of_it_are_missing(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        over = {"status": "finalizing", "expires": int(time.time()) - 10}
        batch = await sent(ai, lines("one", "two"), **over)
        answers = [await settled(store, batch, name) for name in ("c0", "c1")]
        await store.filing.add_batch(batch)
        done = await ended(ai, batch.id)
        assert (done.status, done.request_counts.completed, done.error_file_id) == ("completed", 2, None)
        assert await rows_of(ai, done.output_file_id) == answers
        batch = await sent(ai, lines("one", "two"), id="batch_late", **over)
        answer = await settled(store, batch, "c0")
        await store.filing.add_batch(batch)
        late = await ended(ai, batch.id)
        assert (late.status, late.request_counts.completed, late.request_counts.failed) == ("expired", 1, 1)
        assert await rows_of(ai, late.output_file_id) == [answer]
        (missing,) = await rows_of(ai, late.error_file_id)
        assert (missing["custom_id"], missing["error"]["code"]) == ("c1", "batch_expired")
        assert await store.records() == [], "nobody is asked after the time is over"


async def test_a_batch_whose_file_is_on_another_host_is_left_to_a_gateway_that_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr("insource.serve.batch_work.LOOK_S", 0.1)
    settings = msgspec.structs.replace(workspace(tmp_path), store=StoreSettings(url="postgresql://of-several-hosts"))
    async with await Store.open(workspace(tmp_path)) as store, await Store.open(workspace(tmp_path)) as elsewhere:
        apps = [create_app(settings, one, {"tickets": path_of(one, tickets(), Scripted("one", RULES))})
                for one in (store, elsewhere)]  # fmt: skip
        store.blobs = Blobs(tmp_path / "other-host")
        async with socket_of(apps[0]) as url, client(url) as ai:
            store.blobs, here = elsewhere.blobs, store.blobs
            batch = await sent(ai, lines("refund"))
            store.blobs = here
            looks = counted(store)
            await store.filing.add_batch(batch)
            await asyncio.sleep(0.6)
            assert (await store.filing.batch("local", batch.id)).status == "validating"
            assert looks == [batch.input], "it is not claimed again and again"
            async with socket_of(apps[1]):
                done = await ended(ai, batch.id, 20)
                assert (done.status, done.request_counts.completed) == ("completed", 1)


async def test_a_batch_whose_file_never_came_fails_at_its_time_and_says_what_hosts_need(tmp_path):
    settings = msgspec.structs.replace(workspace(tmp_path), store=StoreSettings(url="postgresql://of-several-hosts"))
    async with await Store.open(workspace(tmp_path)) as store:
        app = create_app(settings, store, {"tickets": path_of(store, tickets(), Scripted("one", RULES))})
        async with socket_of(app) as url, client(url) as ai:
            batch = await sent(ai, lines("refund"), expires=int(time.time()) - 10)
            store.blobs = Blobs(tmp_path / "other-host")
            await store.filing.add_batch(batch)
            done = await ended(ai, batch.id)
            assert done.status == "failed"
            assert [fault.code for fault in done.errors.data] == ["file_not_here"]
            assert "[artefacts]" in done.errors.data[0].message


def counted(store: Store) -> list[str]:
    """The files that are looked for from now on."""
    looks, file = list[str](), store.filing.file

    async def noted(tenant: str, id: str):
        looks.append(id)
        return await file(tenant, id)

    store.filing.file = noted
    return looks


async def test_a_key_that_another_gateway_learned_first_is_no_unknown_key(tmp_path, monkeypatch):
    monkeypatch.setattr("insource.serve.app.LOOK_S", 3600)  # this one looks for keys no more by itself
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        batch = await sent(ai, lines("refund"))
        await made(store, "new")
        (key,) = (await store.keys())[0]
        await store.filing.add_batch(msgspec.structs.replace(batch, key=key.id))
        until = time.monotonic() + 30
        while (now := await store.filing.batch("local", batch.id)).status not in ENDED:
            assert time.monotonic() < until, now.status
            await asyncio.sleep(0.1)
        assert (now.status, now.completed, now.failed) == ("completed", 1, 0)

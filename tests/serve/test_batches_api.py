"""/v1/files and /v1/batches as the official client uses them."""

import asyncio
import json
import time

import httpx2 as httpx
import msgspec
import openai
import pytest
from serving import RULES, client, gateway, path_of, say, socket_of, tickets, workspace
from test_keys import bearer, made

from insource.engines.scripted import Rule, Scripted
from insource.errors import StoreError
from insource.nouns import Limits
from insource.nouns.filing import CallBatch
from insource.serve.app import create_app
from insource.store import Store

SLOW = (Rule(match="*", value={"intent": "other"}, confidence=0.9, delay_s=0.2),)
SLOWER = (Rule(match="*", value={"intent": "other"}, confidence=0.9, delay_s=1.0),)
ENDED = ("completed", "failed", "expired", "cancelled")


def lines(*texts: str, model: str = "tickets") -> bytes:
    rows = [
        {"custom_id": f"c{i}", "method": "POST", "url": "/v1/chat/completions", "body": say(text, model)}
        for i, text in enumerate(texts)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def begun(ai: openai.AsyncOpenAI, data: bytes, **more):
    file = await ai.files.create(file=("in.jsonl", data), purpose="batch")
    more = {"endpoint": "/v1/chat/completions", "completion_window": "24h"} | more
    return await ai.batches.create(input_file_id=file.id, **more)


async def ended(ai: openai.AsyncOpenAI, id: str, seconds: float = 60.0):
    until = time.monotonic() + seconds
    while (batch := await ai.batches.retrieve(id)).status not in ENDED:
        assert time.monotonic() < until, batch.status
        await asyncio.sleep(0.1)
    return batch


async def rows_of(ai: openai.AsyncOpenAI, id: str) -> list[dict]:
    return [json.loads(line) for line in (await ai.files.content(id)).text.splitlines()]


async def test_a_batch_is_answered_line_by_line_in_order_as_live_calls_are(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        data = lines("I want a refund", "quite unsure", "what else", "it is broken", "hello", model="tickets")
        data += lines("Say it", model="hub").replace(b'"c0"', b'"h0"')
        batch = await begun(ai, data, metadata={"job": "nightly"})
        assert (batch.object, batch.status, batch.endpoint) == ("batch", "validating", "/v1/chat/completions")
        assert (batch.completion_window, batch.metadata) == ("24h", {"job": "nightly"})
        done = await ended(ai, batch.id)
        assert done.status == "completed", done.errors
        assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (6, 5, 1)
        out = await rows_of(ai, done.output_file_id)
        assert [row["custom_id"] for row in out] == ["c0", "c1", "c2", "c4", "h0"]
        said = [row["response"]["body"]["choices"][0]["message"]["content"] for row in out]
        assert said == ["refund", "status", "other", "other", "Hello there, friend."]
        assert all(row["response"]["status_code"] == 200 and row["error"] is None for row in out)
        (wrong,) = await rows_of(ai, done.error_file_id)
        assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("c3", 502)
        assert "error" in wrong["response"]["body"]
        records = await store.records()
        assert len(records) == 6
        assert out[0]["response"]["request_id"] in {record.id for record in records}
        assert [one.id for one in (await ai.batches.list()).data] == [batch.id]
        listed = [one async for one in ai.files.list()]
        assert {one.purpose for one in listed} == {"batch", "batch_output"}
        assert len(listed) == 3
        assert done.in_progress_at <= done.finalizing_at <= done.completed_at


async def test_files_are_sent_listed_by_pages_read_and_removed(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        files = [await ai.files.create(file=(f"{i}.jsonl", b"x" * i), purpose="batch") for i in range(1, 6)]
        assert (files[0].filename, files[0].bytes, files[0].status) == ("1.jsonl", 1, "processed")
        assert await ai.files.retrieve(files[2].id) == files[2]
        assert (await ai.files.content(files[2].id)).content == b"xxx"
        assert [one.id async for one in ai.files.list(limit=2)] == [one.id for one in reversed(files)]
        assert [one.id async for one in ai.files.list(limit=2, order="asc")] == [one.id for one in files]
        assert [one async for one in ai.files.list(purpose="batch_output")] == []
        blobs = len([file for file in store.blobs.folder.rglob("*") if file.is_file()])
        assert (await ai.files.delete(files[0].id)).deleted
        assert len([file for file in store.blobs.folder.rglob("*") if file.is_file()]) == blobs - 1
        for gone in (ai.files.retrieve(files[0].id), ai.files.content(files[0].id), ai.files.delete(files[0].id)):
            with pytest.raises(openai.NotFoundError):
                await gone


async def test_what_is_no_batch_is_refused_or_fails_with_its_lines(tmp_path):
    async with gateway(tmp_path, max_file_bytes=4096) as (url, _), client(url) as ai:
        with pytest.raises(openai.APIStatusError) as large:
            await ai.files.create(file=("in.jsonl", b"x" * 5000), purpose="batch")
        assert large.value.status_code == 413
        with pytest.raises(openai.APIStatusError) as larger:
            await ai.files.create(file=("in.jsonl", b"x" * 500_000), purpose="batch")
        assert larger.value.status_code == 413
        with pytest.raises(openai.UnprocessableEntityError, match="purpose"):
            await ai.files.create(file=("in.jsonl", b"x"), purpose="fine-tune")
        with pytest.raises(openai.UnprocessableEntityError, match="calls to"):
            await begun(ai, lines("x"), endpoint="/v1/embeddings")
        with pytest.raises(openai.NotFoundError):
            await ai.batches.create(input_file_id="file-x", endpoint="/v1/chat/completions", completion_window="24h")
        bad = b"nonsense\n" + lines("x", "y").replace(b'"c1"', b'"c0"') + lines("z").replace(b"completions", b"nothing")
        failed = await ended(ai, (await begun(ai, bad)).id)
        assert failed.status == "failed"
        assert [fault.line for fault in failed.errors.data] == [1, 3, 4]
        assert failed.output_file_id is None
        assert (await ended(ai, (await begun(ai, b"\n")).id)).errors.data[0].code == "empty_file"
        async with httpx.AsyncClient(base_url=url) as http:
            for sent in ({"content": b"x"}, {"data": {"purpose": "batch"}}, {"json": {}}):
                assert (await http.post("/v1/files", **sent)).status_code == 422


async def test_a_tenant_sees_nothing_of_another_and_a_key_calls_only_what_it_may(tmp_path):
    async with gateway(tmp_path) as (url, store):
        texts = {
            "one": await made(store, "one", tenant="one"),
            "two": await made(store, "two", tenant="two", scopes=("hub",)),
            "eye": await made(store, "eye", roles=("reviewer",)),
        }

        def caller(name: str) -> openai.AsyncOpenAI:
            return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=texts[name], max_retries=0, timeout=20)

        async with caller("one") as one, caller("two") as two, caller("eye") as eye:
            batch = await begun(one, lines("I want a refund"))
            done = await ended(one, batch.id)
            assert done.request_counts.completed == 1
            assert {record.tenant for record in await store.records()} == {"one"}
            assert {record.caller for record in await store.records()} == {"one"}
            hidden = [
                two.batches.retrieve(batch.id), two.batches.cancel(batch.id), two.files.retrieve(batch.input_file_id),
                two.files.content(done.output_file_id), two.files.delete(batch.input_file_id),
                two.batches.create(input_file_id=batch.input_file_id, endpoint=batch.endpoint, completion_window="24h"),
            ]  # fmt: skip
            for asked in hidden:
                with pytest.raises(openai.NotFoundError):
                    await asked
            assert [file async for file in two.files.list()] == [] == (await two.batches.list()).data
            with pytest.raises(openai.PermissionDeniedError):
                await eye.files.list()
            with pytest.raises(openai.AuthenticationError):
                async with client(url) as nobody:
                    await nobody.files.list()
            denied = await ended(two, (await begun(two, lines("I want a refund"))).id)
            (row,) = await rows_of(two, denied.error_file_id)
            assert row["response"]["status_code"] == 403
            assert len(await store.records()) == 1


async def test_a_limit_of_the_key_is_waited_for_and_kept(tmp_path):
    async with gateway(tmp_path, path=None) as (url, store):
        text = await made(store, "slow", limits=Limits(concurrent=2))
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=text, max_retries=0, timeout=20) as ai:
            done = await ended(ai, (await begun(ai, lines(*["slowly"] * 8))).id)
        assert (done.request_counts.completed, done.request_counts.failed) == (8, 0)
        assert len(await store.records()) == 8


async def test_a_batch_that_is_cancelled_keeps_what_was_answered(tmp_path):
    settings = workspace(tmp_path)
    async with await Store.open(settings) as store:
        app = create_app(settings, store, {"tickets": path_of(store, tickets(), Scripted("one", SLOW))})
        async with socket_of(app) as url, client(url) as ai:
            batch = await begun(ai, lines(*[f"text {i}" for i in range(200)]))
            while not (await ai.batches.retrieve(batch.id)).request_counts.completed:
                await asyncio.sleep(0.05)
            assert (await ai.batches.cancel(batch.id)).status in ("cancelling", "cancelled")
            done = await ended(ai, batch.id)
            assert done.status == "cancelled"
            out = await rows_of(ai, done.output_file_id)
            assert 0 < len(out) == done.request_counts.completed == len(await store.records(limit=500)) < 200
            with pytest.raises(openai.ConflictError):
                await ai.batches.cancel(batch.id)


async def test_a_gateway_that_ends_leaves_a_batch_that_the_next_one_ends(tmp_path):
    settings = workspace(tmp_path)
    texts = [f"text {i}" for i in range(300)]
    async with await Store.open(settings) as store:
        slow = path_of(store, tickets(), Scripted("one", SLOWER))
        async with socket_of(create_app(settings, store, {"tickets": slow})) as url, client(url) as ai:
            batch = await begun(ai, lines(*texts))
            while not (await ai.batches.retrieve(batch.id)).request_counts.completed:
                await asyncio.sleep(0.05)
    async with await Store.open(settings) as store:
        answered = [record.id for record in await store.records(limit=500) if record.outcome == "answered"]
        assert 0 < len(answered) < 300
        quick = path_of(store, tickets(), Scripted("one", RULES))
        async with socket_of(create_app(settings, store, {"tickets": quick})) as url, client(url) as ai:
            done = await ended(ai, batch.id)
            out = await rows_of(ai, done.output_file_id)
            assert [row["custom_id"] for row in out] == [f"c{i}" for i in range(300)]
            assert len(set(answered) - {row["response"]["request_id"] for row in out}) <= 16
            rest = await store._thread.look(lambda c: c.exec_driver_sql("SELECT count(*) FROM batch_item").scalar())
            assert rest == 0


@pytest.mark.parametrize("at", ["the engine", "the store"])
async def test_a_gateway_ends_wherever_a_call_of_its_batch_is_and_keeps_none_twice(tmp_path, monkeypatch, at):
    settings, asked, kept = workspace(tmp_path), asyncio.Event(), []
    engine = Scripted("one", RULES if at == "the store" else [Rule(match="*", text="late", delay_s=60.0)])
    async with await Store.open(settings) as store:
        app = create_app(settings, store, {"tickets": path_of(store, tickets(), engine)})

        async def keep(record, pending):
            kept.append(record.id)
            if at == "the engine":
                raise StoreError("the store takes no rows")
            asked.set()
            await asyncio.sleep(60)

        monkeypatch.setattr(store, "append", keep)
        async with socket_of(app) as url, client(url) as ai:
            await begun(ai, lines("text 1", "text 2"))
            while not (asked.is_set() or (at == "the engine" and app.state.desk.in_flight)):
                await asyncio.sleep(0.02)
            began = time.monotonic()
        assert time.monotonic() - began < 5
        assert len(kept) == len(set(kept)) > 0


async def test_a_batch_that_ended_while_a_gateway_looked_is_not_asked_again(tmp_path, monkeypatch):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        batch = await begun(ai, lines(*[f"text {i}" for i in range(20)]))
        done = await ended(ai, batch.id)
        seen = msgspec.structs.replace(await store.filing.batch("local", batch.id), status="in_progress")

        async def late():
            return [seen]

        monkeypatch.setattr(store.filing, "under_way", late)
        await asyncio.sleep(2.5)
        assert len(await store.records(limit=100)) == 20
        assert await ai.batches.retrieve(batch.id) == done


async def test_what_is_not_answered_in_time_is_in_the_error_file(tmp_path, monkeypatch):
    monkeypatch.setattr("insource.serve.batches.DAY_S", 2)
    settings = workspace(tmp_path)
    async with await Store.open(settings) as store:
        app = create_app(settings, store, {"tickets": path_of(store, tickets(), Scripted("one", SLOW))})
        async with socket_of(app) as url, client(url) as ai:
            done = await ended(ai, (await begun(ai, lines(*[f"text {i}" for i in range(400)]))).id)
            assert done.status == "expired"
            wrong = await rows_of(ai, done.error_file_id)
            assert {row["error"]["code"] for row in wrong} == {"batch_expired"}
            assert len(wrong) + len(await rows_of(ai, done.output_file_id)) == 400


async def test_nothing_of_a_file_is_told_to_one_without_a_key(tmp_path):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url) as http:
        text = await made(store, "one")
        sent = await http.post(
            "/v1/files", files={"file": ("a.jsonl", b"secret")}, data={"purpose": "batch"}, headers=bearer(text)
        )
        assert sent.status_code == 200, sent.text
        for path in ("", f"/{sent.json()['id']}", f"/{sent.json()['id']}/content"):
            answer = await http.get(f"/v1/files{path}")
            assert answer.status_code == 401
            assert "secret" not in answer.text


async def test_a_tenant_keeps_no_more_than_it_may_and_a_batch_without_its_file_fails(tmp_path, monkeypatch):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        monkeypatch.setattr("insource.store.filing.MOST_BYTES", 2000)
        file = await ai.files.create(file=("in.jsonl", lines("I want a refund")), purpose="batch")
        with pytest.raises(openai.ConflictError, match="files of"):
            await ai.files.create(file=("in.jsonl", b"x" * 1900), purpose="batch")
        monkeypatch.setattr("insource.store.filing.MOST_FILES", 1)
        with pytest.raises(openai.ConflictError, match="1 files of"):
            await ai.files.create(file=("in.jsonl", b"x"), purpose="batch")
        batch = await ai.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        done = await ended(ai, batch.id)
        assert done.status == "completed", "what a batch writes is kept beside what was sent"
        await ai.files.delete(file.id)
        again = await ended(ai, (await _lost(ai, store, batch)).id)
        assert (again.status, again.errors.data[0].code) == ("failed", "not_found")


async def _lost(ai, store, batch):
    """A batch whose file was removed before anybody began it."""
    made = CallBatch(
        id="batch_lost", tenant="local", key="", endpoint=batch.endpoint, input=batch.input_file_id,
        created=int(time.time()), expires=int(time.time()) + 60,
    )  # fmt: skip
    await store.filing.add_batch(made)
    return made

"""What a caller was told is in the store, whatever happens next."""

import asyncio
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2 as httpx
import openai
import pysqlite3.dbapi2 as sqlite  # a second copy of SQLite in one process would not see the locks of the first
import pytest
from serving import client, gateway, say

from full_disk import most_pages
from insource.settings import Settings
from insource.store import Store


@asynccontextmanager
async def child(root: Path, *words: str):
    script = Path(__file__).with_name("serving_child.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(root), *words, stdout=asyncio.subprocess.PIPE
    )
    try:
        url = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
        assert url.startswith("http"), url
        yield process, url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def kept(root: Path) -> set[str]:
    async with await Store.open(Settings(root=root, cache=root)) as store:
        return {record.id for record in await store.records(limit=10_000)}


async def killed_with_calls_in_flight(root: Path, mode: str) -> tuple[set[str], set[str]]:
    """The records that callers were told of, and those that are there after a kill -9."""
    told: set[str] = set()
    async with child(root, mode) as (process, url):

        async def calls(ai, number):
            try:
                for i in range(1000):
                    raw = await ai.chat.completions.with_raw_response.create(
                        **say(f"call {number} {i}"), stream=bool(number % 2)
                    )
                    if number % 2:
                        async for _ in raw.parse():
                            pass
                    told.add(raw.headers["x-insource-record"])
            except (openai.OpenAIError, httpx.HTTPError):
                return

        async with client(url) as ai:
            running = [asyncio.create_task(calls(ai, number)) for number in range(30)]
            while len(told) < 60:
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await asyncio.gather(*running)
    return told, await kept(root)


async def test_every_answered_call_has_its_record_after_a_kill(tmp_path):
    told, there = await killed_with_calls_in_flight(tmp_path, "kept")
    assert len(told) >= 60
    assert told <= there


async def test_the_kill_test_notices_records_that_are_written_too_late(tmp_path):
    told, there = await killed_with_calls_in_flight(tmp_path, "deferred")
    assert len(told) >= 60
    assert not told <= there


async def test_on_sigterm_calls_begun_are_answered_and_the_store_is_closed(tmp_path):
    async with child(tmp_path, "kept") as (process, url), client(url) as ai:
        begun = [asyncio.create_task(ai.chat.completions.create(**say(f"late {i}"))) for i in range(10)]
        await asyncio.sleep(0.25)
        process.send_signal(signal.SIGTERM)
        done = await asyncio.gather(*begun)
        assert [d.choices[0].message.content for d in done] == ["refund"] * 10
        rest = await asyncio.wait_for(process.stdout.read(), 30)
        assert rest.decode().strip() == "closed 0"
        assert await process.wait() == 0
    assert len(await kept(tmp_path)) == 10


async def test_64_callers_at_once_each_get_their_own_record(tmp_path):
    async with gateway(tmp_path) as (url, store), client(url) as ai:
        texts = [f"refund {i}" if i % 2 else f"unsure {i}" for i in range(192)]
        gate = asyncio.Semaphore(64)

        async def call(text):
            async with gate:
                return await ai.chat.completions.with_raw_response.create(**say(text))

        raws = await asyncio.gather(*[call(text) for text in texts])
        assert [r.parse().choices[0].message.content for r in raws] == [
            "refund" if i % 2 else "status" for i in range(192)
        ]
        ids = {raw.headers["x-insource-record"] for raw in raws}
        assert len(ids) == 192
        assert {record.id for record in await store.records(limit=1000)} == ids
        assert {p.input for p in await store.pending(limit=1000)} == {t for t in texts if "unsure" in t}


async def records(store, count):
    for _ in range(300):
        found = await store.records(limit=1000)
        if len(found) >= count:
            return found
        await asyncio.sleep(0.01)
    return await store.records(limit=1000)


async def test_a_caller_who_leaves_in_the_middle_of_a_stream_leaves_a_record(tmp_path):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        for model in ("tickets", "hub"):
            body = say("a refund or so", model=model, stream=True)
            async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
                assert answer.status_code == 200
                await anext(answer.aiter_raw())
        assert len(await records(store, 2)) == 2


async def test_a_caller_who_leaves_before_the_first_word_of_a_task_still_leaves_a_record(tmp_path):
    async with gateway(tmp_path) as (url, store):
        async with httpx.AsyncClient(base_url=url, timeout=0.1) as http:
            try:
                await http.post("/v1/chat/completions", json=say("slowly"))
                raise AssertionError("the answer came too soon for this test")
            except httpx.TimeoutException:
                pass
        (found,) = await records(store, 1)
        assert found.outcome in ("answered", "failed"), "as its leaving was noticed, or not, before the answer"


async def test_when_the_record_cannot_be_kept_there_is_no_answer(tmp_path):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        assert (await http.get("/readyz")).status_code == 200
        await most_pages(store, 1)
        statuses = []
        for i in range(40):
            for model in ("tickets", "hub"):
                answer = await http.post("/v1/chat/completions", json=say(f"unsure {i} " + "x" * 5000, model=model))
                statuses.append(answer.status_code)
                if answer.status_code != 200:
                    assert answer.json()["error"]["code"] == "store_unavailable"
        assert 503 in statuses
        assert set(statuses) <= {200, 503}
        assert (await http.get("/healthz")).status_code == 200
        ready = await http.get("/readyz")
        await most_pages(store, 1000000)
        assert len(await store.records(limit=1000)) == statuses.count(200)
        assert (await http.post("/v1/chat/completions", json=say("refund"))).status_code == 200
        assert (await http.get("/readyz")).status_code == 200
        assert ready.status_code in (200, 503)


async def test_ready_says_no_when_the_store_is_gone(tmp_path):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        await store.close()
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["faults"]
        assert (await http.get("/healthz")).status_code == 200
        answer = await http.post("/v1/chat/completions", json=say("refund"))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"


async def test_who_leaves_while_the_call_waits_to_be_noted_leaves_it_not_open(tmp_path):
    """Its end then waits beside its beginning, and behind the end of another call."""
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url, timeout=30) as http:
        first = asyncio.create_task(http.post("/v1/chat/completions", json=say("linger", model="hub")))
        await asyncio.sleep(0.3)
        other = sqlite.connect(tmp_path / ".insource" / "insource.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(0.5)
        with pytest.raises(httpx.TimeoutException):
            await http.post("/v1/chat/completions", json=say("hello", model="hub"), timeout=0.3)
        await asyncio.sleep(0.2)
        other.execute("COMMIT")
        other.close()
        assert (await first).status_code == 200
        async with asyncio.timeout(10):
            while len(await store.records()) < 2:
                await asyncio.sleep(0.05)
        assert sorted(record.outcome for record in await store.records()) == ["answered", "failed"]
        assert await store.open_calls() == 0

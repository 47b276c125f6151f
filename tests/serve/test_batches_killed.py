"""A gateway that is killed with SIGKILL in the middle of a batch: the next one ends it, each line once."""

import asyncio
import json
import signal

import openai
import pytest
from live_workspace import folder, go_live, release
from serving import say
from test_batches_api import begun, ended, rows_of
from test_verbs import serving

from insource.store import Store


@pytest.mark.slow
def test_a_killed_gateway_leaves_a_batch_that_the_next_one_ends(tmp_path):
    root = tmp_path / "w"
    settings = folder(root)
    (root / "hub.jsonl").write_text('{"match": "*", "text": "hello there", "delay_s": 0.1}\n')

    async def make():
        async with await Store.open(settings) as store:
            await go_live(store, (await release(settings, store)).name)

    async def begin(url: str) -> str:
        rows = [("hub" if i % 2 else "tickets", f"track the parcel {i}") for i in range(300)]
        lines = [
            {"custom_id": f"c{i}", "method": "POST", "url": "/v1/chat/completions", "body": say(text, model)}
            for i, (model, text) in enumerate(rows)
        ]
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as ai:
            batch = await begun(ai, b"\n".join(json.dumps(line).encode() for line in lines))
            while (await ai.batches.retrieve(batch.id)).request_counts.completed < 20:
                await asyncio.sleep(0.05)
        return batch.id

    async def end(url: str, name: str) -> list[dict]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as ai:
            done = await ended(ai, name)
            assert (done.status, done.request_counts.completed) == ("completed", 300)
            return await rows_of(ai, done.output_file_id)

    async def kept() -> tuple[set[str], int]:
        async with await Store.open(settings) as store:
            records = await store.records(limit=2000)
            return {record.id for record in records if record.outcome in ("answered", "review")}, len(records)

    asyncio.run(make())
    with serving(root) as (process, url):
        name = asyncio.run(begin(url))
        process.send_signal(signal.SIGKILL)
        process.wait()
    before, _ = asyncio.run(kept())
    assert 20 <= len(before) < 300
    with serving(root) as (_, url):
        rows = asyncio.run(end(url, name))
    assert [row["custom_id"] for row in rows] == [f"c{i}" for i in range(300)]
    given = [row["response"]["request_id"] for row in rows]
    after, count = asyncio.run(kept())
    assert len(set(given)) == 300
    assert set(given) <= after
    assert len(before - set(given)) <= 16, "no more than were under way are asked again"
    assert count <= 300 + 2 * 16

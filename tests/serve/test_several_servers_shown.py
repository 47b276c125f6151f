"""A gateway before an engine with several servers: its calls, its numbers and what it says of itself."""

import asyncio
from contextlib import AsyncExitStack

import httpx2 as httpx
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from serving import client, say
from watching import Collector, attributes, serving, watched

from insource.engines.scripted_server import Reply, ScriptedServer
from insource.errors import Invalid
from insource.nouns import Observe
from insource.settings import EngineSettings, load_settings

FILE = '[engines.far]\nkind = "vllm"\nmodel = "m"\n'


def engine(*urls):
    return EngineSettings(kind="vllm", replicas=urls, model="m", usd_per_million_input=1.0)


async def numbers(http, name):
    """Replica → the value of a metric."""
    page = (await http.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(page)}
    return {sample.labels["replica"]: sample.value for sample in families[name].samples}


async def test_one_of_three_that_fails_costs_no_call_and_is_shown(tmp_path):
    async with AsyncExitStack() as stack:
        replies = [[Reply(text="one two", delay_s=0.02)], [Reply(text="one two", delay_s=0.02)], [Reply(status=500)]]
        each = [await stack.enter_async_context(ScriptedServer(one, kind="vllm")) for one in replies]
        names = [one.address.removeprefix("http://") for one in each]
        far = engine(*[one.base_url for one in each])
        url, store, _, _ = await stack.enter_async_context(watched(tmp_path, None, {"far": far}))
        ai = await stack.enter_async_context(client(url))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url))

        async def whole():
            return (await ai.chat.completions.create(**say("hello", "far"))).choices[0].message.content

        async def streamed():
            chunks = [one async for one in await ai.chat.completions.create(**say("hello", "far"), stream=True)]
            return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)

        said = []
        while (await numbers(http, "insource_replica_rests"))[names[2]] == 0 if said else True:
            said += await asyncio.gather(*[ask() for ask in (whole, streamed) * 4])
        assert set(said) == {"one two"}
        shown = (await http.get("/readyz")).json()
        assert shown["resting"] == [f"{names[2]} of far rests after failures"]
        assert shown["status"] == "ready"
        assert await numbers(http, "insource_replica_rests") == {names[0]: 0, names[1]: 0, names[2]: 1}
        assert set(await numbers(http, "insource_replica_calls")) == set(names)
        records = await store.records(limit=500)
        assert len(records) == len(said)
        assert {(record.outcome, len(record.attempts)) for record in records} == {("answered", 1)}
        assert all(record.usd > 0 and record.attempts[0].decision.engine == "far" for record in records)


async def test_a_span_names_no_address_where_there_are_several(tmp_path):
    collector = Collector()
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_post("/v1/traces", collector.take)
        endpoint = await stack.enter_async_context(serving(app))
        server = await stack.enter_async_context(ScriptedServer([Reply(text="ok")], kind="vllm"))
        observe = Observe(otlp=f"{endpoint}/v1/traces")
        url, _, _, _ = await stack.enter_async_context(watched(tmp_path, observe, {"far": engine(server.base_url)}))
        ai = await stack.enter_async_context(client(url))
        await ai.chat.completions.create(**say("hello", "far"))
    asked = [attributes(span) for span in collector.spans if span.kind == span.SPAN_KIND_CLIENT]
    assert [one["insource.engine"] for one in asked] == ["far"]
    assert "server.address" not in asked[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('replicas = []', "replicas"),
        ('replicas = ["http://a:1/v1", "http://a:1/v1/"]', "a:1 twice"),
        ('replicas = ["http://a:1/v1"]\nbase_url = "http://b:1/v1"', "keep one of them"),
        ('replicas = "http://a:1/v1"', "replicas"),
    ],
)  # fmt: skip
def test_a_settings_file_with_replicas_that_cannot_be_is_invalid(tmp_path, line, words):
    (tmp_path / "insource.toml").write_text(FILE + line + "\n", "utf-8")
    with pytest.raises(Invalid) as caught:
        load_settings(tmp_path, {})
    assert words in str(caught.value)
    assert "$.engines" in str(caught.value)

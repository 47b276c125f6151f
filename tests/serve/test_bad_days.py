"""A gateway whose servers fail and whose callers leave: what a caller gets, what is on record, what the server sees."""

import json
import sys
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
from serving import client, say

from insource.engines.scripted_server import Reply, ScriptedServer
from insource.journeys.relay import LEFT

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import bad_days_parts as parts

TEXT = "the whole of the answer, from its first word to its last"


def gateway(root, *servers):
    """Before these servers, which are waited for a second between their bytes."""
    return parts.gateway(root, *[server.base_url for server in servers], idle_s=1.0, first_byte_s=20.0)


async def events(http, body):
    """The status and the data of each event."""
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        raw = (await answer.aread()).decode()
    found = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: ")]
    return answer.status_code, found


def text_of(found):
    chunks = [json.loads(one) for one in found if one != "[DONE]"]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices"))


@pytest.mark.slow
@pytest.mark.parametrize("at", ["middle", "late"])
@pytest.mark.parametrize(
    "play", ["reset", "ends in order", "hang", "error event", "noise", "cut json", "end mark early"]
)
async def test_after_the_first_word_a_fault_is_an_error_event_and_never_an_end(tmp_path, play, at):
    bad, good = Reply(text=TEXT, play=play, at=at), Reply(text=TEXT)
    async with ScriptedServer([bad]) as first, ScriptedServer([good]) as second:  # noqa: SIM117 - their addresses
        async with gateway(tmp_path, first, second) as (url, store, _), httpx.AsyncClient(base_url=url) as http:
            status, found = await events(http, say("x", model="s0", stream=True))
            (record,) = await store.records()
            assert status == 200
            heard = text_of(found)
            if found[-1] == "[DONE]":
                assert heard == TEXT
            else:
                assert heard, "without a word the second server would have been asked"
                assert json.loads(found[-1])["error"]["code"].startswith("engine_")
                assert not any("finish_reason" in one and '"stop"' in one for one in found)
                assert (record.outcome, len(second.seen)) == ("failed", 0)
                async with client(url) as ai:
                    with pytest.raises(openai.APIError):
                        async for _chunk in await ai.chat.completions.create(**say("x", model="s0"), stream=True):
                            pass


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("play", ["reset", "html", "busy", "empty", "no status", "moved", "error event"])
async def test_before_the_first_word_the_next_engine_answers_and_the_record_says_so(tmp_path, play, stream):
    async with ScriptedServer([Reply(play=play)]) as first, ScriptedServer([Reply(text=TEXT)]) as second:  # noqa: SIM117
        async with gateway(tmp_path, first, second) as (url, store, _), httpx.AsyncClient(base_url=url) as http:
            body = say("x", model="s0", stream=stream)
            if stream:
                status, found = await events(http, body)
                said, done = text_of(found), found[-1] == "[DONE]"
            else:
                got = await http.post("/v1/chat/completions", json=body)
                status, said, done = got.status_code, got.json()["choices"][0]["message"]["content"], True
            assert (status, said, done) == (200, TEXT, True)
            (record,) = await store.records()
            assert (record.outcome, record.tier) == ("escalated", 2)
            assert [attempt.decision.engine for attempt in record.attempts] == ["s0", "s1"]
            assert record.attempts[0].decision.reason.startswith("engine_")


async def test_ready_names_the_servers_that_rest_and_stays_ready(tmp_path):
    async with ScriptedServer([Reply(status=503)]) as first, ScriptedServer([Reply(text=TEXT)]) as second:  # noqa: SIM117
        async with (
            gateway(tmp_path, first, second) as (url, _, __),
            httpx.AsyncClient(base_url=url, timeout=20) as http,
        ):
            assert (await http.get("/readyz")).json() == {"status": "ready", "faults": [], "resting": []}
            for _ in range(3):
                got = await http.post("/v1/chat/completions", json=say("x", model="s0"))
                assert got.status_code == 200
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()["resting"]) == (200, ["s0 rests after failures"])


def hold(found, number):
    assert len(found.seconds) == number - found.never_asked
    assert len(found.seconds) > number / 2
    assert max(found.seconds) <= 1.0
    assert len({record.id for record in found.records}) == len(found.records) == number
    assert {record.outcome for record in found.records} == {"failed"}
    assert {record.attempts[-1].decision.reason for record in found.records} == {LEFT}
    assert (found.in_flight, found.places_kept) == (0, 0)


async def test_who_leaves_ends_the_call_at_the_server_and_is_on_record(tmp_path):
    hold(await parts.cuts(tmp_path, 6, seed=1), 6)


@pytest.mark.slow
async def test_twenty_callers_who_leave_at_any_moment(tmp_path):
    hold(await parts.cuts(tmp_path, 20, seed=2), 20)

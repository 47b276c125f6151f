"""An engine around an engine: any engine answers a text of any length, and what is found keeps its place."""

import asyncio
import tempfile
import threading
from pathlib import Path

import model_files
import pytest

from insource.engines.base import Bounded, Streams
from insource.engines.merge import merged
from insource.engines.remote import Remote
from insource.engines.scripted import Rule, Scripted
from insource.engines.scripted_server import Reply, ScriptedServer
from insource.engines.windowed import AT_ONCE, Estimate, Windowed
from insource.errors import EngineBusy, EngineSlow
from insource.journeys.answer import Path as AnswerPath
from insource.journeys.answer import Tier, answer, discard
from insource.nouns import Message, Output, Prediction, Request, Task, ask, to_json
from insource.settings import EngineSettings

SCHEMA = {
    "type": "object",
    "properties": {"who": {"type": ["string", "null"]}, "parts": {"type": "array", "items": {"type": "string"}}},
    "required": ["who", "parts"],
    "additionalProperties": False,
}
EXTRACT = Task(name="notes", kind="extract", instruction="Find them.", schema=SCHEMA)
CLASSIFY = Task(name="mail", kind="classify", outputs=(Output(name="kind", labels=("ham", "spam")),))
FILLER = "the pump was looked at and nothing was said of it. "
LONG = FILLER * 40 + "Seal No. 7 was sold by ACME Ltd. " + FILLER * 40 + "A ball bearing broke. " + FILLER * 3
NOTHING = {"who": None, "parts": []}
CONTEXT = 400


def script(**more):
    return [
        Rule(match="ACME", value={"who": "ACME Ltd", "parts": ["Seal No. 7"]}, confidence=0.8, fields={"who": 0.9}),
        Rule(match="bearing", value={"who": None, "parts": ["ball bearing"]}, confidence=0.7, fields={"who": 0.6}),
        Rule(value=NOTHING, confidence=0.9, fields={"who": 0.95}, **more),
    ]


class Counting:
    """Passes calls on and remembers them, and how many there were at once."""

    def __init__(self, engine):
        self.engine, self.name, self.asked, self.now, self.most = engine, engine.name, [], 0, 0

    async def complete(self, request):
        self.asked.append(request)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.001)
            return await self.engine.complete(request)
        finally:
            self.now -= 1

    async def close(self):
        await self.engine.close()


async def test_a_long_text_is_read_in_windows_and_its_finds_keep_their_places():
    inner = Counting(Scripted("s", script()))
    engine = Windowed(inner, Estimate(CONTEXT))
    said = await engine.complete(ask(EXTRACT, LONG, id="1"))
    assert len(inner.asked) > AT_ONCE
    assert inner.most <= AT_ONCE
    assert all(request.input in LONG for request in inner.asked)
    assert said.value == {"who": "ACME Ltd", "parts": ["Seal No. 7", "ball bearing"]}
    assert said.text == '{"who":"ACME Ltd","parts":["Seal No. 7","ball bearing"]}'
    assert LONG[slice(*said.places["who"])] == "ACME Ltd"
    assert [LONG[slice(*at)] for at in said.places["parts"]] == ["Seal No. 7", "ball bearing"]
    assert said.fields["who"] == 0.9
    assert said.usage.cut == 0
    await engine.close()


async def test_a_short_text_is_one_call_and_a_reach_unknown_sends_all_of_it():
    short = Counting(Scripted("s", script()))
    said = await Windowed(short, Estimate(CONTEXT)).complete(ask(EXTRACT, "from ACME Ltd", id="1"))
    assert said.places == {"who": [5, 13], "parts": [None]}
    assert len(short.asked) == 1
    whole = Counting(Scripted("s", script()))
    said = await Windowed(whole).complete(ask(EXTRACT, LONG, id="1"))
    assert [request.input for request in whole.asked] == [LONG]
    assert LONG[slice(*said.places["who"])] == "ACME Ltd"


async def test_a_long_text_is_searched_beside_the_loop_and_a_short_one_at_once(monkeypatch):
    threads = []

    def noted(*given):
        threads.append(threading.current_thread() is threading.main_thread())
        return merged(*given)

    monkeypatch.setattr("insource.engines.windowed.merged", noted)
    engine = Windowed(Scripted("s", script()), Estimate(10 * CONTEXT))
    for text in ("from ACME Ltd", FILLER * 1000):
        await engine.complete(ask(EXTRACT, text, id="1"))
    assert threads == [True, False]


async def test_earlier_turns_and_everything_else_of_the_call_stay():
    inner = Counting(Scripted("s", script()))
    request = Request(
        id="1",
        task=EXTRACT,
        messages=(
            Message(role="user", content="before"),
            Message(role="assistant", content="{}"),
            Message(role="user", content=[{"type": "text", "text": LONG}]),
        ),
        max_tokens=50,
        tenant="them",
        deadline=30.0,
    )
    await Windowed(inner, Estimate(CONTEXT)).complete(request)
    assert len(inner.asked) > 3
    for asked in inner.asked:
        assert [message.role for message in asked.messages] == ["user", "assistant", "user"]
        assert asked.messages[0].content == "before"
        assert (asked.max_tokens, asked.tenant, asked.task) == (50, "them", EXTRACT)
        assert 0 < asked.deadline <= 30.0


async def test_calls_without_a_task_and_tasks_to_generate_go_through_whole():
    inner = Counting(Scripted("s", [Rule(text="yes")]))
    engine = Windowed(inner, Estimate(100))
    free = Task(name="say", kind="generate")
    for request in (ask(free, LONG, id="1"), Request(id="2", messages=(Message(role="user", content=LONG),))):
        assert (await engine.complete(request)).text == "yes"
        assert inner.asked[-1] is request


async def test_an_error_in_one_window_is_the_calls_and_the_others_are_given_up():
    inner = Counting(Scripted("s", [Rule(match="bearing", error="busy"), Rule(value=NOTHING, delay_s=0.2)]))
    with pytest.raises(EngineBusy):
        await Windowed(inner, Estimate(CONTEXT)).complete(ask(EXTRACT, "bearing " + LONG, id="1"))
    await asyncio.sleep(0.01)
    assert inner.now == 0


async def test_all_windows_together_keep_the_calls_deadline_and_one_path_answers():
    inner = Windowed(Scripted("s", [Rule(value=NOTHING, delay_s=0.2)]), Estimate(CONTEXT))
    request = ask(EXTRACT, LONG, id="1")
    with pytest.raises(EngineSlow):
        await answer(
            Request(id="1", task=EXTRACT, messages=request.messages, deadline=0.3),
            AnswerPath(task=EXTRACT, tiers=(Tier(inner),)),
            discard,
        )
    record = await answer(request, AnswerPath(task=EXTRACT, tiers=(Tier(Windowed(Scripted("s", script()))),)), discard)
    assert record.outcome == "answered"
    assert LONG[slice(*record.answer.places["who"])] == "ACME Ltd"


async def test_a_window_answered_badly_sends_the_whole_call_on():
    bad = Windowed(Scripted("bad", [Rule(match="bearing", text="{"), Rule(value=NOTHING)]), Estimate(CONTEXT))
    good = Windowed(Scripted("good", script()), Estimate(CONTEXT))
    record = await answer(ask(EXTRACT, LONG, id="1"), AnswerPath(task=EXTRACT, tiers=(Tier(bad), Tier(good))), discard)
    assert record.outcome == "escalated"
    assert record.attempts[0].prediction.finish == "invalid"
    assert record.answer.value["who"] == "ACME Ltd"


async def test_a_remote_engine_reads_a_long_text_in_windows_too():
    replies = [
        Reply(match="ACME", text=to_json({"who": "ACME Ltd", "parts": []}).decode()),
        Reply(match="*", text=to_json(NOTHING).decode()),
    ]
    async with ScriptedServer(replies) as server:
        remote = Remote("r", EngineSettings(kind="openai", base_url=server.base_url, model="m", context=CONTEXT), "")
        engine = Windowed(remote, Estimate(CONTEXT))
        said = await engine.complete(ask(EXTRACT, LONG, id="1"))
        await engine.close()
    assert said.value == {"who": "ACME Ltd", "parts": []}
    assert LONG[slice(*said.places["who"])] == "ACME Ltd"


def test_tokens_elsewhere_are_counted_high_and_cover_the_text():
    text = "Wörter, 2,000 of them 中文\n\n  end"
    spans = Estimate(CONTEXT).offsets(text)
    assert "".join(text[start:stop] for start, stop in spans) == text
    assert len(spans) >= len(text) / 4
    assert Estimate(CONTEXT).room(EXTRACT) < CONTEXT * 3 / 4
    assert Estimate(10).room(EXTRACT) == 1


async def test_the_windows_of_a_trained_classifier_vote():
    with tempfile.TemporaryDirectory() as folder:
        pytest.importorskip("torch")
        from insource.engines.specialist import Specialist

        inner = Specialist(model_files.specialist(Path(folder) / "release", CLASSIFY), name="mail@1.0.0", threads=1)
        assert isinstance(inner, Bounded)
        engine = Windowed(inner)
        text = FILLER * 30
        said: Prediction = await engine.complete(ask(CLASSIFY, text, id="1"))
        cut = await inner.complete(ask(CLASSIFY, text, id="1"))
        await engine.close()
    assert cut.usage.cut > 0
    assert said.usage.cut == 0
    assert said.value["kind"] in ("ham", "spam")
    assert sum(p for _, p in said.alternatives["kind"]) == pytest.approx(1.0)
    assert said.places == {}


def test_engines_that_stream_are_not_hidden_for_passing_through():
    from insource.journeys.lineup import Lineup

    settings = EngineSettings(kind="openai", base_url="http://127.0.0.1:1/v1", model="m", context=100)
    lineup = Lineup.__new__(Lineup)
    lineup.task = Task(name="passthrough", kind="generate")
    remote = Remote("r", settings, "")
    assert isinstance(lineup._reaching(remote, settings.context), Streams)
    lineup.task = EXTRACT
    assert isinstance(lineup._reaching(remote, settings.context), Windowed)

"""A server that breaks the contract, on the way of a call: asked again, recorded, passed over."""

import msgspec
import pytest

from insource.engines.remote import Remote
from insource.engines.scripted import Rule, Scripted
from insource.engines.scripted_server import Reply, ScriptedServer
from insource.journeys.answer import Path, Tier, answer, discard
from insource.nouns import Output, Task, ask
from insource.settings import EngineSettings

TASK = Task(name="topics", kind="classify", outputs=(Output(name="topic", labels=("billing", "delivery")),))


@pytest.mark.parametrize("kind", ["openai", "anthropic", "ollama"])
async def test_what_stays_invalid_goes_to_the_next_engine_and_its_tries_are_paid_for(kind):
    async with ScriptedServer([Reply(text="sandwich")], kind=kind) as server:
        settings = EngineSettings(kind=kind, base_url=server.base_url, model="m", retries=2)
        first = Tier(engine=Remote("remote", settings, ""), usd_per_million=(1.0, 0.0))
        second = Tier(engine=Scripted("second", [Rule(value={"topic": "billing"}, confidence=0.9)]))
        record = await answer(ask(TASK, "x", id="1"), Path(task=TASK, tiers=(first, second)), discard)
        await first.engine.close()
    assert len(server.seen) == 3
    assert record.outcome == "escalated"
    assert record.answer.value == {"topic": "billing"}
    tried, taken = record.attempts
    assert (tried.prediction.finish, tried.prediction.value, tried.decision.accepted) == ("invalid", None, False)
    assert tried.prediction.usage.input_tokens == 30
    assert record.usd == pytest.approx(30e-6)
    assert taken.decision.rule == "escalate"


async def test_an_invalid_answer_is_recorded_though_its_second_try_would_be_too_late():
    """The call's share of the time is the engine's: it tells of what it has before nobody listens any more."""
    async with ScriptedServer([Reply(text="sandwich", delay_s=0.5)]) as server:
        settings = EngineSettings(kind="openai", base_url=server.base_url, model="m", retries=5)
        tier = Tier(engine=Remote("remote", settings, ""))
        request = msgspec.structs.replace(ask(TASK, "x", id="1"), deadline=1.3)
        record = await answer(request, Path(task=TASK, tiers=(tier,)), discard)
        await tier.engine.close()
    assert record.outcome == "review"
    assert record.attempts[0].prediction.finish == "invalid"
    assert len(server.seen) <= 2

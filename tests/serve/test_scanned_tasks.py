"""A task's answers under a policy: the next engine first, then a person; and never what is blocked."""

import json
from contextlib import asynccontextmanager

import httpx2 as httpx
import pytest

pytest.importorskip("re2")
pytest.importorskip("phonenumbers")
pytest.importorskip("stdnum")

from serving import gateway, say, tickets
from test_scanned import CARD, MAIL, TERMS, on_disk

from insource.engines.scripted import Rule, Scripted
from insource.engines.windowed import Windowed
from insource.errors import Blocked, EngineSlow, OutputInvalid
from insource.journeys.answer import Path, Tier, discard
from insource.journeys.relay import relay
from insource.journeys.scanned import open_scans
from insource.nouns import Request, Scan, ScanPolicy, Task


def under(path: Path, **sides: dict) -> Path:
    policies = {side: ScanPolicy(actions=actions) for side, actions in sides.items()}
    scan = Scan(**policies, own_terms=TERMS if any("own_term" in each for each in sides.values()) else ())
    return Path(task=path.task, tiers=path.tiers, threshold=path.threshold, key=path.key, scans=open_scans(scan))


@asynccontextmanager
async def answering(root, task: Task, *engines: Scripted, **sides: dict):
    tiers = tuple(Tier(engine, f"{task.name}@1.0.0" if not i else None) for i, engine in enumerate(engines))
    path = under(Path(task=task, tiers=tiers, threshold=task.risk.threshold), **sides)
    async with gateway(root, path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        yield http, store


WORDS = Task(name="tickets", kind="generate")


def says(name: str, text: str) -> Scripted:
    return Scripted(name, [Rule(text=text, confidence=0.99)])


async def test_an_answer_for_review_goes_to_the_next_engine_first(tmp_path):
    engines = says("one", "it is Project Bluebird"), says("two", "it is a bird")
    async with answering(tmp_path, WORDS, *engines, output={"own_term": "review"}) as (http, store):
        answer = await http.post("/v1/chat/completions", json=say("what is it?"))
        assert answer.json()["choices"][0]["message"]["content"] == "it is a bird"
        record = await store.record(answer.headers["x-insource-record"])
        assert (record.outcome, record.tier) == ("escalated", 2)
        assert record.attempts[0].decision.reason == (
            "a person is to see the answer, for what was found in it is own_term"
        )
        assert [hit.places for hit in record.attempts[0].found] == [("output 6:22",)]


async def test_where_no_engine_is_left_it_goes_to_a_person_with_the_answer(tmp_path):
    async with answering(tmp_path, WORDS, says("one", "it is Project Bluebird"), output={"own_term": "review"}) as (
        http,
        store,
    ):
        answer = await http.post("/v1/chat/completions", json=say("what is it?"))
        assert answer.headers["x-insource-decision"] == "review"
        (waits,) = await store.pending()
        assert (waits.value, waits.input) == ({"text": "it is Project Bluebird"}, "what is it?")


async def test_a_blocked_answer_goes_to_the_next_engine_and_is_never_shown(tmp_path):
    engines = says("one", CARD), says("two", "I may not say")
    async with answering(tmp_path, WORDS, *engines, output={"card": "block"}) as (http, store):
        answer = await http.post("/v1/chat/completions", json=say("the card?"))
        assert answer.json()["choices"][0]["message"]["content"] == "I may not say"
        assert (await store.records())[0].attempts[0].withheld
    async with answering(tmp_path / "b", WORDS, says("one", CARD), output={"card": "block"}) as (http, store):
        answer = await http.post("/v1/chat/completions", json=say("the card?"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "content_blocked")
        assert await store.pending() == []
        assert (await store.records())[0].outcome == "failed"


async def test_an_input_for_review_is_answered_and_a_person_sees_what_the_engine_saw(tmp_path):
    policy = {"ip_address": "review", "email": "redact"}
    engine = Scripted("one", [Rule(match="[email 1]", value={"intent": "refund"}, confidence=0.97)])
    other = Scripted("two", [Rule(value={"intent": "other"}, confidence=0.99)])
    async with answering(tmp_path, tickets(), engine, other, input=policy) as (http, store):
        answer = await http.post("/v1/chat/completions", json=say(f"{MAIL} at 10.1.2.3"))
        assert answer.headers["x-insource-decision"] == "review"
        assert answer.json()["choices"][0]["message"]["content"] == "refund"
        (waits,) = await store.pending()
        assert (waits.input, waits.value) == ("[email 1] at 10.1.2.3", {"intent": "refund"})
        assert waits.reason == "a person is to see the input, for what was found in it is ip_address"
        assert {(hit.kind, hit.action) for hit in (await store.records())[0].found} == {
            ("ip_address", "review"), ("email", "redact")
        }  # fmt: skip
    assert b"example.com" not in on_disk(tmp_path)


async def test_an_extraction_gives_the_callers_own_words_and_their_places(tmp_path):
    schema = {"type": "object", "properties": {"who": {"type": "string"}, "when": {"type": "string"}}}
    task = Task(name="tickets", kind="extract", schema=schema)
    text = f"{MAIL} and bob@example.com come on Monday"
    engine = Windowed(Scripted("one", [Rule(value={"who": "[email 2]", "when": "Monday"}, confidence=0.9)]))
    async with answering(tmp_path, task, engine, input={"email": "redact"}) as (http, _):
        body = (await http.post("/v1/chat/completions", json=say(text))).json()
        value = json.loads(body["choices"][0]["message"]["content"])
        assert value == {"who": "bob@example.com", "when": "Monday"}
        places = body["insource"]["places"]
        assert {key: text[slice(*places[key])] for key in value} == value


async def test_without_a_policy_nothing_is_looked_for(tmp_path):
    assert open_scans(Scan()) is None
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        assert (await http.post("/v1/chat/completions", json=say(f"refund {CARD}"))).status_code == 200
        assert (await store.records())[0].found == ()


class Complaining:
    """An engine that quotes in its complaints."""

    name = "one"

    def __init__(self, error):
        self.error = error

    async def complete(self, request):
        raise self.error

    async def stream(self, request):
        yield "well, "
        raise self.error

    async def close(self):
        pass


@pytest.mark.parametrize(
    ("error", "status"), [(EngineSlow(f"still at {CARD}"), 504), (OutputInvalid(f"{CARD} is no label"), 502)]
)
async def test_what_an_engine_complains_of_is_not_shown_where_it_quotes_what_may_not_pass(error, status, tmp_path):
    for action, quoted in (("note", True), ("block", False)):
        async with answering(tmp_path / action, tickets(), Complaining(error), output={"card": action}) as (
            http,
            store,
        ):
            answer = await http.post("/v1/chat/completions", json=say("which?"))
            assert answer.status_code == status
            assert (CARD in answer.text + str(await store.pending())) == quoted
        path = under(Path(task=None, tiers=(Tier(Complaining(error)),)), output={"card": action})
        said = []
        with pytest.raises(type(error)) as raised:
            async for piece in relay(Request(id="r"), path, discard):
                said.append(piece)
        assert said == ["well, "]
        assert (CARD in str(raised.value)) == quoted


async def test_a_long_input_is_scanned_as_a_short_one(tmp_path):
    engine = Scripted(
        "one", [Rule(match=f"/^{'word ' * 8000}\\[email 1\\]$/", value={"intent": "refund"}, confidence=0.97)]
    )
    async with answering(tmp_path, tickets(), engine, input={"email": "redact"}) as (http, _):
        answer = await http.post("/v1/chat/completions", json=say("word " * 8000 + MAIL))
        assert answer.json()["choices"][0]["message"]["content"] == "refund"


async def test_a_stream_that_is_blocked_before_its_first_word_goes_to_the_next_engine(tmp_path):
    one, two = says("one", f"{CARD} it is"), says("two", "I may not say")
    path = under(Path(task=None, tiers=(Tier(one), Tier(two))), output={"card": "block"})
    *words, record = [piece async for piece in relay(Request(id="r"), path, discard)]
    assert "".join(words) == "I may not say"
    assert (record.outcome, [attempt.withheld for attempt in record.attempts]) == ("escalated", [True, False])
    assert record.attempts[0].found[0].kind == "card"
    assert record.attempts[0].prediction.usage.output_tokens > 0


class Bursting(Complaining):
    """Says all of it at once."""

    def __init__(self, *words):
        self.words = words

    async def bursts(self, request):
        yield list(self.words)


async def test_of_a_burst_what_may_pass_goes_on_and_what_is_blocked_ends_it():
    one, two = Bursting("It is fine, ", "so far. " * 40, f"But {CARD} is not. ", "after"), says("two", "unasked")
    path = under(Path(task=None, tiers=(Tier(one), Tier(two))), output={"card": "block"})
    said = []
    with pytest.raises(Blocked):
        async for piece in relay(Request(id="r"), path, discard):
            said.append(piece)
    assert "".join(said).startswith("It is fine, so far. ")
    assert CARD not in "".join(said)
    assert "after" not in "".join(said)

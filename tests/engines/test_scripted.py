"""The scripted engine: what its file may say and how it answers."""

import asyncio

import pytest

from insource.engines.base import Streams
from insource.engines.scripted import Rule, Scripted
from insource.errors import EngineBusy, EngineDown, EngineError, EngineSlow, Invalid, Missing
from insource.nouns import Output, Prediction, Request, Task, ask

MOOD = Task(name="mood", kind="classify", outputs=(Output(name="mood", labels=("good", "bad")),))


def answer(rules, text="the food was good", **keywords):
    request = ask(MOOD, text, id="r1")
    return asyncio.run(Scripted("script", rules).complete(request))


def test_the_first_rule_that_matches_answers():
    rules = [Rule(match="bad", text="bad"), Rule(match="/fo+d/", text="good", confidence=0.9), Rule(text="bad")]
    said = answer(rules)
    assert (said.value, said.confidence, said.finish) == ({"mood": "good"}, 0.9, "stop")
    assert answer(rules, "nothing at all").value == {"mood": "bad"}


def test_a_value_is_written_in_the_tasks_own_form_and_checked():
    assert answer([Rule(value={"mood": "good"})]).text == "good"
    wrong = answer([Rule(value={"mood": "splendid"}, confidence=0.9)])
    assert (wrong.finish, wrong.value, wrong.confidence) == ("invalid", None, None)


@pytest.mark.parametrize(("error", "raised"), [("busy", EngineBusy), ("down", EngineDown), ("slow", EngineSlow)])
def test_faults_are_raised_as_the_engines_own_errors(error, raised):
    with pytest.raises(raised):
        answer([Rule(error=error)])


@pytest.mark.parametrize("finish", ["invalid", "refusal", "length"])
def test_bad_finishes_carry_no_value_and_no_confidence(finish):
    said = answer([Rule(text="good", confidence=0.9, error=finish)])
    assert (said.finish, said.value, said.confidence) == (finish, None, None)


def test_a_rule_can_be_used_up():
    async def twice():
        engine = Scripted("script", [Rule(error="busy", times=1), Rule(text="good")])
        with pytest.raises(EngineBusy):
            await engine.complete(ask(MOOD, "x", id="1"))
        return await engine.complete(ask(MOOD, "x", id="2"))

    assert asyncio.run(twice()).value == {"mood": "good"}


def test_a_delay_beyond_the_deadline_ends_at_the_deadline():
    async def late():
        request = Request(id="r", task=MOOD, messages=ask(MOOD, "x", id="r").messages, deadline=0.05)
        async with asyncio.timeout(2):
            await Scripted("script", [Rule(text="good", delay_s=30)]).complete(request)

    with pytest.raises(EngineSlow, match=r"0\.05 s"):
        asyncio.run(late())


def test_no_matching_rule_is_an_error_that_says_what_to_add():
    with pytest.raises(EngineError) as caught:
        answer([Rule(match="zebra", text="good")])
    assert '"*"' in caught.value.hint


@pytest.mark.parametrize("text", ["one two  three", " lead", "tail \n", ""])
def test_streamed_pieces_join_to_the_text(text):
    async def pieces():
        engine = Scripted("script", [Rule(text=text)])
        assert isinstance(engine, Streams)
        return [piece async for piece in engine.stream(Request(id="r"))]

    *words, whole = asyncio.run(pieces())
    assert isinstance(whole, Prediction)
    assert "".join(words) == whole.text == text


def test_every_faulty_line_of_a_script_is_named(tmp_path):
    path = tmp_path / "script.jsonl"
    lines = [
        '{"match": "a", "text": "good"}',
        "",
        '{"mtach": "b"}',
        '{"confidence": 1.5}',
        "not json",
        '{"match": "/(/"}',
    ]
    path.write_text("\n".join(lines))
    with pytest.raises(Invalid) as caught:
        Scripted.load("script", path)
    said = str(caught.value)
    for line, word in [(3, "mtach"), (4, "confidence"), (5, ""), (6, "regular expression")]:
        assert f"{path}:{line}: " in said
        assert word in said
    assert f"{path}:1:" not in said


def test_a_missing_or_empty_script_is_refused(tmp_path):
    with pytest.raises(Missing):
        Scripted.load("script", tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(Invalid, match="no rule"):
        Scripted.load("script", tmp_path / "empty.jsonl")


def test_a_good_script_is_loaded(tmp_path):
    path = tmp_path / "script.jsonl"
    path.write_text(
        '{"value": {"mood": "bad"}, "fields": {"mood": 0.7}, "alternatives": {"mood": [["bad", 0.7], ["good", 0.3]]}}\n'
    )
    said = asyncio.run(Scripted.load("script", path).complete(ask(MOOD, "x", id="1")))
    assert said.fields == {"mood": 0.7}
    assert said.alternatives["mood"][1] == ("good", 0.3)

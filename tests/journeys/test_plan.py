"""Rules of a task at work: who answered, and what the record says of why."""

import sys

import pytest

from insource.engines.scripted import Rule, Scripted
from insource.errors import EngineDown
from insource.journeys.answer import Path, Tier, answer, broken_off, chosen, discard
from insource.journeys.plan import Plan, usual_tiers
from insource.nouns import Output, Request, Risk, Route, Task, When, ask
from insource.route import RELEASE, Facts, Policy, choose

POLICY = Policy(regions={"big": "premises", "far": "us"})


def says(name: str, label: str = "a", confidence: float = 0.9) -> Tier:
    return Tier(Scripted(name, [Rule(match="*", value={"label": label}, confidence=confidence)]), None)


def path(*routes: Route, sensitivity="premises", tell=lambda _: "") -> Path:
    task = Task(
        name="t",
        kind="classify",
        outputs=(Output(name="label", labels=("a", "b")),),
        risk=Risk(threshold=0.85, otherwise=("big", "review")),
        routes=routes,
        sensitivity=sensitivity,
    )
    tiers = {RELEASE: Tier(says("own").engine, "t@1.0.0"), "big": says("big", "b"), "far": says("far")}
    return Path(
        task=task,
        tiers=usual_tiers(task, POLICY, tiers),
        threshold=0.85,
        choose=Plan(POLICY, tiers, tell) if routes else None,
    )


def request(text: str, **more) -> Request:
    return Request(id="1", messages=ask(Task(name="t", kind="generate"), text, id="1").messages, **more)


async def asked(text: str, path: Path, **more) -> list[tuple[str, str]]:
    record = await answer(request(text, **more), path, discard)
    return [(attempt.decision.engine, attempt.decision.rule) for attempt in record.attempts]


async def test_the_first_rule_that_holds_chooses_and_stands_in_the_record():
    way = path(Route(when=When(longer_than=5), engines=("big",)), Route(when=When(caller=("desk",)), engines=("far",)))
    assert await asked("short", way) == [("own", "task")]
    assert await asked("longer", way) == [("big", "rule: longer than 5 characters")]


async def test_what_sensitivity_forbids_is_asked_by_no_rule():
    way = path(Route(engines=("far", "big")))
    assert await asked("x", way) == [("big", "rule: every request")]
    assert await asked("x", path(Route(engines=("far", "big")), sensitivity="any")) == [("far", "rule: every request")]


async def test_a_rule_may_leave_it_to_a_person_at_once():
    record = await answer(request("x"), path(Route(engines=("review",))), discard)
    assert record.outcome == "review"
    assert record.answer is None
    assert record.release is None
    assert record.usd == 0
    decision = record.attempts[0].decision
    assert (decision.engine, decision.rule, decision.reason) == (
        "review",
        "rule: every request",
        "it goes to a person unasked",
    )


async def test_what_waits_for_a_person_unasked_is_in_the_queue_with_its_text():
    kept = []

    async def keep(record, pending):
        kept.append(pending)

    await answer(request("who am I"), path(Route(engines=("far",))), keep)
    assert kept[0].input == "who am I"
    assert kept[0].value is None


async def test_a_call_broken_off_before_a_person_saw_it_is_kept_as_such():
    kept = []

    async def keep(record, pending):
        kept.append(record)

    await broken_off(request("x"), path(Route(engines=("review",))), keep)
    assert kept[0].attempts[0].decision.reason == "the server stopped before the end"


async def test_language_and_caller_choose():
    way = path(
        Route(when=When(language=("de",)), engines=("big",)),
        Route(when=When(caller=("desk",), tenant=("acme",)), engines=("big", "release")),
        tell=lambda text: "de" if "und" in text else "",
    )
    assert await asked("dies und das", way) == [("big", "rule: language de")]
    assert await asked("this", way, caller="desk", tenant="acme") == [("big", "rule: caller desk, tenant acme")]
    assert await asked("this", way, caller="desk") == [("own", "task")]


def test_a_path_that_was_chosen_is_chosen_once():
    way = path(Route(when=When(shorter_than=9), engines=("big",)))
    once = chosen(request("x"), way)
    assert chosen(request("x" * 20), once) is once


def test_a_language_is_told_by_a_library_only_where_a_rule_speaks_of_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    plain = path(Route(when=When(longer_than=1), engines=("big",))).task
    assert Plan.of(plain, POLICY, {}).tell("hallo und guten Tag") == ""
    with pytest.raises(EngineDown, match="a rule speaks of a language") as raised:
        Plan.of(path(Route(when=When(language=("de",)))).task, POLICY, {})
    assert raised.value.hint == "pip install 'insource[language]'"


def test_languages_are_told_and_what_cannot_be_told_is_none():
    pytest.importorskip("py3langid")
    plan = Plan.of(path(Route(when=When(language=("de",)), engines=("big",))).task, POLICY, {})
    assert plan.tell("Guten Tag, meine Karte ist leider weg, was soll ich tun?") == "de"
    assert plan.tell("Good morning, my card has gone, what should I do now?") == "en"
    assert plan.tell("") == plan.tell("ok") == ""


def test_the_usual_order_is_that_of_choose_without_rules():
    task = path().task
    tiers = {RELEASE: says("own"), "big": says("big"), "far": says("far")}
    names = [choice.engine for choice in choose(task, Facts(length=0), POLICY)]
    assert [tier.engine.name for tier in usual_tiers(task, POLICY, tiers)] == ["own", "big"]
    assert names == [RELEASE, "big", "review"]

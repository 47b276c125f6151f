"""Every ground on which a task is not one for a small model, each alone and by its own bound; and what is open."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insource.nouns import Output, Rollout, Task
from insource.nouns.suitability import Answers, Labels, Novelty, Share, Shown
from insource.price.suitability import QUESTIONS, RULES, Case, judge

GOOD = Answers(calls_per_day=20_000, operator="support", creative=False, across_domains=False, synthesis=False,
               changes_per_year=1, defined=True)  # fmt: skip
SHOWN = Shown(rows=6_000, tokens_median=40, tokens_p95=300, context=8_192)
CLASSIFY = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("a", "b")),))
GENERATE = Task(name="t", kind="generate")


def verdict(answers=None, shown=None, task=CLASSIFY, **rollout):
    return judge(Case(
        task=task,
        rollout=Rollout(**rollout),
        answers=msgspec.structs.replace(GOOD, **(answers or {})),
        shown=msgspec.structs.replace(SHOWN, **(shown or {})),
    ))  # fmt: skip


def against(found):
    return [ground.rule for ground in found.grounds if ground.weighs == "against"]


def share(value, low, high=1.0, n=1_000):
    return Share(value=value, low=low, high=high, n=n)


def novelty(low=0.0, *, moved=0.0, p=1.0):
    return Novelty(of="rows", since="2026-03", n=100, new_labels=share(low, low), unknown=0.1, chance=0.1,
                   moved=moved, p=p)  # fmt: skip


def spread(labels, *, commonest, rare):
    return (Labels(output="label", labels=labels, entropy=0.8, even=0.8, commonest=commonest, rare=rare),)


def test_many_well_defined_labelled_calls_are_for_a_small_model():
    found = verdict()
    assert (found.verdict, found.summary) == ("yes", "for a small model")
    assert {ground.weighs for ground in found.grounds} == {"for"}


@pytest.mark.parametrize(
    ("rule", "answers", "shown", "task"),
    [
        ("closed", {"creative": True}, {}, GENERATE),
        ("one field", {"across_domains": True}, {}, CLASSIFY),
        ("length", {"synthesis": True}, {"tokens_p95": 8_193}, CLASSIFY),
        ("stable", {"changes_per_year": 14}, {}, CLASSIFY),
        ("novelty", {}, {"novelty": novelty(0.21)}, CLASSIFY),
        ("volume", {"calls_per_day": 99, "operator": "nobody"}, {}, CLASSIFY),
        ("volume", {"calls_per_day": 1, "operator": "  Nobody "}, {}, CLASSIFY),
        ("defined", {"defined": False}, {}, CLASSIFY),
        ("ambiguity", {}, {"contradicting": share(0.3, 0.21)}, CLASSIFY),
        ("ambiguity", {}, {"at_odds": share(0.3, 0.21)}, CLASSIFY),
    ],
)
def test_each_ground_against_it_is_enough_alone_and_is_said(rule, answers, shown, task):
    found = verdict(answers, shown, task)
    assert found.verdict == "no"
    assert against(found) == [rule]
    (why,) = [ground.why for ground in found.grounds if ground.rule == rule]
    assert found.summary == f"not for a small model: {why}"


@pytest.mark.parametrize(
    ("answers", "shown", "task"),
    [
        ({"creative": True}, {}, CLASSIFY),
        ({"synthesis": True}, {"tokens_p95": 8_192}, CLASSIFY),
        ({"synthesis": False}, {"tokens_p95": 90_000}, CLASSIFY),
        ({"changes_per_year": 13}, {}, CLASSIFY),
        ({}, {"novelty": novelty(0.19)}, CLASSIFY),
        ({"calls_per_day": 100, "operator": "nobody"}, {}, CLASSIFY),
        ({"calls_per_day": 5, "operator": "me"}, {}, CLASSIFY),
        ({"calls_per_day": 5, "operator": "nobody"}, {"calls_per_day": 100.0}, CLASSIFY),
        ({}, {"contradicting": share(0.3, 0.19)}, CLASSIFY),
        ({}, {"rows": 0}, CLASSIFY),
    ],
)
def test_just_below_a_bound_it_is_not_refused(answers, shown, task):
    assert verdict(answers, shown, task).verdict == "yes"


def test_what_changes_quicker_than_a_release_can_come_is_told_by_the_tasks_own_rollout():
    """26 changes a year are 14 days each: too quick for the usual 27 days, not for a rollout of 3."""
    often = {"changes_per_year": 26}
    assert against(verdict(often)) == ["stable"]
    assert verdict(often, staging_days=1, shadow_days=1, canary=(100,), canary_days=1).verdict == "yes"


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ({"rows": 499}, "499 labelled rows, 500 are needed"),
        ({"novelty": novelty(moved=0.3, p=0.001)}, "rows since 2026-03 are not as before"),
        ({"labels": spread(2, commonest=0.97, rare=0)}, "a rule may do"),
        ({"labels": spread(10, commonest=0.2, rare=3)}, "fewer than 5"),
    ],
)
def test_what_wants_care_is_in_the_first_line(shown, words):
    found = verdict(shown=shown)
    assert found.verdict == "yes"
    assert found.summary.startswith("for a small model, with care: ")
    assert words in found.summary


def test_of_an_untold_task_only_what_decides_is_asked():
    found = judge(Case(task=GENERATE, rollout=Rollout(), answers=Answers(), shown=Shown()))
    assert found.verdict == "open"
    assert set(found.open) == set(QUESTIONS)
    closed = judge(Case(task=CLASSIFY, rollout=Rollout(), answers=Answers(), shown=SHOWN))
    assert set(closed.open) == {"across_domains", "changes_per_year", "calls_per_day", "operator", "defined"}
    assert "questions are open" in closed.summary


def test_one_ground_against_it_decides_whatever_is_open():
    found = judge(Case(task=CLASSIFY, rollout=Rollout(), answers=Answers(across_domains=True), shown=SHOWN))
    assert (found.verdict, against(found)) == ("no", ["one field"])


def test_every_question_belongs_to_an_answer():
    assert list(QUESTIONS) == [field.name for field in msgspec.structs.fields(Answers)]


maybe = st.sampled_from([None, True, False])
answers = st.builds(
    Answers, calls_per_day=st.sampled_from([None, 0, 99, 100, 1e6]),
    operator=st.sampled_from([None, "", "nobody", "me"]), creative=maybe, across_domains=maybe, synthesis=maybe,
    changes_per_year=st.sampled_from([None, 0, 5, 14]),
    defined=maybe,
)  # fmt: skip


@given(answers, st.sampled_from([CLASSIFY, GENERATE]), st.sampled_from([None, 10, 10_000]))
def test_the_verdict_is_that_of_its_grounds_and_a_full_form_leaves_nothing_open(said, task, p95):
    found = judge(Case(task=task, rollout=Rollout(), answers=said, shown=Shown(rows=10, tokens_p95=p95, context=512)))
    kinds = {ground.weighs for ground in found.grounds}
    assert found.verdict == ("no" if "against" in kinds else "open" if "open" in kinds else "yes")
    assert {ground.rule for ground in found.grounds} <= RULES.keys()
    if None not in msgspec.structs.astuple(said):
        assert not found.open
    assert all(getattr(said, key) is None for key in found.open)

"""What an attack did: paired with the clean rows, what left by itself and was wrong, and the words for it."""

import dataclasses
import random
from pathlib import Path

import pytest
from msgspec.structs import replace
from test_render import Page

from insource.measure.adversarial import EXPECTED, TAG, WAYS, adversarial, ways
from insource.measure.attacked import attacked
from insource.measure.rating import GOOD, PREFERRED, RATING
from insource.measure.render import html
from insource.measure.report import About, Contender, assemble
from insource.measure.robustness import confidently_wrong, robustness, weakest
from insource.measure.run import Answered, Run
from insource.nouns import Candidate, Example, Failures, Latency, Output, Prediction, Task

TASK = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("a", "b", "c")),), metric="accuracy",
            acceptance={"accuracy": 0.9})  # fmt: skip
FORM = Task(name="t", kind="extract", schema={"type": "object", "properties": {"who": {"type": "string"}}})


def rows(count: int = 50) -> list[Example]:
    return [
        Example(id=f"r{i}", task="t", input=f"the pump is loud in hall number {i}", target={"label": "ab"[i % 2]},
                split="test")
        for i in range(count)
    ]  # fmt: skip


def answered(task: Task, made: list[Example], say) -> list[Answered]:
    """`say(row)` gives the value and whether it was given."""
    found = []
    for place, row in enumerate(made):
        value, given = say(row)
        said = Prediction(text="", value=value, engine="e", confidence=0.9, finish="stop" if value else "invalid")
        found.append(Answered(place, row, said, given=given, threshold=0.8))
    return found


def right(row: Example) -> str:
    return row.target.get("label", "a")


def scores(task: Task, found: list[Answered]):
    return {(one.metric, one.slice): one for one in robustness(task, found)[0]}


def say_wrong_on(*names: str, given: bool = True):
    def say(row: Example):
        wrong = row.tags[TAG] in names
        return {"label": "c" if wrong else right(row)}, given if wrong else True

    return say


def test_a_way_is_held_against_the_same_rows_as_they_were():
    found = scores(TASK, answered(TASK, adversarial(TASK, rows()), say_wrong_on("typos")))
    assert found["clean_accuracy", "adversarial=typos"].value == 1.0
    assert found["hard_accuracy", "adversarial=typos"].value == 0.0
    lost = found["hard_minus_clean", "adversarial=typos"]
    assert lost.value == -1.0
    assert lost.high < -0.8
    assert lost.n == 50
    assert found["answer_changed", "adversarial=typos"].value == 1.0
    assert found["hard_minus_clean", "adversarial=case"].value == 0.0


def test_wrong_and_given_is_what_counts_and_kept_back_is_fine():
    made = adversarial(TASK, rows())
    loud = scores(TASK, answered(TASK, made, say_wrong_on("typos", given=True)))
    quiet = scores(TASK, answered(TASK, made, say_wrong_on("typos", given=False)))
    for found, share in ((loud, 1.0), (quiet, 0.0)):
        assert found["confidently_wrong_before", "adversarial=typos"].value == 1.0
        assert found["confidently_wrong", "adversarial=typos"].value == share
    assert ("wrong_among_given", "adversarial=typos") not in quiet
    assert quiet["confidently_wrong", "adversarial=typos"].high > 0.05, "none of 50 proves little"
    assert quiet["given", "adversarial=typos"].value == 0.0


@pytest.mark.parametrize(
    ("way", "value", "wrong"),
    [
        ("cut", {"label": "c"}, True), ("cut", None, False),
        ("negation", "the same", True), ("negation", "another", False), ("negation", None, False),
        ("two", {"label": "a"}, True), ("two", None, False),
        ("outside", {"label": "a"}, True), ("scrap", None, False),
    ],
)  # fmt: skip
def test_what_is_wrong_follows_from_the_way(way, value, wrong):
    def say(row: Example):
        if row.tags[TAG] != way:
            return {"label": "a"}, True
        label = {"the same": "a", "another": "b"}.get(value) if isinstance(value, str) else (value or {}).get("label")
        return ({"label": label}, True) if label else (None, False)

    found = scores(TASK, answered(TASK, adversarial(TASK, rows()), say))
    assert found["confidently_wrong", f"adversarial={way}"].value == float(wrong)


def test_the_whole_leaves_negations_out_and_draws_what_came_of_a_row_together():
    made = adversarial(TASK, rows())
    found = scores(TASK, answered(TASK, made, lambda row: ({"label": right(row)}, row.tags[TAG] == "negation")))
    assert found["confidently_wrong", None].value == 0.0
    bad = {row.id for row in rows()[:10]}
    found = scores(
        TASK, answered(TASK, made, lambda row: ({"label": "c" if row.group in bad else right(row)}, bool(row.group)))
    )
    whole = found["confidently_wrong", None]
    naive = 1.96 * (whole.value * (1 - whole.value) / whole.n) ** 0.5
    assert (whole.high - whole.low) / 2 > 2 * naive, "thirteen rows of one are not thirteen draws"


def test_the_interval_of_the_whole_holds_what_it_says():
    """Rows that stand or fall together: the true share is within the interval about 95 times in 100."""
    chance, within = random.Random(7), 0  # noqa: S311 - a simulation
    made = adversarial(TASK, rows(40))
    hard = [row for row in made if row.group and row.tags[TAG] not in ("clean", "negation")]
    for _ in range(60):
        bad = {row.id for row in rows(40) if chance.random() < 0.3}
        found = scores(TASK, answered(TASK, hard, lambda row, bad=bad: ({"label": "c"}, row.group in bad)))
        within += found["confidently_wrong", None].low <= 0.3 <= found["confidently_wrong", None].high
    assert within >= 51


def test_a_value_that_does_not_stand_in_the_text_was_made_up():
    plain = [Example(id=f"e{i}", task="t", input=f"signed by Anna Berg {i}", target={"who": "Anna Berg"}, split="test")
             for i in range(20)]  # fmt: skip

    def say(row: Example):
        return {"who": "Mallory" if row.tags[TAG] == "order" else "anna  berg"}, True

    found = scores(FORM, answered(FORM, adversarial(FORM, plain), say))
    assert found["values_stand", "adversarial=order"].value == 0.0
    assert found["values_stand", "adversarial=greeting"].value == 1.0
    assert found["confidently_wrong", "adversarial=outside"].value == 1.0
    empty = scores(FORM, answered(FORM, adversarial(FORM, plain), lambda _: ({"who": ""}, True)))
    assert empty["confidently_wrong", "adversarial=outside"].value == 0.0, "nothing said of nothing is right"


def test_for_a_gate_one_row_alone_can_be_judged():
    made = adversarial(TASK, rows(2))
    for row in answered(TASK, made, lambda _: ({"label": "c"}, True)):
        if row.example.tags[TAG] not in ("clean", "negation"):
            assert confidently_wrong(TASK, row)
            assert not confidently_wrong(TASK, dataclasses.replace(row, given=False))
            assert not confidently_wrong(TASK, dataclasses.replace(row, prediction=None))


def report(say, **more):
    found = answered(TASK, adversarial(TASK, rows()), say)
    found = [dataclasses.replace(row, **more) for row in found]
    who = Contender("tuned", "specialist", lambda: None)
    return attacked(TASK, [who], {"tuned": Run(tuple(found), (1.0,), 9.0)}, {}, About("d", "test, adversarial"))


def test_the_first_sentence_names_the_weakest_way_and_the_second_what_left_by_itself():
    said = report(say_wrong_on("misread", "case", given=False))
    assert said.summary[0].startswith("tuned is weakest against ")
    assert "0.0% right where the same rows are 100.0% right as they were, -100.0 points" in said.summary[0]
    assert "with a confidence of 0.80 demanded" in said.summary[1]
    assert "[acceptance]" not in " ".join(said.summary)
    assert said.candidates[0].failures.n == len(adversarial(TASK, rows()))
    assert said.acceptance == {}
    assert not [one for one in said.candidates[0].scores if one.metric == "accuracy" and "=" in (one.slice or "")]


def test_where_nothing_is_lost_or_nothing_demanded_it_says_so():
    said = report(say_wrong_on(), threshold=None)
    assert said.summary[0].startswith("tuned keeps its answers: no way is shown to cost it any")
    assert said.summary[1].endswith("[risk] demands no confidence, so every valid answer is given.")


def test_the_page_draws_both_tables_with_their_numbers_and_stands_alone():
    page = html(report(say_wrong_on("misread", "case")), TASK)
    found = Page(page)
    assert not found.faults
    assert not found.open
    assert all(link.startswith("#") and link[1:] in found.ids for link in found.links)
    part = page[page.index('id="robustness"') : page.index('id="scores"')]
    assert "noise of a scanner" in part
    assert "\N{MINUS SIGN}100.0" in part
    assert part.count('class="was"') == len(ways(TASK)) + 1, "a ring where all would be given"
    assert "of the hard rows were answered so" in part
    assert 'id="slices"' not in page, "the ways are no slices of a draw"
    plain = html(assemble(TASK, [], {}, {}, About("d", "test")), TASK)
    assert "robustness" not in plain.partition("</style>")[2]


def test_without_an_attack_there_is_no_weakest_way():
    failures, latency = Failures(n=1, invalid=0, upper95=1), Latency(p50=1, p95=1, p99=1)
    plain = Candidate(candidate="x", kind="remote", scores=(), latency_ms=latency, usd_per_1k=None, failures=failures)
    assert weakest(plain) is None
    assert weakest(replace(plain, details={"robustness": {"ways": []}})) is None


def test_a_text_to_generate_is_held_against_how_like_its_target_it_was():
    task = Task(name="t", kind="generate")
    plain = [
        Example(
            id=f"g{i}", task="t", input=f"my parcel {i} is late, where is it", split="test",
            target={"text": f"we look for parcel {i} and write tomorrow"},
        )
        for i in range(20)
    ]  # fmt: skip

    def say(row: Example):
        if row.tags[TAG] == "order":
            return {"text": "nothing"}, True
        return {"text": "we look for your parcel and write tomorrow"}, True

    found = scores(task, answered(task, adversarial(task, plain), say))
    lost = found["hard_minus_clean", "adversarial=order"]
    assert lost.high < -0.5
    assert found["hard_minus_clean", "adversarial=greeting"].value == 0.0
    assert 0.6 < found["clean_accuracy", "adversarial=order"].value < 1
    assert not [one for one in found if one[0].startswith(("confidently", "wrong"))]
    who = Contender("writer", "remote", lambda: None)
    run = Run(tuple(answered(task, adversarial(task, plain), say)), (1.0,), 1.0)
    said = attacked(task, [who], {"writer": run}, {}, About("d", "test, adversarial"))
    assert said.summary[0].startswith("writer is weakest against orders to the model: ")
    assert "% like the target where the same rows are" in said.summary[0]
    assert not Page(html(said, task)).faults


def test_every_metric_of_an_attack_and_of_a_rating_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "scorers.md").read_text("utf-8")
    found = {name for name, _ in scores(TASK, answered(TASK, adversarial(TASK, rows()), say_wrong_on("typos")))}
    plain = [Example(id=f"e{i}", task="t", input="by Anna", target={"who": "Anna"}, split="test") for i in range(3)]
    found |= {
        name for name, _ in scores(FORM, answered(FORM, adversarial(FORM, plain), lambda _: ({"who": "Anna"}, True)))
    }
    assert len(found) >= 9
    assert all(f"| `{name}` |" in page for name in (*found, RATING, GOOD, PREFERRED))


def test_every_way_is_documented_with_what_must_follow():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "attack-your-own-task.md").read_text("utf-8")
    for name, way in WAYS.items():
        line = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert line.endswith(f"| {EXPECTED[way.expect]} |")

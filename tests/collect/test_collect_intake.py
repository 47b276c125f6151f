"""Columns to fields, cells to targets, conversations to rows, and a task drafted from its data."""

import pytest

from insource.collect.columns import Mapping, Wish, mapping, output_name, unfold
from insource.collect.draft import draft, task_toml
from insource.collect.intake import Intake, label_text, split_name
from insource.collect.read import Raw
from insource.errors import Invalid
from insource.nouns import Output, Task
from insource.settings import load_task

SINGLE = Task(name="t", kind="classify", outputs=(Output(name="intent", labels=("refund", "status", "111110")),))
DOUBLE = Task(
    name="t",
    kind="classify",
    outputs=(Output(name="category", labels=("pump", "hose")), Output(name="urgency", labels=("low", "high"))),
)
TREE = Task(
    name="t",
    kind="classify",
    outputs=(Output(name="code", labels=("Farm / Soy", "Farm / Corn", "Fish / Soy", "Fish / Cod"), taxonomy=True),),
)
SCHEMA = {
    "type": "object",
    "required": ["total"],
    "additionalProperties": False,
    "properties": {"total": {"type": "number"}, "company": {"type": "string"}, "tags": {"type": "array"}},
}
EXTRACT = Task(name="t", kind="extract", schema=SCHEMA)
HOSE = {"category": "hose", "urgency": "low"}
TEXT = Task(name="t", kind="generate")


def seen(*columns: str) -> list[Raw]:
    return [Raw(2, dict.fromkeys(columns, "x"), "", "")]


def plan(task: Task | None, *columns: str, **wish: object) -> Mapping:
    return mapping(task, seen(*columns), Wish(**wish), name="a.csv")


def taken(task: Task, cells: dict[str, object], **wish: object) -> dict[str, object]:
    found = mapping(task, [Raw(2, cells, "", "")], Wish(**wish), name="a.csv")
    return Intake(task, found, "").take(cells).target


@pytest.mark.parametrize(
    ("task", "columns", "wish", "fields", "whole"),
    [
        (SINGLE, ("text", "intent"), {}, {"intent": "intent"}, ""),
        (SINGLE, ("input", "label"), {}, {"intent": "label"}, ""),
        (SINGLE, ("input", "category", "n"), {}, {"intent": "category"}, ""),
        (SINGLE, ("msg", "kind"), {"input": "msg", "targets": ("kind",)}, {"intent": "kind"}, ""),
        (DOUBLE, ("text", "category", "urgency"), {}, {"category": "category", "urgency": "urgency"}, ""),
        (
            DOUBLE, ("text", "k", "urgency"),
            {"targets": ("category=k", "urgency")}, {"category": "k", "urgency": "urgency"}, "",
        ),
        (EXTRACT, ("text", "fields"), {"targets": ("fields",)}, {}, "fields"),
        (EXTRACT, ("text", "total", "company"), {}, {"total": "total", "company": "company"}, ""),
        (TEXT, ("text", "target"), {}, {}, "target"),
    ],
)  # fmt: skip
def test_columns_find_their_fields(task, columns, wish, fields, whole) -> None:
    found = plan(task, *columns, **wish)
    assert (found.fields, found.whole) == (fields, whole)


@pytest.mark.parametrize(
    ("task", "columns", "wish", "said", "hint"),
    [
        (SINGLE, ("body", "intent"), {}, "no column called input; it has 'body', 'intent'", "--input"),
        (SINGLE, ("text", "klass"), {}, "no column for intent; it has 'klass'", "--target"),
        (SINGLE, ("text", "intent"), {"input": "texte"}, "no column 'texte'", "did you mean text"),
        (SINGLE, ("Text", "intent"), {"input": "text"}, "no column 'text'", "did you mean Text"),
        (DOUBLE, ("text", "k"), {"targets": ("k",)}, "to which field does column 'k' belong", "category=k"),
        (DOUBLE, ("text", "k"), {"targets": ("category=k",)}, "no column is named for urgency", "--target urgency=COL"),
        (DOUBLE, ("text", "k"), {"targets": ("categry=k",)}, "no field 'categry'", "did you mean category"),
        (SINGLE, ("text",), {"targets": ("text",)}, "both input and target", "--target"),
        (SINGLE, (), {}, "columns", "collect takes"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(task, columns, wish, said, hint) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        plan(task, *columns, **wish)
    assert hint in caught.value.hint


def test_a_split_column_is_honoured_unless_it_is_something_else() -> None:
    assert plan(SINGLE, "text", "intent", "split").split == "split"
    assert plan(SINGLE, "text", "split", targets=("intent=split",)).split == ""


@pytest.mark.parametrize(
    ("said", "name"), [("Train", "train"), ("validation", "dev"), (" val ", "dev"), ("holdout", "holdout")]
)
def test_splits_are_known_by_their_usual_names(said: str, name: str) -> None:
    assert split_name(said) == name


@pytest.mark.parametrize("said", ["../x", "", "a b", "x" * 40])
def test_what_can_be_no_split_is_refused(said: str) -> None:
    with pytest.raises(Invalid, match="unknown split"):
        split_name(said)


@pytest.mark.parametrize(
    ("task", "cells", "target"),
    [
        (SINGLE, {"input": "x", "target": " refund "}, {"intent": "refund"}),
        (SINGLE, {"input": "x", "target": 111110}, {"intent": "111110"}),
        (SINGLE, {"input": "x", "target": 111110.0}, {"intent": "111110"}),
        (SINGLE, {"input": "x", "target": "status"}, {"intent": "status"}),
        (DOUBLE, {"input": "x", "target": {"urgency": "low", "category": "hose"}}, HOSE),
        (DOUBLE, {"input": "x", "target": '{"category": "hose", "urgency": "low"}'}, HOSE),
        (TREE, {"input": "x", "target": "Farm/Corn"}, {"code": "Farm / Corn"}),
        (TREE, {"input": "x", "target": "Cod"}, {"code": "Fish / Cod"}),
        (EXTRACT, {"input": "x", "target": '{"total": 3}'}, {"total": 3}),
        (EXTRACT, {"input": "x", "total": "3.5", "company": "", "tags": '["a"]'}, {"total": 3.5, "tags": ["a"]}),
        (TEXT, {"input": "x", "target": '{"a": 1}'}, {"text": '{"a": 1}'}),
    ],
)  # fmt: skip
def test_cells_become_targets_of_the_shape_every_room_shares(task, cells, target) -> None:
    assert taken(task, cells) == target


@pytest.mark.parametrize(
    ("task", "cells", "said"),
    [
        (SINGLE, {"input": " ", "target": "refund"}, "no input: column 'input' is empty"),
        (SINGLE, {"input": None, "target": "refund"}, "no input"),
        (SINGLE, {"input": ["x"], "target": "refund"}, "no input: column 'input' holds no text"),
        (SINGLE, {"input": "x", "target": ""}, "no target: intent is empty"),
        (SINGLE, {"input": "x", "target": "Refnd"}, "'Refnd' is no label of intent; the nearest is 'refund'"),
        (SINGLE, {"input": "x", "target": "zzzz"}, "unknown label: 'zzzz' is no label of intent$"),
        (SINGLE, {"input": "x", "target": ["refund"]}, "not a label"),
        (SINGLE, {"input": "x", "target": "refund\nstatus"}, "not a label: the text has several lines"),
        (TREE, {"input": "x", "target": "Soy"}, "unknown label: 'Soy'"),
        (DOUBLE, {"input": "x", "target": {"category": "hose"}}, "no target: urgency is empty"),
        (DOUBLE, {"input": "x", "target": {"category": "hose", "urgency": "low", "x": 1}}, "unknown field: 'x'"),
        (DOUBLE, {"input": "x", "target": "{broken"}, "not JSON: column 'target'"),
        (EXTRACT, {"input": "x", "target": "[" * 10_000}, "nested too deeply"),
        (EXTRACT, {"input": "x", "target": {"company": "a"}}, "breaks the schema"),
        (EXTRACT, {"input": "x", "target": {"total": 1, "more": 2}}, "breaks the schema"),
        (EXTRACT, {"input": "x", "target": "[1]"}, "not an object"),
        (TEXT, {"input": "x", "target": " "}, "no target"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_says_why(task, cells, said) -> None:
    with pytest.raises(Invalid, match=said):
        taken(task, cells)


def chat(*turns: tuple[str, object]) -> dict[str, object]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def test_a_conversation_is_its_last_question_and_its_last_answer() -> None:
    said = chat(
        ("system", "s"), ("user", "one"), ("assistant", "a"), ("user", "two"), ("assistant", "refund"), ("user", "x")
    )
    assert unfold({**said, "split": "test"}) == {"split": "test", "input": "two", "target": "refund"}
    parts = chat(("user", [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]), ("assistant", "status"))
    assert taken(SINGLE, parts) == {"intent": "status"}
    both = chat(("user", "x"), ("assistant", '{"category": "pump", "urgency": "high"}'))
    assert taken(DOUBLE, both) == {"category": "pump", "urgency": "high"}


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"messages": "hello"}, "not a conversation"),
        ({"messages": ["hello"]}, "not a conversation"),
        (chat(("user", "x")), "no assistant message"),
        (chat(("assistant", "x")), "no user message"),
        (chat(("user", "x"), ("assistant", None)), "no target"),
        (chat(("user", None), ("assistant", "refund")), "no input"),
    ],
)
def test_a_conversation_that_lacks_something_says_what(cells, said) -> None:
    with pytest.raises(Invalid, match=said):
        taken(SINGLE, cells)


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (True, "true"), (3, "3"), (2.5, "2.5"), (float("nan"), ""), (" a ", "a")]
)
def test_cells_read_as_labels(value: object, text: str) -> None:
    assert label_text(value) == text


def test_a_drafted_task_has_the_labels_of_its_data_and_can_be_loaded(workspace) -> None:
    rows = [
        Raw(i, {"t": f"text {i}", "Root Cause": ["wear", "heat"][i % 2], "urgency": "low" if i % 3 else "high"}, "", "")
        for i in range(40)
    ]
    wish = Wish(input="t", targets=("Root Cause", "urgency"))
    task = draft("defects", [("a.csv", rows)], wish)
    assert {output.name: output.labels for output in task.outputs} == {
        "root_cause": ("heat", "wear"),
        "urgency": ("high", "low"),
    }
    workspace.write("labels/defects-root_cause.txt", "heat\nwear\n")
    workspace.write("labels/defects-urgency.txt", "high\nlow\n")
    workspace.write("tasks/defects.toml", task_toml(task))
    assert load_task(workspace.settings, "defects").outputs == task.outputs


def test_a_column_of_free_text_is_no_closed_set_of_labels() -> None:
    rows = [Raw(i, {"t": f"text {i}", "l": f"label {i}"}, "", "") for i in range(40)]
    with pytest.raises(Invalid, match="no closed set of labels: 40 different values in 40 rows"):
        draft("t", [("a.csv", rows)], Wish(input="t", targets=("l",)))


def test_field_names_are_made_of_column_names() -> None:
    assert [output_name(c) for c in ("Root Cause", "FuncLocation", "a--b", "!!!")] == [
        "root_cause",
        "funclocation",
        "a_b",
        "label",
    ]

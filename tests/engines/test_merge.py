"""The rules by which windows become one answer, one by one."""

import math
import time

import pytest

from insource.engines.merge import merged
from insource.engines.windows import Window
from insource.nouns import Output, Prediction, Task, Usage
from pace import within

OUTPUT = Output(name="kind", labels=("a", "b", "c"))
CLASSIFY = Task(name="t", kind="classify", outputs=(OUTPUT,))
SCHEMA = {
    "type": "object",
    "properties": {
        "who": {"type": ["string", "null"]},
        "parts": {"type": "array", "items": {"type": "string", "maxLength": 14}, "maxItems": 3},
        "urgent": {"type": "boolean"},
    },
    "additionalProperties": False,
}
EXTRACT = Task(name="t", kind="extract", schema=SCHEMA)
TEXT = "ACME Ltd sold seals. ACME Ltd and Bolt Co. sold ball bearings to Bolt Co."
#       0         1         2         3         4         5         6         7
WINDOWS = [Window(start=0, stop=42, tokens=10), Window(start=21, stop=len(TEXT), tokens=30)]


def said(value, sure=0.9, fields=None, **more):
    fields = dict.fromkeys(value or {}, sure) if fields is None else fields
    usage = Usage(input_tokens=10, output_tokens=2)
    return Prediction(text="", value=value, engine="e", confidence=sure, fields=fields, usage=usage, **more)


def votes(*chances, tokens=(10, 10)):
    ranked = [tuple(sorted(zip("abc", each, strict=False), key=lambda pair: -pair[1])) for each in chances]
    windows = [Window(start=i, stop=i + 1, tokens=n) for i, n in enumerate(tokens)]
    given = [said({"kind": r[0][0]}, r[0][1], alternatives={"kind": r}) for r in ranked]
    return merged(CLASSIFY, "xyz", windows, given)


def test_windows_vote_by_their_mean_log_probability_weighted_by_tokens():
    found = votes((0.5, 0.4, 0.1), (0.1, 0.6, 0.3), tokens=(10, 30))
    logs = [0.25 * math.log(p) + 0.75 * math.log(q) for p, q in ((0.5, 0.1), (0.4, 0.6), (0.1, 0.3))]
    total = sum(math.exp(each) for each in logs)
    assert found.value == {"kind": "b"}
    assert found.text == "b"
    assert dict(found.alternatives["kind"]) == pytest.approx(
        {label: math.exp(each) / total for label, each in zip("abc", logs, strict=True)}
    )
    assert found.confidence == found.fields["kind"] == found.alternatives["kind"][0][1]
    assert found.usage == Usage(input_tokens=20, output_tokens=4)


def test_a_label_that_a_window_does_not_name_shares_what_is_left():
    found = votes((0.8,), (0.05, 0.9, 0.05), tokens=(10, 10))  # b and c had 0.1 each in the first
    weights = {"a": (0.8 * 0.05) ** 0.5, "b": (0.1 * 0.9) ** 0.5, "c": (0.1 * 0.05) ** 0.5}
    assert dict(found.alternatives["kind"]) == pytest.approx({k: v / sum(weights.values()) for k, v in weights.items()})


def test_without_probabilities_the_label_with_most_tokens_wins_and_no_confidence_is_made_up():
    windows = [Window(start=i, stop=i + 1, tokens=n) for i, n in enumerate((10, 11, 20))]
    given = [Prediction(text="", value={"kind": label}, engine="e") for label in ("a", "a", "b")]
    found = merged(CLASSIFY, "xyz", windows, given)
    assert found.value == {"kind": "a"}
    assert found.confidence is None
    assert found.fields == {}
    assert found.alternatives == {}


def test_one_window_keeps_its_answer_and_gets_its_places():
    one = said({"who": "ACME Ltd", "parts": ["seals", "bolts"], "urgent": True}, 0.7)
    found = merged(EXTRACT, TEXT, [Window(start=0, stop=len(TEXT), tokens=9)], [one])
    assert found.value == one.value
    assert found.confidence == 0.7
    assert found.places == {"who": [0, 8], "parts": [[14, 19], None], "urgent": None}


def extracted(*values, **more):
    return merged(EXTRACT, TEXT, WINDOWS, [said(value, **more) for value in values])


def test_a_single_value_is_the_surest_windows():
    found = merged(EXTRACT, TEXT, WINDOWS, [said({"who": "ACME Ltd"}, 0.6), said({"who": "Bolt Co."}, 0.8)])
    assert found.value == {"who": "Bolt Co."}
    assert found.fields == {"who": 0.8}
    assert TEXT[slice(*found.places["who"])] == "Bolt Co."
    assert found.confidence == pytest.approx(0.8)


def test_of_equally_sure_ones_the_first_in_the_text_wins():
    assert extracted({"who": "ACME Ltd"}, {"who": "Bolt Co."}).value == {"who": "ACME Ltd"}
    unsure = extracted({"who": "ACME Ltd"}, {"who": "Bolt Co."}, fields={})
    assert unsure.value == {"who": "ACME Ltd"}
    assert unsure.fields == {}


def test_its_place_is_the_one_in_the_window_that_gave_it():
    found = merged(EXTRACT, TEXT, WINDOWS, [said({"who": None}, 0.9), said({"who": "ACME Ltd"}, 0.8)])
    assert found.places["who"] == [21, 29]


def test_what_is_found_anywhere_beats_nothing_and_nothing_everywhere_is_as_sure_as_the_least_sure_window():
    assert extracted({"who": None}, {"who": "Bolt Co."}).value == {"who": "Bolt Co."}
    found = merged(EXTRACT, TEXT, WINDOWS, [said({"who": None, "parts": []}, 0.9), said({"who": None}, 0.7)])
    assert found.value == {"who": None, "parts": []}
    assert found.fields == {"who": 0.7, "parts": 0.9}
    assert found.places == {"who": None, "parts": []}
    assert found.confidence == pytest.approx(0.63)


def test_a_list_is_every_item_once_in_the_order_of_the_text():
    found = extracted({"parts": ["seals", "bolts"]}, {"parts": ["Bolt Co.", "SEALS"]})
    assert found.value == {"parts": ["seals", "Bolt Co.", "bolts"]}
    assert found.places == {"parts": [[14, 19], [34, 42], None]}


def test_items_that_overlap_in_the_text_are_joined_to_what_the_text_says():
    found = extracted({"parts": ["seals"]}, {"parts": ["ball", "sold ball"]})
    assert found.value == {"parts": ["seals", "sold ball"]}
    [_, (start, stop)] = found.places["parts"]
    assert TEXT[start:stop] == "sold ball"


def test_a_joint_that_breaks_the_schema_is_not_made():
    found = extracted({"parts": []}, {"parts": ["ball bearings", "sold ball"]})
    assert found.finish == "stop"
    assert found.value == {"parts": ["sold ball"]}, "equally sure: the first in the text"


def test_more_items_than_the_schema_takes_lose_the_least_sure():
    given = [said({"parts": ["ACME Ltd", "sold"]}, 0.5), said({"parts": ["Bolt Co.", "to"]}, 0.9)]
    found = merged(EXTRACT, TEXT, WINDOWS, given)
    assert len(found.value["parts"]) == 3
    assert {"Bolt Co.", "to"} <= set(found.value["parts"])


@pytest.mark.parametrize("finish", ["length", "invalid", "refusal"])
def test_a_window_without_a_valid_answer_leaves_the_text_without_one(finish):
    found = merged(EXTRACT, TEXT, WINDOWS, [said({"who": "ACME Ltd"}), said(None, finish=finish)])
    assert (found.value, found.finish, found.usage.input_tokens) == (None, finish, 20)


def test_a_merged_answer_that_breaks_the_schema_is_invalid_and_never_passed_on():
    both = {**SCHEMA, "oneOf": [{"required": ["who"]}, {"required": ["parts"]}]}
    task = Task(name="t", kind="extract", schema=both)
    found = merged(task, TEXT, WINDOWS, [said({"who": "ACME Ltd"}), said({"parts": ["to"]})])
    assert found.finish == "invalid"
    assert found.value is None


def test_very_many_items_and_chains_of_them_take_about_as_long_as_they_are_many():
    schema = {"type": "object", "properties": {"parts": {"type": "array", "items": {"type": "string"}}}}
    task = Task(name="t", kind="extract", schema=schema)
    items = [f"w{i}" for i in range(40_000)]
    text = " ".join(items)
    windows = [Window(start=0, stop=len(text), tokens=1), Window(start=0, stop=0, tokens=1)]
    start = time.process_time()
    apart = merged(task, text, windows, [said({"parts": []}), said({"parts": items})])
    chained = merged(task, "ab" * 20_000, [Window(start=i, stop=i + 4, tokens=1) for i in range(0, 39_996, 2)],
                     [said({"parts": ["ab" if i else "a"]}) for i in range(19_998)])  # fmt: skip
    assert within(time.process_time() - start, 4)
    assert apart.value == {"parts": items}
    assert apart.places == {"parts": [None] * len(items)}
    assert chained.value == {"parts": ["a", "ab"]}

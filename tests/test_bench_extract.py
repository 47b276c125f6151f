"""The scores and splits of bench/extract.py: places matched by hand, and nothing on both sides of a split."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import extract_rivals
import extract_score
import extract_sets
from insource.decode.check import faults

GOLD = [[("law", 10, 20, "x"), ("law", 40, 50, "y"), ("date", 60, 64, "z")], []]


def row(places, output=None):
    said = {kind: ["x"] * len(at) for kind, at in places.items()} if output is None else output
    return {"output": said, "places": places}


def test_a_span_counts_when_it_shares_half_of_what_both_cover_and_once_only():
    rows = [row({"law": [[10, 19], [9, 20], [45, 65]], "date": [None]}), row({"law": [[1, 2]]})]
    found = extract_score.by_type(GOLD, rows)
    law, date = (next(one for one in found["types"] if one["type"] == kind) for kind in ("law", "date"))
    assert law["value"] == pytest.approx(2 * 1 / (2 * 1 + 3 + 1)), "one right, three wrong, one missed"
    assert date["value"] == 0
    assert found["whole"]["span_f1"]["value"] == pytest.approx(2 / (2 + 4 + 2))
    assert found["whole"]["span_precision"]["value"] == pytest.approx(1 / 5)
    assert found["whole"]["span_recall"]["value"] == pytest.approx(1 / 3)
    assert found["whole"]["pair_f1"]["value"] == pytest.approx(2 / (2 + 2 + 1)), "law right, date and law wrong"
    assert (found["said"], found["unplaced"]) == (5, 1)


def test_the_gold_itself_scores_one_and_nothing_said_scores_nothing():
    perfect = [row({"law": [[10, 20], [40, 50]], "date": [[60, 64]]}), row({})]
    assert extract_score.by_type(GOLD, perfect)["whole"]["span_f1"]["value"] == 1
    none = extract_score.by_type(GOLD, [{"output": None, "places": None}] * 2)
    assert none["whole"]["span_f1"]["value"] == 0


def test_f1_by_label_counts_as_it_should():
    found = extract_score.by_label(["a", "a", "b", "c"], ["a", "b", "b", None])
    assert {one["type"]: round(one["value"], 3) for one in found} == {"a": 0.667, "b": 0.667, "c": 0.0}
    assert all(one["low"] <= one["value"] <= one["high"] for one in found)


@pytest.mark.parametrize(
    ("lines", "total"),
    [
        ("TOTAL:\n9.00\nCASH\n10.00\nCHANGE\n1.00", "9.00"),
        ("SUBTOTAL 8.00\nGRAND TOTAL RM 8.48\nCASH 10.00", "8.48"),
        ("TOTAL\nROUND ADJ\nFINAL TOTAL\nCASH\nCHANGE\n9.30\n0.00\n9.30\n50.00\n40.70", "9.30"),
        ("SEAL 1,200.00\nBOLT 3.00", "1200.00"),
        ("nothing here", None),
    ],
)
def test_the_patterns_find_a_total(lines, total):
    assert extract_rivals.receipt("ACME SDN BHD\n1, JALAN A\nTEL 1\n" + lines)["total"] == total


def test_the_patterns_read_a_receipt():
    text = (
        "TAN WOON YANN\nACME TRADING SDN BHD (123456-X)\n1, JALAN A,\n81100 JOHOR\nTEL: 07\n25/12/2018 8:13\nTOTAL 9.00"
    )
    said = extract_rivals.receipt(text)
    assert said == {"company": "ACME TRADING SDN BHD", "address": "1, JALAN A, 81100 JOHOR", "date": "25/12/2018",
                    "total": "9.00"}  # fmt: skip
    assert set(extract_rivals.receipt("").values()) == {None}


def test_a_longer_text_is_matched_before_what_it_holds(tmp_path):
    extract_rivals.write_script(tmp_path / "s.jsonl", ["seal", "a seal"], [{"x": 1}, {"x": 2}])
    assert [json.loads(line)["value"]["x"] for line in (tmp_path / "s.jsonl").read_text().splitlines()] == [2, 1]


def test_nothing_that_belongs_together_is_on_both_sides(shared):
    spans = extract_sets.lines(shared / "cuad" / "clause_spans.jsonl")
    sides = {each["contract"]: extract_sets.split_of(each["contract"]) for each in spans}
    assert {"train", "dev", "test"} == set(sides.values())
    whole = extract_sets.contracts(shared / "cuad", rows=8, test=3)
    texts = {r.input: r.split for r in whole.rows}
    assert {split: list(texts.values()).count(split) for split in ("train", "dev", "test")} == {
        "train": 8, "dev": 1, "test": 3,
    }  # fmt: skip
    schema = json.loads(whole.files["schemas/bench.json"])
    assert len(schema["properties"]) == 41
    for text, name in zip(texts, extract_sets.names(shared / "cuad", list(texts)), strict=True):
        assert sides.get(name, texts[text]) == texts[text]
    receipts = extract_sets.sroie(shared / "sroie")
    assert sum(r.split == "test" for r in receipts.rows) == 126
    schema = json.loads(receipts.files["schemas/bench.json"])
    assert not [r for r in receipts.rows if faults(schema, r.target)]

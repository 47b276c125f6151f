"""What bench/degradation.py does to weights, and when it says that a release was stopped for the right reason."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
import torch

import degradation
import train_rows

WEIGHT, FACTOR = "model.layers.{}.mlp.up_proj.weight", "base_model.model.model.layers.{}.mlp.up_proj.lora_{}.weight"


def merged(layers: int = 3) -> tuple[dict, dict, list]:
    """Weights with an adapter merged in, the adapter, and the base's own weights; small whole numbers throughout."""
    base = [torch.full((4, 4), float(10 * i)) for i in range(layers)]
    adapter = {}
    for i in range(layers):
        adapter[FACTOR.format(i, "A")] = torch.full((1, 4), float(i + 1))
        adapter[FACTOR.format(i, "B")] = torch.ones(4, 1)
    weights = {WEIGHT.format(i): (base[i] + 2 * (i + 1)).bfloat16() for i in range(layers)}
    return weights, adapter, base


def test_merged_twice_is_the_base_and_the_adapter_two_times():
    weights, adapter, base = merged()
    degradation.twice(weights, adapter)
    assert [float(weights[WEIGHT.format(i)][0, 0] - base[i][0, 0]) for i in range(3)] == [4, 8, 12]


def test_a_layer_off_is_the_base_and_the_adapter_of_the_layer_below():
    weights, adapter, base = merged()
    degradation.layer_off(weights, adapter)
    assert [float(weights[WEIGHT.format(i)][0, 0] - base[i][0, 0]) for i in range(3)] == [6, 2, 4]


def test_three_bits_are_at_most_eight_values_and_other_tensors_stay():
    weights = {WEIGHT.format(0): torch.randn(40, 40), "model.norm.weight": torch.randn(40)}
    before = weights["model.norm.weight"].clone()
    degradation.few_bits(weights, {})
    assert 2 < len(weights[WEIGHT.format(0)].unique()) <= 8
    assert torch.equal(weights["model.norm.weight"], before)


def test_shuffled_labels_are_the_same_labels_and_the_test_rows_keep_theirs():
    rows = {split: [(f"{split} {i}", "abc"[i % 3]) for i in range(60)] for split in ("train", "dev", "test")}
    found = degradation.shuffled(rows)
    assert found["test"] == rows["test"]
    for split in ("train", "dev"):
        assert [text for text, _ in found[split]] == [text for text, _ in rows[split]]
        assert sorted(label for _, label in found[split]) == sorted(label for _, label in rows[split])
        assert found[split] != rows[split]


def answered(*failed: str, **other: object) -> dict:
    return {"passed": not failed, "failed": list(failed), "exit": 1, "stage": "candidate", "live": "t@1.0.0"} | other


@pytest.mark.parametrize(
    ("what", "found", "right"),
    [
        ("merged twice", answered("as sure as trained", "accuracy"), True),
        ("merged twice", answered("served = trained", "as sure as trained"), True),
        ("merged twice", answered("accuracy", "as sure as trained"), False),
        ("a layer off", answered("served = trained", "accuracy"), True),
        ("a layer off", answered("accuracy", "served = trained"), False),
        ("shuffled", answered("accuracy", "baseline"), True),
        ("shuffled", answered("served = trained"), False),
        ("3 bits", answered("served = trained", "accuracy"), True),
        ("3 bits", answered("served = trained"), False),
        ("slow", answered("p95_ms"), True),
        ("slow", answered("p95_ms", "accuracy"), False),
        ("slow", answered("p95_ms", exit=0), False),
        ("slow", answered("p95_ms", stage="live"), False),
        ("slow", answered("p95_ms", live="t@1.0.1"), False),
        ("slow", answered(), False),
    ],
)
def test_only_the_check_that_is_meant_for_it_counts_as_stopped(what: str, found: dict, right: bool):
    assert degradation.stopped(what, found, "t@1.0.0") is right


def test_a_sound_release_that_did_not_go_live_is_a_bar_that_was_missed():
    checks = {name: {"found": "0.95", "passed": True} for name in (*degradation.MEANT.values(), "baseline")}
    sound = answered(passed=True, exit=0, stage="candidate") | {"checks": checks}
    spoiled = {what: answered(meant, stopped=True) | {"checks": checks} for what, meant in degradation.MEANT.items()}
    document = {"found": spoiled, "meant": degradation.MEANT, "control": sound, "int4": sound, "chain_faults": 0}
    rows = list(train_rows.degradation(document))
    assert [row[3] for row in rows] == [True] * 5 + [False, True]

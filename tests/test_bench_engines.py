"""What bench/engines.py makes of answers: agreement with torch, accuracy, and the paired difference, in its table."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("httpx2")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
import engine_rows
import engines


def line(name: str, said: list[str], torch: list[str], truth: list[str]) -> dict:
    made = engines.shown(name, len(truth), 10.0, 4.0)
    return engines.compared(made, said, torch, truth) | ({"disk_mb": 7.0} if "copy" not in name else {})


def test_agreement_accuracy_and_difference_are_of_the_same_rows():
    truth = ["a"] * 90 + ["b"] * 10
    torch = ["a"] * 98 + ["b"] * 2
    other = ["a"] * 100
    found = line("llamacpp-q8_0", other, torch, truth)
    assert found["agreement"] == pytest.approx({"same": 98, "n": 100, "value": 0.98, "low": found["agreement"]["low"]})
    assert found["accuracy"]["value"] == pytest.approx(0.90)
    assert (found["won"], found["lost"]) == (0, 2)
    difference = found["difference"]
    assert difference["value"] == pytest.approx(-0.02)
    assert difference["low"] < -0.02 < difference["high"]


def test_the_table_has_each_engine_with_its_bar():
    truth = ["a", "b"] * 200
    off = ["b", *truth[1:]]
    far = ["b"] * 20 + truth[20:]
    names = {"torch": truth, "openvino-int8": truth, "llamacpp-q8_0": far, "llamacpp-q4_0": far,
             "gateway, openvino-int8, 64 callers": truth, "copy gguf-q8_0 in llama.cpp server": off}  # fmt: skip
    lines = [line(name, said, truth, truth) for name, said in names.items()]
    rows = {what: (bar, figure, holds) for what, bar, figure, holds in
            engine_rows.engines({"best": "openvino-int8", "engines": lines})}  # fmt: skip
    bar, figure, holds = rows["… as copy gguf-q8_0 in llama.cpp server"]
    assert (bar, holds) == ("≥ 99% the same", True)
    assert "99.75% of 400 labels" in figure
    assert "against torch -0.25 points (" in figure
    assert "MB" not in figure
    bar, figure, holds = rows["… as llamacpp-q8_0"]
    assert (bar, holds) == ("≥ 99% the same", False)
    assert "7 MB on disk" in figure
    assert rows["… as llamacpp-q4_0"][::2] == ("shown", True)
    assert "… against torch" not in rows

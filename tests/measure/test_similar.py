"""Nearness in meaning: what the score says, what it cannot see, and that only the known files are read."""

import shutil
import subprocess
import sys

import pytest
from measure_rows import said

from insource.errors import Refused
from insource.measure.figures import scores
from insource.measure.report import About, Contender, assemble
from insource.measure.run import Answered, Run
from insource.measure.similar import FILES, checked, embedder, missing, similar, similarity
from insource.nouns import Example, Task

TASK = Task(name="t", kind="generate")


def example(text):
    return Example(id="1", task="t", input="x", target={} if text is None else {"text": text})


def test_it_is_the_number_that_the_package_documents():
    """Its README: the similarity of these two is 0.06641249096796882."""
    assert similarity("i went to the car", "i went to the pawn shop") == pytest.approx(0.0664125, abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [
        ("The bearing is worn and must be replaced", "Replace the worn bearing", 0.85, 0.95),
        ("The bearing is worn", "THE  BEARING\nIS WORN", 1.0, 1.0),
        ("The bearing is worn and must be replaced", "The sky is blue over the mountains", 0.0, 0.1),
        ("", "", 1.0, 1.0),
        ("anything", "", 0.0, 0.0),
        ("anything", None, 0.0, 0.0),
        ("\u200b", "word", 0.0, 1.0),
    ],
)
def test_what_means_nearly_the_same_is_near(a, b, low, high):
    assert low <= similarity(a, b) <= high
    assert similarity(a, b) == pytest.approx(similarity(b, a))


@pytest.mark.parametrize(
    ("a", "b", "shown"),
    [
        ("The dog bit the man", "The man bit the dog", 1.00),
        ("The total is 9.00 euros", "The total is 9000 euros", 0.99),
        ("The pump is running", "The pump is not running", 0.96),
        ("The bearing is worn", "Das Lager ist verschlissen", 0.00),
        ("refund issued to customer", "we paid the money back to the client", 0.36),
    ],
)
def test_its_blind_spots_are_those_that_are_documented(a, b, shown):
    assert similarity(a, b) == pytest.approx(shown, abs=0.01)


def test_an_answer_without_form_is_nothing_and_a_row_without_target_is_not_scored():
    assert similar(example("a text"), said(None, finish="invalid")) == 0.0
    assert similar(example("a text"), said({"text": "a text"}, finish="length")) == 0.0
    assert similar(example(None), said({"text": "a text"})) is None
    assert similar(example("a text"), said({"text": "A  text"})) == 1.0


def test_a_score_has_its_interval_and_what_chance_would_bring_stands_beside_it():
    topics = ["the pump leaks oil", "the belt is torn", "a fuse has blown", "the door is stuck", "paint peels off"]
    rows = [
        Answered(i, Example(id=str(i), task="t", input="x", target={"text": f"{topics[i % 5]} in hall {i}"}),
                 said({"text": f"in hall {i} {topics[i % 5]} again"}))
        for i in range(40)
    ]  # fmt: skip
    found = {score.metric: score for score in scores(TASK, rows)}
    one, chance = found["similarity"], found["similarity_by_chance"]
    assert one.n == chance.n == 40
    assert 0 < one.low < one.value < one.high <= 1
    assert chance.high < one.low
    who = Contender("writer", "remote", lambda: None)
    report = assemble(TASK, [who], {"writer": Run(tuple(rows), (1.0,), 1.0)}, {}, About("d", "test"))
    assert "like the target" in report.summary[-1]
    assert "have in common anyway" in report.summary[-1]


def test_a_file_that_is_not_the_known_one_is_refused(tmp_path):
    with pytest.raises(Refused, match="is not the file"):
        checked(tmp_path)
    import importlib.util

    home = next(iter(importlib.util.find_spec("wordllama").submodule_search_locations))
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(f"{home}/{name}", tmp_path / name)
    checked(tmp_path)
    weights = tmp_path / next(iter(FILES))
    data = bytearray(weights.read_bytes())
    data[1_000_000] ^= 1
    weights.write_bytes(data)
    with pytest.raises(Refused, match="l2_supercat_256"):
        checked(tmp_path)


def test_nothing_of_the_package_is_run():
    assert missing() == ""
    code = "from insource.measure.similar import similarity\nimport sys\nsimilarity('a', 'b')\n"
    code += "print('wordllama' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
    assert embedder() is embedder()

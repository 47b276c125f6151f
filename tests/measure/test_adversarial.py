"""Rows made harder: the same text each time, what is right stays right, and no way is left out."""

import json
import sys
from collections import Counter
from pathlib import Path

from click.testing import CliRunner

from insource.cli.main import main
from insource.measure.adversarial import TAG, adversarial
from insource.nouns import Example, Output, Task

sys.path.insert(0, str(Path(__file__).parents[1] / "release"))
from release_parts import rows, workspace

LABELS = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("alpha", "beta")),))
FORM = Task(name="t", kind="extract", schema={"type": "object", "properties": {"total": {"type": "number"}}})
TEXT = "The bearing of the second spindle overheats whenever the coolant pump stops working"


def made(task: Task, count: int = 70) -> list[Example]:
    target = {"label": "alpha"} if task.outputs else {"total": 7}
    return [
        Example(id=f"{i:064x}", task="t", input=f"{TEXT} {i}", target=target, tags={"line": "4"}) for i in range(count)
    ]


def test_each_row_keeps_its_target_and_tags_and_is_the_same_each_time():
    before = made(LABELS)
    after = adversarial(LABELS, before)
    assert after == adversarial(LABELS, before)
    assert [row.target for row in after] == [row.target for row in before]
    assert all(row.tags["line"] == "4" for row in after)
    assert set(Counter(row.tags[TAG] for row in after).values()) == {10}
    changed = sum(a.input != b.input for a, b in zip(after, before, strict=True))
    assert changed >= 66, "but for the odd text without a long word that was swapped"


def test_each_way_does_what_it_is_called():
    found: dict[str, list[tuple[str, str]]] = {}
    before = made(LABELS)
    for old, new in zip(before, adversarial(LABELS, before), strict=True):
        found.setdefault(new.tags[TAG], []).append((old.input, new.input))
    assert all(sorted(old) == sorted(new) for old, new in found["typos"])
    assert all(new in (old.upper(), old.lower()) for old, new in found["case"])
    assert all(new.split() == old.split() for old, new in found["blanks"])
    assert any(not new.isascii() for _, new in found["look-alikes"])
    assert all(old in new for name in ("around", "order", "control") for old, new in found[name])
    assert all("beta" in new for name in ("order", "control") for _, new in found[name]), "another label than the row's"
    assert {"typos", "case", "blanks", "look-alikes", "around", "order", "control"} == set(found)


def test_where_values_stand_in_the_text_its_words_stay():
    after = adversarial(FORM, made(FORM))
    assert {row.tags[TAG] for row in after} == {"order", "control", "around"}
    assert all(TEXT in row.input for row in after)


def test_the_verb_measures_on_them_and_the_roadmap_goes_by_the_plain_rows(tmp_path):
    workspace(tmp_path)
    lines = [json.dumps({"text": row.input, "category": row.target["category"]}) for row in rows(600)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))

    def insource(*words: str):
        return CliRunner().invoke(main, ["-C", str(tmp_path), *words], catch_exceptions=False)

    words = ("collect", "defects", str(tmp_path / "rows.jsonl"), "--input", "text", "--target", "category")
    assert insource(*words).exit_code == 0
    assert insource("measure", "defects", "--candidate", "baseline").exit_code == 0
    plain = insource("status", "defects", "--json").stdout
    done = insource("measure", "defects", "--candidate", "baseline", "--adversarial", "--json")
    report = json.loads(done.stdout)
    assert report["split"] == "test, adversarial"
    assert insource("status", "defects", "--json").stdout == plain

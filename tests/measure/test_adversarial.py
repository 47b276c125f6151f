"""Rows made harder: the same text each time, what is right stays right where it should, and no way is left out."""

import json
import random
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from insource.cli.main import main
from insource.measure import spoiled
from insource.measure.adversarial import CLEAN, EXPECTED, TAG, WAYS, adversarial, dealt, sentences, ways
from insource.nouns import Example, Output, Task

sys.path.insert(0, str(Path(__file__).parents[1] / "release"))
from release_parts import rows, workspace

LABELS = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("alpha", "beta", "gamma")),))
FORM = Task(name="t", kind="extract", schema={"type": "object", "properties": {"total": {"type": "number"}}})
TEXT = "The bearing of the second spindle is hot whenever the coolant pump stops working"


def made(task: Task, count: int = 40) -> list[Example]:
    return [
        Example(
            id=f"{i:064x}", task="t", input=f"{TEXT} {i}", tags={"line": "4"}, split="test",
            target={"label": ("alpha", "beta")[i % 2]} if task.outputs else {"total": 7},
        )
        for i in range(count)
    ]  # fmt: skip


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - dice of a test


def by_way(task: Task, count: int = 40, **more) -> dict[str, list[tuple[str, Example]]]:
    """Of each way the texts before and after."""
    before = {row.id: row.input for row in made(task, count)}
    found: dict[str, list[tuple[str, Example]]] = {}
    for row in adversarial(task, made(task, count), **more):
        found.setdefault(row.tags[TAG], []).append((before.get(row.group, ""), row))
    return found


def test_every_row_is_there_as_it_was_and_in_every_way_and_the_same_each_time():
    after = adversarial(LABELS, made(LABELS))
    assert after == adversarial(LABELS, made(LABELS))
    count = Counter(row.tags[TAG] for row in after)
    assert set(count) == {CLEAN, *WAYS}
    assert all(count[name] >= 38 for name, way in WAYS.items() if way.make)
    assert all(row.input.strip() for row in after), "an empty input is no row"
    assert len({(row.tags[TAG], row.id) for row in after}) == len(after)
    assert [row.input for row in after[:40]] == [row.input for row in made(LABELS)]
    assert all(row.tags.get("line") == "4" for row in after if row.group)


def test_a_target_stays_where_it_is_still_right_and_nowhere_else():
    for name, found in by_way(LABELS).items():
        right = {row.id: row.target for row in made(LABELS)}
        for _, row in found:
            kept = name == CLEAN or WAYS[name].expect in ("same", "unsure")
            assert row.target == (right[row.group] if kept else {}), name
    assert set(EXPECTED) == {way.expect for way in WAYS.values()}


def test_each_way_does_what_it_is_called():
    found = by_way(LABELS)
    assert all(new.input != old for name in WAYS if WAYS[name].make for old, new in found[name])
    assert all(abs(len(old) - len(new.input)) <= len(old) // 4 for old, new in found["typos"])
    assert all(old.casefold() == new.input.casefold() for old, new in found["case"])
    assert all(new.input.split() == old.split() for old, new in found["blanks"])
    assert any("\n" in new.input for _, new in found["misread"])
    assert all(not new.input.isascii() for _, new in found["look-alikes"])
    safe = ("greeting", "languages", "padding", "context", "order", "control", "two")
    assert all(old in new.input for name in safe for old, new in found[name])
    assert all(len(new.input) >= 3_000 for _, new in found["padding"])
    assert all(old.startswith(new.input) and len(new.input) < len(old) / 1.5 for old, new in found["cut"])
    assert all(new.input == old.replace(" is hot", " is not hot") for old, new in found["negation"])
    wrong = {row.id: row.target["label"] for row in made(LABELS)}
    for name in ("order", "control"):
        for _, row in found[name]:
            others = {"alpha", "beta", "gamma"} - {wrong[row.group]}
            assert any(label in row.input for label in others), "another label than the row's"
            assert wrong[row.group] not in row.input
    partners = {row.input: row.target["label"] for row in made(LABELS)}
    assert all(partners[new.input.split("\n")[1]] != partners[old] for old, new in found["two"])


def test_lengths_lie_on_both_sides_of_the_context():
    lengths = [len(row.input.split()) for _, row in by_way(LABELS, context=200)["context"]]
    assert min(lengths) < 200 < max(lengths)
    assert all(160 <= n <= 230 for n in lengths)


def test_where_values_stand_in_the_text_its_words_stay():
    found = by_way(FORM)
    assert set(found) == {CLEAN, "greeting", "languages", "padding", "context", "order", "control", "scrap", "outside"}
    assert all(old in row.input for rows in found.values() for old, row in rows)
    assert set(ways(FORM)) == {name for name, way in WAYS.items() if way.safe}


@pytest.mark.parametrize(
    ("text", "negated"),
    [
        ("Can I pay by card?", "Can I not pay by card?"),
        ("I cannot log in", "I can log in"),
        ("It doesn't work", "It does work"),
        ("My card isn\u2019t here", "My card is here"),
        ("The pump is not running", "The pump is running"),
        ("I want a refund", "I never want a refund"),
        ("Oil on the floor", None),
    ],
)
def test_a_negation_turns_the_meaning_or_is_left_alone(text, negated):
    row = Example(id="1", task="t", input=text, target={"label": "alpha"}, split="test")
    assert [one.input for one in adversarial(LABELS, [row]) if one.tags[TAG] == "negation"] == (
        [negated] if negated else []
    )


def test_texts_of_ones_own_take_the_place_of_the_general_ones():
    own = by_way(LABELS, outside=["My own text", "another", "another"])["outside"]
    assert [row.input for _, row in own] == ["My own text", "another"]
    assert all(row.target == {} for _, row in own)


def test_one_way_a_row_is_dealt_in_turn_and_a_row_it_cannot_make_gets_the_next():
    same = [name for name, way in WAYS.items() if way.expect == "same"]
    after = dealt(LABELS, made(LABELS, 33))
    assert Counter(row.tags[TAG] for row in after) == dict.fromkeys(same, 3)
    doubtful = dealt(LABELS, made(LABELS, 40), ("unsure", "nothing"))
    assert set(Counter(row.tags[TAG] for row in doubtful)) == {"cut", "two", "scrap", "outside"}
    texts = [row.input for row in doubtful if row.tags[TAG] in ("scrap", "outside")]
    assert len(texts) == len(set(texts)) == 20
    short = [msgspec.structs.replace(row, input="42") for row in made(LABELS, 8)]
    assert len(dealt(LABELS, short)) == 8


def test_no_sentence_of_the_table_stands_there_twice_and_each_forgery_names_a_label():
    words = sentences()
    for texts in (words.orders, words.turns, words.scraps, words.outside, words.footers):
        assert len(set(texts)) == len(texts)
    assert all("{other}" in text for text in (*words.orders, *words.turns))
    assert len(words.outside) >= 60


@given(st.text(min_size=1), st.integers(0, 9))
def test_whatever_is_spoiled_there_is_a_text_and_the_same_dice_give_the_same(text, seed):
    for spoil in (spoiled.typos, spoiled.misread, spoiled.case, spoiled.blanks, spoiled.look_alikes):
        once, again = (spoil(text, dice(seed)) for _ in range(2))
        assert once == again
        once.encode()


def test_a_disguise_looks_like_what_it_hides():
    for seed in range(20):
        seen = spoiled.look_alikes("the coffee machine", dice(seed))
        plain = "".join(sign for sign in unicodedata.normalize("NFKC", seen) if unicodedata.category(sign) != "Cf")
        back = plain.translate({there: here for here, there in spoiled.CYRILLIC.items()})
        assert back == "the coffee machine"


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
    attack = ("measure", "defects", "--candidate", "baseline", "--adversarial", "--rows", "30")
    report = json.loads(insource(*attack, "--json").stdout)
    assert report["split"] == "test, adversarial"
    assert insource("status", "defects", "--json").stdout == plain
    scores = {(one["metric"], one["slice"]): one for one in report["candidates"][0]["scores"]}
    assert scores["hard_accuracy", "adversarial=typos"]["n"] <= 30
    assert scores["confidently_wrong", "adversarial=outside"]["n"] == len(sentences().outside)
    assert "baseline" in report["summary"][0]
    (tmp_path / "other.txt").write_text("A text about ships\n\nand one about shoes\n")
    own = json.loads(insource(*attack, "--outside", str(tmp_path / "other.txt"), "--json").stdout)
    found = {(one["metric"], one["slice"]): one for one in own["candidates"][0]["scores"]}
    assert found["confidently_wrong", "adversarial=outside"]["n"] == 2
    said = insource(*attack).stdout
    assert "texts of another domain" in said
    assert "wrong and given" in said


@pytest.mark.parametrize("words", [("--outside", "x.txt"), ("--adversarial", "--outside", "x.txt")])
def test_a_file_of_texts_is_for_an_attack_and_must_be_there(tmp_path, words):
    workspace(tmp_path)
    done = CliRunner().invoke(main, ["-C", str(tmp_path), "measure", "defects", *words])
    assert done.exit_code == 2


def test_texts_of_strangers_are_spoiled_without_a_fault_and_none_of_ours_is_theirs(shared):
    """515 naughty strings as rows, and the injections of BIPIA beside our own orders."""
    naughty = [text for text in json.loads((shared / "naughty_strings" / "blns.json").read_text()) if text.strip()]
    hard = [
        Example(id=str(i), task="t", input=text, target={"label": ("alpha", "beta")[i % 2]}, split="test")
        for i, text in enumerate(naughty)
    ]
    after = adversarial(LABELS, hard)
    assert len(after) > 10 * len(hard)
    for row in after:
        row.input.encode()
        assert row.input.strip()
    attacks = json.loads((shared / "bipia" / "text_attack_train.json").read_text())
    theirs = {text for texts in attacks.values() for text in texts}
    words = sentences()
    assert not theirs & {*words.orders, *words.turns, *words.outside}
    own = adversarial(LABELS, made(LABELS, 4), outside=sorted(theirs))
    assert Counter(row.tags[TAG] for row in own)["outside"] == len(theirs)

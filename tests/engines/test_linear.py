import asyncio
import csv
import random

import msgspec
import numpy as np
import pytest

from insource import stats
from insource.engines.artefact import Manifest, file_digests, write_manifest
from insource.engines.linear import LONGEST, Linear
from insource.errors import EngineDown, Invalid, Missing, Refused, StoreError
from insource.nouns import Example, Output, Task, ask, from_json, to_json

AREAS = {"spindle": ["chatter", "runout", "bearing noise"], "coolant": ["leak", "low level", "foam"]}
TASK = Task(
    name="defects",
    kind="classify",
    outputs=(Output(name="area", labels=tuple(AREAS)), Output(name="urgency", labels=("low", "medium", "high"))),
)


def rows(count, seed=0, split="train"):
    chance = random.Random(seed)  # noqa: S311 - test data
    made = []
    for number in range(count):
        area = chance.choice(list(AREAS))
        urgency = chance.choice(["low", "high", "medium"])
        word = {"low": "whenever", "medium": "soon", "high": "line is down"}[urgency]
        text = f"{area if chance.random() < 0.8 else 'machine'} {chance.choice(AREAS[area])}, {word} #{number}"
        made.append(
            Example(
                id=f"{split}{number}",
                task="defects",
                input=text,
                target={"area": area, "urgency": urgency},
                split=split,
            )
        )
    return made


def quiet(what, done, total):
    pass


def fitted(dev=120):
    return Linear.fit(TASK, rows(300), rows(dev, 1, "dev"), name="baseline", progress=quiet)


def sealed(engine, folder):
    engine.save(folder)
    parts = {"engine": "linear", "base": "linear", "base_digest": "", "dataset": "", "recipe": {}, "heads": ()}
    write_manifest(folder, Manifest(task=TASK, files=file_digests(folder), **parts))


def test_a_manifest_says_what_could_not_be_promised_and_is_otherwise_as_it_was() -> None:
    plain = Manifest(engine="linear", task=TASK, base="", base_digest="", dataset="", recipe={}, heads=(), files={})
    assert b"unpromised" not in to_json(plain)
    short = msgspec.structs.replace(plain, unpromised=True)
    assert from_json(to_json(short), Manifest) == short


async def answers(engine, examples):
    return await asyncio.gather(*[engine.complete(ask(TASK, row.input, id=row.id)) for row in examples])


async def test_it_learns_each_output_on_its_own() -> None:
    engine = fitted()
    test = rows(200, 2, "test")
    found = await answers(engine, test)
    assert np.mean([a.value["urgency"] == row.target["urgency"] for a, row in zip(found, test, strict=True)]) > 0.97
    assert np.mean([a.value["area"] == row.target["area"] for a, row in zip(found, test, strict=True)]) > 0.95
    await engine.close()


async def test_its_confidence_is_a_product_of_probabilities_that_sum_to_one() -> None:
    engine = fitted()
    for answer in await answers(engine, rows(40, 3)):
        assert answer.confidence == pytest.approx(answer.fields["area"] * answer.fields["urgency"])
        assert sum(chance for _, chance in answer.alternatives["urgency"]) == pytest.approx(1)
        assert answer.alternatives["area"][0] == (answer.value["area"], answer.fields["area"])
        assert answer.finish == "stop"
    await engine.close()


@pytest.mark.parametrize("dev", [120, 0])
async def test_its_confidence_is_calibrated_with_dev_rows_and_without(dev) -> None:
    engine = fitted(dev)
    test = rows(600, 5, "test")
    found = await answers(engine, test)
    right = [a.value == row.target for a, row in zip(found, test, strict=True)]
    assert stats.expected_calibration_error([a.confidence for a in found], right) < 0.06
    await engine.close()


async def test_the_loaded_engine_answers_exactly_as_the_fitted_one(tmp_path) -> None:
    engine = fitted()
    sealed(engine, tmp_path)
    loaded = Linear.load(tmp_path, name="baseline")
    test = [*rows(100, 4), Example(id="odd", task="defects", input="", target={}), *rows(1, 9)]
    before, after = await answers(engine, test), await answers(loaded, test)
    assert [(a.value, a.confidence, a.fields, a.alternatives) for a in before] == [
        (a.value, a.confidence, a.fields, a.alternatives) for a in after
    ]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    await engine.close()
    await loaded.close()


async def test_one_at_a_time_gives_what_a_batch_gives() -> None:
    engine = fitted()
    test = rows(30, 6)
    together = await answers(engine, test)
    alone = [await engine.complete(ask(TASK, row.input, id=row.id)) for row in test]
    assert [a.confidence for a in together] == [a.confidence for a in alone]
    await engine.close()


@pytest.mark.parametrize("text", ["", " ", "\ud800", "\x00", "💥" * 3000, "a" * 100_000])
async def test_odd_input_gets_an_answer_like_any_other(text) -> None:
    engine = fitted()
    answer = await engine.complete(ask(TASK, text, id="1"))
    assert answer.value["area"] in AREAS
    await engine.close()


async def test_of_a_text_without_end_the_beginning_is_read_and_the_rest_is_counted() -> None:
    engine = fitted()
    text = rows(1, 6)[0].input.ljust(LONGEST)
    whole = await engine.complete(ask(TASK, text, id="1"))
    cut = await engine.complete(ask(TASK, text + " and more" * 400_000, id="2"))
    assert (cut.value, cut.confidence) == (whole.value, whole.confidence)
    assert (whole.usage.cut, cut.usage.cut) == (0, 800_000)
    await engine.close()


async def test_weights_that_find_no_place_are_a_store_error_with_a_next_step(tmp_path) -> None:
    with pytest.raises(StoreError, match="cannot be written") as caught:
        fitted().save(tmp_path / "none")
    assert "free disk space" in caught.value.hint


async def test_a_changed_or_unfinished_artefact_is_not_loaded(tmp_path) -> None:
    engine = fitted()
    engine.save(tmp_path)
    with pytest.raises(Missing):
        Linear.load(tmp_path, name="baseline")
    sealed(engine, tmp_path)
    weights = tmp_path / "linear.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    with pytest.raises(Refused, match="was changed"):
        Linear.load(tmp_path, name="baseline")
    weights.write_bytes(b"not weights")
    sealed_again = file_digests(tmp_path)
    assert "linear.safetensors" in sealed_again
    write_manifest(
        tmp_path,
        Manifest(
            engine="linear", task=TASK, base="", base_digest="", dataset="", recipe={}, heads=(), files=sealed_again
        ),
    )
    with pytest.raises(Invalid, match="cannot be read"):
        Linear.load(tmp_path, name="baseline")
    await engine.close()


async def test_a_closed_engine_says_so() -> None:
    engine = fitted()
    await engine.close()
    with pytest.raises(EngineDown):
        await engine.complete(ask(TASK, "spindle", id="1"))


@pytest.mark.parametrize("kind", ["extract", "generate"])
def test_it_only_chooses_among_labels(kind) -> None:
    task = Task(name="t", kind=kind, schema={"type": "object", "properties": {"a": {"type": "string"}}})
    with pytest.raises(Invalid, match="no linear baseline"):
        Linear.fit(task, rows(10), [], name="baseline", progress=quiet)


def test_one_label_or_no_words_leave_nothing_to_learn() -> None:
    same = [row for row in rows(60) if row.target["area"] == "coolant"]
    with pytest.raises(Invalid, match="fewer than two labels of area"):
        Linear.fit(TASK, same, [], name="baseline", progress=quiet)
    blank = [Example(id=str(i), task="defects", input="", target=row.target) for i, row in enumerate(rows(20))]
    with pytest.raises(Invalid, match="no words"):
        Linear.fit(TASK, blank, [], name="baseline", progress=quiet)


async def test_rows_without_one_of_the_labels_still_teach_the_other() -> None:
    part = [Example(id=r.id, task=r.task, input=r.input, target={"urgency": r.target["urgency"]}) if i % 3 else r
            for i, r in enumerate(rows(300))]  # fmt: skip
    engine = Linear.fit(TASK, part, rows(80, 1, "dev"), name="baseline", progress=quiet)
    found = await engine.complete(ask(TASK, "coolant leak, line is down", id="1"))
    assert found.value == {"area": "coolant", "urgency": "high"}
    await engine.close()


@pytest.mark.slow
async def test_it_reaches_its_floor_on_banking77(shared) -> None:
    def read(name):
        with (shared / "banking77" / name).open(newline="") as file:
            return [
                Example(id=str(i), task="b", input=r["text"], target={"intent": r["category"]})
                for i, r in enumerate(csv.DictReader(file))
            ]

    train, test = read("train.csv"), read("test.csv")
    task = Task(
        name="b",
        kind="classify",
        outputs=(Output(name="intent", labels=tuple(sorted({r.target["intent"] for r in train}))),),
    )
    engine = Linear.fit(task, train, [], name="baseline", progress=quiet)
    found = await asyncio.gather(*[engine.complete(ask(task, row.input, id=row.id)) for row in test])
    right = [a.value == row.target for a, row in zip(found, test, strict=True)]
    assert np.mean(right) > 0.909
    assert stats.expected_calibration_error([a.confidence for a in found], right) < 0.04
    await engine.close()

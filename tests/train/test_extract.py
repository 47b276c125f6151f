"""An extract task on a real, very small model: it learns to write its JSON, and is served as it was trained."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from insource.engines.artefact import Manifest, file_digests, read_manifest, write_manifest
from insource.engines.local import LocalModel
from insource.errors import Invalid, Refused
from insource.nouns import Example, Task, ask, from_json
from insource.train.recipe import Recipe

sys.path.insert(0, str(Path(__file__).parent))
import tiny

pytestmark = pytest.mark.slow

SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["heat", "leak", "noise"]},
        "sign": {"type": ["string", "null"], "maxLength": 24},
    },
    "required": ["kind", "sign"],
    "additionalProperties": False,
}
TASK = Task(name="defects", kind="extract", schema=SCHEMA, metric="f1")
RECIPE = Recipe(epochs=40, batch=8, learning_rate=6e-3, rank=16, patience=30)
SHORT = msgspec.structs.replace(RECIPE, epochs=2)


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> LocalModel:
    return LocalModel(name="tiny", folder=tiny.build(tmp_path_factory.mktemp("base"), loud=8), sha256="0" * 64)


def rows(count, split):
    """Reports whose sign is their first word, written with the properties in another order than the schema's."""
    import random

    rng = random.Random(split)  # noqa: S311 - an order, not a secret
    made = []
    for _ in range(count):
        kind = rng.choice(sorted(tiny.WORDS))
        phrase = rng.choice(tiny.WORDS[kind])
        text = f"{phrase} {rng.randint(1, 9)}"
        target = {"sign": phrase.split()[0], "kind": kind}
        made.append(
            Example(
                id=Example.identity("defects", text, target), task="defects", input=text, target=target, split=split
            )
        )
    return made


def fitted(base, folder, recipe=RECIPE, *, train=None, dev=None, task=TASK):
    from insource.train.fit import fit
    from insource.train.loop import Voice

    folder.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    splits = (train or rows(240, "train"), dev or rows(40, "dev"))
    made = fit(task, splits, base, recipe, folder, voice=Voice(said.append, lambda *_: None, 1))
    return made, said


def sealed(base, folder, recipe=RECIPE):
    made, said = fitted(base, folder, recipe)
    manifest = Manifest(
        engine="torch", task=TASK, base="tiny", base_digest=base.sha256, dataset="d", recipe=made.recipe,
        heads=made.heads, calibration=made.calibration, files=file_digests(folder), threshold=made.threshold,
        max_tokens=made.max_tokens, template=made.template,
    )  # fmt: skip
    write_manifest(folder, manifest)
    return made, said


@pytest.fixture(scope="session")
def release(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("release") / "artefact"
    made, said = sealed(base, folder)
    return folder, made, said


def test_it_learns_to_write_the_fields(release):
    folder, made, said = release
    assert made.dev["accuracy"] > 0.5
    assert made.dev["n"] == 40
    assert made.heads == ()
    assert set(made.calibration.fields) == {"kind", "sign"}
    assert any("dev fields right" in line for line in said)
    assert any("tokens/s" in line for line in said), "the estimate is said before training"
    assert read_manifest(folder).calibration == made.calibration
    assert not (folder / "adapter" / "label_rows.safetensors").exists()


async def test_served_answers_are_the_trainers_answers_and_always_hold(release):
    from insource.decode.check import faults
    from insource.engines.extractor import Extractor

    folder, _, _ = release
    engine = Extractor(folder, name="defects@1.0.0", threads=1)
    lines = [from_json(line, dict) for line in (folder / "trainer.jsonl").read_bytes().splitlines()]
    got = [await engine.complete(ask(TASK, row["input"], id=row["id"])) for row in lines]
    odd = [await engine.complete(ask(TASK, text, id="x")) for text in ("", "<|end|>", "x " * 400, "\x00", '{"kind":')]
    await engine.close()
    same = sum(g.value == row["value"] for g, row in zip(got, lines, strict=True))
    assert same >= 0.995 * len(lines)
    for said, row in zip(got, lines, strict=True):
        assert said.confidence == pytest.approx(row["confidence"], abs=0.02)
        assert set(said.fields) == {"kind", "sign"}
        assert list(said.value) == ["kind", "sign"], "in the schema's order"
    for said in [*got, *odd]:
        assert said.finish == "stop"
        assert not faults(SCHEMA, said.value)
        assert all(0 <= sure <= 1 for sure in (said.confidence, *said.fields.values()))


async def test_made_over_for_openvino_it_gives_the_trainers_answers(release, tmp_path):
    pytest.importorskip("openvino")
    from insource.decode.check import faults
    from insource.engines.extractor import Extractor
    from insource.engines.openvino_graph import convert_writer

    folder, _, _ = release
    convert_writer(folder / "model", tmp_path / "model")
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / "model" / name).write_bytes((folder / "model" / name).read_bytes())
    files = file_digests(tmp_path)
    write_manifest(tmp_path, msgspec.structs.replace(read_manifest(folder), engine="openvino", files=files))
    engine = Extractor(tmp_path, name="s", threads=1)
    lines = [from_json(line, dict) for line in (folder / "trainer.jsonl").read_bytes().splitlines()]
    got = [await engine.complete(ask(TASK, row["input"], id=row["id"])) for row in lines]
    await engine.close()
    assert sum(g.value == row["value"] for g, row in zip(got, lines, strict=True)) >= 0.95 * len(lines)
    for said, row in zip(got, lines, strict=True):
        assert not faults(SCHEMA, said.value)
        if said.value == row["value"]:
            assert said.confidence == pytest.approx(row["confidence"], abs=0.1)


async def test_what_is_sure_is_right_more_often(base, tmp_path):
    """A model stopped early is wrong often enough for its confidence to matter."""
    made, _ = fitted(base, tmp_path / "a", msgspec.structs.replace(RECIPE, epochs=12))
    lines = [from_json(line, dict) for line in (tmp_path / "a" / "trainer.jsonl").read_bytes().splitlines()]
    right = [row["value"] == ex.target for row, ex in zip(lines, rows(40, "dev"), strict=True)]
    mean = sum(row["confidence"] for row in lines) / len(lines)
    assert mean == pytest.approx(made.dev["accuracy"], abs=0.12), (
        "on average as sure as right, on the rows it was fitted to"
    )
    assert made.dev["accuracy"] == pytest.approx(sum(right) / len(right))


def test_the_answers_learned_are_in_the_grammars_own_tokens(base):
    from insource.train.writing import Writing

    course = Writing(TASK, (rows(30, "train"), rows(10, "dev")), base, RECIPE)
    [row] = course.data.rows[:1]
    tokens = row.ids[row.read + 1 : -1]
    walk = course._mask.start()
    taken = walk.forced()
    while len(taken) < len(tokens):
        assert tokens[: len(taken)] == taken
        assert walk.allowed()[tokens[len(taken)]]
        walk.advance(tokens[len(taken)])
        taken = [*tokens[: len(taken) + 1], *walk.forced()]
    assert taken == tokens
    assert walk.done
    assert row.ids[-1] == course.encoder.end
    assert row.parts[-1] == len(row.ids)
    assert len(row.parts) == 2


def test_a_target_that_the_grammar_cannot_say_is_left_out_and_counted(base):
    from insource.train.writing import Writing

    good = rows(30, "train")
    bad = msgspec.structs.replace(good[0], target={**good[0].target, "sign": "x" * 30})
    course = Writing(TASK, ([*good, bad], rows(10, "dev")), base, RECIPE)
    assert len(course.data.rows) == 30
    assert "1 rows left out: the grammar cannot say them" in course.plan.why
    with pytest.raises(Invalid, match="split train"):
        Writing(TASK, ([bad], rows(10, "dev")), base, RECIPE)


def test_a_schema_no_grammar_can_hold_is_refused_before_training(base, tmp_path):
    listed = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    unique = {**SCHEMA, "properties": {"a": listed}, "required": ["a"]}
    with pytest.raises(Invalid, match="uniqueItems"):
        fitted(base, tmp_path / "a", task=msgspec.structs.replace(TASK, schema=unique))


def test_a_changed_file_is_never_loaded(base, tmp_path):
    from insource.engines.extractor import Extractor

    sealed(base, tmp_path / "a", SHORT)
    weights = tmp_path / "a" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    with pytest.raises(Refused, match=r"model/model.safetensors was changed"):
        Extractor(tmp_path / "a", name="s")


KILLED = """
    import os, sys
    sys.path[:0] = [{here!r}]
    import test_extract as t
    from pathlib import Path
    from insource.engines.local import LocalModel
    from insource.train import loop
    from insource.train.fit import fit
    from insource.train.loop import Voice
    loop.CHECKPOINT_SECONDS = 0.0
    base = LocalModel(name="tiny", folder=Path({base!r}), sha256="0" * 64)
    folder = Path({folder!r}); folder.mkdir(parents=True, exist_ok=True)
    def progress(what, done, total):
        if done == {at}: os.kill(os.getpid(), 9)
    splits = t.rows(240, "train"), t.rows(40, "dev")
    fit(t.TASK, splits, base, t.SHORT, folder, voice=Voice(lambda s: None, progress, 1))
"""


def test_killed_anywhere_it_resumes_to_the_same_weights(base, tmp_path):
    fitted(base, tmp_path / "whole" / "artefact", SHORT)
    folder = tmp_path / "killed" / "artefact"
    for at in (7, 20):
        code = KILLED.format(here=str(Path(__file__).parent), base=str(base.folder), folder=str(folder), at=at)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    fitted(base, folder, SHORT)
    for name in ("model/model.safetensors", "adapter/adapter_model.safetensors"):
        assert file_digests(folder)[name] == file_digests(tmp_path / "whole" / "artefact")[name]


def test_the_mean_of_several_runs_is_written_with_too(base, tmp_path):
    made, said = fitted(base, tmp_path / "a", msgspec.structs.replace(SHORT, runs=2))
    assert made.dev["n"] == 40
    assert "mean of 2 runs" in " ".join(said)


LONG_TASK = Task(
    name="defects",
    kind="extract",
    schema={
        "type": "object",
        "properties": {"sign": {"type": "array", "items": {"type": "string", "maxLength": 24}}},
        "additionalProperties": False,
    },
)


def long_rows(count, split):
    """Texts of several windows; what is looked for stands in one or two of them."""
    import random

    rng = random.Random(split)  # noqa: S311 - an order, not a secret
    filler = "the pump was looked at and nothing was said "
    made = []
    for i in range(count):
        found = rng.sample(["oil leak at seal", "loud grinding noise", "bearing too hot"], rng.randint(0, 2))
        text = "".join(filler * rng.randint(2, 6) + f"{phrase} {i} " for phrase in found) + filler * 4
        target = {"sign": found} if found else {}
        made.append(
            Example(
                id=Example.identity("defects", text, target), task="defects", input=text, target=target, split=split
            )
        )
    return made


def test_long_texts_are_learned_in_windows_each_with_what_stands_in_it(base):
    from insource.train.course import pieces
    from insource.train.writing import Writing

    train = long_rows(30, "train")
    course = Writing(LONG_TASK, (train, long_rows(6, "dev")), base, msgspec.structs.replace(RECIPE, max_tokens=100))
    found = pieces(course.encoder, train)
    assert len(found) > 100
    assert f"{len(found)} windows of 30 texts" in course.plan.why
    lessons = course._lessons(train)
    for lesson in lessons:
        signs = lesson.target.get("sign", [])
        assert lesson.found == bool(signs)
        assert all(sign in lesson.piece.text for sign in signs)
    for owner, row in enumerate(train):
        said = {sign for one in lessons if one.piece.owner == owner for sign in one.target.get("sign", [])}
        assert said == set(row.target.get("sign", [])), "nothing in a long text is lost"
    with_something = sum(lesson.found for lesson in lessons)
    assert len(course.data.rows) == 2 * with_something
    assert max(len(row.ids) for row in course.data.rows) <= 100 + 60


def test_a_long_text_is_answered_whole_with_places_as_its_trainer_did(base, tmp_path):
    """The trainer, which merges windows by itself, and the engine around the engine, as served, agree."""
    import asyncio

    from insource.engines.extractor import Extractor
    from insource.engines.windowed import Windowed

    dev = long_rows(6, "dev")
    recipe = msgspec.structs.replace(RECIPE, max_tokens=100, epochs=4)
    made, _ = fitted(base, tmp_path / "a", recipe, train=long_rows(30, "train"), dev=dev, task=LONG_TASK)
    manifest = Manifest(
        engine="torch", task=LONG_TASK, base="tiny", base_digest=base.sha256, dataset="d", recipe=made.recipe, heads=(),
        calibration=made.calibration, files=file_digests(tmp_path / "a"), max_tokens=made.max_tokens,
        template=made.template,
    )  # fmt: skip
    write_manifest(tmp_path / "a", manifest)
    lines = [from_json(line, dict) for line in (tmp_path / "a" / "trainer.jsonl").read_bytes().splitlines()]

    async def story():
        engine = Windowed(Extractor(tmp_path / "a", name="s", threads=1))
        got = [await engine.complete(ask(LONG_TASK, row.input, id=row.id)) for row in dev]
        await engine.close()
        return got

    for said, row, line in zip(asyncio.run(story()), dev, lines, strict=True):
        assert line["input"] == row.input
        assert said.value == line["value"]
        assert said.confidence == pytest.approx(line["confidence"], abs=0.02)
        assert said.usage.cut == 0
        for sign, at in zip(said.value.get("sign", []), said.places.get("sign", []), strict=True):
            assert at is None or row.input[at[0] : at[1]] == sign

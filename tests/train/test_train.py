"""The loop on a real, very small model: it learns, it resumes to the same weights, it exports what it trained."""

import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from insource.engines.artefact import Manifest, file_digests, write_manifest
from insource.engines.local import LocalModel
from insource.errors import Invalid, Missing, Refused
from insource.nouns import Output, Risk, Task, ask, from_json
from insource.train.recipe import Recipe, derive, load_recipe

sys.path.insert(0, str(Path(__file__).parent))
import tiny

ONE = Task(name="defects", kind="classify", outputs=(Output(name="category", labels=("heat", "leak", "noise")),))
TWO = Task(
    name="defects",
    kind="classify",
    outputs=(Output(name="category", labels=("heat", "leak", "noise")), Output(name="urgency", labels=("high", "low"))),
    risk=Risk(max_error=0.2),
)
RECIPE = Recipe(epochs=6, batch=16, learning_rate=5e-3, rank=4, patience=6)
TWICE = msgspec.structs.replace(RECIPE, epochs=3, runs=2)


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> LocalModel:
    return LocalModel(name="tiny", folder=tiny.build(tmp_path_factory.mktemp("base")), sha256="0" * 64)


def fitted(task, base, folder, recipe=RECIPE, threads=1):
    from insource.train.fit import fit
    from insource.train.loop import Voice

    folder.mkdir(parents=True, exist_ok=True)
    splits = tiny.rows(task, 240, "train"), tiny.rows(task, 60, "dev")
    said: list[str] = []
    made = fit(task, splits, base, recipe, folder, voice=Voice(said.append, lambda *_: None, threads))
    return made, said


def sealed(task, base, folder, recipe=RECIPE):
    made, _ = fitted(task, base, folder, recipe)
    manifest = Manifest(
        engine="torch", task=task, base=base.name, base_digest=base.sha256, dataset="d", recipe=made.recipe,
        heads=made.heads, files=file_digests(folder), threshold=made.threshold,
        max_tokens=made.max_tokens, template=made.template,
    )  # fmt: skip
    write_manifest(folder, manifest)
    return made


def test_learns_two_outputs_each_read_after_the_last(base, tmp_path):
    made, said = fitted(TWO, base, tmp_path / "artefact")
    assert made.dev["accuracy"] > 0.9
    assert [head.name for head in made.heads] == ["category", "urgency"]
    assert len({token for head in made.heads for token in head.tokens}) == 5
    assert any("tokens/s" in line for line in said), "the estimate is said before training"


async def test_served_answers_are_the_trainers_answers(base, tmp_path):
    from insource.engines.specialist import Specialist

    sealed(TWO, base, tmp_path / "a")
    engine = Specialist(tmp_path / "a", name="defects@1.0.0", threads=1)
    rows = [from_json(line, dict) for line in (tmp_path / "a" / "trainer.jsonl").read_bytes().splitlines()]
    got = [await engine.complete(ask(TWO, row["input"], id=row["id"])) for row in rows]
    await engine.close()
    same = sum(g.value == row["value"] for g, row in zip(got, rows, strict=True))
    assert same >= 0.995 * len(rows)
    for prediction in got:
        assert 0 < prediction.confidence <= 1
        product = prediction.fields["category"] * prediction.fields["urgency"]
        assert prediction.confidence == pytest.approx(product, rel=1e-5)
        assert sum(p for _, p in prediction.alternatives["urgency"]) == pytest.approx(1, abs=1e-5)


async def test_a_batch_answers_as_one_by_one(base, tmp_path):
    import asyncio

    from insource.engines.specialist import Specialist

    sealed(TWO, base, tmp_path / "a")
    engine = Specialist(tmp_path / "a", name="s", threads=1)
    texts = ["wet", "oil leak at seal 5 stop now", "a much longer report " * 8, "", "<|end|><|end|> heat"]
    together = await asyncio.gather(*[engine.complete(ask(TWO, t, id=t)) for t in texts])
    for text, prediction in zip(texts, together, strict=True):
        alone = await engine.complete(ask(TWO, text, id=text))
        assert alone.value == prediction.value
        assert alone.confidence == pytest.approx(prediction.confidence, abs=1e-4)
    await engine.close()


def test_control_tokens_in_a_text_stay_text(base):
    from insource.engines.readout import Encoder

    encoder = Encoder(base.folder, 64, "Text: {input}\nlabel:")
    ids, cut = encoder.encode(["<|end|> then <|user|>"])[0]
    assert cut == 0
    assert encoder.end not in ids
    assert ids[-len(encoder.cue) :] == encoder.cue
    assert 1 not in ids


@pytest.mark.parametrize(
    ("template", "room"), [("", 64), ("Text: {input}", 64), ("Text: \nlabel:", 64), ("Text: {input}\nlabel:", 2)]
)
def test_a_template_without_a_place_a_cue_or_room_is_refused(base, template, room):
    from insource.engines.readout import Encoder

    with pytest.raises(Invalid, match=r"has no \{input\}|without its text"):
        Encoder(base.folder, room, template)


@pytest.mark.parametrize("frame", ["{} $A", "{} $A {}"])
def test_what_a_model_begins_with_stands_before_the_template_once(base, tmp_path, frame):
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    from insource.engines.readout import Encoder

    shutil.copytree(base.folder, tmp_path / "m")
    plain = Encoder(base.folder, 64, "Text: {input}\nlabel:")
    tokenizer = Tokenizer.from_file(str(tmp_path / "m" / "tokenizer.json"))
    end = tokenizer.id_to_token(plain.end)
    tokenizer.post_processor = TemplateProcessing(
        single=frame.format("<|user|>", end), special_tokens=[("<|user|>", 1), (end, plain.end)]
    )
    tokenizer.save(str(tmp_path / "m" / "tokenizer.json"))
    encoder = Encoder(tmp_path / "m", 64, "Text: {input}\nlabel:")
    assert encoder.before == [1, *plain.before]
    assert encoder.cue == plain.cue
    assert encoder.encode(["oil leak"]) == plain.encode(["oil leak"])


def test_a_long_text_keeps_both_ends(base):
    from insource.engines.readout import Encoder

    whole, _ = Encoder(base.folder, 10_000, "{input}\n").encode(["start " + "x " * 300 + "finish"])[0]
    ids, cut = Encoder(base.folder, 32, "{input}\n").encode(["start " + "x " * 300 + "finish"])[0]
    assert len(ids) == 32
    assert cut == len(whole) - 32
    assert ids[:4] == whole[:4]
    assert ids[-4:] == whole[-4:]


async def test_a_changed_file_is_never_loaded(base, tmp_path):
    from insource.engines.specialist import Specialist

    sealed(ONE, base, tmp_path / "a")
    weights = tmp_path / "a" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    with pytest.raises(Refused, match=r"model/model.safetensors was changed"):
        Specialist(tmp_path / "a", name="s")


KILLED = """
    import os, sys
    sys.path[:0] = [{here!r}]
    import test_train as t, tiny
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
    splits = tiny.rows(t.TWO, 240, "train"), tiny.rows(t.TWO, 60, "dev")
    fit(t.TWO, splits, base, t.TWICE, folder, voice=Voice(lambda s: None, progress, 1))
"""


@pytest.mark.slow
def test_killed_anywhere_it_resumes_to_the_same_weights(base, tmp_path):
    fitted(TWO, base, tmp_path / "whole" / "artefact", TWICE)
    folder = tmp_path / "killed" / "artefact"
    here = str(Path(__file__).parent)
    for at in (1, 7, 15, 16, 40, 80):
        code = textwrap.dedent(KILLED.format(here=here, base=str(base.folder), folder=str(folder), at=at))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    fitted(TWO, base, folder, TWICE)
    for name in ("model/model.safetensors", "adapter/adapter_model.safetensors", "adapter/label_rows.safetensors"):
        assert file_digests(folder)[name] == file_digests(tmp_path / "whole" / "artefact")[name]


def test_other_rows_do_not_resume_a_run(base, tmp_path):
    from insource.train import checkpoint

    made, _ = fitted(ONE, base, tmp_path / "artefact")
    assert made
    assert checkpoint.load(tmp_path / "checkpoint.safetensors", "another run") is None


def weights(folder):
    from safetensors.torch import load_file

    return {name: tensor.float() for name, tensor in load_file(folder / "model" / "model.safetensors").items()}


@pytest.mark.slow
def test_several_runs_end_in_the_mean_of_their_weights(base, tmp_path):
    import torch

    _, said = fitted(ONE, base, tmp_path / "mean" / "artefact", TWICE)
    alone = []
    for seed in (0, 1):
        fitted(ONE, base, tmp_path / str(seed) / "artefact", msgspec.structs.replace(TWICE, runs=1, seed=seed))
        alone.append(weights(tmp_path / str(seed) / "artefact"))
    for name, tensor in weights(tmp_path / "mean" / "artefact").items():
        torch.testing.assert_close(tensor, (alone[0][name] + alone[1][name]) / 2, rtol=0.02, atol=2e-3)
    assert sum(not torch.allclose(alone[0][name], alone[1][name], atol=2e-3) for name in alone[0]) >= 14
    assert [sum(f"run {number} of 2" in line for line in said) for number in (1, 2)] == [3, 3]
    assert "mean of 2 runs" in said[-1]


def test_a_mean_that_is_worse_than_the_best_run_is_not_kept(base, tmp_path, monkeypatch):
    import torch

    from insource.train import soup

    monkeypatch.setattr(soup, "_mean", lambda ends, _: [torch.zeros_like(tensor) for tensor in ends[0]])
    _, said = fitted(ONE, base, tmp_path / "mean" / "artefact", TWICE)
    assert said[-1].endswith("is better and kept")
    seed = int(said[-1].split("run ")[1].split()[0]) - 1
    fitted(ONE, base, tmp_path / "one" / "artefact", msgspec.structs.replace(TWICE, runs=1, seed=seed))
    one, kept = weights(tmp_path / "one" / "artefact"), weights(tmp_path / "mean" / "artefact")
    assert all(torch.equal(one[name], kept[name]) for name in one)


@pytest.fixture
def two_threads():
    import torch

    before = torch.get_num_threads()
    yield 2
    torch.set_num_threads(before)


def test_runs_side_by_side_end_in_the_weights_of_runs_one_after_another(base, tmp_path, two_threads):
    import torch

    fitted(TWO, base, tmp_path / "a" / "artefact", TWICE)
    fitted(TWO, base, tmp_path / "b" / "artefact", TWICE, two_threads)
    one, other = weights(tmp_path / "a" / "artefact"), weights(tmp_path / "b" / "artefact")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_run_that_ends_badly_ends_its_neighbours_too(base, tmp_path, two_threads, error):
    from insource.train.fit import fit
    from insource.train.loop import Voice

    seen: list[int] = []

    def progress(_: str, done: int, total: int) -> None:
        seen.append(total - done)
        if done == total // 4:
            raise error("enough")

    splits = tiny.rows(ONE, 240, "train"), tiny.rows(ONE, 60, "dev")
    with pytest.raises(error):
        fit(ONE, splits, base, TWICE, tmp_path, voice=Voice(lambda _: None, progress, two_threads))
    assert min(seen) > seen[0] // 2
    assert not (tmp_path / "history.json").exists()


def test_progress_and_history_go_through_all_runs(base, tmp_path):
    from insource.train.fit import fit
    from insource.train.loop import Voice

    seen: list[tuple[int, int]] = []
    voice = Voice(lambda _: None, lambda _, done, total: seen.append((done, total)), 1)
    splits = tiny.rows(ONE, 240, "train"), tiny.rows(ONE, 60, "dev")
    fit(ONE, splits, base, TWICE, tmp_path, voice=voice)
    assert [done for done, _ in seen] == list(range(1, seen[0][1] + 1))
    checks = from_json((tmp_path / "history.json").read_bytes(), dict)["checks"]
    assert len(checks) == 2 * TWICE.epochs + 1
    assert checks[-1]["step"] == seen[0][1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers in the old words
@pytest.mark.parametrize("recipe", [RECIPE, TWICE], ids=["one run", "the mean of two"])
def test_the_adapter_is_one_that_peft_loads_to_the_same_outputs(base, tmp_path, recipe):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    sealed(ONE, base, tmp_path / "a", recipe)
    rank = from_json((tmp_path / "a" / "adapter" / "adapter_config.json").read_bytes(), dict)["r"]
    assert rank == RECIPE.rank * recipe.runs
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base.folder), tmp_path / "a" / "adapter")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "a" / "model", dtype=torch.float32)
    ids = torch.tensor([[5, 9, 14, 30, 0]])
    with torch.inference_mode():
        a = adapted.base_model.model.model(input_ids=ids).last_hidden_state
        b = merged.model(input_ids=ids).last_hidden_state
    assert torch.allclose(a, b, atol=0.05)


def test_an_empty_split_and_other_kinds_are_refused(base, tmp_path):
    from insource.train.fit import fit
    from insource.train.loop import Voice

    voice = Voice(lambda _: None, lambda *_: None)
    with pytest.raises(Invalid, match="train and dev"):
        fit(ONE, ([], []), base, RECIPE, tmp_path, voice=voice)
    free = Task(name="x", kind="generate")
    with pytest.raises(Invalid, match="only classify and extract"):
        fit(free, ([], []), base, RECIPE, tmp_path, voice=voice)


def test_too_few_tokens_for_a_text_are_refused():
    with pytest.raises(Invalid, match="max_tokens is 4"):
        derive(Recipe(max_tokens=4), [20] * 100)


def test_what_a_recipe_leaves_open_is_derived_and_said():
    plan = derive(Recipe(rank=8), [20] * 6000)
    assert (plan.recipe.epochs, plan.recipe.batch, plan.recipe.rank) == (3, 32, 8)
    assert plan.steps == 3 * 188
    assert len(plan.why) == 4
    assert derive(plan.recipe, [20] * 6000).why == ()


def test_an_unknown_dial_is_named(tmp_path):
    (tmp_path / "recipe.toml").write_text("epoch = 3\n")
    with pytest.raises(Invalid, match="epoch"):
        load_recipe(tmp_path / "recipe.toml")
    with pytest.raises(Missing):
        load_recipe(tmp_path / "none.toml")
    for seed in (-1, 99999999999999999999):
        (tmp_path / "recipe.toml").write_text(f"seed = {seed}\n")
        with pytest.raises(Invalid, match="seed"):
            load_recipe(tmp_path / "recipe.toml")
    (tmp_path / "recipe.toml").write_text("epochs = 3\nlearning_rate = 5e-4\n")
    assert load_recipe(tmp_path / "recipe.toml") == msgspec.structs.replace(Recipe(), epochs=3, learning_rate=5e-4)


async def test_a_long_text_is_several_rows_and_its_windows_vote_as_the_trainer_did(base, tmp_path):
    from insource.engines.specialist import Specialist
    from insource.engines.windowed import Windowed

    long = msgspec.structs.replace(RECIPE, max_tokens=40, epochs=3)
    rows = [
        msgspec.structs.replace(row, input=(row.input + " and so on ") * 4)
        for row in (*tiny.rows(ONE, 60, "train"), *tiny.rows(ONE, 30, "dev"))
    ]
    from insource.train.fit import fit
    from insource.train.labels import Labelling
    from insource.train.loop import Voice

    splits = rows[:60], rows[60:]
    course = Labelling(ONE, splits, base, msgspec.structs.replace(long, label_names=False))
    assert len(course.data.rows) > 120
    assert {row.targets for row in course.data.rows} == {(0,), (1,), (2,)}
    folder = tmp_path / "a"
    folder.mkdir()
    made = fit(ONE, splits, base, long, folder, voice=Voice(lambda _: None, lambda *_: None, 1))
    assert made.dev["n"] == 30, "one answer a text, not a window"
    write_manifest(
        folder,
        Manifest(
            engine="torch", task=ONE, base="tiny", base_digest=base.sha256, dataset="d", recipe=made.recipe,
            heads=made.heads, files=file_digests(folder), max_tokens=made.max_tokens, template=made.template,
        ),
    )  # fmt: skip
    engine = Windowed(Specialist(folder, name="s", threads=1))
    lines = [from_json(line, dict) for line in (folder / "trainer.jsonl").read_bytes().splitlines()]
    for line in lines:
        said = await engine.complete(ask(ONE, line["input"], id=line["id"]))
        assert said.value == line["value"]
        assert said.confidence == pytest.approx(line["confidence"], abs=0.01)
        assert said.usage.cut == 0
    await engine.close()

"""Several specialists on one base network: each answers as from its own merged weights, in the memory of one base."""

import asyncio
import gc
import os
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from insource.engines.artefact import Manifest, file_digests, read_manifest, write_manifest
from insource.engines.local import LocalModel
from insource.engines.models import find, resolve
from insource.engines.prefix import Prefix
from insource.engines.readout import Encoder, Reader, load_body, pick_dtype
from insource.engines.shared_base import Adapter, Base, Bases, SharedReader, load_adapter
from insource.engines.specialist import Specialist
from insource.errors import EngineDown, Invalid, Missing, Refused
from insource.journeys.answer import answer
from insource.journeys.promote import verify
from insource.journeys.serve import close_path, open_live
from insource.nouns import Output, Release, Task, ask, digest, from_json
from insource.release.gate import agreement
from insource.release.task_file import task_files
from insource.settings import Settings, cache_folder, load_settings
from insource.store import Store
from insource.train.recipe import Recipe

sys.path.insert(0, str(Path(__file__).parent))
import tiny

CAUSE = Output(name="category", labels=("heat", "leak", "noise"))
URGENCY = Output(name="urgency", labels=("high", "low"))
TASKS = {
    "cause": Task(name="cause", kind="classify", outputs=(CAUSE,)),
    "urgency": Task(name="urgency", kind="classify", outputs=(URGENCY,)),
    "both": Task(name="both", kind="classify", outputs=(CAUSE, URGENCY)),
}
RANKS = {"cause": 4, "urgency": 2, "both": 8}
NEAR, TIE = 0.02, 0.6
WINDOW = {"cause": 0, "urgency": 0, "both": 600}  # beyond EAGER_TOKENS attention is computed another way


def quiet(*_):
    """No progress."""


def trained(task: Task, base: LocalModel, folder: Path, *, recipe: Recipe | None = None, splits=None) -> Path:
    """A sealed artefact, by the trainer itself."""
    from insource.train.fit import fit
    from insource.train.loop import Voice

    folder.mkdir(parents=True)
    quick = Recipe(epochs=3, batch=16, learning_rate=5e-3, rank=RANKS[task.name], max_tokens=WINDOW[task.name])
    recipe, splits = recipe or quick, splits or (tiny.rows(task, 240, "train"), tiny.rows(task, 60, "dev"))
    made = fit(task, splits, base, recipe, folder, voice=Voice(quiet, quiet, 1))
    manifest = Manifest(
        engine="torch", task=task, base=base.name, base_digest=base.sha256, dataset="d", recipe=made.recipe,
        heads=made.heads, files=file_digests(folder), max_tokens=made.max_tokens, template=made.template,
    )  # fmt: skip
    write_manifest(folder, manifest)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with `cache`, `base` and an artefact per task."""
    root = tmp_path_factory.mktemp("shared")
    base = resolve(f"file:{tiny.build(root / 'base')}", root / "cache", progress=quiet)
    for name, task in TASKS.items():
        trained(task, base, root / name)
    return root


def opened(place: Path, name: str, bases: Bases | None) -> Specialist:
    return Specialist(place / name, name=f"{name}@1.0.0", threads=1, bases=bases)


async def answers(engine: Specialist, name: str, rows: list) -> list:
    return await asyncio.gather(*[engine.complete(ask(TASKS[name], row.input, id=row.id)) for row in rows])


def marked(engine: Specialist, row):
    """The row's text with a label's own token in it, which the merged model knows another embedding for."""
    token = engine.manifest.heads[0].tokens[0]
    word = engine._encoder._text.tokenizer.decode([token])
    return msgspec.structs.replace(row, input=f"{word} {row.input}")


def apart(some: list, others: list) -> float:
    """The mean difference of the confidence."""
    return sum(abs(a.confidence - b.confidence) for a, b in zip(some, others, strict=True)) / len(some)


async def test_each_answers_as_from_its_own_merged_weights_whoever_called_before(place):
    bases = Bases(place / "cache")
    shared = {name: opened(place, name, bases) for name in TASKS}
    assert len({id(engine._reader.base) for engine in shared.values()}) == 1
    for turn in range(2):
        for name, task in TASKS.items():
            merged = opened(place, name, None)
            rows = [marked(merged, row) for row in tiny.rows(task, 80, f"test{turn}")]
            expected, got = await answers(merged, name, rows), await answers(shared[name], name, rows)
            await merged.close()
            others = [e for g, e in zip(got, expected, strict=True) if g.value != e.value]
            assert len(others) <= 0.05 * len(rows)
            assert all(min(e.fields.values()) < TIE for e in others), "only what is nearly a tie may turn"
            assert apart(got, expected) < NEAR
    for engine in shared.values():
        await engine.close()


async def test_without_its_own_factors_or_embedded_labels_the_answers_are_others(place):
    """The control of the test above: what it compares would show a wrong adapter, and a forgotten embedding."""
    bases = Bases(place / "cache")
    merged, shared = opened(place, "both", None), opened(place, "both", bases)
    rows = [marked(merged, row) for row in tiny.rows(TASKS["both"], 80, "test")]
    expected = await answers(merged, "both", rows)
    whole = shared._reader.adapter
    for part in ({"factors": {}}, {"rows": whole.rows * 0}):
        shared._reader.adapter = Adapter(**{**vars(whole), **part})
        shared._reader._reader.prefix.renew()
        assert apart(await answers(shared, "both", rows), expected) > NEAR, part.keys()
    await merged.close()
    await shared.close()


@pytest.mark.parametrize("name", TASKS)
def test_its_logits_are_those_of_weights_merged_in_full(place, name):
    """In float32 on both sides, where the merged weights of an artefact are rounded to bfloat16."""
    import torch

    folder, manifest = place / name, read_manifest(place / name)
    encoder = Encoder(folder / "model", manifest.max_tokens, manifest.template)
    base = Base(place / "base", 1)
    base.body.float()
    adapter = load_adapter(folder, manifest, base.body)
    body = load_body(place / "base", device="cpu", dtype=pick_dtype("cpu"), longest=manifest.max_tokens).float()
    for layer, (a, b) in adapter.factors.items():
        body.get_submodule(layer).weight += b @ a
    body.get_input_embeddings().weight[adapter.tokens] = adapter.rows
    tokens = [head.tokens for head in manifest.heads]
    merged = Reader(Prefix(body, encoder.before), adapter.labels, tokens, end=encoder.end)
    encoded = [ids for ids, _ in encoder.encode([row.input for row in tiny.rows(TASKS[name], 60, "test")])]
    found = SharedReader(base, adapter, manifest, encoder).logits(encoded)
    for ours, theirs in zip(found, merged.logits(encoded), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


async def test_calls_of_several_specialists_at_once_do_not_mix(place):
    bases = Bases(place / "cache")
    shared = {name: opened(place, name, bases) for name in TASKS}
    rows = {name: tiny.rows(task, 120, "mixed") for name, task in TASKS.items()}
    alone = {name: [p.value for p in await answers(shared[name], name, rows[name])] for name in TASKS}
    calls = [(name, rows[name][i]) for i in range(120) for name in TASKS]
    said = await asyncio.gather(*[shared[n].complete(ask(TASKS[n], r.input, id=r.id)) for n, r in calls])
    for name in TASKS:
        assert [p.value for p, (n, _) in zip(said, calls, strict=True) if n == name] == alone[name]
        await shared[name].close()


async def test_the_base_is_loaded_once_and_goes_with_its_last_specialist(place):
    bases = Bases(place / "cache")
    first, second = opened(place, "cause", bases), opened(place, "urgency", bases)
    assert len(bases._held) == 1
    for engine in (first, second):
        await engine.close()
    del first, second, engine
    gc.collect()
    assert not bases._held


def changed(place: Path, tmp_path: Path, **fields) -> Path:
    """The artefact of `cause` under another manifest."""
    folder = tmp_path / "cause"
    folder.mkdir()
    for part in ("model", "adapter", "trainer.jsonl", "history.json"):
        (folder / part).symlink_to(place / "cause" / part)
    write_manifest(folder, msgspec.structs.replace(read_manifest(place / "cause"), **fields))
    return folder


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"base": "file:/nowhere/at/all"}, Missing, "nowhere"),
        ({"base": "smollm2-135m"}, Missing, "is not on this machine"),
        ({"base_digest": "f" * 64}, Refused, "was trained on ffff"),
    ],
)
def test_a_base_that_is_absent_or_another_is_refused_by_name(place, tmp_path, fields, error, words):
    manifest = msgspec.structs.replace(read_manifest(place / "cause"), **fields)
    with pytest.raises(error, match=words) as said:
        Bases(place / "cache").reader(place / "cause", manifest, 1)
    assert said.value.hint


def test_a_base_whose_files_were_changed_is_refused(tmp_path):
    base = resolve(f"file:{tiny.build(tmp_path / 'base')}", tmp_path / "cache", progress=quiet)
    folder = trained(TASKS["cause"], base, tmp_path / "cause")
    weights = tmp_path / "base" / "model.safetensors"
    stat, data = weights.stat(), bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(Refused, match="safetensors was changed"):
        Bases(tmp_path / "cache").reader(folder, read_manifest(folder), 1)


def test_an_adapter_that_is_missing_or_of_another_shape_is_refused(place, tmp_path):
    from safetensors.torch import load_file, save_file

    bases, manifest = Bases(place / "cache"), read_manifest(place / "cause")
    engine = opened(place, "cause", bases)
    body = engine._reader.base.body
    with pytest.raises(Invalid, match="has no adapter"):
        load_adapter(tmp_path, manifest, body)
    (tmp_path / "model").symlink_to(place / "cause" / "model")
    (tmp_path / "adapter").mkdir()
    for path in (place / "cause" / "adapter").iterdir():
        (tmp_path / "adapter" / path.name).write_bytes(path.read_bytes())
    factors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    name = next(name for name in factors if "lora_B" in name)
    save_file(factors | {name: factors[name][:-1].contiguous()}, tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(EngineDown, match="does not fit its base model"):
        load_adapter(tmp_path, manifest, body)
    asyncio.run(engine.close())


def served(place: Path, root: Path, share: str) -> Settings:
    """A workspace with the task files and artefacts of `cause` and `urgency`."""
    for name in ("cause", "urgency"):
        for file, text in task_files(msgspec.structs.replace(TASKS[name], metric="accuracy")).items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(text)
        shutil.copytree(place / name, root / ".insource" / "releases" / name / "1.0.0")
    (root / "insource.toml").write_text(f"[workspace]\nthreads = 1\nshare_base = {share}\n")
    return load_settings(root, {"INSOURCE_CACHE": str(place / "cache")})


async def live(store: Store, settings: Settings) -> None:
    for name in ("cause", "urgency"):
        folder = f"releases/{name}/1.0.0"
        artefact = digest((settings.state / folder / "manifest.json").read_bytes())
        release = Release(task=name, version="1.0.0", engine="torch", base="b", dataset="d", recipe="r",
                          artefact=artefact, folder=folder, stage="live")  # fmt: skip
        await store.add_release(release)


@pytest.mark.parametrize("share", ["true", "false"])
async def test_the_setting_decides_what_the_gateway_loads_and_verify_says_what_it_needs(place, tmp_path, share):
    settings = served(place, tmp_path / "w", share)
    async with await Store.open(settings) as store:
        await live(store, settings)
        paths, problems = await open_live(settings, store)
        assert not problems
        readers = [paths[name].tiers[0].engine.engine._reader for name in ("cause", "urgency")]
        if share == "true":
            assert readers[0].base is readers[1].base
            assert readers[0].encoder._text is readers[1].encoder._text
        else:
            assert [type(reader) for reader in readers] == [Reader, Reader]
        row = tiny.rows(TASKS["cause"], 1, "x")[0]
        record = await answer(ask(paths["cause"].task, row.input, id="r"), paths["cause"], store.append)
        assert record.answer is not None
        for path in paths.values():
            await close_path(path)
        release = await store.release("cause", "1.0.0")
        assert (await verify(release, settings)).whole
        nowhere = msgspec.structs.replace(settings, cache=tmp_path / "empty")
        assert (await verify(release, nowhere)).whole is (share == "false")


@pytest.mark.slow
async def test_with_real_weights_it_says_what_its_trainer_saw(tmp_path):
    """The gate's own check, on SmolLM2: served from the shared base, labels are those of the trainer's evaluation."""
    base = find("smollm2-135m", cache_folder())
    if base is None:
        pytest.skip("no base model on this disk: insource models pull smollm2-135m")
    task, folder = TASKS["both"], tmp_path / "both"
    recipe = Recipe(epochs=2, batch=16, learning_rate=1e-3, rank=16)
    splits = tiny.rows(task, 200, "train"), tiny.rows(task, 200, "dev")
    trained(task, base, folder, recipe=recipe, splits=splits)
    said = [from_json(line, dict) for line in (folder / "trainer.jsonl").read_bytes().splitlines()]
    engine = Specialist(folder, name="both@1.0.0", threads=2, bases=Bases(cache_folder()))
    got = await asyncio.gather(*[engine.complete(ask(task, row["input"], id=row["id"])) for row in said])
    await engine.close()
    assert agreement([row["value"] for row in said], [p.value for p in got]).passed

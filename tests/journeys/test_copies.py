"""A copy for another server is read by that server beside the release, on the task's own rows; or it says why not."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from insource.cli.main import main
from insource.engines import copied
from insource.engines.copied import NO_4_BITS, Copied, Reader, reader_of
from insource.engines.gptq_write import SAMPLES, samples
from insource.engines.readout import has_avx512
from insource.errors import EngineDown, Invalid
from insource.journeys.collect import collect
from insource.journeys.copies import Order, copy
from insource.journeys.train import train
from insource.nouns import Output, Task, ask
from insource.settings import load_settings, load_task
from insource.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import tiny

LABELS = {"category": ("heat", "leak", "noise"), "urgency": ("high", "low")}
TOML = """
name = "defects"
kind = "classify"
{outputs}
[acceptance]
accuracy = 0.2
"""


async def released(folder: Path, outputs: tuple[str, ...], *, width: int = 48, vllm: str = ""):
    """A workspace with one trained release: settings, store and it."""
    (folder / "tasks").mkdir(parents=True)
    (folder / "insource.toml").write_text(f"[workspace]\nthreads = 1\nvllm = {json.dumps(vllm)}\n")
    said = "\n".join(f"[outputs.{name}]\nlabels = {json.dumps(LABELS[name])}" for name in outputs)
    (folder / "tasks" / "defects.toml").write_text(TOML.format(outputs=said))
    (folder / "recipe.toml").write_text("epochs = 6\npatience = 6\nbatch = 16\nrank = 4\nlearning_rate = 5e-3\n")
    task = Task(
        name="defects", kind="classify", outputs=tuple(Output(name=name, labels=LABELS[name]) for name in outputs)
    )
    made = [{"input": f"{row.input} no {i}", **row.target} for i, row in enumerate(tiny.rows(task, 400, "x"))]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    settings = load_settings(folder)
    store = await Store.open(settings)
    await collect("defects", [folder / "rows.jsonl"], settings, store)
    base = tiny.build(folder / "base", width=width)
    release = await train(
        load_task(settings, "defects"), settings, store, base=f"file:{base}", recipe=folder / "recipe.toml"
    )
    return settings, store, release


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [("category",), ("category", "urgency")], ids=["one output", "two outputs"])
@pytest.mark.parametrize("form", ["hf", "gguf-f16"])
async def test_a_copy_is_measured_beside_its_release(tmp_path, form, outputs):
    if form.startswith("gguf"):
        pytest.importorskip("xllamacpp")
    settings, store, release = await released(tmp_path / "w", outputs)
    async with store:
        made = await copy(release, Order(out=tmp_path / "out", form=form, rows=24), settings, store)
    assert made.unmeasured == ""
    assert {candidate.candidate for candidate in made.report.candidates} == {release.name, form}
    pair = next(pair for pair in made.report.pairs if pair.metric == "accuracy")
    assert {pair.a, pair.b} == {release.name, form}
    assert pair.n == 24
    assert abs(pair.difference) <= 2 / 24
    assert pair.low <= pair.difference <= pair.high
    assert all(held > 20 for held in made.memory_mb.values())
    assert set(made.memory_mb) == {release.name, form}
    assert all(candidate.failures.invalid == 0 for candidate in made.report.candidates)


async def test_where_nothing_reads_a_copy_it_says_what_to_install(tmp_path, monkeypatch):
    settings, store, release = await released(tmp_path / "w", ("category",))
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    async with store:
        made = await copy(release, Order(out=tmp_path / "out", form="gguf-f16"), settings, store)
        plain = await copy(release, Order(out=tmp_path / "plain"), settings, store)
    assert made.unmeasured == "pip install xllamacpp"
    assert made.report is None
    assert "Modelfile" in made.files
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "plain").iterdir()} == {0o644}
    assert plain.unmeasured == "the weights are those of the release"


@pytest.mark.slow
def test_the_door_says_how_large_how_good_and_how_fast_a_copy_is(tmp_path):
    import anyio

    async def prepare():
        _, store, _ = await released(tmp_path / "w", ("category",))
        await store.close()

    anyio.run(prepare)
    words = ["-C", str(tmp_path / "w"), "release", "export", "defects", "--format", "hf", "--rows", "20"]
    said = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "a")])
    assert said.exit_code == 0, said.output
    for part in ("on disk", "memory", "accuracy", "rows/s", " MB ", "points (", "n 20", "model.safetensors"):
        assert part in said.stdout, part
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "b"), "--json"])
    document = json.loads(done.stdout)
    assert document["memory_mb"]["hf"] > 20
    assert document["report"]["pairs"][0]["n"] == 20


@pytest.mark.slow
async def test_a_server_that_does_not_start_gives_its_last_words(tmp_path):
    task = Task(name="defects", kind="classify", outputs=(Output(name="category", labels=LABELS["category"]),))
    reader = reader_of("hf", "")
    assert isinstance(reader, Reader)
    engine = Copied("hf", tmp_path, reader, task)
    with pytest.raises(EngineDown, match="the server of hf ended"):
        await engine.start(1)
    await engine.close()
    with pytest.raises(EngineDown, match="is closed"):
        await engine.complete(ask(task, "x", id="x"))


def test_samples_are_the_ends_of_the_rows_that_are_long_enough():
    rows = [list(range(length)) for length in (3, 9, 7, 5, 8, 6, 10, 4)]
    found = samples(rows)
    assert {len(row) for row in found} == {5}
    assert [row[-1] for row in found] == [8, 6, 4, 7, 5, 9]
    assert samples([]) == []
    assert len(samples(rows * 100)) == SAMPLES


@pytest.mark.parametrize(("able", "said"), [(True, "vllm"), (False, NO_4_BITS)])
def test_4_bits_are_measured_where_vllm_multiplies_them(monkeypatch, able, said):
    monkeypatch.setattr(copied, "pick_device", lambda: "cpu")
    monkeypatch.setattr(copied, "has_avx512", lambda: able)
    found = copied.reader_of("gptq", "/a/python")
    assert (found if isinstance(found, str) else found.server) == said
    monkeypatch.setattr(copied, "pick_device", lambda: "cuda")
    assert copied.reader_of("gptq", "/a/python").server == "vllm"


async def test_4_bits_without_the_quantizer_say_what_to_install(tmp_path, monkeypatch):
    settings, store, release = await released(tmp_path / "w", ("category",))
    monkeypatch.setitem(sys.modules, "auto_round", None)
    async with store:
        with pytest.raises(EngineDown, match="is not installed") as caught:
            await copy(release, Order(out=tmp_path / "out", form="gptq"), settings, store)
    assert "insource[gptq]" in caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the quantizer's
async def test_a_copy_in_4_bits_is_measured_in_vllm(tmp_path):
    sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))
    import real_servers

    settings, store, release = await released(
        tmp_path / "w", ("category",), width=128, vllm=str(real_servers.vllm_python())
    )
    async with store:
        made = await copy(release, Order(out=tmp_path / "out", form="gptq", rows=24), settings, store)
        plain = await copy(release, Order(out=tmp_path / "hf", form="hf", rows=24), settings, store)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["quantization_config"]["quant_method"], config["quantization_config"]["bits"]) == ("gptq", 4)
    if not has_avx512():
        assert (made.unmeasured, made.report) == (NO_4_BITS, None)
        return
    assert made.unmeasured == ""
    assert made.reader == "vllm"
    assert made.files["model.safetensors"] < plain.files["model.safetensors"]
    pair = next(pair for pair in made.report.pairs if pair.metric == "accuracy")
    assert pair.n == 24
    assert abs(pair.difference) <= 0.25
    assert made.memory_mb["gptq"] > 100


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
async def test_a_model_without_whole_groups_is_not_kept_in_4_bits(tmp_path):
    settings, store, release = await released(tmp_path / "w", ("category",))
    async with store:
        with pytest.raises(Invalid, match="no whole groups of 32"):
            await copy(release, Order(out=tmp_path / "out", form="gptq"), settings, store)

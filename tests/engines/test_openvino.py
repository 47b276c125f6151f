"""The same specialist as an OpenVINO graph: the torch reader's answers, and a release like any other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("openvino")

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import test_train as trained
import tiny

from insource.engines.artefact import file_digests, read_manifest, write_manifest
from insource.engines.base_model_net import GRAPH
from insource.engines.local import LocalModel
from insource.engines.openvino_graph import convert
from insource.engines.specialist import Specialist
from insource.errors import EngineDown, Invalid, Refused
from insource.nouns import Output, Task, ask

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def artefact(tmp_path_factory) -> Path:
    """A trained specialist of two outputs, sealed."""
    base = LocalModel(name="tiny", folder=tiny.build(tmp_path_factory.mktemp("base")), sha256="0" * 64)
    folder = tmp_path_factory.mktemp("torch") / "artefact"
    trained.sealed(trained.TWO, base, folder)
    return folder


@pytest.fixture(scope="module")
def graph(artefact, tmp_path_factory) -> Path:
    """The same for OpenVINO."""
    folder = tmp_path_factory.mktemp("openvino") / "artefact"
    sealed(artefact, folder)
    return folder


def sealed(artefact: Path, folder: Path, weights: str = "") -> None:
    """The artefact made over."""
    manifest = read_manifest(artefact)
    convert(artefact / "model", manifest, folder / "model", weights=weights)
    for name in ("tokenizer.json", "config.json"):
        (folder / "model" / name).write_bytes((artefact / "model" / name).read_bytes())
    write_manifest(folder, msgspec.structs.replace(manifest, engine="openvino", files=file_digests(folder)))


def os_path(folder: Path) -> dict[str, str]:
    """An environment in which modules of `folder` come first."""
    return {"PYTHONPATH": os.pathsep.join([str(folder), *[path for path in sys.path if path]])}


TEXTS = ["oil leak at seal 3", "x", "", "loud grinding noise stop now", "smell of burning " * 20, "bearing too hot 77"]


def logits(folder: Path, texts: list[str]) -> list[np.ndarray]:
    engine = Specialist(folder, name="s", threads=1)
    return [np.asarray(one) for one in engine._reader.logits([ids for ids, _ in engine._encoder.encode(texts)])]


def test_every_output_has_the_logits_of_the_torch_reader(artefact, graph):
    for one, other in zip(logits(artefact, TEXTS), logits(graph, TEXTS), strict=True):
        assert one.shape == other.shape
        # both may multiply in bfloat16, each in its own order
        assert np.abs(one - other).max() < 0.03 * np.ptp(one)


def test_a_row_is_answered_alone_as_among_others(graph):
    together = logits(graph, TEXTS)
    for i, text in enumerate(TEXTS):
        for one, all_of in zip(logits(graph, [text]), together, strict=True):
            assert np.abs(one[0] - all_of[i]).max() < 0.03 * np.ptp(all_of)


async def test_it_gives_the_labels_its_trainer_saw(graph, artefact):
    engine = Specialist(graph, name="s", threads=1)
    rows = [json.loads(line) for line in (artefact / "trainer.jsonl").read_bytes().splitlines()]
    answers = [await engine.complete(ask(trained.TWO, row["input"], id=row["id"])) for row in rows]
    await engine.close()
    assert sum(a.value == row["value"] for a, row in zip(answers, rows, strict=True)) >= 0.98 * len(rows)
    for answer, row in zip(answers, rows, strict=True):
        assert answer.confidence == pytest.approx(row["confidence"], abs=0.05)


def test_nothing_can_call_home(tmp_path):
    (tmp_path / "openvino_telemetry.py").write_text("raise SystemExit('imported')")
    code = "from insource.engines.openvino_library import library; library('openvino')\nimport openvino_telemetry"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os_path(tmp_path), capture_output=True, text=True, check=False
    )
    assert "ModuleNotFoundError: import of openvino_telemetry halted" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["INT8_ASYM", "INT4_SYM"])
async def test_smaller_weights_are_smaller_and_read_much_the_same(artefact, graph, tmp_path, weights):
    pytest.importorskip("nncf")
    folder = tmp_path / "small"
    sealed(artefact, folder, weights)
    before, after = ((place / "model" / "model.bin").stat().st_size for place in (graph, folder))
    assert after < before
    for one, other in zip(logits(graph, TEXTS), logits(folder, TEXTS), strict=True):
        assert np.abs(one - other).max() < 0.5 * np.ptp(one)


def test_a_changed_graph_is_not_loaded(graph, tmp_path):
    import shutil

    copy = shutil.copytree(graph, tmp_path / "copy")
    with (copy / "model" / GRAPH).open("ab") as file:
        file.write(b"<!-- -->")
    with pytest.raises(Refused, match="was changed"):
        Specialist(copy, name="s")


def test_a_graph_that_cannot_be_read_and_a_missing_openvino_are_engine_down(graph, tmp_path, monkeypatch):
    import shutil

    copy = shutil.copytree(graph, tmp_path / "copy")
    (copy / "model" / GRAPH).write_text("no graph")
    manifest = read_manifest(copy)
    (copy / "manifest.json").unlink()
    write_manifest(copy, msgspec.structs.replace(manifest, files=file_digests(copy)))
    with pytest.raises(EngineDown, match="cannot be loaded"):
        Specialist(copy, name="s")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineDown, match="not installed"):
        Specialist(graph, name="s")
    with pytest.raises(EngineDown, match="not installed"):
        convert(graph / "model", manifest, tmp_path / "new")


TOML = """name = "defects"
kind = "classify"
[outputs.category]
labels = ["heat", "leak", "noise"]
[acceptance]
accuracy = 0.2
"""


@pytest.mark.slow
async def test_a_release_made_over_is_the_next_patch_measured_beside_the_first_and_passes_the_gate(tmp_path):
    from insource.journeys.collect import collect
    from insource.journeys.convert import convert as make_over
    from insource.journeys.gate import gate
    from insource.journeys.train import train
    from insource.settings import load_settings, load_task
    from insource.store import Store

    (tmp_path / "tasks").mkdir()
    (tmp_path / "insource.toml").write_text("[workspace]\nthreads = 1\n")
    (tmp_path / "tasks" / "defects.toml").write_text(TOML)
    (tmp_path / "recipe.toml").write_text("epochs = 4\nbatch = 16\nrank = 4\nlearning_rate = 5e-3\n")
    task = Task(name="defects", kind="classify", outputs=(Output(name="category", labels=("heat", "leak", "noise")),))
    rows = [{"input": f"{row.input} no {i}", "category": row.target["category"]}
            for i, row in enumerate(tiny.rows(task, 400, "x"))]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = tiny.build(tmp_path / "base")
    settings = load_settings(tmp_path)
    async with await Store.open(settings) as store:
        task = load_task(settings, "defects")
        await collect("defects", [tmp_path / "rows.jsonl"], settings, store)
        first = await train(task, settings, store, base=f"file:{base}", recipe=tmp_path / "recipe.toml")
        ballast = b"\x01" * (900 << 20)
        made = await make_over(first, settings, store, form="openvino")
        assert all(30 < memory < len(ballast) >> 20 for memory in made.memory_mb.values()), "the caller's is not theirs"
        del ballast
        assert (made.release.version, made.release.engine, made.release.stage) == ("1.0.1", "openvino", "candidate")
        assert made.release.dataset == first.dataset
        assert first.name in made.release.changelog
        assert set(made.sizes) == set(made.memory_mb) == {first.name, made.release.name}
        pair = next(pair for pair in made.report.pairs if pair.metric == "accuracy")
        assert {pair.a, pair.b} == {first.name, made.release.name}
        assert pair.n > 20
        assert abs(pair.difference) <= 0.05
        answered = await gate(task, made.release, settings, store)
        failed = [check for check in answered.checks if not check.passed]
        assert not [check for check in failed if "baseline" not in str(check.detail.get("remark"))], failed
        with pytest.raises(Invalid, match="no form"):
            await make_over(first, settings, store, form="onnx")
        with pytest.raises(Invalid, match="served by openvino"):
            await make_over(made.release, settings, store, form="openvino")
        (settings.state / first.folder / "model" / "config.json").write_text("{}")
        with pytest.raises(Refused, match="not what was released"):
            await make_over(first, settings, store, form="openvino")
        assert [release.version for release in await store.releases("defects")] == ["1.0.0", "1.0.1"]

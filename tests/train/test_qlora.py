"""QLoRA on a real, very small model: it learns over a base in 4 bits, and what is served is what was trained."""

import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from insource.errors import EngineDown
from insource.nouns import ask, from_json

sys.path.insert(0, str(Path(__file__).parent))
import test_train as plain
import tiny

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
THIN = msgspec.structs.replace(plain.RECIPE, base_weights="nf4")
base = plain.base


def trained(base, folder, recipe=THIN):
    plain.sealed(plain.TWO, base, folder, recipe)
    return folder


def body_of(folder, weights="full", dtype=None):
    import torch

    from insource.engines.readout import load_body

    return load_body(folder, device="cpu", dtype=dtype or torch.bfloat16, threads=1, weights=weights)


def test_it_learns_and_says_what_its_base_takes(base, tmp_path):
    made, said = plain.fitted(plain.TWO, base, tmp_path / "a", THIN)
    assert made.dev["accuracy"] > 0.9
    assert made.recipe["base_weights"] == "nf4"
    assert any("MB of memory, its linear layers in NF4" in line for line in said)


def test_a_thin_layer_gives_what_a_layer_with_its_weight_gives(base):
    import torch
    from torch.nn import functional

    from insource.engines.nf4 import Thin

    thin, full = body_of(base.folder, "nf4"), body_of(base.folder)
    layers = {name: layer for name, layer in thin.named_modules() if isinstance(layer, Thin)}
    assert len(layers) == 14
    for name, layer in layers.items():
        before = full.get_submodule(name).weight
        assert layer.weight.shape == before.shape
        assert layer.weight.dtype == before.dtype
        assert 0.05 < float((layer.weight - before).float().norm() / before.float().norm()) < 0.12
        x = torch.randn(3, layer.in_features, dtype=torch.bfloat16)
        assert torch.equal(layer(x), functional.linear(x, layer.weight))
        assert layer.nbytes < 0.3 * before.nbytes


def test_the_exported_model_is_the_base_in_4_bits_with_the_adapter_merged_in(base, tmp_path):
    import torch
    from safetensors.torch import load_file

    from insource.engines.readout import pick_dtype

    folder, dtype = trained(base, tmp_path / "a", msgspec.structs.replace(THIN, layers=1)), pick_dtype("cpu")
    thin = body_of(base.folder, "nf4", dtype)
    merged = load_file(folder / "model" / "model.safetensors")
    factors = load_file(folder / "adapter" / "adapter_model.safetensors")
    name = "layers.0.mlp.up_proj"
    assert torch.equal(merged[f"model.{name}.weight"], thin.get_submodule(name).weight.bfloat16()), "below"
    name = "layers.1.mlp.up_proj"
    a, b = (factors[f"base_model.model.model.{name}.lora_{which}.weight"].to(dtype) for which in "AB")
    assert b.abs().max() > 0
    whole = torch.addmm(thin.get_submodule(name).weight, b, a, alpha=2.0)
    assert torch.equal(merged[f"model.{name}.weight"], whole.bfloat16())


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True], ids=["merged", "on a shared base in 4 bits"])
async def test_served_answers_are_the_trainers_answers(tmp_path, shared):
    from insource.engines.models import resolve
    from insource.engines.nf4 import Thin
    from insource.engines.shared_base import Bases
    from insource.engines.specialist import Specialist

    base = resolve(f"file:{tiny.build(tmp_path / 'base')}", tmp_path / "cache", progress=lambda *_: None)
    folder = trained(base, tmp_path / "a")
    bases = Bases(tmp_path / "cache") if shared else None
    engine = Specialist(folder, name="defects@1.0.0", threads=1, bases=bases)
    rows = [from_json(line, dict) for line in (folder / "trainer.jsonl").read_bytes().splitlines()]
    got = [await engine.complete(ask(plain.TWO, row["input"], id=row["id"])) for row in rows]
    assert not shared or any(isinstance(layer, Thin) for layer in engine._reader.base.body.modules())
    await engine.close()
    assert sum(g.value == row["value"] for g, row in zip(got, rows, strict=True)) >= 0.98 * len(rows)
    apart = [abs(said.confidence - row["confidence"]) for said, row in zip(got, rows, strict=True)]
    assert sum(apart) / len(apart) < (0.02 if shared else 0.001), "a sum is not rounded as merged weights are"


@pytest.mark.slow
def test_killed_it_resumes_to_the_same_weights(base, tmp_path, monkeypatch):
    from insource.train import loop
    from insource.train.fit import fit
    from insource.train.loop import Voice

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    plain.fitted(plain.ONE, base, tmp_path / "whole" / "artefact", THIN)
    folder = tmp_path / "stopped" / "artefact"
    folder.mkdir(parents=True)

    def progress(_: str, done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    splits = tiny.rows(plain.ONE, 240, "train"), tiny.rows(plain.ONE, 60, "dev")
    with pytest.raises(KeyboardInterrupt):
        fit(plain.ONE, splits, base, THIN, folder, voice=Voice(lambda _: None, progress, 1))
    plain.fitted(plain.ONE, base, folder, THIN)
    one, other = (plain.file_digests(tmp_path / name / "artefact") for name in ("whole", "stopped"))
    for name in ("model/model.safetensors", "adapter/adapter_model.safetensors"):
        assert one[name] == other[name]


def test_without_bitsandbytes_the_error_says_what_to_install(base, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(EngineDown, match="bitsandbytes is not installed") as caught:
        body_of(base.folder, "nf4")
    assert "insource[qlora]" in caught.value.hint


def test_an_extract_task_learns_over_a_base_in_4_bits_too(tmp_path):
    import test_extract as writing

    from insource.engines.local import LocalModel

    loud = LocalModel(name="tiny", folder=tiny.build(tmp_path / "base", loud=8), sha256="0" * 64)
    recipe = msgspec.structs.replace(writing.RECIPE, base_weights="nf4", epochs=4)
    made, _ = writing.fitted(loud, tmp_path / "a", recipe)
    checks = from_json((tmp_path / "a" / "history.json").read_bytes(), dict)["checks"]
    assert checks[-1]["nll"] < 0.5 * checks[0]["nll"] or checks[-1]["accuracy"] > 0.5
    assert made.recipe["base_weights"] == "nf4"


APART = """
    import json, re, sys
    sys.path[:0] = [{here!r}]
    import test_train as t, tiny
    from pathlib import Path
    from insource.engines.models import resolve
    from insource.settings import cache_folder
    from insource.train.fit import fit
    from insource.train.loop import Voice
    from insource.train.recipe import Recipe
    def held(what): return int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    base = resolve("smollm2-135m", cache_folder(), progress=lambda *_: None)
    import torch, transformers.models.llama.modeling_llama, safetensors.torch
    found = {{"before_mb": held("VmRSS"), "training_mb": 0}}
    def progress(what, done, total): found["training_mb"] = max(found["training_mb"], held("VmRSS"))
    folder = Path({folder!r}); folder.mkdir(parents=True)
    splits = tiny.rows(t.ONE, 64, "train"), tiny.rows(t.ONE, 32, "dev")
    recipe = Recipe(epochs=2, batch=16, rank=8, patience=2, base_weights={weights!r})
    made = fit(t.ONE, splits, base, recipe, folder, voice=Voice(lambda s: None, progress, 1))
    print(json.dumps(found | {{"most_mb": held("VmHWM"), "accuracy": made.dev["accuracy"]}}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own figures are read")
def test_a_real_base_is_trained_in_less_memory(tmp_path):
    """Each in a process of its own, SmolLM2-135M for eight steps: the most it held at a step, whatever loading took."""
    found = {}
    for weights in ("full", "nf4"):
        code = APART.format(here=str(Path(__file__).parent), folder=str(tmp_path / weights / "a"), weights=weights)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found[weights] = from_json(done.stdout.splitlines()[-1], dict)
    print(found)
    assert found["nf4"]["training_mb"] < found["full"]["training_mb"] - 100, found
    assert found["nf4"]["accuracy"] > 0.8, found

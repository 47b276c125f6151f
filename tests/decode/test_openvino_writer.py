"""The untuned engine on OpenVINO: the same answers as on torch, but for the order in which products are summed."""

import asyncio
import math
import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("openvino")

import test_base_model as plain

from insource.decode.check import faults
from insource.engines.base_model import BaseModel
from insource.engines.models import find, kept_models, model_faults, resolve, shape_here
from insource.engines.openvino_body import OpenvinoBody
from insource.errors import EngineDown, Invalid, Missing
from insource.journeys.lineup import quiet
from insource.nouns import Message, Output, Request, Task

pytestmark = pytest.mark.slow

CLOSE = 0.05  # both may multiply in bfloat16, each in its own order; the weights are random and large
MANY = Task(
    name="many",
    kind="classify",
    outputs=(Output(name="place", labels=tuple(f"hall {i // 50}, bay {i % 50}" for i in range(2500))),),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def both(tiny, cache):
    """The torch engine and the one that is made over, from one model."""
    made = resolve(f"openvino:file:{tiny.folder}", cache, progress=quiet)
    engines = BaseModel(tiny, name="torch"), BaseModel(made, name="openvino")
    assert isinstance(engines[1]._network.body, OpenvinoBody)
    yield engines
    for engine in engines:
        asyncio.run(engine.close())


@pytest.mark.parametrize("task", [plain.ONE, plain.THREE, MANY], ids=["one", "three", "a beam over many"])
async def test_closed_sets_have_the_same_probabilities(both, task):
    for text in plain.TEXTS:
        one, other = [await engine.complete(plain.call(task, text)) for engine in both]
        found, expected = (dict(said.alternatives[task.outputs[0].name]) for said in (other, one))
        shared = set(found) & set(expected)
        assert shared
        assert all(abs(found[label] - expected[label]) < CLOSE for label in shared)
        if one.fields[task.outputs[0].name] > 0.5 + CLOSE:
            assert other.value[task.outputs[0].name] == one.value[task.outputs[0].name]


async def test_what_is_written_holds_and_is_as_likely(both):
    together = await asyncio.gather(
        *[both[1].complete(plain.call(plain.EXTRACT, text, temperature=1.0, seed=i)) for i, text in
          enumerate(plain.TEXTS * 4)]
    )  # fmt: skip
    for said in together:
        assert said.finish == "stop"
        assert not faults(plain.SCHEMA, said.value)
    for text in plain.TEXTS:
        one, other = [await engine.complete(plain.call(plain.EXTRACT, text, temperature=0)) for engine in both]
        if one.text == other.text:
            assert math.log(one.confidence) == pytest.approx(math.log(other.confidence), abs=0.5)


async def test_company_changes_no_answer(both):
    together = await asyncio.gather(*[both[1].complete(plain.call(plain.ONE, text)) for text in plain.TEXTS * 4])
    for i, text in enumerate(plain.TEXTS * 4):
        alone = await both[1].complete(plain.call(plain.ONE, text))
        assert together[i].confidence == pytest.approx(alone.confidence, abs=CLOSE)


async def test_a_chat_goes_on(both):
    said = await both[1].complete(Request(id="c", messages=(Message(role="user", content="x"),), max_tokens=8))
    assert said.usage.output_tokens in range(1, 9)


def test_it_is_a_model_of_the_cache_like_any_other(both, tiny, cache):
    spec = f"openvino:file:{tiny.folder}"
    made = find(spec, cache)
    assert made.sha256 == resolve(f"file:{tiny.folder}", cache, progress=quiet).sha256, "the weights it came from"
    assert shape_here(spec, cache) == shape_here(f"file:{tiny.folder}", cache)
    kept = {kept.name: (home, kept) for home, kept in kept_models(cache).items()}
    assert not model_faults(*kept[spec])
    graph = made.folder / "model.bin"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    assert model_faults(*kept[spec]) == ["model.bin was changed"]


def test_a_model_of_the_cache_is_made_over_once(tiny, tmp_path, monkeypatch):
    folder = shutil.copytree(tiny.folder, tmp_path / "model")
    (folder / "source.json").write_text("{}")  # as a model has that was converted into the cache
    spec = f"openvino:file:{folder}"
    made = resolve(spec, tmp_path, progress=quiet)
    assert find(spec, tmp_path) == made
    monkeypatch.setattr("insource.engines.openvino_graph.convert_writer", None)
    assert resolve(spec, tmp_path, progress=quiet) == made


def test_forms_of_forms_are_refused_and_so_is_training(cache):
    from insource.engines.sources import source, trainable

    for spec in ("openvino:openvino:smollm2-135m", "openvino-int8:openvino:smollm2-135m"):
        with pytest.raises(Invalid, match="made over already"):
            source(spec)
    with pytest.raises(Missing, match="no base model called 'nothing'"):
        resolve("openvino:nothing", cache, progress=quiet)
    with pytest.raises(Invalid, match="cannot be trained") as caught:
        trainable("openvino-int8:smollm2-135m")
    assert "--base smollm2-135m" in caught.value.hint
    trainable("smollm2-135m")


def test_a_disk_that_fills_up_leaves_nothing_half_made(tiny, tmp_path, monkeypatch):
    import openvino

    def full(_graph, path, **_options):
        path.with_suffix(".bin").write_bytes(b"half")
        raise RuntimeError("Can't write the weights file")

    monkeypatch.setattr(openvino, "save_model", full)
    with pytest.raises(EngineDown, match="Can't write") as caught:
        resolve(f"openvino:file:{tiny.folder}", tmp_path, progress=quiet)
    assert "room on the disk" in caught.value.hint
    assert not list(tmp_path.rglob("*.bin"))


def test_without_openvino_the_error_says_what_to_install(tiny, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineDown) as caught:
        resolve(f"openvino:file:{tiny.folder}", tmp_path, progress=quiet)
    assert "insource[openvino]" in caught.value.hint
    assert find(f"openvino:file:{tiny.folder}", tmp_path) is None

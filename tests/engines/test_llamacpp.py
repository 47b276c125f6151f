"""The same specialist as a GGUF in llama.cpp, inside this process: torch's answers, and nobody can call it."""

import asyncio
import contextlib
import json
import shutil
import socket
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import test_train as trained
import tiny

from insource.engines.artefact import file_digests, read_manifest, write_manifest
from insource.engines.llamacpp_form import convert
from insource.engines.llamacpp_reader import GGUF, LlamacppReader
from insource.engines.local import LocalModel
from insource.engines.specialist import Specialist
from insource.errors import EngineDown, Invalid, Refused
from insource.nouns import ask

TEXTS = ["oil leak at seal 3", "x", "", "loud grinding noise stop now", "smell of burning " * 20, "bearing too hot 77"]
MANY = [*TEXTS, *[f"{text} {i}" for i in range(4) for text in TEXTS]]  # more than are read at once


@pytest.fixture(scope="module")
def artefact(tmp_path_factory) -> Path:
    """A trained specialist of two outputs, sealed."""
    base = LocalModel(name="tiny", folder=tiny.build(tmp_path_factory.mktemp("base")), sha256="0" * 64)
    folder = tmp_path_factory.mktemp("torch") / "artefact"
    trained.sealed(trained.TWO, base, folder)
    return folder


@pytest.fixture(scope="module")
def gguf(artefact, tmp_path_factory) -> Path:
    """The same for llama.cpp."""
    folder = tmp_path_factory.mktemp("llamacpp") / "artefact"
    sealed(artefact, folder, "f16")
    return folder


def sealed(artefact: Path, folder: Path, weights: str) -> None:
    """The artefact made over."""
    manifest = read_manifest(artefact)
    convert(artefact / "model", manifest, folder / "model", weights=weights)
    for name in ("tokenizer.json", "config.json"):
        (folder / "model" / name).write_bytes((artefact / "model" / name).read_bytes())
    reseal(folder, manifest)


def reseal(folder: Path, manifest) -> None:
    (folder / "manifest.json").unlink(missing_ok=True)
    write_manifest(folder, msgspec.structs.replace(manifest, engine="llamacpp", files=file_digests(folder)))


def logits(folder: Path, texts: list[str]) -> list[np.ndarray]:
    """Every row's from its greatest down: a constant a row is lost, and no softmax sees it."""
    engine = Specialist(folder, name="s", threads=1)
    found = [np.asarray(one) for one in engine._reader.logits([ids for ids, _ in engine._encoder.encode(texts)])]
    return [one - one.max(1, keepdims=True) for one in found]


def test_every_output_has_the_logits_of_the_torch_reader(artefact, gguf):
    for one, other in zip(logits(artefact, MANY), logits(gguf, MANY), strict=True):
        assert one.shape == other.shape
        # torch may multiply in bfloat16
        assert np.abs(one - other).max() < 0.03 * np.ptp(one)


def test_a_row_is_answered_alone_as_among_others(gguf):
    together = logits(gguf, MANY)
    for i, text in enumerate(TEXTS):
        for one, all_of in zip(logits(gguf, [text]), together, strict=True):
            assert np.abs(one[0] - all_of[i]).max() < 0.02 * np.ptp(all_of)


async def test_it_gives_the_labels_and_the_confidence_its_trainer_saw(gguf, artefact):
    engine = Specialist(gguf, name="s", threads=1)
    rows = [json.loads(line) for line in (artefact / "trainer.jsonl").read_bytes().splitlines()]
    answers = await asyncio.gather(*[engine.complete(ask(trained.TWO, row["input"], id=row["id"])) for row in rows])
    await engine.close()
    assert sum(a.value == row["value"] for a, row in zip(answers, rows, strict=True)) >= 0.98 * len(rows)
    for answer, row in zip(answers, rows, strict=True):
        assert answer.confidence == pytest.approx(row["confidence"], abs=0.05)


def test_what_was_read_once_is_not_read_again(gguf):
    """The line before the texts costs once a slot, and a further output costs its label's token."""
    manifest = read_manifest(gguf)
    tokens = [head.tokens for head in manifest.heads]
    reader = LlamacppReader(gguf / "model", list(range(300, 500)), tokens, longest=230, threads=1)
    read = []
    server = reader._server

    class Heard:
        def handle_completions(self, call, told):
            def heard(said):
                used = json.loads(said)["usage"]
                read.append(used["prompt_tokens"] - used["prompt_tokens_details"]["cached_tokens"])
                told(said)

            server.handle_completions(call, heard)

    reader._server = Heard()
    reader.logits([[260, 261]])
    assert read == [202, 1]
    read.clear()
    reader.logits([[262, 263, 264]])
    assert read == [3, 1]


def test_what_it_cannot_read_is_engine_down_and_the_next_row_is_read(gguf):
    reader = Specialist(gguf, name="s", threads=1)._reader
    for bad in ([[100_000]], [[260], [100_000]]):
        with pytest.raises(EngineDown, match="did not read the texts"):
            reader.logits(bad)
    assert reader.logits([[260]])[0].shape == (1, 3)


def test_a_token_that_is_no_label_is_refused(gguf):
    """Probabilities of other tokens than were asked for are no answer."""
    tokens = [[500, 501], [502, 503]]
    reader = LlamacppReader(gguf / "model", [300], tokens, longest=64, threads=1)
    reader._ask = lambda rows, _: LlamacppReader._ask(reader, rows, [510, 511])
    with pytest.raises(EngineDown, match="no label"):
        reader.logits([[260]])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nobody_can_call_it(gguf):
    """Its library opens a web server; ours has no port and no place in the file system."""
    before = listening()
    engine = Specialist(gguf, name="s", threads=1)
    assert listening() == before
    address = engine._reader._server.listening_address
    assert address.endswith(".sock"), address
    place = address.removeprefix("unix://")
    assert not Path(place).parent.exists()
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(OSError, match="No such file"):
        client.connect(place)


def listening() -> set[str]:
    """The sockets of this process that listen for TCP."""
    mine = set()
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            mine.add(str(one.readlink()).removeprefix("socket:[").removesuffix("]"))
    rows = [
        row.split() for table in ("tcp", "tcp6") for row in Path(f"/proc/self/net/{table}").read_text().splitlines()
    ]
    return {row[9] for row in rows if row[3] == "0A" and row[9] in mine}


async def test_the_loop_goes_on_while_it_reads(gguf):
    engine = Specialist(gguf, name="s", threads=1)
    waiting = asyncio.gather(*[engine.complete(ask(trained.TWO, text, id=str(i))) for i, text in enumerate(MANY * 8)])
    ticks = 0
    while not waiting.done():
        await asyncio.sleep(0.001)
        ticks += 1
    await engine.close()
    assert len(await waiting) == len(MANY) * 8
    assert ticks > 5


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["q8_0", "q4_0"])
def test_smaller_weights_read_much_the_same(weights, tmp_path):
    """With rows that are whole blocks of 32."""
    base = LocalModel(name="wide", folder=tiny.build(tmp_path / "base", width=64), sha256="0" * 64)
    artefact = tmp_path / "artefact"
    trained.sealed(trained.ONE, base, artefact)
    sealed(artefact, tmp_path / "f16", "f16")
    sealed(artefact, tmp_path / weights, weights)
    before, after = ((tmp_path / kind / "model" / GGUF).stat().st_size for kind in ("f16", weights))
    assert after < before
    for one, other in zip(logits(tmp_path / "f16", TEXTS), logits(tmp_path / weights, TEXTS), strict=True):
        assert np.abs(one - other).max() < 0.3 * np.ptp(one)


def test_a_changed_file_is_not_loaded(gguf, tmp_path):
    copy = shutil.copytree(gguf, tmp_path / "copy")
    with (copy / "model" / GGUF).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(Refused, match="was changed"):
        Specialist(copy, name="s")


def test_a_file_that_cannot_be_read_is_engine_down(gguf, tmp_path):
    copy = shutil.copytree(gguf, tmp_path / "copy")
    (copy / "model" / GGUF).write_bytes(b"GGUF, not really")
    reseal(copy, read_manifest(copy))
    with pytest.raises(EngineDown, match=r"cannot be loaded by llama\.cpp"):
        Specialist(copy, name="s")


def test_without_the_library_the_engine_is_down_and_says_what_to_install(gguf, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(EngineDown, match="xllamacpp is not installed") as caught:
        Specialist(gguf, name="s")
    assert "insource[llamacpp]" in caught.value.hint


def test_it_is_served_without_torch(gguf):
    """In a process that cannot import torch or transformers."""
    import subprocess

    code = (
        "import sys, asyncio; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from pathlib import Path; from insource.engines.specialist import Specialist\n"
        "from insource.nouns import ask\n"
        "async def work():\n"
        "    engine = Specialist(Path(sys.argv[1]), name='s', threads=1)\n"
        "    print((await engine.complete(ask(engine.manifest.task, 'oil leak at seal 3', id='1'))).text)\n"
        "    await engine.close()\n"
        "asyncio.run(work())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(gguf)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"category", "urgency"}
    assert not done.stderr


def test_a_model_of_another_shape_is_refused(artefact, tmp_path):
    model = shutil.copytree(artefact / "model", tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"model_type": "gemma3_text"}))
    with pytest.raises(Invalid, match="not written as GGUF"):
        convert(model, read_manifest(artefact), tmp_path / "out", weights="f16")

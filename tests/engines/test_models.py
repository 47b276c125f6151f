"""Base models on this disk: found without the network, made once, whole or not at all."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import model_files
import pytest
from click.testing import CliRunner
from model_host import Heard, Host, serving

from insource.cli.main import main
from insource.engines.artefact import file_digest
from insource.engines.models import MANIFEST, find, forget, kept_models, model_faults, resolve
from insource.errors import EngineError, Invalid, Missing, Refused, StoreError
from insource.settings import inherited_environment


def quiet(_what, _done, _total):
    pass


def test_a_folder_of_safetensors_is_used_where_it_lies(tmp_path):
    folder = model_files.folder(tmp_path / "model")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    local = resolve(f"file:{folder}", tmp_path / "cache", progress=quiet)
    assert local.folder == folder
    assert local.sha256 == file_digest(folder / "model.safetensors")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "nothing is written into it"
    assert find(f"file:{folder}", tmp_path / "cache") == local


def test_a_changed_folder_is_looked_at_again(tmp_path):
    folder, cache = model_files.folder(tmp_path / "model"), tmp_path / "cache"
    first = resolve(f"file:{folder}", cache, progress=quiet)
    (folder / "model.safetensors").write_bytes(model_files.safetensors((2, 2)))
    assert find(f"file:{folder}", cache) is None
    second = resolve(f"file:{folder}", cache, progress=quiet)
    assert first.sha256 != second.sha256 == file_digest(folder / "model.safetensors")


def test_weights_in_several_files_are_one_model(tmp_path):
    files = model_files.model_files()
    files["a.safetensors"] = files.pop("model.safetensors")
    files["b.safetensors"] = model_files.safetensors((2, 2))
    files["model.safetensors.index.json"] = json.dumps(
        {"weight_map": {"w": "a.safetensors", "v": "b.safetensors"}}
    ).encode()
    folder = model_files.folder(tmp_path / "model", files)
    assert len(resolve(f"file:{folder}", tmp_path / "cache", progress=quiet).sha256) == 64
    (folder / "b.safetensors").unlink()
    with pytest.raises(Missing, match=r"b\.safetensors"):
        resolve(f"file:{folder}", tmp_path / "cache", progress=quiet)


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"pytorch_model.bin": b"\x80\x02", "config.json": b"{}"}, Refused),
        ({"model.safetensors": b"\x80\x04\x95" + bytes(50)}, Refused),
        ({"model.gguf": b"x"}, Invalid),
        ({"readme.txt": b"x"}, Missing),
        ({"model.safetensors": model_files.safetensors()}, Missing),
        ({**model_files.model_files(), "config.json": b"not json"}, Invalid),
        ({**model_files.model_files(), "tokenizer_config.json": b"\xff"}, Invalid),
    ],
)
def test_a_folder_that_is_no_safe_model_is_refused_with_what_to_do(tmp_path, files, error):
    folder = model_files.folder(tmp_path / "model", files)
    with pytest.raises(error) as caught:
        resolve(f"file:{folder}", tmp_path / "cache", progress=quiet)
    assert error is Invalid or caught.value.hint
    assert {path.suffix for path in (tmp_path / "cache" / "models").iterdir()} == {".lock"}, "nothing is left behind"


def test_a_wrong_digest_is_refused_before_and_after(tmp_path):
    folder, cache = model_files.folder(tmp_path / "model"), tmp_path / "cache"
    with pytest.raises(Refused, match="0000"):
        resolve(f"file:{folder}", cache, progress=quiet, sha256="0" * 64)
    local = resolve(f"file:{folder}", cache, progress=quiet)
    assert resolve(f"file:{folder}", cache, progress=quiet, sha256=local.sha256) == local
    with pytest.raises(Refused, match="0000"):
        resolve(f"file:{folder}", cache, progress=quiet, sha256="0" * 64)
    with pytest.raises(Invalid, match="SHA-256"):
        resolve(f"file:{folder}", cache, progress=quiet, sha256="beef")


def test_a_repository_is_fetched_once_and_then_found_without_asking(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with serving(Host(model_files.model_files())) as host:
        monkeypatch.setenv("HF_ENDPOINT", host.url)
        local = resolve("hf:acme/tiny", cache, progress=Heard())
        asked = len(host.asked)
        assert resolve("hf:acme/tiny", cache, progress=quiet) == local
        assert len(host.asked) == asked
    assert resolve("hf:acme/tiny", cache, progress=quiet) == local
    assert local.folder.parent == cache / "models"
    assert [path.name for path in (cache / "models").iterdir() if path.suffix == ".work"] == []


def test_an_interrupted_fetch_is_not_a_model_and_goes_on(tmp_path, monkeypatch):
    cache, files = (
        tmp_path / "cache",
        model_files.model_files() | {"model.safetensors": model_files.safetensors((1000, 2000))},
    )
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))

    def stop(what, done, _total):
        if "model.safetensors" in what and done >= 1:
            raise KeyboardInterrupt

    with serving(Host(files)) as host:
        monkeypatch.setenv("HF_ENDPOINT", host.url)
        with pytest.raises(KeyboardInterrupt):
            resolve("hf:acme/tiny", cache, progress=stop)
        assert find("hf:acme/tiny", cache) is None
        assert kept_models(cache) == {}
        host.asked.clear()
        resolve("hf:acme/tiny", cache, progress=quiet)
        assert [(path.rpartition("/")[2], bool(part)) for path, part, _, _ in host.asked[1:]] == [
            ("model.safetensors", True)
        ]


def test_damage_is_found_and_mended(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with serving(Host(model_files.model_files())) as host:
        monkeypatch.setenv("HF_ENDPOINT", host.url)
        local = resolve("hf:acme/tiny", cache, progress=quiet)
        [(home, kept)] = kept_models(cache).items()
        assert model_faults(home, kept) == []
        weights = local.folder / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        assert model_faults(home, kept) == ["model.safetensors was changed"]
        weights.write_bytes(data[:-1])
        assert find("hf:acme/tiny", cache) is None, "a cut file is seen without reading it"
        assert resolve("hf:acme/tiny", cache, progress=quiet) == local
        assert model_faults(home, kept) == []
        (home / MANIFEST).write_text("{")
        assert find("hf:acme/tiny", cache) is None
        resolve("hf:acme/tiny", cache, progress=quiet)
        forget("hf:acme/tiny", cache)
        assert kept_models(cache) == {}


def _resolve_in_a_process(spec, cache, answers):
    answers.put(str(resolve(spec, cache, progress=quiet).folder))


def test_processes_that_want_the_same_model_make_it_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    with serving(
        Host(model_files.model_files() | {"model.safetensors": model_files.safetensors((1000, 1000))})
    ) as host:
        monkeypatch.setenv("HF_ENDPOINT", host.url)
        arguments = ("hf:acme/tiny", tmp_path / "cache", answers)
        running = [spawn.Process(target=_resolve_in_a_process, args=arguments) for _ in range(3)]
        for process in running:
            process.start()
        said = {answers.get(timeout=60) for _ in running}
        for process in running:
            process.join()
        fetched = [path for path, *_ in host.asked if path.endswith("model.safetensors")]
    assert len(said) == len(fetched) == 1


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "cache").write_text("a file, no folder")
    with pytest.raises(StoreError):
        resolve(f"file:{model_files.folder(tmp_path / 'model')}", tmp_path / "cache", progress=quiet)


def test_without_the_train_extra_a_conversion_says_what_to_install(tmp_path):
    (tmp_path / "m.gguf").write_bytes(model_files.gguf())
    code = (
        "import sys; from pathlib import Path; import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda n: None if n == 'torch' else find(n)\n"
        "from insource.engines.models import resolve; from insource.errors import EngineError\n"
        "try: resolve('file:' + sys.argv[1], Path(sys.argv[2]), progress=lambda *_: None)\n"
        "except EngineError as error: print(error, error.hint)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.gguf"), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "torch" in done.stdout
    assert "pip install 'insource[train]'" in done.stdout


def test_a_model_that_is_here_is_found_without_torch_or_transformers(tmp_path):
    folder = model_files.folder(tmp_path / "model")
    resolve(f"file:{folder}", tmp_path / "cache", progress=quiet)
    code = (
        "import sys; from pathlib import Path; from insource.engines.models import resolve\n"
        "resolve('file:' + sys.argv[1], Path(sys.argv[2]), progress=lambda *_: None)\n"
        "print(sorted({'torch', 'transformers', 'gguf', 'huggingface_hub'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "cache")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def verb(*words, cache, monkeypatch):
    monkeypatch.setenv("INSOURCE_CACHE", str(cache))
    return CliRunner().invoke(main, ["models", *words])


def test_the_verb_lists_pulls_and_verifies(tmp_path, monkeypatch):
    cache, folder = tmp_path / "cache", model_files.folder(tmp_path / "model")
    spec = f"file:{folder}"
    pulled = verb("pull", "--no-probe", spec, "--json", cache=cache, monkeypatch=monkeypatch)
    assert json.loads(pulled.stdout)["folder"] == str(folder)
    listed = json.loads(verb("list", "--json", cache=cache, monkeypatch=monkeypatch).stdout)
    here = {row["name"]: row["disk_bytes"] for row in listed["models"]}
    assert here["smollm2-135m"] == 0 < here[spec]
    assert "gemma3-270m" in verb("list", cache=cache, monkeypatch=monkeypatch).stdout
    assert verb("verify", cache=cache, monkeypatch=monkeypatch).exit_code == 0
    assert verb("verify", "gemma3-270m", cache=cache, monkeypatch=monkeypatch).exit_code == 2
    stamp = (folder / "config.json").stat().st_mtime_ns
    (folder / "config.json").write_bytes(b'{"model_type": "llamo", "vocab_size": 4}')
    os.utime(folder / "config.json", ns=(stamp, stamp))
    broken = verb("verify", spec, cache=cache, monkeypatch=monkeypatch)
    assert broken.exit_code == 1
    assert "config.json was changed" in broken.stderr
    assert "pull --again" in broken.stderr
    assert verb("pull", "--no-probe", "--again", spec, cache=cache, monkeypatch=monkeypatch).exit_code == 0
    assert verb("verify", spec, cache=cache, monkeypatch=monkeypatch).exit_code == 0


@pytest.mark.slow
def test_a_gguf_is_converted_and_the_model_says_the_same(tmp_path):
    """The converted folder against transformers' own reading of the GGUF, on a real (random) llama."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    gguf = model_files.learnable_gguf(tmp_path / "m.gguf")
    heard = Heard()
    local = resolve(f"file:{gguf}", tmp_path / "cache", progress=heard)
    assert heard[-1][1:] == (4, 4)
    assert local.sha256 == file_digest(gguf)
    names = {path.name for path in local.folder.iterdir()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", MANIFEST} <= names
    assert any(
        "chat_template" in path.name or "chat_template" in path.read_text() for path in local.folder.glob("*[jn]")
    )
    want = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    have = transformers.AutoModelForCausalLM.from_pretrained(local.folder, dtype=torch.float32)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    ours = transformers.AutoTokenizer.from_pretrained(local.folder)
    text = "The spindle hums at 12k rpm"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    stored = have.state_dict()
    for name, value in want.state_dict().items():
        assert torch.equal(stored[name], value.to(torch.bfloat16).float()), f"{name} is the original, rounded"
    ids = torch.tensor([ours(text)["input_ids"]])
    assert torch.allclose(have(ids).logits, want(ids).logits, atol=0.02)


@pytest.mark.slow
def test_a_conversion_killed_in_the_middle_is_done_again(tmp_path):
    gguf, cache = model_files.learnable_gguf(tmp_path / "m.gguf"), tmp_path / "cache"
    command = [sys.executable, "-m", "insource", "models", "pull", f"file:{gguf}"]
    environment = inherited_environment() | {"INSOURCE_CACHE": str(cache)}
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None and not list(cache.glob("models/*.work/made/tokenizer.json")):
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert find(f"file:{gguf}", cache) is None
    local = resolve(f"file:{gguf}", cache, progress=quiet)
    [(home, kept)] = kept_models(cache).items()
    assert (home, model_faults(home, kept)) == (local.folder, [])


@pytest.mark.slow
def test_a_gguf_that_the_library_cannot_read_is_told(tmp_path):
    (tmp_path / "m.gguf").write_bytes(model_files.gguf())
    with pytest.raises((Invalid, EngineError)) as caught:
        resolve(f"file:{tmp_path / 'm.gguf'}", tmp_path / "cache", progress=quiet)
    assert caught.value.hint
    assert kept_models(tmp_path / "cache") == {}

"""Models in Ollama's store on this disk: found by manifest, checked by its digest, never asked of a server."""

import hashlib
import json

import model_files
import pytest

from insource.engines.models import find, resolve
from insource.engines.sources import Local, source
from insource.errors import Invalid, Missing, Refused

MODEL, ADAPTER = "application/vnd.ollama.image.model", "application/vnd.ollama.image.adapter"


def quiet(_what, _done, _total):
    pass


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store as Ollama lays it out."""
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    return tmp_path / "ollama"


def put(store, name, data, *, kinds=(MODEL,), written=None):
    """A model of one blob under `name`; gives its digest."""
    digest = hashlib.sha256(data).hexdigest()
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    (store / "blobs" / f"sha256-{digest}").write_bytes(data)
    path = store / "manifests" / name
    path.parent.mkdir(parents=True)
    layers = [{"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)} for kind in kinds]
    layers.append({"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "0" * 64, "size": 1})
    path.write_bytes(json.dumps({"schemaVersion": 2, "layers": layers}).encode() if written is None else written)
    return digest


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("tiny", "registry.ollama.ai/library/tiny/latest"),
        ("tiny:1b-q8_0", "registry.ollama.ai/library/tiny/1b-q8_0"),
        ("acme/tiny", "registry.ollama.ai/acme/tiny/latest"),
        ("hf.co/acme/tiny:Q4_K_M", "hf.co/acme/tiny/Q4_K_M"),
        ("127.0.0.1:5000/acme/tiny", "127.0.0.1:5000/acme/tiny/latest"),
    ],
)
def test_a_name_stands_for_the_blob_of_its_manifest(store, name, path):
    digest = put(store, path, b"GGUF and more")
    found = source(f"ollama:{name}")
    assert found.origin == Local(path=str(store / "blobs" / f"sha256-{digest}"))
    assert found.sha256 == digest


@pytest.mark.slow
def test_it_is_converted_once_and_its_digest_is_checked(store, tmp_path):
    data = model_files.learnable_gguf(tmp_path / "model.gguf").read_bytes()
    digest = put(store, "registry.ollama.ai/library/tiny/latest", data)
    local = resolve("ollama:tiny", tmp_path / "cache", progress=quiet)
    assert local.sha256 == digest
    assert (local.folder / "model.safetensors").is_file()
    assert find("ollama:tiny", tmp_path / "cache") == local
    blob = store / "blobs" / f"sha256-{digest}"
    blob.write_bytes(blob.read_bytes()[:-4] + b"evil")
    assert find("ollama:tiny", tmp_path / "cache") is None, "the blob has changed"
    with pytest.raises(Refused, match="has SHA-256"):
        resolve("ollama:tiny", tmp_path / "cache", progress=quiet)


@pytest.mark.parametrize("name", ["", "../x", "a/b/c/d", "a/../b", "tiny:..", "x:y:z", "a b", "/etc/passwd"])
def test_what_is_no_name_is_refused_before_the_disk_is_asked(store, name):
    with pytest.raises(Invalid, match="is not ollama:"):
        source(f"ollama:{name}")


def test_what_is_not_there_is_said(store):
    with pytest.raises(Missing) as caught:
        source("ollama:tiny")
    assert "ollama pull tiny" in caught.value.hint
    digest = put(store, "registry.ollama.ai/library/tiny/latest", b"GGUF")
    (store / "blobs" / f"sha256-{digest}").unlink()
    with pytest.raises(Missing, match="lacks the weights"):
        source("ollama:tiny")


@pytest.mark.parametrize("kinds", [(), (MODEL, MODEL), (MODEL, ADAPTER)])
def test_a_model_of_several_files_is_refused(store, kinds):
    put(store, "registry.ollama.ai/library/tiny/latest", b"GGUF", kinds=kinds)
    with pytest.raises(Refused, match="is not one GGUF"):
        source("ollama:tiny")


@pytest.mark.parametrize("written", [b"", b"[]", b"[" * 100_000, b'{"layers": 3}', b"\xff", b'{"layers": [3]}'])
def test_a_manifest_that_is_none_is_refused(store, written):
    put(store, "registry.ollama.ai/library/tiny/latest", b"GGUF", written=written)
    with pytest.raises(Refused):
        source("ollama:tiny")


def test_a_blob_that_is_no_gguf_is_refused(store, tmp_path):
    put(store, "registry.ollama.ai/library/tiny/latest", b"\x80\x04\x95" + bytes(50))
    with pytest.raises(Refused, match="is a pickle"):
        resolve("ollama:tiny", tmp_path / "cache", progress=quiet)

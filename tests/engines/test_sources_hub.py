"""Models from the hub: one commit, safe files only, the hub's own cache first."""

from pathlib import Path

import model_files
import pytest
from model_host import COMMIT, Heard, Host, serving

from insource.engines.sources import Hub
from insource.engines.sources_http import Patience
from insource.engines.sources_hub import fetch_hub
from insource.errors import Invalid, Missing, Refused
from insource.settings import ModelHosts, model_hosts

SOON = Patience(stall_s=2, tries=3, pause_s=0.01)


def hosts(host, tmp_path, **more):
    return ModelHosts(**{"hub": host.url, "hub_cache": tmp_path / "hub", "index": host.url, "offline": False} | more)


@pytest.fixture
def repository():
    with serving(
        Host(model_files.model_files() | {"pytorch_model.bin": b"\x80\x02", "modeling.py": b"import os"})
    ) as one:
        yield one


def test_a_repository_is_fetched_at_one_commit_without_code_or_pickles(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    path = fetch_hub(Hub(repository="acme/tiny"), tmp_path, Heard(), hosts(repository, tmp_path), SOON)
    assert {one.name for one in path.iterdir()} == set(model_files.model_files())
    assert all(COMMIT in asked[0] for asked in repository.asked[1:])
    assert {asked[3] for asked in repository.asked} == {"Bearer hf_canary"}


@pytest.mark.parametrize(
    ("files", "file", "error"),
    [
        ({"pytorch_model.bin": b"x", "config.json": b"{}"}, "", Refused),
        ({"a.gguf": b"x", "b.gguf": b"y"}, "", Invalid),
        ({"a.gguf": b"x"}, "c.gguf", Missing),
        ({"../../evil.gguf": b"x", "sub/m.gguf": b"x"}, "", Refused),
        ({}, "", Refused),
    ],
)
def test_a_repository_without_one_safe_model_is_refused(tmp_path, files, file, error):
    with serving(Host(files)) as host, pytest.raises(error) as caught:
        fetch_hub(Hub(repository="acme/tiny", file=file), tmp_path, Heard(), hosts(host, tmp_path), SOON)
    assert caught.value.hint


def test_weights_that_lie_there_twice_are_fetched_once(tmp_path):
    """Mistral's repositories add the same weights in one file, for other tools."""
    files = model_files.model_files()
    weights = files.pop("model.safetensors")
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = b'{"weight_map": {"v": "%s", "w": "%s"}}' % tuple(name.encode() for name in names)
    files |= dict.fromkeys(names, weights) | {"model.safetensors.index.json": index}
    with serving(Host(files | {"consolidated.safetensors": weights})) as host:
        path = fetch_hub(Hub(repository="acme/tiny"), tmp_path, Heard(), hosts(host, tmp_path), SOON)
    assert {one.name for one in path.iterdir()} == set(files)


def test_a_file_beside_the_weights_that_is_far_too_large_is_not_fetched(repository, tmp_path):
    about = repository.about()
    for one in about["siblings"]:
        if one["rfilename"] == "config.json":
            one["size"] = 10**12
    repository.about = lambda: about
    with pytest.raises(Refused, match="are allowed"):
        fetch_hub(Hub(repository="acme/tiny"), tmp_path, Heard(), hosts(repository, tmp_path), SOON)
    assert len(repository.asked) == 1


def test_a_damaged_file_of_the_hub_is_refused(repository, tmp_path):
    about = repository.about()
    repository.about = lambda: about
    repository.files["model.safetensors"] = model_files.safetensors((4, 8))[:-1] + b"x"
    with pytest.raises(Refused, match="SHA-256"):
        fetch_hub(Hub(repository="acme/tiny"), tmp_path, Heard(), hosts(repository, tmp_path), SOON)


def test_what_the_hubs_own_cache_holds_is_used_and_nothing_is_asked(repository, tmp_path):
    home = tmp_path / "hub" / "models--acme--tiny"
    model_files.folder(home / "snapshots" / COMMIT)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    origin = Hub(repository="acme/tiny")
    found = fetch_hub(origin, tmp_path, Heard(), hosts(repository, tmp_path, offline=True), SOON)
    assert found == home / "snapshots" / COMMIT
    assert repository.asked == []


def test_offline_means_offline(repository, tmp_path):
    with pytest.raises(Missing, match="HF_HUB_OFFLINE"):
        fetch_hub(Hub(repository="acme/tiny"), tmp_path, Heard(), hosts(repository, tmp_path, offline=True), SOON)
    assert repository.asked == []


def test_the_environment_names_the_hosts(tmp_path):
    plain = model_hosts({})
    assert (plain.hub, plain.index, plain.offline) == ("https://huggingface.co", "https://pypi.org/simple", False)
    told = model_hosts(
        {"HF_ENDPOINT": "http://h/", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PIP_INDEX_URL": "http://i/"}
    )
    assert (told.hub, told.hub_cache, told.index, told.offline) == ("http://h", tmp_path / "hub", "http://i", True)


@pytest.mark.slow
def test_the_test_hub_speaks_as_the_official_client_expects(repository, tmp_path):
    """Otherwise the tests above would only show that we agree with ourselves."""
    hub = pytest.importorskip("huggingface_hub")
    repository.cdn = repository.url
    info = hub.HfApi(endpoint=repository.url).model_info("acme/tiny", revision="main", files_metadata=True)
    assert (info.sha, {one.rfilename for one in info.siblings}) == (COMMIT, set(repository.files))
    path = hub.hf_hub_download("acme/tiny", "model.safetensors", endpoint=repository.url, cache_dir=tmp_path / "hub")
    assert Path(path).read_bytes() == model_files.safetensors()
    hub.hf_hub_download("acme/tiny", "config.json", endpoint=repository.url, cache_dir=tmp_path / "hub")
    hub.hf_hub_download("acme/tiny", "tokenizer.json", endpoint=repository.url, cache_dir=tmp_path / "hub")
    found = fetch_hub(Hub(repository="acme/tiny"), tmp_path, Heard(), hosts(repository, tmp_path, offline=True), SOON)
    assert (found / "model.safetensors").samefile(path), "what the official client cached is found where it lies"

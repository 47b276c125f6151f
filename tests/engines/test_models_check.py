"""Folders of strangers: what would be read is checked, what leads elsewhere is refused, what came later is seen."""

import json
import os

import model_files
import pytest
from click.testing import CliRunner
from model_host import Host, serving

from insource.cli.main import main
from insource.engines.models import find, kept_models, model_faults, resolve, template_news
from insource.engines.models_check import check_model, weights_of
from insource.errors import Invalid, Missing, Refused

FILES = model_files.model_files()
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def quiet(_what, _done, _total):
    pass


def index(*names):
    """The files of a model whose index names these as its parts."""
    files = {name: data for name, data in FILES.items() if name != "model.safetensors"}
    table = {f"t{i}": name for i, name in enumerate(names)}
    return files | {"model.safetensors.index.json": json.dumps({"weight_map": table}).encode()}


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        (FILES | {"adapter_config.json": b'{"base_model_name_or_path": "/evil"}'}, Refused, "is an adapter"),
        (index("../../evil.safetensors"), Refused, "no safetensors file of this folder"),
        (index("/etc/passwd"), Refused, "no safetensors file of this folder"),
        (index("model.bin"), Refused, "no safetensors file of this folder"),
        (index("gone.safetensors"), Missing, "gone.safetensors"),
        (index(), Missing, "lacks the weights"),
        (index() | {"model.safetensors.index.json": b'{"weight_map": [1]}'}, Missing, "lacks the weights"),
        (FILES | {"chat_template.jinja": LOOPS.encode()}, Refused, "computed for more than 1 s"),
        (FILES | {"chat_template.jinja": b"x" * 200_000}, Refused, "a chat template of 200,000"),
        (FILES | {"tokenizer_config.json": b'{"chat_template": "' + b"x" * 200_000 + b'"}'}, Refused, "200,000"),
        (FILES | {"tokenizer.json": b'{"normalizer": {"type": "Lua"}}'}, Refused, "unknown kind"),
        (FILES | {"tokenizer_config.json": b"[]"}, Invalid, "no JSON object"),
        (FILES | {"config.json": b"[" * 100_000}, Invalid, "config.json"),
    ],
)
def test_a_folder_that_leads_elsewhere_or_does_harm_is_refused(tmp_path, files, error, words):
    folder = model_files.folder(tmp_path / "model", files)
    with pytest.raises(error, match=words):
        resolve(f"file:{folder}", tmp_path / "cache", progress=quiet)
    assert kept_models(tmp_path / "cache") == {}


@pytest.mark.timeout(60)
def test_a_pipe_or_device_in_the_place_of_a_file_is_not_read(tmp_path):
    folder = model_files.folder(tmp_path / "model")
    os.mkfifo(folder / "special_tokens_map.json")
    with pytest.raises(Refused, match="neither a file nor a link"):
        check_model(folder)
    (folder / "special_tokens_map.json").unlink()
    (folder / "special_tokens_map.json").symlink_to("/dev/zero")
    with pytest.raises(Refused, match="neither a file nor a link"):
        check_model(folder)
    (folder / "special_tokens_map.json").unlink()
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(tmp_path / "gone")
    with pytest.raises((Missing, Refused)):
        check_model(folder)


def test_links_to_files_are_followed_and_what_they_lead_to_is_checked(tmp_path):
    """As the hub's own cache has them, or somebody who keeps large files on another disk."""
    elsewhere = model_files.folder(tmp_path / "elsewhere")
    folder = tmp_path / "model"
    folder.mkdir()
    for path in elsewhere.iterdir():
        (folder / path.name).symlink_to(path)
    resolve(f"file:{folder}", tmp_path / "cache", progress=quiet)
    (elsewhere / "model.safetensors").write_bytes(b"\x80\x04\x95" + bytes(50))
    assert find(f"file:{folder}", tmp_path / "cache") is None
    with pytest.raises(Refused):
        resolve(f"file:{folder}", tmp_path / "cache", progress=quiet)


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """A model in the cache, and how to look at it: its folder, and the faults that verify finds."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with serving(Host(FILES)) as host:
        monkeypatch.setenv("HF_ENDPOINT", host.url)
        local = resolve("hf:acme/tiny", tmp_path / "cache", progress=quiet)
        [(home, kept)] = kept_models(tmp_path / "cache").items()
        yield local.folder, lambda: model_faults(home, kept), tmp_path / "cache"


@pytest.mark.parametrize(
    "name", ["adapter_config.json", "chat_template.jinja", "modeling.py", "pytorch_model.bin", "x"]
)
def test_a_file_that_was_added_to_the_cache_is_found_and_the_model_made_anew(fetched, name):
    folder, faults, cache = fetched
    assert faults() == []
    (folder / name).write_text("{}")
    assert faults() == [f"{name} was added"]
    assert find("hf:acme/tiny", cache) is None, "it is not used"
    resolve("hf:acme/tiny", cache, progress=quiet)
    assert not (folder / name).exists()
    assert faults() == []


def test_a_file_of_the_cache_that_became_a_link_is_found(fetched, tmp_path):
    folder, faults, _ = fetched
    (folder / "config.json").rename(tmp_path / "moved")
    (folder / "config.json").symlink_to(tmp_path / "moved")
    assert faults() == ["config.json is a link now"]


def test_a_file_added_to_a_folder_of_the_user_makes_us_look_again(tmp_path):
    folder, cache = model_files.folder(tmp_path / "model"), tmp_path / "cache"
    resolve(f"file:{folder}", cache, progress=quiet)
    (folder / "README.md").write_text("notes of my own")
    (folder / "train.py").write_text("mine")
    assert find(f"file:{folder}", cache) is not None
    (folder / "adapter_config.json").write_text("{}")
    assert find(f"file:{folder}", cache) is None
    with pytest.raises(Refused, match="is an adapter"):
        resolve(f"file:{folder}", cache, progress=quiet)


def test_code_that_a_model_names_is_said_and_never_run(tmp_path):
    evil = b"import pathlib; pathlib.Path(__file__).with_name('ran').write_text('x')"
    config = b'{"model_type": "brand_new", "auto_map": {"AutoModelForCausalLM": "modeling.Evil"}}'
    folder = model_files.folder(tmp_path / "model", FILES | {"config.json": config, "modeling.py": evil})
    said = check_model(folder)
    assert said == [
        "config.json names code of its own (auto_map): it is not fetched and never run",
        "never read: modeling.py",
    ]


@pytest.mark.slow
def test_code_that_a_model_names_is_not_run_on_loading_either(tmp_path):
    pytest.importorskip("torch")
    from insource.engines.base_model_net import Network
    from insource.engines.readout import load_body
    from insource.errors import EngineDown

    evil = b"import pathlib; pathlib.Path(__file__).with_name('ran').write_text('x')"
    config = b'{"model_type": "brand_new", "auto_map": {"AutoConfig": "modeling.C", "AutoModel": "modeling.M"}}'
    folder = model_files.folder(tmp_path / "model", FILES | {"config.json": config, "modeling.py": evil})
    import torch

    with pytest.raises(EngineDown):
        Network(folder)
    with pytest.raises(EngineDown):
        load_body(folder, device="cpu", dtype=torch.float32)
    assert not (folder / "ran").exists()


def test_weights_in_parts_are_named_by_their_index(tmp_path):
    names = ("a.safetensors", "b.safetensors")
    folder = model_files.folder(tmp_path / "m", index(*names) | dict.fromkeys(names, model_files.safetensors()))
    assert weights_of(folder) == list(names)


def test_a_chat_template_that_changed_since_it_was_last_shown_is_shown(tmp_path):
    folder, cache = model_files.folder(tmp_path / "model"), tmp_path / "cache"
    spec = f"file:{folder}"
    heard = []
    resolve(spec, cache, progress=lambda what, _done, _total: heard.append(what))
    assert template_news(spec, cache) == []
    (folder / "chat_template.jinja").write_text(CHATML)
    resolve(spec, cache, progress=lambda what, _done, _total: heard.append(what))
    assert any("the chat template of" in what and "changed" in what for what in heard)
    news = template_news(spec, cache)
    assert any("(it had no template)" in line for line in news)
    assert any("<|im_start|>user" in line for line in news)
    assert template_news(spec, cache) == [], "it was shown"
    resolve(spec, cache, progress=quiet)
    assert template_news(spec, cache) == []


def test_the_verbs_say_what_changed_what_is_not_run_and_what_was_added(tmp_path, monkeypatch):
    monkeypatch.setenv("INSOURCE_CACHE", str(tmp_path / "cache"))
    config = b'{"model_type": "llama", "vocab_size": 4, "auto_map": {}, "x": 1}'.replace(b"{}", b'{"a": "b"}')
    folder = model_files.folder(tmp_path / "model", FILES | {"config.json": config})
    spec = f"file:{folder}"

    def verb(*words):
        return CliRunner().invoke(main, ["models", *words])

    first = verb("pull", "--no-probe", spec)
    assert first.exit_code == 0, first.output
    assert "never run" in first.stderr
    assert "chat template" not in first.stderr
    (folder / "chat_template.jinja").write_text(CHATML)
    assert verb("verify", spec).exit_code == 2, "it is not what was stored any more"
    second = verb("pull", "--no-probe", spec)
    assert "the chat template changed (lines added: 3, removed: 0)" in second.stderr
    found = json.loads(verb("verify", spec, "--json").stdout)
    assert found["models"][0]["notes"] == [
        "config.json names code of its own (auto_map): it is not fetched and never run"
    ]

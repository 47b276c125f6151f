"""`insource models list`: the table of all, and the page of one with its memory, cards and speed."""

import json
import struct

import pytest
from click.testing import CliRunner

from insource.cli.main import main
from insource.engines.catalogue import listed
from insource.price.cards import cards
from insource.price.sizing import FORMATS


@pytest.fixture
def said(tmp_path, monkeypatch):
    """What the verb prints, with an empty cache of models."""
    monkeypatch.setenv("INSOURCE_CACHE", str(tmp_path / "cache"))

    def run(*words, ends=0):
        done = CliRunner().invoke(main, ["models", "list", *words])
        assert done.exit_code == ends, done.output
        return done.stdout if ends == 0 else done.stderr

    return run


def test_the_table_names_every_model_with_its_size_and_licence(said):
    rows = {line.split()[0]: line for line in said().splitlines()[1:-1]}
    assert list(rows) == list(listed())
    assert "108B, 17.2B work" in rows["llama4-scout"]
    assert "10M" in rows["llama4-scout"]
    assert "24.0B" in rows["mistral-small-3.1"]
    assert "MIT" in rows["phi-4"]
    assert max(map(len, rows.values())) < 180


@pytest.mark.parametrize("name", listed())
def test_the_page_of_every_model_is_printed(said, name):
    page = said(name)
    for form in FORMATS.values():
        assert form.name in page
    for card in cards().values():
        assert card.name in page
    assert "Estimates, not measurements" in page


def test_a_page_says_what_a_load_needs_and_what_is_assumed(said):
    page = said("qwen2.5-7b", "--context", "8192", "--concurrent", "16", "--format", "gptq4")
    assert "16 texts at once of 8,192 tokens, 100 of them written" in page
    assert "Speed in GPTQ / AWQ 4-bit" in page
    assert "7.52 GB" in page, "16 * 8,192 tokens * 28 layers * 2,048 bytes"
    found = json.loads(said("qwen2.5-7b", "--context", "8192", "--concurrent", "16", "--json"))
    assert found["plan"]["formats"]["bf16"]["memory"]["cache"] == 16 * 8192 * 28 * 2048
    assert found["plan"]["load"] == {"context": 8192, "concurrent": 16, "answer": 100}
    assert len(found["plan"]["assumed"]) > 5
    assert found["plan"]["formats"]["bf16"]["cards"]["h100"]["cards"] == 1
    assert "t4" in found["plan"]["formats"]["gptq4"]["cards"]


def test_a_rate_says_how_many_replicas_each_card_needs(said):
    words = ("qwen2.5-7b", "--context", "2048", "--concurrent", "16", "--rate", "50", "--p95-ms", "9000")
    page = said(*words)
    assert "For 50 calls a second, 95% of them within 9000 ms, 16 texts at once on a replica" in page
    found = json.loads(said(*words, "--json"))
    need = found["needed"]["cards"]["h100"]
    assert need["queue"]["replicas"] >= 50 / found["plan"]["formats"]["bf16"]["cards"]["h100"]["requests_s"]
    assert need["queue"]["p95_ms"] <= 9000
    assert "NVIDIA T4" in said(*words), "a card that holds it only in numbers is shown too"
    assert "none does" in said("qwen2.5-7b", "--rate", "1", "--p95-ms", "1")
    assert "needed" not in json.loads(said("qwen2.5-7b", "--json"))


def test_this_machine_is_measured_where_it_is_asked_for(said):
    found = json.loads(said("smollm2-135m", "--here", "--context", "512", "--json"))
    here = found["plan"]["beside"]["here"]
    assert here["measured"] is True
    assert here["gb"] > 0.5
    assert 0.1 < here["gb_s"] < 10_000
    assert 1e-4 < here["tflops"] < 1_000
    assert "here" in found["plan"]["formats"]["bf16"]["cards"] or here["gb"] < 2
    assert "this machine" in said("smollm2-135m", "--here")


def test_more_context_than_the_model_sees_is_refused(said):
    assert "sees 16,384 tokens, not 20,000" in said("phi-4", "--context", "20000", ends=2)


def test_a_model_that_is_neither_known_nor_here_is_missing(said):
    assert "did you mean gemma3-" in said("gemma3-9b", ends=2), "there is no Gemma 3 9B"
    assert "models pull hf:acme/tiny" in said("hf:acme/tiny", ends=2)


def test_a_model_on_this_disk_is_sized_by_its_own_files(said, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    header = json.dumps({"w": {"dtype": "BF16", "shape": [1000, 64], "data_offsets": [0, 128_000]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(128_000))
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {"model_type": "llama", "vocab_size": 100, "max_position_embeddings": 512, **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    assert f"file:{folder} is not pulled yet" in said(f"file:{folder}", ends=2)
    assert CliRunner().invoke(main, ["models", "pull", "--no-probe", f"file:{folder}"]).exit_code == 0
    found = json.loads(said(f"file:{folder}", "--json"))
    assert found["shape"]["parameters"] == 64_000
    assert f"also here: file:{folder}" in said()
    (folder / "config.json").write_text('{"model_type": "mamba"}')
    assert CliRunner().invoke(main, ["models", "pull", "--no-probe", f"file:{folder}"]).exit_code == 0
    assert "of a kind whose memory cannot be told" in said(f"file:{folder}", ends=2)


def test_a_form_for_serving_has_no_training_and_no_other_format(said):
    page = said("openvino-int8:smollm2-135m")
    assert "made from    smollm2-135m" in page
    assert "insource models pull openvino-int8:smollm2-135m" in page
    assert not [word for word in ("LoRA", "GGUF", "BF16", "Memory for") if word in page]
    found = json.loads(said("openvino-int8:smollm2-135m", "--json"))
    assert (found["of"], found["form"], found["disk_bytes"]) == ("smollm2-135m", "openvino-int8", 0)


@pytest.mark.parametrize("words", [(), ("openvino:smollm2-135m",)])
@pytest.mark.parametrize("option", [("--context", "4096"), ("--concurrent", "1"), ("--format", "bf16"), ("--rate", "2"),
                                    ("--here",)])  # fmt: skip
def test_options_of_an_estimate_are_refused_where_there_is_none(said, words, option):
    assert f"{option[0]} is of no use here" in said(*words, *option, ends=2)

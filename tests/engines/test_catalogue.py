"""The table of base models: whole, consistent, and the same as the models themselves where they are here."""

import architectures
import pytest

from insource.engines.catalogue import listed, shape_of
from insource.engines.models import find
from insource.engines.sources import Hub, Wheels, source
from insource.engines.sources_check import check_weights, read_json
from insource.settings import cache_folder

LISTED = listed()
NAMED = ("Llama 4 Scout", "Mistral Small 3.1", "Phi-4", "Gemma 3", "Qwen 2.5")
NAMED += ("Llama 3.1 8B", "Mistral 7B", "Phi-3 Mini")
RUN_HERE = ("smollm2-135m", "gemma3-270m")


@pytest.mark.parametrize("words", NAMED)
def test_every_model_that_the_mission_names_is_listed(words):
    assert any(entry.about.startswith(words) for entry in LISTED.values())


@pytest.mark.parametrize("name", LISTED)
def test_an_entry_is_whole_and_says_where_its_figures_are_from(name):
    entry = LISTED[name]
    shape = entry.shape
    assert entry.about and entry.license and entry.tuning and entry.formats
    assert all(each == "the file itself" or each.startswith("https://") for each in entry.sources)
    assert entry.succeeds in ("", *LISTED)
    assert isinstance(source(name).origin, Wheels if entry.parts else Hub)
    assert shape.parameters > shape.tables > 0
    assert shape.context >= 4096
    assert bool(shape.experts) == bool(shape.active) == bool(shape.chosen)
    assert sum(one.layers for one in shape.attention) <= shape.layers
    assert all(one.numbers or one.state for one in shape.attention)
    for place in entry.unverified:
        value = entry
        for step in place.split("."):
            value = value[0] if isinstance(value, tuple) else value
            assert hasattr(value, step), place
            value = getattr(value, step)


def test_only_files_that_were_fetched_and_checked_carry_a_digest():
    assert {name for name, entry in LISTED.items() if entry.sha256} == set(RUN_HERE)


def test_every_family_of_the_mission_has_a_successor_where_there_is_one():
    old = {entry.succeeds for entry in LISTED.values()} - {""}
    assert {"mistral-small-3.1", "mistral-7b", "phi-3-mini", "gemma3-27b", "qwen2.5-7b"} <= old


def config(**more):
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4}
    return {"model_type": "llama", "vocab_size": 100, "max_position_embeddings": 512, **sizes, **more}


def test_a_shape_is_read_from_a_configuration():
    plain = shape_of(config(), 1000)
    assert [(one.layers, one.kv_heads, one.head_dim, one.window) for one in plain.attention] == [(6, 4, 16, 0)]
    assert (plain.parameters, plain.tied, plain.context) == (1000, False, 512)
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    mixed = shape_of(config(model_type="gemma3_text", num_key_value_heads=1, sliding_window=32, layer_types=kinds), 1)
    assert [(one.layers, one.kv_heads, one.window) for one in mixed.attention] == [(5, 1, 32), (1, 1, 0)]
    assert mixed.tied
    assert shape_of({"model_type": "vlm", "text_config": config()}, 1).layers == 6
    off = shape_of(config(model_type="qwen2", sliding_window=32, use_sliding_window=False), 1)
    assert [one.window for one in off.attention] == [0]


ODD = [{}, {"model_type": "mamba"}, config(num_attention_heads=0), config(hidden_size="wide"), config(model_type="new")]


@pytest.mark.parametrize("odd", ODD)
def test_a_configuration_of_an_unknown_kind_has_no_shape(odd):
    assert shape_of(odd, 1) is None


@pytest.mark.parametrize("name", RUN_HERE)
def test_the_table_says_of_the_models_that_run_here_what_they_say_themselves(name):
    local = find(name, cache_folder())
    if local is None:
        pytest.skip(f"not on this disk: insource models pull {name}")
    weights = check_weights(local.folder / "model.safetensors").weights
    assert shape_of(read_json(local.folder / "config.json"), weights) == LISTED[name].shape


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTED)
def test_its_parameters_are_those_of_the_architecture(name):
    """Built by transformers without memory for weights, and counted."""
    pytest.importorskip("transformers")
    shape = LISTED[name].shape
    whole, experts = architectures.counted(name, shape)
    assert whole == shape.parameters
    if shape.experts:
        assert whole - experts + experts * shape.chosen // shape.experts == shape.active

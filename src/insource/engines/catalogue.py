"""Base models by short name, as catalogue.toml lists them: what they are. Where to fetch them is for `sources` to say.

The same shape is read from the config.json of a model that the table does not know.
"""

import tomllib
from importlib.resources import files

import msgspec

from insource.nouns import Attention, JsonObject, Noun, Shape

PLAIN = {"llama", "mistral", "ministral3", "qwen2", "qwen3", "phi3", "smollm3", "gemma", "gemma2", "gemma3_text"}
SLIDING = "sliding_attention"


class Listed(Noun, frozen=True, kw_only=True):
    """One model of the table, with its columns as they stand there.

    `unverified` names figures that could not be checked, by their place in the table ("shape.vision"). `succeeds` is
    the older model of the table whose place this one takes.
    """

    about: str
    license: str
    hub: str
    shape: Shape
    formats: tuple[str, ...]
    tuning: str
    sources: tuple[str, ...]
    unverified: tuple[str, ...] = ()
    succeeds: str = ""
    file: str = ""
    bytes: int = 0
    sha256: str = ""
    parts: tuple[str, ...] = ()


class _Config(msgspec.Struct, frozen=True):
    """What a config.json says of the sizes of a plain transformer."""

    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    max_position_embeddings: int
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    tie_word_embeddings: bool | None = None
    sliding_window: int | None = None
    use_sliding_window: bool = True
    layer_types: tuple[str, ...] | None = None


def listed() -> dict[str, Listed]:
    """Every model of the table, by name, in its order."""
    text = files("insource.engines").joinpath("catalogue.toml").read_text("utf-8")
    return {name: msgspec.convert(entry, type=Listed) for name, entry in tomllib.loads(text).items()}


def shape_of(config: JsonObject, parameters: int) -> Shape | None:
    """The shape that a config.json describes, for a model of `parameters` weights; None for a kind not known here."""
    text = config["text_config"] if isinstance(config.get("text_config"), dict) else config
    try:
        found = msgspec.convert(text, type=_Config)
    except msgspec.ValidationError:
        return None
    heads = found.num_attention_heads
    if found.model_type not in PLAIN or min(heads, found.hidden_size, found.num_hidden_layers) < 1:
        return None
    tied = config.get("tie_word_embeddings") if found.tie_word_embeddings is None else found.tie_word_embeddings
    return Shape(
        kind=found.model_type,
        parameters=parameters,
        layers=found.num_hidden_layers,
        hidden=found.hidden_size,
        heads=heads,
        inner=found.intermediate_size,
        vocabulary=found.vocab_size,
        context=found.max_position_embeddings,
        tied=found.model_type.startswith("gemma") if tied is None else bool(tied),
        attention=_attention(found),
    )


def _attention(found: _Config) -> tuple[Attention, ...]:
    """The layers with a window, then those without, as far as there are any."""
    window = (found.sliding_window or 0) if found.use_sliding_window else 0
    sliding = sum(kind == SLIDING for kind in found.layer_types or (SLIDING,) * found.num_hidden_layers)
    sliding = sliding if window else 0
    each = {
        "kv_heads": found.num_key_value_heads or found.num_attention_heads,
        "head_dim": found.head_dim or found.hidden_size // found.num_attention_heads,
    }
    both = (
        Attention(layers=sliding, window=window, **each),
        Attention(layers=found.num_hidden_layers - sliding, **each),
    )
    return tuple(one for one in both if one.layers)

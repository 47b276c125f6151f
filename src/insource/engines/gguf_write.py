"""A folder of safetensors as one GGUF file, for llama.cpp and Ollama. Llama-shaped models with a byte-level tokenizer.

Weights of matrices are kept as asked, embeddings and head in 8 bits at least, vectors in 32; a matrix whose rows are no
whole blocks of its kind is kept in 16. llama.cpp turns pairs of neighbours where transformers turns halves, so the rows
of query and key change places (ggml-org/llama.cpp, its converter's `permute`).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insource.errors import EngineDown, Invalid

KINDS = {"f16": "F16", "q8_0": "Q8_0", "q4_0": "Q4_0"}
HEAD = "lm_head.weight"
WIDE = ("token_embd.weight", "output.weight")
GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


def write_gguf(folder: Path, out: Path, kind: str, *, name: str, labels: Sequence[int] = ()) -> None:
    """Writes the model in `folder` to the file `out`, matrices as `kind`: f16, q8_0 or q4_0.

    With `labels`, tokens, every other token has the logit 0, and there is no chat template: it is for a reader of ours.

    Raises `Invalid` for a model of another shape, `EngineDown` without the libraries, OSError.
    """
    try:
        import gguf
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[train]'") from error
    config = json.loads((folder / "config.json").read_text("utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    _check(config, tokenizer)
    state = load_file(folder / "model.safetensors")
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name(name)
    _add_shape(writer, config, getattr(gguf.LlamaFileType, f"MOSTLY_{KINDS[kind]}"))
    _add_tokenizer(writer, config, tokenizer)
    if labels:
        state[HEAD] = _only(state[HEAD], labels)
    else:
        writer.add_chat_template((folder / "chat_template.jinja").read_text("utf-8"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for given, value in state.items():
        known = given if given == HEAD else f"model.{given.removeprefix('model.')}"
        called = names.get_name(known, try_suffixes=(".weight",))
        if called is None:
            raise Invalid(f"the tensor {given} has no place in a GGUF of a Llama-shaped model")
        _add_tensor(writer, called, _turned(given, value.float().numpy(), config), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _only(rows: Any, kept: Sequence[int]) -> Any:
    """The rows, all but those `kept` zero."""
    found = rows.new_zeros(rows.shape)
    found[list(kept)] = rows[list(kept)]
    return found


def _check(config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    if config.get("model_type") != "llama" or config.get("attention_bias") or config.get("mlp_bias"):
        raise Invalid(f"a model of type {config.get('model_type')} is not written as GGUF",
                      hint="convert the exported safetensors with llama.cpp's own script")  # fmt: skip
    before = tokenizer.get("pre_tokenizer") or {}
    if tokenizer["model"].get("type") != "BPE" or any(before.get(key) != value for key, value in GPT2.items()):
        raise Invalid("this model's tokenizer is not written as GGUF: it does not split texts as GPT-2 does",
                      hint="convert the exported safetensors with llama.cpp's own script")  # fmt: skip


def _add_shape(writer: Any, config: dict[str, Any], file_type: int) -> None:
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default" or config.get("rope_scaling"):
        raise Invalid("scaled positions are not written as GGUF")
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_file_type(file_type)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def _add_tokenizer(writer: Any, config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    pieces = {token: piece for piece, token in tokenizer["model"]["vocab"].items()}
    kinds = dict.fromkeys(pieces, NORMAL)
    for entry in tokenizer.get("added_tokens", []):
        pieces[entry["id"]] = entry["content"]
        kinds[entry["id"]] = CONTROL if entry["special"] else USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([pieces.get(token, f"[unused{token}]") for token in range(config["vocab_size"])])
    writer.add_token_types([kinds.get(token, NORMAL) for token in range(config["vocab_size"])])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    ends = config.get("eos_token_id")
    writer.add_eos_token_id(ends[0] if isinstance(ends, list) else ends)
    writer.add_add_bos_token(value=False)


def _turned(name: str, value: Any, config: dict[str, Any]) -> Any:
    """The rows of query and key in llama.cpp's order; every other tensor as it is."""
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    count = next((heads[part] for part in heads if part in name), 0)
    if not count:
        return value
    return value.reshape(count, 2, len(value) // count // 2, -1).swapaxes(1, 2).reshape(value.shape)


def _add_tensor(writer: Any, name: str, value: Any, kind: str) -> None:
    import gguf
    import numpy as np

    if value.ndim == 1:
        writer.add_tensor(name, value.astype(np.float32))
        return
    wide = name in WIDE and kind == "q4_0"
    kept = gguf.GGMLQuantizationType[KINDS["q8_0" if wide else kind]]
    if value.shape[-1] % gguf.GGML_QUANT_SIZES[kept][0]:
        kept = gguf.GGMLQuantizationType.F16
    writer.add_tensor(name, gguf.quants.quantize(value, kept), raw_dtype=kept)

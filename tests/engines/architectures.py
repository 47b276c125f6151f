"""The architecture that a shape of the catalogue stands for, built by transformers without memory for weights."""

from insource.nouns import Shape

GEMMA4 = {"attention_k_eq_v": True, "hidden_size_per_layer_input": 0}
MORE = {
    "gemma4-e4b": {"num_kv_shared_layers": 18, "hidden_size_per_layer_input": 256},
    "gemma4-12b": GEMMA4 | {"num_global_key_value_heads": 1},
    "gemma4-26b-a4b": GEMMA4 | {"num_global_key_value_heads": 2, "enable_moe_block": True, "intermediate_size": 2112},
    "gemma4-31b": GEMMA4 | {"num_global_key_value_heads": 4},
    "qwen3.5-27b": {"linear_num_value_heads": 48},
    "llama4-scout": {"intermediate_size_mlp": 16384},
    "mistral-small-4": {"num_key_value_heads": 32, "intermediate_size": 12288},
}


def config_of(name: str, shape: Shape):
    """A transformers configuration with the sizes of `shape`."""
    from transformers import AutoConfig

    first = shape.attention[0]
    sizes = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": shape.context,
        "tie_word_embeddings": shape.tied,
        "pad_token_id": 0,
    }
    if first.kv_heads:
        sizes["num_key_value_heads"] = first.kv_heads
    if first.head_dim:
        sizes["head_dim"] = first.head_dim
    if shape.experts:
        sizes |= {"num_experts": shape.experts, "num_local_experts": shape.experts, "n_routed_experts": shape.experts}
        sizes |= {
            "num_experts_per_tok": shape.chosen,
            "top_k_experts": shape.chosen,
            "moe_intermediate_size": shape.inner,
        }
    return AutoConfig.for_model(shape.kind, **(sizes | MORE.get(name, {})))


def counted(name: str, shape: Shape) -> tuple[int, int]:
    """All parameters of the text model, and those of the experts."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.mistral4.modeling_mistral4 import Mistral4ForCausalLM

    config = config_of(name, shape)
    with torch.device("meta"):
        new = shape.kind == "mistral4"  # the automatic class does not know it yet
        model = Mistral4ForCausalLM(config) if new else AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    weights = list(model.named_parameters())
    experts = sum(value.numel() for key, value in weights if ".experts." in key)
    return sum(value.numel() for _, value in weights), experts

"""A real model, very small: a two-layer Llama with random weights and a tokenizer trained on the spot."""

import json
from pathlib import Path

WORDS = {
    "leak": ["oil leak at seal", "hose drips fluid", "puddle of coolant", "leaking gasket again", "wet flange"],
    "noise": ["loud grinding noise", "squeal from belt", "rattles at speed", "knocking in gearbox", "humming motor"],
    "heat": ["bearing too hot", "overheated drive", "smell of burning", "temperature alarm", "smoke from cabinet"],
}


def build(folder: Path, seed: int = 0, *, loud: float = 1.0, width: int = 48) -> Path:
    """Writes config.json, tokenizer.json and model.safetensors; the same files for the same seed.

    `loud` multiplies the embedding, which is the vocabulary head too: as drawn, its logits hardly differ. `width` is
    how long its hidden states are.
    """
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|end|>", "<|user|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    texts = [text for many in WORDS.values() for text in many]
    tokenizer.train_from_iterator([f"{text} {i}" for text in texts for i in range(200)], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=600, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, eos_token_id=0, bos_token_id=None, tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight *= loud
    config.save_pretrained(folder)
    state = {k: v.contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    data = json.loads((folder / "config.json").read_text())
    data["eos_token_id"] = 0
    (folder / "config.json").write_text(json.dumps(data))
    return folder


def rows(task, count: int, split: str, seed: int = 0) -> list:
    """`count` labelled rows; urgency follows from a word, cause from the phrase."""
    import random

    from insource.nouns import Example

    rng = random.Random(f"{split}{seed}")  # noqa: S311 - an order, not a secret
    made = []
    for _ in range(count):
        label = rng.choice(sorted(WORDS))
        urgent = rng.random() < 0.5
        text = f"{rng.choice(WORDS[label])} {rng.randint(1, 199)}{' stop now' if urgent else ''}"
        target = {"category": label, "urgency": "high" if urgent else "low"}
        target = {output.name: target[output.name] for output in task.outputs}
        made.append(
            Example(
                id=Example.identity(task.name, text, target), task=task.name, input=text, target=target, split=split
            )
        )
    return made

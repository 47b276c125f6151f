"""A real tokenizer and a real model, made in seconds: byte-level BPE and a Llama of two layers with random weights."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from insource.decode.mask import Vocabulary
from insource.engines.local import LocalModel

sys.path.append(str(Path(__file__).parents[2] / "bench"))  # the walk through a mask is the benchmark's

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WORDS = (
    '{"name":"pump","count":12,"urgent":true,"parts":["seal","bearing"],"note":null,"total":-3.25e1} '
    "The spindle whines at high speed; the coolant leaks under the bearing cover and pressure falls below four bar. "
    "bearing sealing electrical hydraulic low medium high category urgency cause "
)


def tokenizer() -> Any:
    """Byte-level BPE of some 400 tokens; control tokens first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([WORDS] * 8, trainer)
    return made


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """The tiny tokenizer as masks see it; token 2 ends an output."""
    made = tokenizer()
    return Vocabulary(made.to_str(), size=made.get_vocab_size(), ends=[2])


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    """A converted model folder with random weights (seed 0), as `engines.models` leaves one."""
    return make(tmp_path_factory.mktemp("tiny"), template=TEMPLATE)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    """The same without a chat template."""
    return make(tmp_path_factory.mktemp("bare"), template="")


def make(folder: Path, *, template: str) -> LocalModel:
    """Writes tokenizer, template, configuration and weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    made = tokenizer()
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}))
    if template:
        (folder / "chat_template.jinja").write_text(template)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=made.get_vocab_size() + 4,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.4,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return LocalModel(name="tiny", folder=folder, sha256="0" * 64)

"""What a run leaves: adapter/ in PEFT's format with the label rows beside it, and model/ merged, its head untied.

model/ is an ordinary causal language model: any engine that reads safetensors can serve it, answering with label
tokens after the input and the end token.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from insource.engines.artefact import OutputHead
from insource.engines.local import LocalModel
from insource.train.loop import Model
from insource.train.lora import merged_state, save_adapter

COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def export(model: Model, heads: Sequence[OutputHead], base: LocalModel, rank: int, folder: Path) -> None:
    """Writes both forms into `folder`. Raises OSError when the disk is full."""
    save_adapter(model.body, base.name, rank, folder / "adapter")
    rows = {head.name: tensor.detach().cpu() for head, tensor in zip(heads, model.rows, strict=True)}
    save_file(rows, folder / "adapter" / "label_rows.safetensors")
    state = merged_state(model.body)
    vocabulary = model.body.get_input_embeddings().weight.detach().to(torch.bfloat16).cpu().clone()
    for head in heads:
        vocabulary[torch.tensor(head.tokens)] = rows[head.name].to(torch.bfloat16)
    state["lm_head.weight"] = vocabulary
    (folder / "model").mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model" / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base.folder / "config.json").read_text("utf-8"))
    config |= {"tie_word_embeddings": False, "dtype": "bfloat16"}
    (folder / "model" / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    for name in COMPANIONS:
        if (base.folder / name).is_file():
            shutil.copyfile(base.folder / name, folder / "model" / name)

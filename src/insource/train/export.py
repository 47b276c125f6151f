"""What a run leaves: adapter/ in PEFT's format with the label rows beside it, and model/ merged, its head untied.

model/ is an ordinary causal language model: any engine that reads safetensors can serve it, answering with label
tokens after the input in the manifest's template.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from insource.engines.artefact import OutputHead
from insource.engines.local import LocalModel
from insource.errors import StoreError
from insource.train.lora import merged_state, save_adapter
from insource.train.model import Model

COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def export(model: Model, heads: Sequence[OutputHead], base: LocalModel, folder: Path) -> None:
    """Writes both forms into `folder`. Raises `StoreError` or OSError when the disk is full."""
    try:
        save_adapter(model.body, base.name, folder / "adapter")
        rows = {head.name: trained.rows.cpu() for head, trained in zip(heads, model.heads, strict=True)}
        save_file(rows, folder / "adapter" / "label_rows.safetensors")
        _save_model(model, heads, rows, base, folder / "model")
    except SafetensorError as error:
        raise StoreError(f"{folder} cannot be written: {error}", hint="free disk space, run again") from error


def _save_model(
    model: Model, heads: Sequence[OutputHead], rows: dict[str, Any], base: LocalModel, folder: Path
) -> None:
    state = merged_state(model.body)
    vocabulary = model.body.get_input_embeddings().weight.detach().to(torch.bfloat16).cpu().clone()
    for head in heads:
        vocabulary[torch.tensor(head.tokens)] = rows[head.name].to(torch.bfloat16)
    state["lm_head.weight"] = vocabulary
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base.folder / "config.json").read_text("utf-8"))
    config |= {"tie_word_embeddings": False, "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    for name in COMPANIONS:
        if (base.folder / name).is_file():
            shutil.copyfile(base.folder / name, folder / name)

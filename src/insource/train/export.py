"""What a run leaves: adapter/ in PEFT's format with the label rows beside it, and model/ with the adapter merged in.

model/ is an ordinary causal language model: any engine that reads safetensors can serve it, answering after the input
in the manifest's template: with label tokens of an untied head, or with the JSON itself.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from insource.engines.local import LocalModel
from insource.errors import StoreError
from insource.train.lora import merged_state, save_adapter

COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def export(body: Any, base: LocalModel, folder: Path, *, head: Any = None, rows: dict[str, Any]) -> None:
    """Writes both forms into `folder`. `head` [vocabulary, hidden] is the vocabulary head where it is untied.

    `rows` are the label rows by output. Raises `StoreError` or OSError when the disk is full.
    """
    try:
        save_adapter(body, base.name, folder / "adapter")
        if rows:
            save_file(rows, folder / "adapter" / "label_rows.safetensors")
        _save_model(dict(merged_state(body)), head, base, folder / "model")
    except SafetensorError as error:
        raise StoreError(f"{folder} cannot be written: {error}", hint="free disk space, run again") from error


def _save_model(state: dict[str, Any], head: Any, base: LocalModel, folder: Path) -> None:
    changes: dict[str, Any] = {"dtype": "bfloat16"}
    if head is not None:
        state["lm_head.weight"] = head.detach().to(torch.bfloat16).cpu().contiguous()
        changes["tie_word_embeddings"] = False
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base.folder / "config.json").read_text("utf-8")) | changes
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    for name in COMPANIONS:
        if (base.folder / name).is_file():
            shutil.copyfile(base.folder / name, folder / name)

"""What a run leaves: adapter/ in PEFT's format with the label rows beside it, and model/ with the adapter merged in.

model/ is an ordinary causal language model: any engine that reads safetensors can serve it, answering after the input
in the manifest's template: with label tokens of an untied head, or with the JSON itself.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from itertools import chain
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
        _save_model(body, head, base, folder / "model")
    except SafetensorError as error:
        raise StoreError(f"{folder} cannot be written: {error}", hint="free disk space, run again") from error


def _save_model(body: Any, head: Any, base: LocalModel, folder: Path) -> None:
    changes: dict[str, Any] = {"dtype": "bfloat16"}
    own = [] if head is None else [("lm_head.weight", head.detach().to(torch.bfloat16).cpu().contiguous())]
    if own:
        changes["tie_word_embeddings"] = False
    folder.mkdir(parents=True, exist_ok=True)
    _stream(folder / "model.safetensors", lambda: chain(merged_state(body), own))
    config = json.loads((base.folder / "config.json").read_text("utf-8")) | changes
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    for name in COMPANIONS:
        if (base.folder / name).is_file():
            shutil.copyfile(base.folder / name, folder / name)


def _stream(path: Path, tensors: Callable[[], Iterable[tuple[str, Any]]]) -> None:
    """A safetensors file of bfloat16 tensors that are made one at a time, once for their shapes and once to be written.

    All of them together may be several times what training held: a base in 4 bits is written in 16.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [start, end]}
    said = json.dumps(header).encode()
    said += b" " * (-len(said) % 8)
    with path.open("wb") as file:
        file.write(len(said).to_bytes(8, "little") + said)
        for _, tensor in tensors():
            file.write(tensor.view(torch.uint8).numpy().data)

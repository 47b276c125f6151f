"""A trained body as one GGUF file, and its label rows beside it: what `engines.llamacpp_reader` reads."""

from pathlib import Path

from insource.engines.artefact import Manifest
from insource.engines.gguf_write import write_gguf
from insource.engines.llamacpp_reader import BODY, LABELS, ROWS
from insource.engines.specialist import head_rows
from insource.errors import EngineDown


def convert(model: Path, manifest: Manifest, folder: Path, *, weights: str) -> None:
    """Writes the trained model in `model` into `folder`, matrices as `weights`: f16, q8_0 or q4_0.

    Label rows stay in 32 bits, one below the other for all outputs. Raises `Invalid` for a model that has no GGUF,
    `EngineDown` without torch and gguf, OSError.
    """
    try:
        import torch
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[train,llamacpp]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    write_gguf(model, folder / BODY, weights, name=manifest.task.name, body=True)
    rows = torch.cat(head_rows(model, [head.tokens for head in manifest.heads], "cpu"))
    save_file({ROWS: rows.contiguous()}, folder / LABELS)

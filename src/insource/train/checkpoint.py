"""Where a run stands, on disk: one safetensors file, replaced whole. A run killed at any moment goes on from here."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from insource.errors import Invalid, StoreError
from insource.nouns import Noun, from_json, to_json


class Standing(Noun, frozen=True, kw_only=True):
    """Everything but the tensors. `run` is the digest of what the run depends on; another run's file is not used."""

    run: str
    step: int = 0
    best: float = -1e9
    best_step: int = 0
    worse: int = 0
    finished: bool = False
    seconds: float = 0.0
    history: tuple[dict[str, float], ...] = ()


def save(path: Path, standing: Standing, tensors: dict[str, Any]) -> None:
    """Writes the checkpoint aside, then puts it in place. Raises `StoreError` when the disk is full."""
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part, metadata={"standing": to_json(standing).decode()})
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise StoreError(
            f"the checkpoint {path} cannot be written: {error}", hint="free disk space, run again"
        ) from error


def load(path: Path, run: str) -> tuple[Standing, dict[str, Any]] | None:
    """The checkpoint of this very run; None when there is none, or it belongs to another run or is damaged."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            standing = from_json((file.metadata() or {}).get("standing", ""), Standing)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, Invalid):
        return None
    return (standing, tensors) if standing.run == run else None

"""A specialist on disk: a folder of data files and the manifest that names them. The manifest is written last.

No file is code: safetensors, GGUF, JSON, text. A folder without a manifest is unfinished and is never loaded; one whose
files do not match the manifest's SHA-256 digests is refused.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from msgspec import UNSET, UnsetType

from insource.errors import Invalid, Missing, Refused
from insource.nouns import JsonObject, Noun, Task, digest, from_json, to_json
from insource.stats import scaled

MANIFEST = "manifest.json"
SAFE = {".safetensors", ".xml", ".bin", ".json", ".jsonl", ".toml", ".txt", ".jinja", ".md", ".gguf"}


class OutputHead(Noun, frozen=True, kw_only=True):
    """How one output is read: label i is token `tokens[i]` of the vocabulary; logits are divided by `temperature`."""

    name: str
    labels: tuple[str, ...]
    tokens: tuple[int, ...] = ()
    temperature: float = 1.0


class Scale(Noun, frozen=True, kw_only=True):
    """A confidence p is served as sigmoid(slope · log(p / (1 - p)) + offset)."""

    slope: float = 1.0
    offset: float = 0.0

    def of(self, confidence: float) -> float:
        """The confidence as it is served, 0 to 1."""
        return scaled(confidence, self.slope, self.offset)


class Calibration(Noun, frozen=True, kw_only=True):
    """How the probabilities of a written answer become confidences: a scale a field, and one for the whole."""

    fields: dict[str, Scale] = {}
    whole: Scale = Scale()


class Manifest(Noun, frozen=True, kw_only=True):
    """What is in the folder and where it came from.

    `files` maps each relative path to its SHA-256. `threshold` is the confidence at which the task's risk holds on
    the dev split, None when it asks for none; `promise` says in words what it guarantees or why it cannot, and
    `unpromised` is True where it cannot, else not written.
    `heads` are a classify task's, `calibration` an extract task's.
    `template` is what stood around each text in training, and stands around each text it serves.
    `dev` holds the trainer's own evaluation (n, accuracy, ece); its answers row by row are in `trainer.jsonl`.
    """

    engine: str
    task: Task
    base: str
    base_digest: str
    dataset: str
    recipe: JsonObject
    heads: tuple[OutputHead, ...]
    calibration: Calibration | None = None
    files: dict[str, str]
    threshold: float | None = None
    promise: str = ""
    max_tokens: int = 512
    template: str = ""
    dev: dict[str, float] = {}
    code: str = ""
    unpromised: bool | UnsetType = UNSET


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(folder: Path) -> dict[str, str]:
    """Relative path → SHA-256 of every file but the manifest. Raises `Refused` on a kind of file we never write."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    odd = [path for path in found if path.suffix not in SAFE]
    if odd:
        raise Refused(f"{odd[0]} is not a data file we know", hint="an artefact holds weights, JSON and text only")
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in found}


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Writes the manifest, whole or not at all, and returns its SHA-256: the artefact's identity."""
    data = to_json(manifest)
    part = folder / (MANIFEST + ".part")
    part.write_bytes(data)
    part.replace(folder / MANIFEST)
    return digest(data)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of `folder`. Raises `Missing` when there is none, `Invalid` when it cannot be read."""
    try:
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise Missing(f"{folder} holds no finished artefact (no {MANIFEST})", hint="insource train TASK") from error
    except (OSError, ValueError) as error:  # ValueError: a folder with a NUL
        raise Invalid(f"{folder / MANIFEST} cannot be read: {error}") from error
    return from_json(data, Manifest)


def faults(folder: Path, artefact: str = "", left: Sequence[str] = ()) -> list[str]:
    """Every way in which the files differ from the manifest, in words; empty when the artefact is whole.

    With `artefact`, the manifest itself must have that SHA-256. The files named by `left` stayed where the artefact was
    made, and may be absent.
    """
    manifest = read_manifest(folder)
    said = []
    if artefact and digest((folder / MANIFEST).read_bytes()) != artefact:
        said.append(f"{MANIFEST} is not the one that was released")
    found = file_digests(folder)
    said += [f"{name} is missing" for name in manifest.files if name not in found and name not in left]
    said += [f"{name} was changed" for name, sha in manifest.files.items() if found.get(name, sha) != sha]
    said += [f"{name} was added" for name in found if name not in manifest.files]
    return said


def must_be_released(folder: Path, artefact: str) -> None:
    """Raises `Refused` unless the manifest in `folder` is the one of the SHA-256 `artefact`, `Missing` without one.

    Every engine checks its files against the manifest; that it is this manifest only the release can say.
    """
    read_manifest(folder)
    if digest((folder / MANIFEST).read_bytes()) != artefact:
        raise Refused(f"{folder}: {MANIFEST} is not the one that was released", hint="restore it, or roll back")

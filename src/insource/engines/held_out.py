"""What a release answered to the rows held out of its training: how sure, how strange, and what was right; no text.

It lies in the artefact as `held_out.json`, so that whatever is promised of a release can be fitted again to other
limits, wherever the release is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import UNSET, UnsetType

from insource.engines.artefact import file_digest, read_manifest
from insource.errors import Refused
from insource.nouns import JsonObject, Noun, Task, from_json, same, to_json

FILE = "held_out.json"
SAYS_NOVELTY = ("linear", "torch", "openvino")  # the engines of releases that say how strange an input is


class HeldOut(Noun, frozen=True, kw_only=True):
    """A place a row in every list. `fields` and `fields_right` are None where the answer has no value of the field.

    `novelty` is empty where the engine does not say how strange an input is.
    """

    confidences: tuple[float, ...]
    right: tuple[bool, ...]
    fields: dict[str, tuple[float | None, ...]] = {}
    fields_right: dict[str, tuple[bool | None, ...]] = {}
    novelty: tuple[float, ...] = ()


class Said(Noun, frozen=True, kw_only=True):
    """What was answered to one row."""

    value: JsonObject | None
    confidence: float
    fields: Mapping[str, float] = {}
    novelty: float | UnsetType = UNSET


def write_held_out(folder: Path, task: Task, targets: Sequence[JsonObject], said: Sequence[Said]) -> None:
    """Writes `held_out.json` into `folder`; `said[i]` answers the row that should be `targets[i]`."""
    both = list(zip(targets, said, strict=True))
    right = {
        name: tuple([None if name not in (a.value or {}) else _right(task, name, t, a.value) for t, a in both])
        for name in task.fields
    }
    sure = {name: tuple([a.fields.get(name, 0.0) if name in (a.value or {}) else None for a in said]) for name in right}
    strange = [a.novelty for a in said if not isinstance(a.novelty, UnsetType)]
    found = HeldOut(
        confidences=tuple(a.confidence for a in said),
        right=tuple(
            a.value is not None and all(_right(task, name, t, a.value) for name in task.fields) for t, a in both
        ),
        fields=sure,
        fields_right=right,
        novelty=tuple(strange) if len(strange) == len(said) else (),
    )
    (folder / FILE).write_bytes(to_json(found))


def read_held_out(folder: Path) -> HeldOut | None:
    """What `folder` holds of it; None where the release is from before. Raises `Refused` where the file was changed."""
    path = folder / FILE
    named = read_manifest(folder).files.get(FILE)
    if named is None or not path.is_file():
        return None
    if file_digest(path) != named:
        raise Refused(f"{path} was changed", hint="restore it, or roll back")
    return from_json(path.read_bytes(), HeldOut)


def _right(task: Task, name: str, target: JsonObject, value: JsonObject | None) -> bool:
    wanted, given = target.get(name), (value or {}).get(name)
    return wanted == given if task.kind == "classify" else same(wanted, given)

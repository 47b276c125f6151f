"""The next version and its changelog, both written from facts: what was released before, and from which rows."""

import re
from collections.abc import Iterable
from typing import Literal

from insource.errors import Invalid
from insource.nouns import Dataset, JsonObject, Release, digest

Bump = Literal["major", "minor", "patch"]
FIRST = "1.0.0"
PLACE = {"major": 0, "minor": 1, "patch": 2}
SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
SHORT = 12


def parse_version(text: str) -> tuple[int, int, int]:
    """`1.2.3` as three numbers (semver.org 2.0.0, without suffixes). Raises `Invalid` for anything else."""
    found = SEMVER.fullmatch(text)
    if found is None:
        raise Invalid(f"{text!r} is no version", hint="a version is three numbers: 1.0.0")
    major, minor, patch = found.groups()
    return int(major), int(minor), int(patch)


def next_version(existing: list[Release], bump: str = "minor", *, besides: Iterable[str] = ()) -> str:
    """The version after the highest there is: "1.0.0" first; new rows or a new recipe are a "minor" step.

    `besides` names more that are taken, such as the folder of a release that was never registered; what is no version
    among them does not count.

    Raises `Invalid` when `bump` is not one of major, minor and patch.
    """
    if bump not in PLACE:
        raise Invalid(f"{bump!r} is no step of a version", hint=f"steps: {', '.join(PLACE)}")
    taken = [release.version for release in existing] + [name for name in besides if SEMVER.fullmatch(name)]
    if not taken:
        return FIRST
    numbers = list(max(parse_version(version) for version in taken))
    place = PLACE[bump]
    numbers[place] += 1
    numbers[place + 1 :] = [0] * (2 - place)
    return ".".join(str(number) for number in numbers)


def changelog(
    previous: Release | None,
    before: Dataset | None,
    now: Dataset,
    *,
    recipe: JsonObject | None = None,
    same: str = "",
    note: str = "",
) -> str:
    """What is different from the release before, a line each: rows, files, recipe; `note` is the author's own word.

    `same` is a release with the very same artefact, where there is one: then nothing will be answered otherwise.
    `before` is the dataset of `previous`, None when it is gone. Without `previous` it says what the first is made of.
    """
    if previous is None:
        lines = [f"first release, from dataset {now.id[:SHORT]}: {_counts(now)}"]
    else:
        lines = [f"since {previous.name}:", *_rows(previous, before, now), *_recipe(previous, recipe)]
        lines += [f"- artefact: the one of {same}, to the byte: it answers nothing otherwise"] * bool(same)
    return "\n".join([*lines, *([f"- note: {note.strip()}"] if note.strip() else [])])


def _counts(dataset: Dataset) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in dataset.counts.items()) + " rows"


def _rows(previous: Release, before: Dataset | None, now: Dataset) -> list[str]:
    if previous.dataset == now.id:
        return [f"- rows: the same, dataset {now.id[:SHORT]} ({_counts(now)})"]
    if before is None:
        return [f"- rows: dataset {now.id[:SHORT]} ({_counts(now)}); those of {previous.name} are gone"]
    splits = list(dict.fromkeys([*before.counts, *now.counts]))
    moved = [_split(split, before.counts.get(split, 0), now.counts.get(split, 0)) for split in splits]
    new = _new_files(before, now)
    files = [f"- files added: {', '.join(new)}"] if new else []
    return [f"- rows: {'; '.join(moved)} (dataset {before.id[:SHORT]} → {now.id[:SHORT]})", *files]


def _split(name: str, before: int, now: int) -> str:
    step = f"{now - before:+,}" if now != before else "same number"
    return f"{name} {before:,} → {now:,} ({step})" if now != before else f"{name} {now:,} ({step})"


def _new_files(before: Dataset, now: Dataset) -> list[str]:
    """Names of the imported files that `now` has and `before` had not, by their SHA-256."""
    known = {entry.get("sha256") for entry in before.lineage}
    return [str(entry["file"]) for entry in now.lineage if "file" in entry and entry.get("sha256") not in known]


def _recipe(previous: Release, recipe: JsonObject | None) -> list[str]:
    if recipe is None:
        return []
    if digest(recipe) == previous.recipe:
        return ["- recipe: unchanged"]
    dials = ", ".join(f"{name} {value}" for name, value in recipe.items())
    return [f"- recipe: changed to {dials}" if dials else "- recipe: changed to one without dials"]

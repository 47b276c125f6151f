"""A release as a folder that other engines read: merged safetensors, tokenizer, config, and the manifest."""

import shutil
from pathlib import Path

from insource.engines.artefact import MANIFEST
from insource.errors import Conflict, Invalid, Refused, StoreError
from insource.nouns import Release
from insource.release.integrity import damage

MERGED = "model"


def export(release: Release, folder: Path, out: Path) -> list[Path]:
    """Copies the merged model of the artefact in `folder` to `out`, whole or not at all; the files now there.

    The manifest goes with it: it says which token each label is. Raises `Invalid` for a release that has no merged
    model, `Refused` for a changed artefact, `Conflict` when `out` exists, `StoreError` when the disk is full.
    """
    said = damage(folder, release.artefact, release.left)
    if said:
        raise Refused(f"{release.name} is not what was released: {'; '.join(said)}")
    if not (folder / MERGED).is_dir():
        raise Invalid(f"{release.name} has no merged model: its engine is {release.engine}",
                      hint="only trained models are exported; insource serves this one as it is")  # fmt: skip
    if out.exists():
        raise Conflict(f"{out} exists already", hint="name another folder with --out")
    part = out.with_name(out.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(folder / MERGED, part)
        shutil.copyfile(folder / MANIFEST, part / MANIFEST)
        part.rename(out)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        why = error.strerror or "some files could not be copied"
        raise StoreError(f"{out} cannot be written: {why}", hint="free disk space, run again") from error
    return sorted(path for path in out.rglob("*") if path.is_file())

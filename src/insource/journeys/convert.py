"""A release in another form: the same weights for a quicker engine, sealed as a release that must pass the gate itself.

whole on disk → converted → the trainer's own answers beside it → manifest last → registered → measured beside the first
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from insource.engines.artefact import Manifest, file_digests, read_manifest, write_manifest
from insource.errors import Invalid, Refused, StoreError
from insource.journeys.lineup import Progress, quiet
from insource.journeys.measure import measure
from insource.nouns import Noun, Release, Report, Task, digest
from insource.release.enter import enter
from insource.release.integrity import damage
from insource.settings import Settings
from insource.store import Store
from insource.store.files import alone

MODEL = "model"
COMPANIONS = ("tokenizer.json", "config.json")


class Converted(Noun, frozen=True, kw_only=True):
    """The new release and the one it came from, their bytes on disk, and the report on both, same rows."""

    release: Release
    source: Release
    sizes: dict[str, int]
    report: Report


async def convert(
    task: Task, release: Release, settings: Settings, store: Store, *, form: str, progress: Progress = quiet
) -> Converted:
    """Makes `release` over for the engine `form`, registers it a patch step on, and measures both.

    Raises `Invalid` for a form there is none of, or a release that has no weights to convert, `Refused` for one that
    was changed on disk, `EngineDown` where the engine is not installed or cannot take this model.
    """
    if form not in FORMS:
        raise Invalid(f"there is no form {form!r}", hint=f"forms: {', '.join(FORMS)}")
    source = settings.state / release.folder
    said = damage(source, release.artefact)
    if said:
        raise Refused(f"{release.name} is not what was released: {'; '.join(said)}", hint="restore it, or train again")
    manifest = read_manifest(source)
    if manifest.engine != "torch":
        raise Invalid(f"{release.name} is served by {manifest.engine} already", hint="convert the release it came from")
    with alone(settings.state / "locks" / f"convert-{digest(task.name)[:16]}", f"insource release export {task.name}"):
        made = await _made(release, manifest, settings, store, form, progress)
    progress(f"converting to {form}", 1, 1)
    report = await measure(task, settings, store, candidates=[release.name, made.name], progress=progress)
    sizes = {one.name: _bytes(settings.state / one.folder / MODEL) for one in (release, made)}
    return Converted(release=made, source=release, sizes=sizes, report=report)


async def _made(
    release: Release, manifest: Manifest, settings: Settings, store: Store, form: str, progress: Progress
) -> Release:
    source, work = settings.state / release.folder, settings.state / "training" / release.task / form
    shutil.rmtree(work, ignore_errors=True)
    progress(f"converting to {form}", 0, 1)
    try:
        FORMS[form](source / MODEL, manifest, work / MODEL)
        for name in COMPANIONS:
            shutil.copyfile(source / MODEL / name, work / MODEL / name)
        shutil.copyfile(source / "trainer.jsonl", work / "trainer.jsonl")
        sealed = msgspec.structs.replace(manifest, engine=form, files=file_digests(work))
        made = msgspec.structs.replace(
            release,
            engine=form,
            artefact=write_manifest(work, sealed),
            changelog=f"{release.name} for the engine {form}: the same weights, kept in 16 bits",
            report="",
            stage="candidate",
            approved_by="",
        )
        return await enter(made, work, settings, store, step="patch")
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise StoreError(f"{work} cannot be written: {error.strerror}", hint="free disk space, run again") from error


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _openvino(source: Path, manifest: Manifest, folder: Path) -> None:
    from insource.engines.openvino_graph import convert as to_graph

    to_graph(source, manifest, folder)


FORMS: dict[str, Callable[[Path, Manifest, Path], None]] = {"openvino": _openvino}

"""A release in another form: the same weights for a quicker engine, sealed as a release that must pass the gate itself.

whole on disk → converted → the trainer's own answers beside it → manifest last → registered → measured beside the first
"""

import shutil
from pathlib import Path

import msgspec

from insource.engines.artefact import Manifest, file_digests, read_manifest, write_manifest
from insource.errors import Invalid, Refused, StoreError
from insource.journeys.lineup import Progress, quiet
from insource.journeys.measure import measure
from insource.nouns import Noun, Release, Report, digest
from insource.release.enter import enter
from insource.release.integrity import damage
from insource.settings import Settings, load_task
from insource.store import Store
from insource.store.files import alone

MODEL = "model"
COMPANIONS = ("tokenizer.json", "config.json")


class Form(Noun, frozen=True, kw_only=True):
    """What a release can be made over into: the engine that serves it, how its weights are kept, and that in words."""

    engine: str
    weights: str
    said: str


FORMS = {
    "openvino": Form(engine="openvino", weights="", said="the same weights, kept in 16 bits"),
    "openvino-int8": Form(engine="openvino", weights="INT8_ASYM", said="weights in 8 bits"),
    "openvino-int4": Form(engine="openvino", weights="INT4_SYM", said="weights in 4 bits, embeddings and labels in 8"),
}


class Converted(Noun, frozen=True, kw_only=True):
    """The new release and the one it came from, their bytes on disk, and the report on both, same rows."""

    release: Release
    source: Release
    sizes: dict[str, int]
    report: Report


async def convert(
    release: Release, settings: Settings, store: Store, *, form: str, rows: int = 0, progress: Progress = quiet
) -> Converted:
    """Makes `release` over for the form `form`, registers it a patch step on, and measures both on `rows` test rows.

    0 rows are all.

    Raises `Invalid` for a form there is none of, or a release that has no weights to convert, `Refused` for one that
    was changed on disk, `EngineDown` where the engine is not installed or cannot take this model.
    """
    task = load_task(settings, release.task)
    if form not in FORMS:
        raise Invalid(f"there is no form {form!r}", hint=f"forms: {', '.join(FORMS)}")
    source = settings.state / release.folder
    said = damage(source, release.artefact)
    if said:
        raise Refused(f"{release.name} is not what was released: {'; '.join(said)}", hint="restore it, or train again")
    manifest = read_manifest(source)
    if manifest.engine != "torch":
        raise Invalid(f"{release.name} is served by {manifest.engine} already", hint="convert the release it came from")
    if not manifest.heads:
        raise Invalid(f"{release.name} writes its answers, and only label readers have another form so far",
                      hint="insource release export --format safetensors copies it out")  # fmt: skip
    with alone(settings.state / "locks" / f"convert-{digest(task.name)[:16]}", f"insource release export {task.name}"):
        made = await _made(release, manifest, settings, store, form, progress)
    progress(f"converting to {form}", 1, 1)
    both = [release.name, made.name]
    report = await measure(task, settings, store, candidates=both, rows=rows or None, progress=progress)
    sizes = {one.name: _bytes(settings.state / one.folder / MODEL) for one in (release, made)}
    return Converted(release=made, source=release, sizes=sizes, report=report)


async def _made(
    release: Release, manifest: Manifest, settings: Settings, store: Store, form: str, progress: Progress
) -> Release:
    from insource.engines.openvino_graph import convert as to_graph

    source, work = settings.state / release.folder, settings.state / "training" / release.task / form
    shutil.rmtree(work, ignore_errors=True)
    progress(f"converting to {form}", 0, 1)
    try:
        to_graph(source / MODEL, manifest, work / MODEL, weights=FORMS[form].weights)
        for name in COMPANIONS:
            shutil.copyfile(source / MODEL / name, work / MODEL / name)
        shutil.copyfile(source / "trainer.jsonl", work / "trainer.jsonl")
        sealed = msgspec.structs.replace(manifest, engine=FORMS[form].engine, files=file_digests(work))
        made = msgspec.structs.replace(
            release,
            engine=FORMS[form].engine,
            artefact=write_manifest(work, sealed),
            changelog=f"{release.name} as {form}: {FORMS[form].said}",
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

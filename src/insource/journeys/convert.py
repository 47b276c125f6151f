"""A release in another form: the same weights for a quicker engine, sealed as a release that must pass the gate itself.

whole on disk → converted → the trainer's own answers beside it → manifest last → registered → measured against the first
"""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from insource.engines.artefact import Manifest, file_digests, read_manifest, write_manifest
from insource.errors import Conflict, Invalid, Refused, StoreError
from insource.journeys.lineup import Progress, quiet
from insource.journeys.measure import measure
from insource.nouns import Noun, Release, Report, Task
from insource.release.integrity import damage
from insource.release.register import next_version
from insource.settings import Settings
from insource.store import Store

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
    work = settings.state / "training" / task.name / form
    shutil.rmtree(work, ignore_errors=True)
    progress(f"converting to {form}", 0, 1)
    try:
        FORMS[form](source, manifest, work)
        for name in COMPANIONS:
            shutil.copyfile(source / "model" / name, work / "model" / name)
        shutil.copyfile(source / "trainer.jsonl", work / "trainer.jsonl")
        sealed = msgspec.structs.replace(manifest, engine=form, files=file_digests(work))
        made = await _register(release, settings, store, work, write_manifest(work, sealed))
    except OSError as error:
        raise StoreError(f"{work} cannot be written: {error.strerror}", hint="free disk space, run again") from error
    progress(f"converting to {form}", 1, 1)
    report = await measure(task, settings, store, candidates=[release.name, made.name], progress=progress)
    sizes = {one.name: _bytes(settings.state / one.folder / "model") for one in (release, made)}
    return Converted(release=made, source=release, sizes=sizes, report=report)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _openvino(source: Path, manifest: Manifest, work: Path) -> None:
    import torch

    from insource.engines.openvino_graph import convert as to_graph
    from insource.engines.readout import EAGER_TOKENS, load_body
    from insource.engines.specialist import head_rows

    fused = EAGER_TOKENS + 1  # the fused attention takes the graph's mask of true and false
    body = load_body(source / "model", device="cpu", dtype=torch.float32, longest=fused)
    rows = head_rows(source / "model", [head.tokens for head in manifest.heads], "cpu")
    to_graph(body, rows, work / "model")


FORMS: dict[str, Callable[[Path, Manifest, Path], None]] = {"openvino": _openvino}


async def _register(release: Release, settings: Settings, store: Store, work: Path, artefact: str) -> Release:
    version = next_version(await store.releases(release.task), "patch")
    place = Path("releases") / release.task / version
    if (settings.state / place).exists():
        raise Conflict(f"{settings.state / place} exists but is not registered", hint="move it away and convert again")
    work.replace(settings.state / place)
    form = read_manifest(settings.state / place).engine
    made = msgspec.structs.replace(
        release,
        version=version,
        engine=form,
        artefact=artefact,
        folder=place.as_posix(),
        changelog=f"{release.name} for the engine {form}: the same weights, kept in 16 bits",
        report="",
        stage="candidate",
        approved_by="",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    await store.add_release(made)
    return made

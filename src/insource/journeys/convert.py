"""A release in another form: the same weights for a quicker engine, sealed as a release that must pass the gate itself.

whole on disk → converted → the trainer's own answers beside it → manifest last → registered → measured beside the first
→ each weighed in a process of its own
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import msgspec

from insource.engines.artefact import Manifest, file_digests, read_manifest, write_manifest
from insource.engines.held_out import FILE as HELD_OUT
from insource.engines.openvino_library import WEIGHTS
from insource.errors import Invalid, Refused, StoreError
from insource.journeys.forms import origin, source_of, weighed
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
    """What a release can be made over into: the engine that serves it, how its weights are kept, and that in words.

    `needs` are the packages that make it and then read it, beside torch.
    """

    engine: str
    weights: str
    said: str
    needs: tuple[str, ...]

    @property
    def lacks(self) -> str:
        """The first of the packages it needs that is not installed here, "" if none is."""
        return next((name for name in self.needs if find_spec(name) is None), "")


OPENVINO, QUANTIZED, LLAMACPP = ("openvino",), ("openvino", "nncf"), ("xllamacpp", "gguf")
HALF, EIGHT = "the same weights, kept in 16 bits", "weights in 8 bits"
FOURS = "weights in 4 bits, embeddings and labels in 8"
FORMS = {
    "openvino": Form(engine="openvino", weights=WEIGHTS["openvino"], said=HALF, needs=OPENVINO),
    "openvino-int8": Form(engine="openvino", weights=WEIGHTS["openvino-int8"], said=EIGHT, needs=QUANTIZED),
    "openvino-int4": Form(engine="openvino", weights=WEIGHTS["openvino-int4"], said=FOURS, needs=QUANTIZED),
    "llamacpp-f16": Form(engine="llamacpp", weights="f16", said=HALF, needs=LLAMACPP),
    "llamacpp-q8_0": Form(engine="llamacpp", weights="q8_0", said=EIGHT, needs=LLAMACPP),
    "llamacpp-q4_0": Form(engine="llamacpp", weights="q4_0", said=FOURS, needs=LLAMACPP),
}


class Converted(Noun, frozen=True, kw_only=True):
    """The new release and the one it came from: bytes on disk, the most memory in MB, and the report, same rows."""

    release: Release
    source: Release
    sizes: dict[str, int]
    memory_mb: dict[str, float]
    report: Report


async def convert(
    release: Release, settings: Settings, store: Store, *, form: str, rows: int = 0, progress: Progress = quiet
) -> Converted:
    """Makes `release` over for the form `form`, registers it a patch step on, and measures both on `rows` test rows.

    0 rows are all.

    Raises `Invalid` for a form there is none of, or a release that is served otherwise already, `Refused` for one that
    was changed on disk, `EngineDown` where the engine is not installed or cannot take this model.
    """
    task = load_task(settings, release.task)
    with converting(release, settings):
        made = await make_over(release, settings, store, form=form, progress=progress)
    both = [release.name, made.name]
    report = await measure(task, settings, store, candidates=both, rows=rows or None, progress=progress)
    sizes = {one.name: size(one, settings) for one in (release, made)}
    memory = {one.name: await weighed(one, task, settings, store, progress) for one in (release, made)}
    return Converted(release=made, source=release, sizes=sizes, memory_mb=memory, report=report)


async def make_over(
    release: Release, settings: Settings, store: Store, *, form: str, progress: Progress = quiet
) -> Release:
    """The new release alone, not measured, for one who is `converting`. Raises what `convert` raises."""
    if form not in FORMS:
        raise Invalid(f"there is no form {form!r}", hint=f"forms: {', '.join(FORMS)}")
    made = await _made(release, convertible(release, settings), settings, store, form, progress)
    progress(f"converting to {form}", 1, 1)
    return made


@contextmanager
def converting(release: Release, settings: Settings) -> Iterator[None]:
    """Keeps others from converting releases of this task meanwhile. Raises `Conflict` when somebody does already."""
    lock = settings.state / "locks" / f"convert-{digest(release.task)[:16]}"
    with alone(lock, f"insource release export {release.task}"):
        yield


def convertible(release: Release, settings: Settings) -> Manifest:
    """The manifest of a release that has other forms. Raises `Invalid` where it has none, `Refused` if changed."""
    source = settings.state / release.folder
    said = damage(source, release.artefact)
    if said:
        raise Refused(f"{release.name} is not what was released: {'; '.join(said)}", hint="restore it, or train again")
    manifest = read_manifest(source)
    if manifest.engine != "torch":
        first = source_of(release)
        hint = (
            f"it was made from {first}: name that one" if first else "only a release that torch serves has other forms"
        )
        raise Invalid(f"{release.name} is served by {manifest.engine} already", hint=hint)
    return manifest


def size(release: Release, settings: Settings) -> int:
    """The bytes of its model on disk."""
    return sum(path.stat().st_size for path in (settings.state / release.folder / MODEL).iterdir())


async def _made(
    release: Release, manifest: Manifest, settings: Settings, store: Store, form: str, progress: Progress
) -> Release:
    source, work = settings.state / release.folder, settings.state / "training" / release.task / form
    shutil.rmtree(work, ignore_errors=True)
    progress(f"converting to {form}", 0, 1)
    try:
        WRITERS[FORMS[form].engine](source / MODEL, manifest, work / MODEL, FORMS[form].weights)
        for name in COMPANIONS:
            shutil.copyfile(source / MODEL / name, work / MODEL / name)
        for name in ("trainer.jsonl", HELD_OUT):
            if (source / name).is_file():  # a release from before has no second one
                shutil.copyfile(source / name, work / name)
        sealed = msgspec.structs.replace(manifest, engine=FORMS[form].engine, files=file_digests(work))
        made = msgspec.structs.replace(
            release,
            engine=FORMS[form].engine,
            artefact=write_manifest(work, sealed),
            changelog=f"{origin(release, form)} {FORMS[form].said}",
            report="",
            stage="candidate",
            approved_by="",
        )
        return await enter(made, work, settings, store, step="patch")
    except OSError as error:
        raise StoreError(f"{work} cannot be written: {error.strerror}", hint="free disk space, run again") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _openvino(model: Path, manifest: Manifest, out: Path, weights: str) -> None:
    from insource.engines.openvino_graph import convert, convert_writer

    if manifest.heads:
        convert(model, manifest, out, weights=weights)
    else:
        convert_writer(model, out, weights=weights)


def _llamacpp(model: Path, manifest: Manifest, out: Path, weights: str) -> None:
    from insource.engines.llamacpp_form import convert

    if not manifest.heads:
        raise Invalid(f"{manifest.task.name} writes its answers; llama.cpp reads labels here", hint="--format openvino")
    convert(model, manifest, out, weights=weights)


WRITERS = {"openvino": _openvino, "llamacpp": _llamacpp}

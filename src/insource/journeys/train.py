"""Make a specialist: rows and a base model in, a candidate release out."""

import shutil
from collections.abc import Callable
from pathlib import Path

from msgspec import UNSET

import insource
from insource.engines.artefact import Manifest, file_digests, write_manifest
from insource.engines.local import LocalModel
from insource.errors import Invalid, StoreError
from insource.journeys.lineup import Progress, quiet
from insource.nouns import Dataset, Example, Release, Scan, Task, digest
from insource.release.enter import enter
from insource.release.register import changelog
from insource.settings import Settings
from insource.store import Store
from insource.store.files import alone
from insource.train.recipe import Recipe, load_recipe

Say = Callable[[str], None]
LINEAR = "linear"


async def train(
    task: Task, settings: Settings, store: Store, *,
    base: str | None = None, recipe: Path | None = None, speak: tuple[Say, Progress] = (lambda _: None, quiet),
) -> Release:  # fmt: skip
    """Trains `task` on its newest dataset and registers a candidate. `base` "linear" fits the baseline instead.

    Killed at any moment, the same call goes on from the last checkpoint. Raises `Invalid` without rows in the splits
    train and dev, `Missing` for an unknown base, `Conflict` while the task is being trained, `StoreError` when the disk
    is full.
    """
    with alone(settings.state / "locks" / f"train-{digest(task.name)[:16]}", f"insource train {task.name}"):
        return await _train(task, settings, store, base or settings.workspace.base, recipe, speak)


async def _train(
    task: Task, settings: Settings, store: Store, name: str, recipe: Path | None, speak: tuple[Say, Progress]
) -> Release:
    import msgspec

    say, _ = speak
    task = msgspec.structs.replace(task, scan=Scan())  # the owner's terms are no part of what is released
    dataset = await store.dataset(task.name)
    if dataset is None:
        raise Invalid(f"no rows collected for {task.name} yet", hint=f"insource collect {task.name} FILE")
    splits = await store.examples(dataset.id, "train"), await store.examples(dataset.id, "dev")
    _check(task, splits)
    wanted = load_recipe(recipe)
    work = settings.state / "training" / task.name
    folder = work / "artefact"
    _fresh(folder)
    say(f"training {task.name} on {name}: {len(splits[0]):,} train rows, {len(splits[1]):,} dev rows")
    try:
        manifest = await _linear(task, splits, folder) if name == LINEAR else _slm(
            task, splits, name, wanted, (settings, folder), speak)  # fmt: skip
        artefact = _seal(folder, manifest, dataset)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}", hint="free disk space, run again") from error
    return await _register(task, settings, store, dataset, (folder, artefact, name))


def _check(task: Task, splits: tuple[list[Example], list[Example]]) -> None:
    for split, rows in zip(("train", "dev"), splits, strict=True):
        if not rows:
            raise Invalid(f"{task.name} has no rows in the split {split}", hint=f"insource collect {task.name} FILE")
    for output in task.outputs:
        seen = {str(row.target[output.name]) for row in splits[0]}
        if len(seen) < 2:
            raise Invalid(f"every train row has the same {output.name}: there is nothing to learn")


def _slm(
    task: Task, splits: tuple[list[Example], list[Example]], name: str, recipe: Recipe, where: tuple[Settings, Path],
    speak: tuple[Say, Progress],
) -> Manifest:  # fmt: skip
    from insource.engines.models import resolve, unprobed
    from insource.engines.sources import trainable

    settings, folder = where
    trainable(name)
    base: LocalModel = resolve(name, settings.cache, progress=speak[1])
    if words := unprobed(name, settings.cache):
        speak[0](words)
    from insource.train.fit import fit
    from insource.train.loop import Voice

    fitted = fit(task, splits, base, recipe, folder, voice=Voice(*speak, settings.workspace.threads))
    return Manifest(
        engine="torch",
        task=task,
        base=base.name,
        base_digest=base.sha256,
        dataset="",
        recipe=fitted.recipe,
        heads=fitted.heads,
        calibration=fitted.calibration,
        files={},
        threshold=fitted.threshold,
        promise=fitted.promise,
        max_tokens=fitted.max_tokens,
        template=fitted.template,
        dev=fitted.dev,
        unpromised=fitted.unpromised or UNSET,
    )


async def _linear(task: Task, splits: tuple[list[Example], list[Example]], folder: Path) -> Manifest:
    """The baseline as an artefact of its own: where it is as good, it is the cheaper release."""
    from insource.engines.held_out import Said, write_held_out
    from insource.engines.linear import Linear
    from insource.nouns import ask, to_json
    from insource.train.promise import promised

    engine = Linear.fit(task, splits[0], splits[1], name=LINEAR, progress=quiet)
    engine.save(folder)
    answers = [await engine.complete(ask(task, row.input, id=row.id)) for row in splits[1]]
    await engine.close()
    correct = [a.value == row.target for a, row in zip(answers, splits[1], strict=True)]
    lines = [
        to_json({"id": row.id, "input": row.input, "value": a.value, "confidence": a.confidence})
        for a, row in zip(answers, splits[1], strict=True)
    ]
    (folder / "trainer.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    said = [Said(value=a.value, confidence=a.confidence or 0.0, fields=a.fields, novelty=a.novelty) for a in answers]
    write_held_out(folder, task, [row.target for row in splits[1]], said)
    promise = promised(task, [a.confidence or 0.0 for a in answers], correct)
    return Manifest(
        engine=LINEAR,
        task=task,
        base=LINEAR,
        base_digest="",
        dataset="",
        recipe={},
        heads=(),
        files={},
        threshold=promise.threshold,
        promise=promise.words,
        dev={"n": float(len(correct)), "accuracy": sum(correct) / len(correct)},
        unpromised=promise.unpromised or UNSET,
    )


def _fresh(folder: Path) -> None:
    """An empty folder; what an unfinished run left in it is written again."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error.strerror}") from error


def _seal(folder: Path, manifest: Manifest, dataset: Dataset) -> str:
    import msgspec

    whole = msgspec.structs.replace(
        manifest, dataset=dataset.id, files=file_digests(folder), code=f"insource {insource.__version__}"
    )
    return write_manifest(folder, whole)


async def _register(
    task: Task, settings: Settings, store: Store, dataset: Dataset, made: tuple[Path, str, str]
) -> Release:
    """The release; the checkpoints have done their work."""
    folder, artefact, base = made
    releases = await store.releases(task.name)
    before = await store.dataset_by_id(releases[-1].dataset) if releases else None
    from insource.engines.artefact import read_manifest

    same = next((one.name for one in reversed(releases) if one.artefact == artefact), "")
    release = Release(
        task=task.name,
        version="",
        engine=LINEAR if base == LINEAR else "torch",
        base=base,
        dataset=dataset.id,
        recipe=digest(read_manifest(folder).recipe),
        artefact=artefact,
        folder="",
        changelog=changelog(releases[-1] if releases else None, before, dataset, same=same),
    )
    release = await enter(release, folder, settings, store)
    for checkpoint in (settings.state / "training" / task.name).glob("checkpoint*"):
        checkpoint.unlink(missing_ok=True)
    return release

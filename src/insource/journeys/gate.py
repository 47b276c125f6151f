"""The gate: the artefact as it will be served, measured and checked against what was demanded, yes or no with reasons.

whole on disk → made for this task → same answers as its trainer saw → measured beside the baseline on unseen rows →
every line of the task's acceptance → the regression suite (`journeys.regression`) → the evidence that `[govern]`
requires. A damaged artefact is not loaded: that check alone is then the answer.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from insource.engines.artefact import Manifest, read_manifest
from insource.errors import EngineDown, EngineError, Invalid
from insource.journeys.answer import Path as AnswerPath
from insource.journeys.answer import Tier, answer, discard
from insource.journeys.govern import evidence_check
from insource.journeys.lineup import Lineup, Progress, quiet
from insource.journeys.measure import measure
from insource.journeys.regression import regression
from insource.journeys.serve import as_served
from insource.journeys.terms import scope_check
from insource.nouns import Check, Gate, JsonObject, Noun, Prediction, Release, Report, Task, ask, from_json
from insource.release import gate as checks
from insource.release.integrity import damage
from insource.release.shared import here
from insource.settings import Settings, task_file
from insource.store import Store

SPLIT = "test"
AT_ONCE = 64
PATIENCE_S = 600.0


class TrainerRow(Noun, frozen=True, kw_only=True):
    """A line of trainer.jsonl: what the trainer's own evaluation answered to one dev row."""

    id: str
    input: str
    value: JsonObject | None
    confidence: float | None = None


async def gate(task: Task, release: Release, settings: Settings, store: Store, *, progress: Progress = quiet) -> Gate:
    """Asks every check of `release` and keeps the answer, which `promote` will want to see.

    Raises `Invalid` for a demand that nobody can decide, before anything is measured.
    """
    checks.check_demands(task)
    folder = await here(release, settings, store.place, progress)
    faults = await asyncio.to_thread(damage, folder, release.artefact, release.left)
    files = 0 if faults else len(read_manifest(folder).files)
    found = [checks.whole(faults, files)]
    report = ""
    if not faults:
        manifest = read_manifest(folder)
        found += await _before(task, release, manifest, settings, store, progress=progress)
        measured = await _measured(task, release, settings, store, progress=progress)
        report = measured.id
        found += _after(task, release, measured)
        found += await regression(task, release, measured, Lineup(settings, store, task), progress)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    answered = Gate(release=release.name, artefact=release.artefact, checks=tuple(found), report=report, created=now)
    asked = await evidence_check(release, settings, store, answered)
    answered = msgspec.structs.replace(answered, checks=(*found, *asked))
    await store.save_gate(answered)
    return answered


async def _before(
    task: Task, release: Release, manifest: Manifest, settings: Settings, store: Store, *, progress: Progress
) -> list[Check]:
    """What can be said before the test rows are looked at."""
    dataset = await store.dataset(task.name)
    if dataset is None:
        raise Invalid(f"no rows collected for {task.name} yet", hint=f"insource collect {task.name} FILE")
    test = [row.input for row in await store.examples(dataset.id, SPLIT)]
    trained_on = [row.input for row in await store.examples(release.dataset) if row.split != SPLIT]
    rows = trainer_rows(settings.state / release.folder)
    served = await _served(as_served(manifest.task, task), release, rows, settings, store, progress=progress)
    found = [
        checks.made_for(manifest, task),
        *scope_check(task_file(settings, task.name)[1].risk, manifest, settings.state / release.folder),
        checks.unseen(test, trained_on),
        checks.agreement([row.value for row in rows], [said.value if said else None for said in served]),
    ]
    if task.kind == "classify":
        sure = [said.confidence if said else None for said in served]
        found.append(checks.as_sure([row.confidence for row in rows], sure))
    return found


async def _measured(task: Task, release: Release, settings: Settings, store: Store, *, progress: Progress) -> Report:
    """The report on the test rows, beside the baseline where one fits. Raises `EngineDown` if it does not answer."""
    candidates = [checks.BASELINE, release.name] if task.kind == "classify" else [release.name]
    report = await measure(task, settings, store, candidates=candidates, split=SPLIT, progress=progress)
    if release.name in report.failed:
        raise EngineDown(f"{release.name} could not be measured: {report.failed[release.name]}")
    return report


def _after(task: Task, release: Release, report: Report) -> list[Check]:
    return [
        *checks.acceptance(task, report, release.name),
        checks.against_baseline(report, release, task.metric),
        checks.well_formed(report, release.name),
    ]


def trainer_rows(folder: Path) -> list[TrainerRow]:
    """The trainer's answers; none when the artefact has no trainer.jsonl."""
    path = folder / "trainer.jsonl"
    lines = path.read_bytes().splitlines() if path.is_file() else []
    return [from_json(line, TrainerRow) for line in lines]


async def _served(
    task: Task, release: Release, rows: Sequence[TrainerRow], settings: Settings, store: Store, *, progress: Progress
) -> list[Prediction | None]:
    """What the artefact answers to the trainer's rows, one answer a row; None where it failed."""
    engine = await asyncio.to_thread(Lineup(settings, store, task).release, release)
    path = AnswerPath(task=task, tiers=(Tier(engine, release.name),))
    seats = asyncio.Semaphore(AT_ONCE)
    done = 0

    async def one(row: TrainerRow) -> Prediction | None:
        nonlocal done
        request = msgspec.structs.replace(ask(task, row.input, id=row.id), deadline=PATIENCE_S)
        async with seats:
            try:
                said = (await answer(request, path, discard)).answer
            except EngineError:
                said = None
        done += 1
        progress("the trainer's own rows, served", done, len(rows))
        return said

    try:
        return list(await asyncio.gather(*[one(row) for row in rows]))
    finally:
        await engine.close()

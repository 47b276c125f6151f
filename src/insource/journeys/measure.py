"""Every candidate on the same rows, through the path that serves: what is measured is what is served.

names → contenders (one engine open at a time) → measure → the report, kept in the store.
"""

import asyncio
import os
import platform
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

import insource
from insource.engines.artefact import read_manifest
from insource.engines.base import Engine
from insource.engines.windowed import Estimate
from insource.errors import Denied, Invalid
from insource.journeys.answer import Path as AnswerPath
from insource.journeys.answer import Tier, answer, discard
from insource.journeys.lineup import SHOTS, Lineup, Progress, engine_of, quiet
from insource.journeys.scanned import open_scans
from insource.journeys.serve import as_served, configured_tier
from insource.journeys.teacher import kept_back, shots_of, with_shots
from insource.journeys.terms import agreed
from insource.measure import About, Answer, Contender
from insource.measure import measure as measured
from insource.measure.similar import EXTRA, missing
from insource.nouns import Dataset, Example, Record, Report, Request, Task, digest
from insource.route import demanded, permitted
from insource.settings import Settings, task_file
from insource.store import Store
from insource.store.files import write_whole

BASELINE, UNTUNED = "baseline", ("zero-shot", "few-shot")
SPLIT, SLOW_ROWS = "test", 200


class Plan(TypedDict, total=False):
    """What to measure: names of candidates (default: the line-up's), the split, how many shots few-shot gets.

    `rows` asks every candidate a stratified sample of so many rows; without it the untuned model gets 200 and the
    others the whole split. `beside` are contenders who have no name of their own here.
    """

    candidates: Sequence[str]
    split: str
    shots: int
    rows: int | None
    beside: Sequence[Contender]
    progress: Progress


async def measure(task: Task, settings: Settings, store: Store, **plan: Unpack[Plan]) -> Report:
    """Measures `task` on its newest dataset and keeps the report. A candidate that fails is named in it with why.

    Raises `Invalid` without rows, `Missing` for an unknown candidate that was asked for by name, `EngineDown` when
    nothing could be measured.
    """
    split, progress, chosen = plan.get("split", SPLIT), plan.get("progress", quiet), list(plan.get("candidates") or ())
    dataset, examples = await rows_of(task, store, split)
    lineup = Lineup(settings, store, task, progress=progress)
    names = chosen or fitting(task, await lineup.names())
    await check_names(chosen, lineup)
    rows = plan.get("rows")
    contenders = [await contender(name, lineup, dataset, plan.get("shots", SHOTS), rows) for name in names]
    contenders += plan.get("beside") or ()
    notes = _notes(task, contenders, len(examples), chosen=bool(chosen), rows=rows)
    report = await measured(task, examples, contenders, about(dataset, split, notes), progress=progress)
    await store.save_report(report)
    return report


async def rows_of(task: Task, store: Store, split: str) -> tuple[Dataset, list[Example]]:
    """The newest dataset of a task and the rows of one split. Raises `Invalid` without any."""
    dataset = await store.dataset(task.name)
    if dataset is None:
        raise Invalid(f"no rows collected for {task.name} yet", hint=f"insource collect {task.name} FILE")
    examples = await store.examples(dataset.id, split)
    if not examples:
        known = ", ".join(f"{name} ({n:,})" for name, n in dataset.counts.items())
        raise Invalid(
            f"{task.name} has no rows in the split {split}",
            hint=f"its splits are {known}; insource collect {task.name} FILE brings rows that people labelled",
        )
    return dataset, examples


def about(dataset: Dataset, split: str, notes: Sequence[str]) -> About:
    """What a report made here says of its making."""
    code = f"insource {insource.__version__}"
    return About(dataset=dataset.id, split=split, code=code, machine=machine(), notes=tuple(notes))


def publish(report: Report, task: Task, settings: Settings) -> Path:
    """Writes the report as one HTML file under the state folder and returns its place. Raises `StoreError`."""
    return write_page(report, task, settings.state / "reports" / task.name / f"{report.id[:8]}.html")


def write_page(report: Report, task: Task, path: Path) -> Path:
    """Writes the report as one HTML file at `path`, whole or not at all. Raises `StoreError`."""
    from insource.measure.render import html

    write_whole(path, html(report, task))
    return path


def machine() -> str:
    """The machine in words: processor, cores and Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8", "replace"))
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def fitting(task: Task, names: Sequence[str]) -> list[str]:
    """The names without the baseline, where the task's kind has none."""
    return [name for name in names if name != BASELINE or task.kind == "classify"]


async def check_names(names: Sequence[str], lineup: Lineup) -> None:
    """Raises `Missing` for a name that is nobody's, before anything is measured; `Invalid` for one that cannot be."""
    for name in names:
        kind = name.partition(":")[0]
        task, at, version = name.partition("@")
        if names.count(name) > 1:
            raise Invalid(f"candidate {name} is given twice")
        if at and kind not in UNTUNED:
            if task != lineup.task.name:
                raise Invalid(f"{name} is a release of {task}, not of {lineup.task.name}")
            await lineup.store.release(task, version)
        elif name != BASELINE and engine_of(name, lineup.settings.engines) is None and kind not in UNTUNED:
            await lineup.engine(name)


async def contender(name: str, lineup: Lineup, dataset: Dataset, shots: int, rows: int | None) -> Contender:
    """Who stands behind a name, opened only when its turn comes."""
    kind, engines = name.partition(":")[0], lineup.settings.engines
    if name == BASELINE:
        return Contender(name, BASELINE, _opened(name, lineup), rows, fingerprint=digest(["linear", dataset.id]))
    if (known := engine_of(name, engines)) is not None:
        engine, shown = engines[known], [] if name == known else [shots, dataset.id]
        priced = bool(engine.usd_per_million_input or engine.usd_per_million_output)
        opened = _configured(known, lineup, dataset, shots if shown else 0)
        return Contender(name, "remote", opened, rows, priced, digest([engine.address, engine.model, *shown]))
    if kind in UNTUNED:
        print_ = digest([name, lineup.settings.workspace.base, shots if kind == "few-shot" else 0, dataset.id])
        return Contender(name, kind, _opened(name, lineup, shots), rows or SLOW_ROWS, fingerprint=print_)
    task, _, version = name.partition("@")
    release = await lineup.store.release(task, version)
    return Contender(name, "specialist", _released(name, lineup), rows, fingerprint=release.artefact)


Opener = Callable[[], AbstractAsyncContextManager[Answer]]


def _opened(name: str, lineup: Lineup, shots: int = SHOTS) -> Opener:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Answer]:
        tier = Tier(await lineup.engine(name, shots=shots), threshold=demanded(lineup.task.risk, None, None))
        async with answering(lineup.task, tier) as way:
            yield way

    return opened


async def shown(name: str, lineup: Lineup, dataset: Dataset, shots: int) -> Task:
    """The task with up to `shots` rows of train in its instruction: such as may go to the engine `name`, and fit.

    At least half of what it reads of a text without examples is left for the text. Raises `Invalid` where no row is
    left to show, `EngineDown` where a rule needs a language that nothing here tells.
    """
    task, context = lineup.task, lineup.settings.engines[name].context
    if not shots:
        return task
    rows = await lineup.store.examples(dataset.id, "train")
    free, _ = await asyncio.to_thread(kept_back, task, [name], lineup.settings, rows)
    chosen = await shots_of(task, free, shots)
    reach = Estimate(context)
    least = max(2, reach.room(task) // 2)
    while context and chosen and reach.room(with_shots(task, chosen)) < least:
        chosen.remove(max(chosen, key=lambda row: len(row.input)))
    if not chosen:
        raise Invalid(f"no row of train may be shown to {name}", hint="rows that people labelled, short and clean ones")
    return with_shots(task, chosen)


def _configured(name: str, lineup: Lineup, dataset: Dataset, shots: int) -> Opener:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Answer]:
        allowed = permitted(name, lineup.settings.engines[name].place, lineup.task.sensitivity)
        if not allowed.allowed:
            raise Denied(allowed.reason)
        task, tier = await shown(name, lineup, dataset, shots), configured_tier(name, lineup)
        async with answering(task, replace(tier, threshold=demanded(lineup.task.risk, None, None))) as way:
            yield way

    return opened


def _released(name: str, lineup: Lineup) -> Opener:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Answer]:
        task, _, version = name.partition("@")
        release = await lineup.store.release(task, version)
        folder = lineup.settings.state / release.folder
        manifest = await asyncio.to_thread(read_manifest, folder)
        served = as_served(manifest.task, lineup.task)
        rule = await asyncio.to_thread(agreed, served, task_file(lineup.settings, task)[1].risk, manifest, folder)
        engine = await asyncio.to_thread(lineup.release, release)
        async with answering(served, Tier(engine, release.name, threshold=rule.threshold, terms=rule.terms)) as way:
            yield way

    return opened


@asynccontextmanager
async def answering(task: Task, tier: Tier) -> AsyncIterator[Answer]:
    """A way to answer through one tier that keeps nothing; its engine is closed afterwards."""
    engine: Engine = tier.engine
    try:
        path = AnswerPath(task=task, tiers=(tier,), scans=await asyncio.to_thread(open_scans, task.scan))

        async def way(request: Request) -> Record:
            return await answer(request, path, discard)

        yield way
    finally:
        await engine.close()


def _notes(task: Task, contenders: Sequence[Contender], total: int, *, chosen: bool, rows: int | None) -> list[str]:
    said = []
    untuned = [contender.name for contender in contenders if contender.kind in UNTUNED]
    if rows is not None and rows < total:
        said.append(f"Every candidate was asked a stratified sample of {rows:,} of {total:,} rows (seed 0).")
    elif rows is None and untuned and total > SLOW_ROWS:
        who = " and ".join(untuned)
        said.append(
            f"{who} answered a stratified sample of {SLOW_ROWS} of {total:,} rows (seed 0): untuned, it is slow on "
            "a processor. --rows changes that; pairs are compared on the rows both answered."
        )
    if task.kind != "classify" and not chosen:
        said.append(f"There is no linear baseline for {task.kind}: it only chooses among known labels.")
    if task.kind == "generate" and (package := missing()):
        said.append(f"Nearness in meaning was not measured: {package} is not installed (pip install '{EXTRA}').")
    return said

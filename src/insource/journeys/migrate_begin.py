"""How a run begins: which rows are asked, and what will decide, both fixed before anybody answers."""

import math
from pathlib import Path

import insource
from insource.collect.purse import Purse
from insource.errors import Invalid
from insource.journeys.lineup import EXAMPLES, SHOTS, Lineup
from insource.journeys.measure import BASELINE, SPLIT, UNTUNED, contender, machine
from insource.journeys.migrate_budget import can_be_kept
from insource.journeys.migrate_kept import Kept, Progress, Say
from insource.journeys.migrate_log import named
from insource.journeys.train import LINEAR
from insource.measure.run import sample
from insource.nouns import Dataset, Example, Noun, Task, canonical, digest
from insource.nouns.assessment import NOBODY, Assessment, Criteria, EngineTerms, Migrating
from insource.nouns.sections import EngineSettings
from insource.settings import Settings, task_file
from insource.stats import wilson
from insource.store import Store
from insource.train.recipe import dials, load_recipe

ROWS, MARGIN, LEAST = 300, 0.02, 20
UNTUNED_ROWS = {"classify": 200, "extract": 12, "generate": 12}
HARD_ROWS = {"classify": 60, "extract": 8, "generate": 8}
LOAD_S = 5.0


class Wanted(Noun, frozen=True, kw_only=True):
    """How many rows everyone is asked, and how far behind the incumbent is still not inferior (0.02 are two points).

    `budget` is what engines may cost this time, in US dollars, None without end.
    """

    rows: int = ROWS
    margin: float = MARGIN
    load_s: float = LOAD_S
    budget: float | None = None


async def begin(
    task: Task, settings: Settings, store: Store, wanted: Wanted, now: str, speak: tuple[Say, Progress]
) -> Kept:
    """The run of these criteria: a new one, or the one of the same criteria as far as it came.

    Raises `Invalid` without rows in the split test, for an incumbent that is no engine, a budget that no price keeps.
    """
    can_be_kept(settings, wanted.budget)
    dataset = await store.dataset(task.name)
    if dataset is None:
        raise Invalid(f"no rows collected for {task.name} yet", hint=f"insource collect {task.name} FILE")
    frozen = await store.examples(dataset.id, SPLIT)
    if len(frozen) < LEAST:
        hint = f"insource collect {task.name} FILE: {LEAST} are the least, 200 to 500 are usual"
        raise Invalid(f"{task.name} has {len(frozen)} rows in the split {SPLIT}, too few to decide on", hint=hint)
    rows = sample(task, frozen, wanted.rows)
    criteria = await _criteria(task, settings, store, dataset, (rows, len(frozen)), wanted)
    store.blobs.put(canonical([example.id for _, example in rows]))
    name = store.blobs.put(canonical(criteria))
    first = Assessment(id=name, task=task.name, created=now, code=f"insource {insource.__version__}", machine=machine(),
                       pieces={"task": store.blobs.put(canonical(task))})  # fmt: skip
    run = await store.assessments.begin(first)
    return Kept(task, settings, store, dataset, criteria, rows, run, Purse(wanted.budget), *speak)


async def _criteria(
    task: Task, settings: Settings, store: Store, dataset: Dataset, drawn: tuple[list[tuple[int, Example]], int],
    wanted: Wanted,
) -> Criteria:  # fmt: skip
    rows, of = drawn
    file = task_file(settings, task.name)[1]
    asks: Migrating = file.migrate
    if asks.incumbent not in ("", NOBODY, *settings.engines):
        hint = f"engines: {', '.join(settings.engines) or 'none'}; {NOBODY} where nothing does the work today"
        raise Invalid(f"[migrate] incumbent is {asks.incumbent!r}, which is no engine of insource.toml", hint=hint)
    lineup = Lineup(settings, store, task)
    bases = asks.bases or (settings.workspace.base,)
    names = candidates(task, settings, bases)
    found = {name: (await contender(name, lineup, dataset, SHOTS, None)).fingerprint for name in names}
    return Criteria(
        task=task.name,
        task_digest=digest(task),
        dataset=dataset.id,
        sample=digest([example.id for _, example in rows]),
        rows=len(rows),
        of=of,
        half_width=half_width(task.acceptance.get(task.metric, 0.5), len(rows)),
        metric=task.metric,
        acceptance=task.acceptance,
        max_error=task.risk.max_error,
        margin=wanted.margin,
        incumbent=asks.incumbent or await named(task, store, dataset.id, rows),
        ends=asks.ends,
        candidates=found,
        untuned_rows=min(len(rows), asks.untuned_rows or UNTUNED_ROWS[task.kind]),
        hard_rows=min(len(rows), asks.attacked_rows or HARD_ROWS[task.kind]),
        bases=bases,
        recipe=_recipe(settings.root, asks.recipe),
        load_s=wanted.load_s,
        price=file.price,
        company=settings.price,
        answers=file.suitability,
        engines={name: _terms(engine) for name, engine in settings.engines.items()},
        levels=file.levels,
        risk=file.risk,
    )


def _terms(engine: EngineSettings) -> EngineTerms:
    return EngineTerms(
        place=engine.place,
        usd_per_million_input=engine.usd_per_million_input,
        usd_per_million_output=engine.usd_per_million_output,
    )


def candidates(task: Task, settings: Settings, bases: tuple[str, ...]) -> list[str]:
    """Who is asked before anything is trained: the baseline, the bases and every engine without and with examples."""
    first = [BASELINE] if task.kind == "classify" else []
    untuned = [f"{kind}:{base}" for base in bases if base != LINEAR for kind in UNTUNED]
    engines = [one for name in settings.engines for one in variants(name, settings)]
    return [*first, *untuned, *engines]


def variants(name: str, settings: Settings) -> tuple[str, ...]:
    """An engine as it is, and shown examples: not one that follows a script, which reads none."""
    return (name,) if settings.engines[name].kind == "scripted" else (name, f"{name}{EXAMPLES}")


def half_width(share: float, n: int) -> float:
    """The half width of the 95% interval that `n` rows buy for a share (Wilson 1927)."""
    low, high = wilson(min(max(share, 0.0), 1.0) * n, n)
    return (high - low) / 2


def rows_for(half: float, share: float = 0.5) -> int:
    """About how many rows buy an interval of that half width."""
    return math.ceil(share * (1 - share) * (1.96 / half) ** 2)


def _recipe(root: Path, name: str) -> dict[str, object]:
    return dials(load_recipe(root / name if name else None))

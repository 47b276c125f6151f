"""What a migration would do, before it does it: steps, rows, about how long, what it costs, and what is asked where."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from insource.engines.models import find
from insource.errors import InsourceError, Invalid
from insource.journeys.lineup import SHOTS, Lineup, engine_of
from insource.journeys.measure import UNTUNED, shown
from insource.journeys.migrate_begin import HARD_ROWS, UNTUNED_ROWS, Wanted, candidates, half_width, variants
from insource.journeys.migrate_budget import call_tokens, can_be_kept
from insource.journeys.teacher import usd
from insource.journeys.train import LINEAR
from insource.measure.adversarial import ways
from insource.nouns import PREMISES, Dataset, Example, Noun, Report, Task
from insource.nouns.assessment import NOBODY, Migrating
from insource.route import permitted
from insource.settings import Settings, task_file
from insource.store import Store

ASSUMED_ROWS_PER_S = {"baseline": 200.0, "zero-shot": 2.0, "few-shot": 0.7, "specialist": 15.0, "remote": 2.0}
WRITTEN = 20.0  # times slower where the answer is written, not chosen
TOKENS_PER_S = 1500.0  # trained on a processor, of a small model
EPOCHS = 4
CHARACTERS = 4  # a token
STEPS_OF_A_LOAD = 8


class Sizes(NamedTuple):
    """Tokens in and out of a call: `plain`, or of who is shown examples by name; `blocked` says to whom none may be."""

    plain: tuple[int, int]
    shown: Mapping[str, tuple[int, int]]
    blocked: Mapping[str, str]


Sample = tuple[int, Sizes]  # rows, and how large each is


class Part(Noun, frozen=True, kw_only=True):
    """A piece of work: `where` the texts go, `minutes` and `usd` about. `blocked` says why it will not be asked."""

    step: str
    what: str
    where: str
    rows: int = 0
    minutes: float = 0.0
    usd: float = 0.0
    blocked: str = ""


class Planned(Noun, frozen=True, kw_only=True):
    """The whole: `minutes` are assumed where `measured` does not name what they come from.

    `budget` is what engines may cost this time, in US dollars, None without end.
    """

    task: str
    rows: int
    of: int
    half_width: float
    parts: tuple[Part, ...]
    minutes: float
    usd: float
    acceptance: dict[str, float]
    incumbent: str
    measured: tuple[str, ...]
    notes: tuple[str, ...]
    budget: float | None = None


async def plan(task: Task, settings: Settings, store: Store, wanted: Wanted) -> Planned:
    """The plan. Raises `Invalid` without rows, or for a budget that no price keeps."""
    can_be_kept(settings, wanted.budget)
    dataset = await store.dataset(task.name)
    if dataset is None:
        raise Invalid(f"no rows collected for {task.name} yet", hint=f"insource collect {task.name} FILE")
    rows = await store.examples(dataset.id)
    test = [row for row in rows if row.split == "test"]
    asks: Migrating = task_file(settings, task.name)[1].migrate
    n = min(wanted.rows, len(test))
    speeds = _speeds(await store.reports(task.name))
    learn = [row for row in rows if row.split == "train"]
    tokens = await _sizes(Lineup(settings, store, task), dataset, test)
    bases = asks.bases or (settings.workspace.base,)
    parts = [_asked(name, task, settings, (n, tokens), speeds) for name in candidates(task, settings, bases)]
    parts += _trained(task, bases, sum(len(row.input) for row in learn), len(learn))
    parts += _after(task, settings, (n, tokens), speeds, wanted)
    parts = list(_borne(parts, wanted.budget))
    return Planned(
        task=task.name,
        rows=n,
        of=len(test),
        half_width=half_width(task.acceptance.get(task.metric, 0.5), n),
        parts=tuple(parts),
        minutes=sum(part.minutes for part in parts),
        usd=sum(part.usd for part in parts),
        acceptance=task.acceptance,
        incumbent=asks.incumbent,
        measured=tuple(speeds),
        notes=tuple(_notes(task, settings, asks, bases)),
        budget=wanted.budget,
    )


def _borne(parts: Sequence[Part], budget: float | None) -> Iterator[Part]:
    """The parts as they come, without those that would cost more than is left of the budget then."""
    left = math.inf if budget is None else budget
    for part in parts:
        if part.usd > left:
            yield msgspec.structs.replace(part, usd=0.0, minutes=0.0, blocked=f"${part.usd:,.4f}: over the budget")
        else:
            left -= part.usd
            yield part


async def _sizes(lineup: Lineup, dataset: Dataset, test: Sequence[Example]) -> Sizes:
    """How large calls are: of engines with examples by the very examples that they would be shown."""
    found, blocked = {}, {}
    for engine in lineup.settings.engines:
        for name in variants(engine, lineup.settings)[1:]:
            try:
                found[name] = call_tokens(await shown(engine, lineup, dataset, SHOTS), test)
            except InsourceError as error:
                blocked[name] = str(error)
    return Sizes(call_tokens(lineup.task, test), found, blocked)


def _speeds(reports: list[Report]) -> dict[str, float]:
    """Rows a second of everyone who was measured before, the newest report last."""
    return {one.candidate: one.rows_per_s for report in reports for one in report.candidates if one.rows_per_s}


def _rate(name: str, kind: str, task: Task, speeds: Mapping[str, float]) -> float:
    slow = WRITTEN if task.kind != "classify" and kind != "remote" else 1.0
    return speeds.get(name) or ASSUMED_ROWS_PER_S[kind] / slow


def _asked(
    name: str, task: Task, settings: Settings, sample: Sample, speeds: Mapping[str, float],
    step: str = "candidates",
) -> Part:  # fmt: skip
    rows, tokens = sample
    known = engine_of(name, settings.engines)
    engine = settings.engines[known] if known is not None else None
    kind = "remote" if engine else name.partition(":")[0]
    if kind in UNTUNED:
        asks = task_file(settings, task.name)[1].migrate
        rows = min(rows, asks.untuned_rows or UNTUNED_ROWS[task.kind])
    cost, where, blocked = 0.0, "this machine", ""
    if engine is not None:
        cost = rows * usd(engine, tokens.shown.get(name, tokens.plain))
        where = engine.place or "anywhere"
        choice = permitted(known or name, engine.place, task.sensitivity)
        blocked = tokens.blocked.get(name, "") if choice.allowed else choice.reason
    minutes = 0.0 if blocked else rows / _rate(name, kind, task, speeds) / 60
    return Part(step=step, what=name, where=where, rows=rows, minutes=minutes, usd=0.0 if blocked else cost,
                blocked=blocked)  # fmt: skip


def _trained(task: Task, bases: tuple[str, ...], characters: int, rows: int) -> list[Part]:
    if task.kind == "generate":
        return []
    minutes = EPOCHS * characters / CHARACTERS / TOKENS_PER_S / 60
    first = [LINEAR] if task.kind == "classify" else []
    took = {
        base: 0.1 if base == LINEAR else minutes for base in (*first, *[base for base in bases if base != LINEAR][:2])
    }
    return [Part(step="fine-tuning", what=base, where="this machine", rows=rows, minutes=took[base]) for base in took]


def _after(task: Task, settings: Settings, sample: Sample, speeds: Mapping[str, float], wanted: Wanted) -> list[Part]:
    """The fine-tuned on the sample and attacked, the engines attacked, and the load."""
    rows, tokens = sample
    asks = task_file(settings, task.name)[1].migrate
    hard = min(rows, asks.attacked_rows or HARD_ROWS[task.kind]) * len(ways(task))
    rate = _rate(f"{task.name}@", "specialist", task, speeds)
    found = [
        Part(step=step, what="the fine-tuned", where="this machine", rows=n, minutes=n / rate / 60)
        for step, n in (("fine-tuning", 2 * rows), ("adversarial", 2 * hard))
    ]
    names = [name for engine in settings.engines for name in variants(engine, settings)]
    found += [_asked(name, task, settings, (hard, tokens), speeds, "adversarial") for name in names]
    ours = 2 + sum(len(variants(name, settings)) for name, one in settings.engines.items() if one.place == PREMISES)
    minutes = ours * STEPS_OF_A_LOAD * wanted.load_s / 60
    return [*found, Part(step="load", what="what is one's own", where="this machine", minutes=minutes)]


def _notes(task: Task, settings: Settings, asks: Migrating, bases: tuple[str, ...]) -> list[str]:
    said = []
    if not task.acceptance:
        said.append(f"nothing is demanded: write [acceptance] in tasks/{task.name}.toml first, before any result")
    if not asks.incumbent:
        words = f"no incumbent is named under [migrate] of tasks/{task.name}.toml ({NOBODY!r}: nothing does the work)"
        said.append(f"{words}: without its log the verdict cannot be go")
    missing = [base for base in bases if base != LINEAR and find(base, settings.cache) is None]
    if missing:
        said.append(f"{', '.join(missing)} is fetched first: insource models pull does it alone")
    return said

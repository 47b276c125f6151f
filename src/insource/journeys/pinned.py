"""The engines of others, asked the same rows of the test split every night: a silent change of theirs is noticed.

The rows are the first of the frozen test split by their SHA-256, and stay those of the first run. They go where the
task's text may go and nowhere else, for so much money as the task's file says.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

import insource
from insource.errors import Blocked, EngineError, InsourceError, Missing
from insource.journeys.lineup import SHOTS, Lineup
from insource.journeys.measure import contender
from insource.journeys.plan import Plan, policy_of
from insource.measure import Answer
from insource.measure.scorers import whole
from insource.nouns import (
    Candidate,
    Dataset,
    Example,
    Failures,
    Latency,
    Noun,
    Prediction,
    Report,
    Score,
    Task,
    ask,
    digest,
    normal,
)
from insource.route import Facts, permitted, reachable
from insource.route.choose import holds
from insource.route.need import need
from insource.settings import EngineSettings, Settings, task_file
from insource.stats import clopper_pearson_upper, quantile, wilson
from insource.store import Store
from insource.watch.pinned import LEARNT, Compared, Row, Run, newest, series, wavering

PINNED = "pinned"
AGAIN = timedelta(hours=20)
AT_ONCE = 4
ENOUGH = 0.5  # of the rows must be answered, or the night says nothing


class Asked(Noun, frozen=True, kw_only=True):
    """One engine tonight: whether it was `asked`, what came of it beside its first run, and else why not.

    `kept_out` says that no row may go there, `fault` that it was asked and does not answer.
    """

    engine: str
    asked: bool = False
    compared: Compared | None = None
    kept_out: str = ""
    fault: str = ""


def said(one: Asked) -> str:
    """What came of an engine, in words."""
    if one.kept_out or one.fault:
        return one.kept_out or f"it does not answer: {one.fault}"
    if one.compared is None:
        return "its first run is what later ones are held against"
    return "; ".join(one.compared.changed) or f"as on {one.compared.since[:10]}, {one.compared.n} rows"


async def pinned(task: str, store: Store) -> tuple[Compared, ...]:
    """The newest run of each engine beside its first one, as far as there are two. Asks nobody."""
    found = [newest(runs) for runs in (await _runs(task, store)).values()]
    return tuple([one for one in found if one is not None])


async def outlived(task: str, store: Store, before: str) -> list[str]:
    """Reports of runs from before that time (UTC, ISO 8601) which are no engine's newest and teach nothing of it."""
    found = []
    for runs in (await _runs(task, store)).values():
        first = series(runs)
        needed = {runs[-1].report, *[run.report for run in ((first[0], *first[1][:LEARNT]) if first else ())]}
        found += [run.report for run in runs if run.created < before and run.report not in needed]
    return found


async def accept(task: str, engine: str, store: Store, *, now: datetime | None = None) -> Run:
    """From now on the engine's newest run is what later ones are held against. Raises `Missing` where there is none."""
    found = [one for one in await _reports(task, store) if one.candidates[0].candidate == engine]
    if not found:
        raise Missing(f"{engine} was never asked the pinned rows of {task}", hint="insource nightly asks them")
    before = series([_run(one) for one in found])
    wavers = before[0].wavers if before else (0, 0, 0)
    run = msgspec.structs.replace(_run(found[-1]), first=True, created=_second(now), wavers=wavers)
    await store.save_report(_report(run, task, found[-1].dataset))
    return run


async def ask_again(task: Task, settings: Settings, store: Store, *, now: datetime | None = None) -> list[Asked]:
    """Asks every engine that the task routes to, but for those in this process; once a night.

    The first run, in which each row is asked twice, is the baseline, and so is one after the engine's settings or the
    number of rows changed. No row goes where the task or one of its rules forbids it. Raises `EngineDown` when nothing
    here tells the language of a rule.
    """
    wanted = task_file(settings, task.name)[1].watch.pinned_rows
    runs = await _runs(task.name, store)
    found = []
    for choice in reachable(task, policy_of(settings)):
        engine = settings.engines.get(choice.engine)
        if engine is None or engine.kind == "embedded" or not wanted:
            continue
        if not choice.allowed:
            found.append(Asked(engine=choice.engine, kept_out=choice.reason))
            continue
        found.append(await _again(task, choice.engine, settings, store, runs.get(choice.engine, []), now))
    return found


async def _again(
    task: Task, name: str, settings: Settings, store: Store, before: Sequence[Run], now: datetime | None
) -> Asked:
    engine, policy = settings.engines[name], task_file(settings, task.name)[1].watch
    about = digest([engine.kind, engine.address, engine.model, engine.script])
    same = bool(before) and before[-1].about == about
    if same and datetime.fromisoformat(_second(now)) - datetime.fromisoformat(before[-1].created) < AGAIN:
        return Asked(engine=name, compared=newest(before))
    first, dataset, rows = await _frozen(task.name, before if same else (), policy.pinned_rows, store)
    if not rows:
        return Asked(engine=name, kept_out="there are no test rows")
    may = await asyncio.to_thread(_may, task, name, settings)
    asking = _Asking(task, engine, may, policy.pinned_usd)
    try:
        async with (await contender(name, Lineup(settings, store, task), _nameless(task), SHOTS, None)).open() as way:
            await asking.all(rows, way)
            once, left, asking.rows = asking.rows, asking.left, []
            if first:
                await asking.all(rows, way)
    except InsourceError as error:
        return Asked(engine=name, fault=error.code)
    if asking.faults and asking.faults >= ENOUGH * (asking.faults + len(once) + len(asking.rows)):
        return Asked(engine=name, asked=True, fault=asking.fault)
    run = Run(
        engine=name,
        created=_second(now),
        first=first,
        about=about,
        pinned=digest([row.id for row in rows]),
        served=asking.served,
        usd=asking.spent,
        left=left,
        faults=asking.faults,
        rows=tuple(sorted(once, key=lambda row: row.id)),
        wavers=wavering(once, asking.rows),
    )
    report = _report(run, task.name, dataset)
    await store.save_report(report)
    return Asked(engine=name, asked=True, compared=newest([*before, msgspec.structs.replace(run, report=report.id)]))


async def _frozen(task: str, before: Sequence[Run], count: int, store: Store) -> tuple[bool, str, list[Example]]:
    """Whether this run is a first one; the dataset of its rows; and the rows, which are those of the first run."""
    found = series(before)
    if found is not None:
        dataset = (await store.report(found[0].report)).dataset
        rows = await _first_rows(dataset, count, store)
        if digest([row.id for row in rows]) == found[0].pinned:
            return False, dataset, rows
    newest_one = await store.dataset(task)
    if newest_one is None:
        return True, "", []
    return True, newest_one.id, await _first_rows(newest_one.id, count, store)


async def _first_rows(dataset: str, count: int, store: Store) -> list[Example]:
    try:
        return sorted(await store.examples(dataset, "test"), key=lambda row: row.id)[:count]
    except Missing:
        return []


def _may(task: Task, name: str, settings: Settings) -> Callable[[str], bool]:
    """Whether a text may go to the engine by the task and all of its rules that may hold, whoever calls."""
    policy = policy_of(settings)
    tell, place = Plan.of(task, policy, {}).tell, settings.engines[name].place
    rules = [(msgspec.structs.replace(rule.when, caller=(), tenant=()), rule.sensitivity) for rule in task.routes]

    def may(text: str) -> bool:
        facts = Facts(length=len(text), language=tell(text))
        narrowed = [sensitivity for when, sensitivity in rules if holds(when, facts)]
        return permitted(name, place, task.sensitivity, *narrowed).allowed

    return may


@dataclass
class _Asking:
    """One engine's run as it goes: a row is asked where it may go and the purse still has what it may cost."""

    task: Task
    engine: EngineSettings
    may: Callable[[str], bool]
    usd: float
    rows: list[Row] = field(default_factory=list)
    spent: float = 0.0
    held: float = 0.0
    left: int = 0
    faults: int = 0
    fault: str = ""
    served: str = ""

    async def all(self, rows: Sequence[Example], way: Answer) -> None:
        """Asks the rows, a few at a time."""
        waiting = iter(rows)

        async def work() -> None:
            for row in waiting:
                await self.one(row, way)

        await asyncio.gather(*[work() for _ in range(AT_ONCE)])

    async def one(self, row: Example, way: Answer) -> None:
        """Asks one row."""
        asked = msgspec.structs.replace(ask(self.task, row.input, id=row.id), deadline=self.engine.timeout_s)
        prices = (self.engine.usd_per_million_input, self.engine.usd_per_million_output)
        most = need(asked, [prices]).usd * (1 + self.engine.retries)
        if not self.may(row.input) or self.spent + self.held + most > self.usd:
            self.left += 1
            return
        self.held += most
        try:
            record = await way(asked)
        except Blocked:
            self.left += 1
        except EngineError as error:
            self.faults, self.fault = self.faults + 1, error.code
        else:
            self.spent += record.usd
            if record.answer is not None:
                self.rows.append(self.row(row, record.answer))
        finally:
            self.held -= most

    def row(self, row: Example, said: Prediction) -> Row:
        """What came of the row."""
        whole_one = said.value is not None and said.finish == "stop"
        mark = whole(self.task)(row, said)
        self.served = self.served or (said.served or "")
        value = digest([normal(said.value)]) if whole_one else ""
        return Row(id=row.id, said=value, right=None if mark is None else bool(mark), ms=said.latency_ms)


def _nameless(task: Task) -> Dataset:
    return Dataset(id="", task=task.name, counts={})


def _second(now: datetime | None) -> str:
    return (now or datetime.now(UTC)).isoformat(timespec="seconds")


def _report(run: Run, task: str, dataset: str) -> Report:
    """The run as a report, without any row's text."""
    marks = [row.right for row in run.rows if row.right is not None]
    invalid, n = sum(not row.said for row in run.rows), len(run.rows)
    low, high = wilson(sum(marks), len(marks)) if marks else (0.0, 1.0)
    score = Score(metric="exact", value=sum(marks) / len(marks), low=low, high=high, n=len(marks)) if marks else None
    ms = sorted(row.ms for row in run.rows) or [0.0]
    made = Candidate(
        candidate=run.engine,
        kind="remote",
        scores=(score,) if score else (),
        latency_ms=Latency(p50=quantile(ms, 0.5), p95=quantile(ms, 0.95), p99=quantile(ms, 0.99)),
        usd_per_1k=1000 * run.usd / n if n else None,
        failures=Failures(n=n, invalid=invalid, upper95=clopper_pearson_upper(invalid, n) if n else 1.0),
        fingerprint=run.about,
        details={PINNED: msgspec.to_builtins(msgspec.structs.replace(run, report=""))},
    )
    report = Report(
        task=task, dataset=dataset, split=PINNED, candidates=(made,), code=f"insource {insource.__version__}",
        created=run.created,
    )  # fmt: skip
    return msgspec.structs.replace(report, id=digest(report))


async def _reports(task: str, store: Store) -> list[Report]:
    found = await store.listings.reports_on(task, PINNED.__eq__)
    return sorted(found, key=lambda report: report.created)


async def _runs(task: str, store: Store) -> dict[str, list[Run]]:
    """The runs of each engine, oldest first."""
    found: dict[str, list[Run]] = {}
    for report in await _reports(task, store):
        found.setdefault(report.candidates[0].candidate, []).append(_run(report))
    return found


def _run(report: Report) -> Run:
    return msgspec.structs.replace(msgspec.convert(report.candidates[0].details[PINNED], Run), report=report.id)

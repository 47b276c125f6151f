"""The rolling holdout: what people settled lately, asked of the live release by the path that serves, again and again.

Rows come from production by what people say of answers, and leave when they are too old or when a release was taught
them. Each look is a report; the trend is told from what the newest one found week by week.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec

import insource
from insource.collect.reviewed import cleaned
from insource.errors import EngineDown, Missing
from insource.journeys.lineup import SHOTS, Lineup, Progress, quiet
from insource.journeys.measure import contender, machine
from insource.measure import About, Answer, Contender, measure
from insource.measure.scorers import whole
from insource.nouns import (
    DRAWN,
    Dataset,
    Example,
    Noun,
    Prediction,
    Record,
    Release,
    Report,
    Request,
    Task,
    digest,
    likeness,
)
from insource.nouns.lesson import TEACHING
from insource.review import to_example
from insource.settings import Settings, task_file
from insource.store import Store
from insource.watch.holdout import CHANCE, LOOKED_AT, Held, Result, chosen, judged, result
from insource.watch.triage import Triage

HOLDOUT = "holdout"
LATE = timedelta(hours=4)  # a night's job does not begin at the same second
DEMANDS = {"classify": "accuracy", "extract": "exact", "generate": "exact"}


class HoldoutTrend(Noun, frozen=True, kw_only=True):
    """Every look at a task's rolling holdout, oldest first, and what the newest one comes to."""

    task: str
    results: tuple[Result, ...]
    triage: Triage


async def holdout_trend(task: Task, store: Store) -> HoldoutTrend:
    """What the looks at the rolling holdout found so far. Asks nobody."""
    found = tuple([_result(one) for one in await _reports(task.name, store)])
    newest = found[-1] if found else None
    triage = judged(task.name, newest, task.acceptance.get(DEMANDS[task.kind]))
    return HoldoutTrend(task=task.name, results=found, triage=triage)


async def outlived(task: str, store: Store, before: str) -> list[str]:
    """Reports of looks from before that time (UTC, ISO 8601), the newest look left out."""
    return [report.id for report in (await _reports(task, store))[:-1] if report.created < before]


async def look(
    task: Task, settings: Settings, store: Store, *, now: datetime | None = None, progress: Progress = quiet
) -> bool:
    """Asks the live release the holdout's rows, where that is due; whether it was.

    It is due after `[watch] holdout_days`, and for a release that was not asked yet, where there are rows, and other
    ones than last time. Raises `EngineDown` when the release does not answer.
    """
    now, live = now or datetime.now(UTC), await store.live(task.name)
    policy = task_file(settings, task.name)[1].watch
    if live is None or not policy.holdout_days:
        return False
    before = await _reports(task.name, store)
    if before and before[-1].candidates[0].candidate == live.name:
        next_one = datetime.fromisoformat(before[-1].created) + timedelta(days=policy.holdout_days) - LATE
        if now < next_one:
            return False
    since = (now - timedelta(days=policy.holdout_window)).isoformat()
    settled = await _settled(task, store)
    held = chosen(settled, since, await _taught(settled, live, store), policy.holdout_rows)
    name = digest([[one.row.id, one.at] for one in held])
    if not held or (before and (before[-1].dataset, before[-1].candidates[0].candidate) == (name, live.name)):
        return False
    await store.save_report(await _asked(task, live, settings, store, (held, name, now), progress))
    return True


async def _settled(task: Task, store: Store) -> list[Held]:
    """Every row that people settled, with when its call came and how it came before them; each text once."""
    about: dict[str, tuple[str, bool]] = {}
    made: list[tuple[Example | None, str]] = []
    for pending, review in await store.reviews(task.name):
        if pending.reason in TEACHING:
            continue  # it was never a call of production
        row = to_example(task, pending, review)
        made.append((row, review.decided[:7]))
        if row is not None:
            about[row.id] = (pending.created or review.decided, pending.reason == DRAWN)
    rows = cleaned(task, made, ()).rows
    return [
        Held(row=_tagged(row, drawn=about[row.id][1]), at=_utc(about[row.id][0]), drawn=about[row.id][1])
        for row in rows
    ]


def _tagged(row: Example, *, drawn: bool) -> Example:
    return msgspec.structs.replace(row, split=HOLDOUT, tags={"seen": CHANCE if drawn else LOOKED_AT})


def _utc(at: str) -> str:
    """The time in one form, so that times compare as texts."""
    return datetime.fromisoformat(at).astimezone(UTC).isoformat()


async def _taught(settled: list[Held], live: Release, store: Store) -> set[str]:
    """The settled rows whose very text the release was taught or tuned on, whatever its target was there.

    Of a release that came in a bundle the rows are elsewhere: nothing settled here was among them.
    """
    try:
        rows = await store.examples(live.dataset)
    except Missing:
        return set()
    texts = {likeness(row.input) for row in rows if row.split != "test"}
    return {one.row.id for one in settled if likeness(one.row.input) in texts}


async def _asked(
    task: Task, live: Release, settings: Settings, store: Store, rows: tuple[list[Held], str, datetime],
    progress: Progress,
) -> Report:  # fmt: skip
    """The report of one look. It keeps figures and no row's text: rows go when their records do."""
    held, name, now = rows
    said: dict[str, Prediction | None] = {}
    dataset = Dataset(id=live.dataset, task=task.name, counts={})
    asked = _listening(await contender(live.name, Lineup(settings, store, task), dataset, SHOTS, None), said)
    about = About(dataset=name, split=HOLDOUT, code=f"insource {insource.__version__}", machine=machine())
    report = await measure(task, [one.row for one in held], [asked], about, progress=progress)
    if live.name in report.failed:
        raise EngineDown(f"{live.name} could not be asked: {report.failed[live.name]}")
    score = whole(task)
    marked = []
    for one in held:
        answer = said.get(one.row.id)
        mark = None if answer is None else score(one.row, answer)
        marked += [] if mark is None else [(one, bool(mark))]
    created = now.isoformat(timespec="seconds")
    found = result(live.name, created, "", marked)
    mine = msgspec.structs.replace(report.candidates[0], details={HOLDOUT: msgspec.to_builtins(found)})
    report = msgspec.structs.replace(report, id="", candidates=(mine,), rows=(), created=created)
    return msgspec.structs.replace(report, id=digest(report))


def _listening(asked: Contender, said: dict[str, Prediction | None]) -> Contender:
    """The contender, whose answers are noted in `said` by the row's id."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Answer]:
        async with asked.open() as way:

            async def noting(request: Request) -> Record:
                record = await way(request)
                said[request.id] = record.answer
                return record

            yield noting

    return replace(asked, open=opened)


async def _reports(task: str, store: Store) -> list[Report]:
    found = await store.listings.reports_on(task, HOLDOUT.__eq__)
    found = [report for report in found if report.candidates]
    return sorted(found, key=lambda report: report.created)


def _result(report: Report) -> Result:
    found = msgspec.convert(report.candidates[0].details[HOLDOUT], Result)
    return msgspec.structs.replace(found, report=report.id)

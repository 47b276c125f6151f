"""Is traffic still what the release was made for? The newest calls beside its dev rows and beside what came before."""

import asyncio
from datetime import UTC, datetime, timedelta

from insource.engines.artefact import read_manifest
from insource.errors import Conflict
from insource.journeys.gate import trainer_rows
from insource.journeys.holdout import HoldoutTrend, holdout_trend
from insource.journeys.pinned import pinned
from insource.journeys.recheck import Checked, checked
from insource.journeys.serve import vocabulary_of
from insource.nouns import DRAWN, Alert, Noun, Pending, Record, Release, Review, Task
from insource.release.shared import here
from insource.review import Unfit, unfit
from insource.settings import Settings
from insource.store import Store
from insource.watch.pinned import Compared
from insource.watch.triage import Triage, triage
from insource.watch.window import Columns, Estimate, Moved, estimated, moved, of_answers, of_records, of_terms, share

WINDOW, MOST_BEFORE, DAYS = 500, 2_000, 31
VERDICTS = 2_000
TRAINING, BEFORE = "training", "the month before"
BLIND = "an estimate from confidences: it cannot see that what is right has changed; reviewed answers can"


class Watched(Noun, frozen=True, kw_only=True):
    """What the newest calls are like. `shifts` are p-values and distances of every feature that was looked at.

    These are calls of which the release was asked first, whoever answered in the end: what it was asked behind a
    canary that was not sure is harder than the rest. `estimate` is the accuracy that the confidences foretell, `people`
    that of the release's own answers in the window that people looked at: of the given ones that were drawn by chance
    where there are some, else of all, which are the doubtful ones. `people_of` says which. `unfit` are answers for
    which people found no label that fits, of their newest 2,000 verdicts as far as those are of the last month.
    `alerts` are the task's open ones, `holdout` and `pinned` what the nights found.
    """

    task: str
    release: str
    calls: int
    since: str
    until: str
    moved: tuple[Moved, ...]
    looked_at: tuple[str, ...]
    estimate: Estimate | None
    people: Estimate | None
    people_of: str
    unfit: Unfit
    triage: Triage
    promise: Checked
    holdout: HoldoutTrend | None = None
    pinned: tuple[Compared, ...] = ()
    alerts: tuple[Alert, ...] = ()
    blind_spot: str = BLIND


async def watch(task: Task, settings: Settings, store: Store, *, window: int = WINDOW) -> Watched:
    """Holds the newest `window` calls of the live release against its dev rows and the month before them.

    Raises `Conflict` when nothing is live.
    """
    live = await store.live(task.name)
    if live is None:
        raise Conflict(f"nothing of {task.name} is live, so there is nothing to watch",
                       hint=f"insource release promote {task.name}")  # fmt: skip
    promise = await checked(task.name, settings, store)
    records = [one for one in await store.records(task.name, window + MOST_BEFORE) if _asked_first(one) == live.name]
    newest, older = records[:window], _month(records[window:])
    now = of_records(task, newest)
    references = await _taught(live, settings, store)
    if len(older) >= window:
        references[BEFORE] = of_records(task, older)
    own = [one.id for one in newest if one.release == live.name]
    people, people_of = _people(await store.listings.verdicts_on(own))
    said = await store.newest_reviews(task.name, VERDICTS)
    month = (datetime.now(UTC) - timedelta(days=DAYS)).isoformat(timespec="seconds")
    found: list[Moved] = []
    looked: list[str] = []
    if len(newest) >= window and references:
        found = await asyncio.to_thread(moved, now, references)
        looked = [
            f"{feature} against {name}" for name, columns in references.items() for feature in columns if feature in now
        ]
    few = Triage(state="too few", why=f"{len(newest):,} calls of {live.name}, {window:,} are wanted")
    return Watched(
        task=task.name,
        release=live.name,
        calls=len(newest),
        since=newest[-1].created if newest else "",
        until=newest[0].created if newest else "",
        moved=tuple(found),
        looked_at=tuple(looked),
        estimate=estimated(now),
        people=people,
        people_of=people_of,
        unfit=unfit(task, [review for _, review in said if review.decided >= month]),
        triage=triage(task.name, found, people, task.acceptance.get("accuracy")) if looked else few,
        promise=promise,
        holdout=await holdout_trend(task, store),
        pinned=await pinned(task.name, store),
        alerts=tuple(await store.open_alerts(task.name)),
    )


async def _taught(live: Release, settings: Settings, store: Store) -> dict[str, Columns]:
    """What the release's dev rows were like when it was trained; empty where they are not with it."""
    folder = await here(live, settings, store.place)
    rows = await asyncio.to_thread(trainer_rows, folder)
    if not rows:
        return {}
    trained = (await asyncio.to_thread(read_manifest, folder)).task
    columns = of_answers(trained, [(row.value, row.confidence) for row in rows])
    vocabulary = await vocabulary_of(live, store)
    return {TRAINING: columns | (of_terms([vocabulary.count(row.input) for row in rows]) if vocabulary else {})}


def _asked_first(record: Record) -> str:
    """Whose words the call's features are: behind a canary that was not sure, the live release is asked second."""
    return record.attempts[0].decision.engine if record.attempts else ""


def _month(records: list[Record]) -> list[Record]:
    """Those of the month before the newest of them."""
    if not records:
        return []
    start = datetime.fromisoformat(records[0].created).astimezone(UTC) - timedelta(days=DAYS)
    return [one for one in records if datetime.fromisoformat(one.created) >= start]


def _people(said: list[tuple[Pending, Review]]) -> tuple[Estimate | None, str]:
    """How many of these answers people found right, and of which: those drawn by chance, where some were."""
    told = [
        (pending.reason == DRAWN, review.verdict == "right") for pending, review in said if review.verdict != "unsure"
    ]
    drawn = [right for by_chance, right in told if by_chance]
    found = drawn or [right for _, right in told]
    return share(sum(found), len(found)), f"given, {DRAWN}" if drawn else "those that were looked at"

"""What people leaf through, in SQL: a page at a time along an index, however much there is behind it.

A place is the number of a row: the page behind it begins there (`below`), 0 is the newest and, as `older`, the end.
"""

from collections.abc import Callable, Collection, Sequence

import msgspec
from sqlalchemy import Connection, func, select

from insource.nouns import Gate, Noun, Outcome, Pending, Release, Report, Review, Stage, StageChange, Waiting
from insource.store import draws, search
from insource.store.database import Database
from insource.store.draws import Looks
from insource.store.stored import stored
from insource.store.tables import (
    GATE,
    OPINION,
    PENDING,
    RECORD,
    RELEASE,
    REPORT,
    REVIEW,
    STAGE_CHANGE,
)

PART = 500
MOVING: tuple[Stage, ...] = ("staging", "shadow", "canary", "live")


class Versions(Noun, frozen=True, kw_only=True):
    """A page of a task's releases, newest first, of `total` that there are.

    The first page has what is live or on its way, too, however old that is.
    """

    releases: tuple[Release, ...]
    older: int
    total: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The candidate of a report by its name alone."""

    candidate: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a list says of a report."""

    id: str
    task: str
    split: str
    candidates: tuple[Measured, ...]
    summary: tuple[str, ...] = ()
    created: str = ""


class Shelf(Noun, frozen=True, kw_only=True):
    """A page of reports, those that were kept last first."""

    reports: tuple[Told, ...]
    older: int


class Listings:
    """The pages of a store."""

    def __init__(self, thread: Database) -> None:
        self._thread = thread

    async def releases(self, task: str, most: int, below: int = 0) -> Versions:
        """Up to `most` of the task's releases."""
        return await self._thread.look(lambda c: releases(c, task, most, below))

    async def newest_release(self, task: str, stages: Sequence[Stage] = ()) -> Release | None:
        """The task's newest release, of those in one of `stages` where some are named."""
        return await self._thread.look(lambda c: newest_release(c, task, stages))

    async def gates(self, names: Sequence[str]) -> dict[str, Gate]:
        """Release → the newest gate that it went through, for those of `names` that went through one."""
        return await self._thread.look(lambda c: gates(c, names))

    async def changes(self, task: str, most: int) -> tuple[list[StageChange], int]:
        """The newest changes of stage of the task's releases, oldest of them first, and how many there are in all."""
        return await self._thread.look(lambda c: changes(c, task, most))

    async def changes_from(self, release: str) -> list[StageChange]:
        """The changes of stage of the release's task from its own first on, oldest first."""
        return await self._thread.look(lambda c: changes_from(c, release))

    async def changes_of(self, releases: Collection[str]) -> list[StageChange]:
        """The changes of stage of these releases, oldest first."""
        return await self._thread.look(lambda c: changes_of(c, releases))

    async def reports(self, tasks: Sequence[str], most: int, below: int = 0) -> Shelf:
        """Up to `most` reports of the tasks."""
        return await self._thread.look(lambda c: reports(c, tasks, most, below))

    async def reports_on(self, task: str, wanted: Callable[[str], bool], most: int | None = None) -> list[Report]:
        """The task's newest reports on a split that is `wanted`, oldest of them first; None is all."""
        return await self._thread.look(lambda c: reports_on(c, task, wanted, most))

    async def known_reports(self, ids: Collection[str]) -> frozenset[str]:
        """Those of the ids that a report has."""
        return await self._thread.look(lambda c: known_reports(c, ids))

    async def queue(self, task: str) -> Waiting:
        """What waits of the task."""
        return await self._thread.look(lambda c: queue(c, task))

    async def waiting(self, task: str, tenant: str | None = None) -> int:
        """How many of the task's answers wait for a person; of the calls of `tenant`, where one is named."""
        return await self._thread.look(lambda c: waiting(c, task, tenant))

    async def verdicts_on(self, records: Sequence[str]) -> list[tuple[Pending, Review]]:
        """The verdicts on these records, those that there are, with what each was about."""
        return await self._thread.look(lambda c: verdicts_on(c, records))

    async def verdicts(self, task: str, most: int) -> tuple[list[tuple[Pending, Review]], int]:
        """The newest verdicts on the task's answers, oldest of them first, and how many there are in all."""
        newest = await self._thread.look(lambda c: search.newest_reviews(c, task, most))
        return newest, await self._thread.look(lambda c: verdicts(c, task))

    async def ended(self, task: str, limit: int, besides: str) -> dict[Outcome, int]:
        """How the newest calls of the task ended, those of the caller `besides` left out."""
        return await self._thread.look(lambda c: search.ended(c, task, limit, besides))

    async def reach(self, task: str, limit: int) -> tuple[int, str]:
        """How many calls the task has, up to the newest `limit`, and when the oldest of those came."""
        return await self._thread.look(lambda c: search.reach(c, task, limit))

    async def looks(self, release: str, since: str) -> Looks:
        """What people said of the answers drawn by chance that the release gave by itself after the time `since`."""
        return await self._thread.look(lambda c: draws.looks(c, release, since))

    async def looked_at(self, release: str, since: str, until: str) -> list[tuple[float, bool]]:
        """The same one by one, up to the time `until` (""; all): how sure the release was, and whether it was right."""
        return await self._thread.look(lambda c: draws.looked_at(c, release, since, until))

    async def opinions(self, task: str, most: int) -> list[tuple[Pending, Review]]:
        """The newest words on the task's items that more than one has to see, oldest of them first, with the item."""
        return await self._thread.look(lambda c: opinions(c, task, most))


def releases(connection: Connection, task: str, most: int, below: int) -> Versions:
    """As `Listings.releases`."""
    mine = RELEASE.c.task == task
    total = int(connection.execute(select(func.count()).select_from(RELEASE).where(mine)).scalar() or 0)
    page = select(RELEASE.c.seq, RELEASE.c.body).where(mine).order_by(RELEASE.c.seq.desc()).limit(most + 1)
    found = list(connection.execute(page.where(RELEASE.c.seq < below) if below else page).all())
    older = found[most - 1].seq if len(found) > most else 0
    found = found[:most]
    if older and not below:
        rest = select(RELEASE.c.seq, RELEASE.c.body).where(mine, RELEASE.c.stage.in_(MOVING), RELEASE.c.seq < older)
        found += connection.execute(rest.order_by(RELEASE.c.seq.desc())).all()
    return Versions(releases=tuple(stored(row.body, Release) for row in found), older=older, total=total)


def newest_release(connection: Connection, task: str, stages: Sequence[Stage] = ()) -> Release | None:
    """As `Listings.newest_release`."""
    found = select(RELEASE.c.body).where(RELEASE.c.task == task)
    found = found.where(RELEASE.c.stage.in_(stages)) if stages else found
    body = connection.execute(found.order_by(RELEASE.c.seq.desc()).limit(1)).scalar()
    return stored(body, Release) if body else None


def gates(connection: Connection, names: Sequence[str]) -> dict[str, Gate]:
    """As `Listings.gates`."""
    found: dict[str, Gate] = {}
    for start in range(0, len(names), PART):
        mine = GATE.c.release.in_(names[start : start + PART])
        newest = select(func.max(GATE.c.seq)).where(mine).group_by(GATE.c.release)
        rows = connection.execute(select(GATE.c.release, GATE.c.body).where(GATE.c.seq.in_(newest)))
        found |= {row.release: stored(row.body, Gate) for row in rows}
    return found


def changes(connection: Connection, task: str, most: int) -> tuple[list[StageChange], int]:
    """As `Listings.changes`."""
    mine = STAGE_CHANGE.c.task == task
    total = int(connection.execute(select(func.count()).select_from(STAGE_CHANGE).where(mine)).scalar() or 0)
    newest = select(STAGE_CHANGE.c.body).where(mine).order_by(STAGE_CHANGE.c.seq.desc()).limit(most)
    return [stored(body, StageChange) for body in connection.execute(newest).scalars()][::-1], total


def changes_from(connection: Connection, release: str) -> list[StageChange]:
    """As `Listings.changes_from`."""
    first = select(func.min(STAGE_CHANGE.c.seq)).where(STAGE_CHANGE.c.release == release).scalar_subquery()
    mine = (STAGE_CHANGE.c.task == release.partition("@")[0]) & (STAGE_CHANGE.c.seq >= first)
    found = connection.execute(select(STAGE_CHANGE.c.body).where(mine).order_by(STAGE_CHANGE.c.seq))
    return [stored(body, StageChange) for body in found.scalars()]


def changes_of(connection: Connection, releases: Collection[str]) -> list[StageChange]:
    """As `Listings.changes_of`."""
    found = select(STAGE_CHANGE.c.body).where(STAGE_CHANGE.c.release.in_(releases)).order_by(STAGE_CHANGE.c.seq)
    return [stored(body, StageChange) for body in connection.execute(found).scalars()]


def reports(connection: Connection, tasks: Sequence[str], most: int, below: int) -> Shelf:
    """As `Listings.reports`."""
    numbers: list[int] = []
    for task in tasks:  # each along its index, by their numbers alone: a body is read where it is shown
        mine = select(REPORT.c.seq).where(REPORT.c.task == task).order_by(REPORT.c.seq.desc()).limit(most + 1)
        numbers += connection.execute(mine.where(REPORT.c.seq < below) if below else mine).scalars()
    numbers.sort(reverse=True)
    shown = select(REPORT.c.body).where(REPORT.c.seq.in_(numbers[:most])).order_by(REPORT.c.seq.desc())
    found = tuple(stored(body, Told) for body in connection.execute(shown).scalars())
    return Shelf(reports=found, older=numbers[most - 1] if len(numbers) > most else 0)


def reports_on(connection: Connection, task: str, wanted: Callable[[str], bool], most: int | None) -> list[Report]:
    """As `Listings.reports_on`."""
    splits = connection.execute(select(REPORT.c.split).where(REPORT.c.task == task).distinct()).scalars()
    mine = [split for split in splits if wanted(split)]
    newest = select(REPORT.c.body).where(REPORT.c.task == task, REPORT.c.split.in_(mine))
    bodies = connection.execute(newest.order_by(REPORT.c.seq.desc()).limit(most)).scalars() if mine else ()
    return [stored(body, Report) for body in bodies][::-1]


def known_reports(connection: Connection, ids: Collection[str]) -> frozenset[str]:
    """As `Listings.known_reports`."""
    return frozenset(connection.execute(select(REPORT.c.id).where(REPORT.c.id.in_(ids))).scalars())


def queue(connection: Connection, task: str) -> Waiting:
    """As `Listings.queue`."""
    open_ = (PENDING.c.task == task) & PENDING.c.settled.is_(False)
    first = select(func.min(PENDING.c.seq)).where(open_).scalar_subquery()
    oldest = connection.execute(select(PENDING.c.body).where(PENDING.c.seq == first)).scalar()
    both = select(func.count(OPINION.c.record.distinct())).join_from(
        OPINION, PENDING, OPINION.c.record == PENDING.c.record
    )
    half = connection.execute(both.where(OPINION.c.task == task, PENDING.c.settled.is_(False))).scalar()
    return Waiting(
        answers=waiting(connection, task, None),
        half=int(half or 0),
        oldest=stored(oldest, Pending).created if oldest else "",
    )


def waiting(connection: Connection, task: str, tenant: str | None) -> int:
    """As `Listings.waiting`."""
    found = select(func.count()).select_from(PENDING).where(PENDING.c.task == task, PENDING.c.settled.is_(False))
    if tenant is not None:
        found = found.join(RECORD, RECORD.c.id == PENDING.c.record).where(RECORD.c.tenant == tenant)
    return int(connection.execute(found).scalar() or 0)


def verdicts_on(connection: Connection, records: Sequence[str]) -> list[tuple[Pending, Review]]:
    """As `Listings.verdicts_on`."""
    said = select(PENDING.c.body.label("pending"), REVIEW.c.body.label("review")).join_from(
        REVIEW, PENDING, REVIEW.c.record == PENDING.c.record
    )
    found = []
    for start in range(0, len(records), PART):
        rows = connection.execute(said.where(REVIEW.c.record.in_(records[start : start + PART])))
        found += [(stored(row.pending, Pending), stored(row.review, Review)) for row in rows]
    return found


def verdicts(connection: Connection, task: str) -> int:
    """How many verdicts there are on the task's answers."""
    return int(connection.execute(select(func.count()).select_from(REVIEW).where(REVIEW.c.task == task)).scalar() or 0)


def opinions(connection: Connection, task: str, most: int) -> list[tuple[Pending, Review]]:
    """As `Listings.opinions`."""
    said = (
        select(PENDING.c.body.label("pending"), OPINION.c.body.label("said"))
        .join_from(OPINION, PENDING, OPINION.c.record == PENDING.c.record)
        .where(OPINION.c.task == task)
        .order_by(OPINION.c.seq.desc())
        .limit(most)
    )
    return [(stored(row.pending, Pending), stored(row.said, Review)) for row in connection.execute(said)][::-1]

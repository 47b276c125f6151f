"""What nobody looked at in time is settled as the task's `[review]` says: recorded as such, and no label of anybody."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime

import msgspec

from insource.errors import Conflict, Denied, InsourceError, Invalid, Missing
from insource.journeys.answer import Path, answer
from insource.journeys.lineup import Lineup
from insource.journeys.scanned import open_scans
from insource.journeys.serve import configured_tier
from insource.nouns import TIMEOUT, Fallback, JsonObject, Noun, Pending, Record, Review, Reviewing, Task, ask, record_id
from insource.review import oldest
from insource.route import permitted
from insource.settings import Settings, load_task, task_file
from insource.store import Store

LOOK, MOST = 100_000, 1_000
HELD_S = 60.0  # beside what the engine may take: nobody is to begin on what is being paid for


class Overdue(Noun, frozen=True, kw_only=True):
    """How many were settled by which fallback, how many somebody looks at just now, and why others still wait."""

    settled: dict[str, int] = {}
    held: int = 0
    left: int = 0
    why: str = ""

    @property
    def words(self) -> str:
        """In one line."""
        parts = [f"{n:,} settled as {fallback}: nobody looked in time" for fallback, n in self.settled.items()]
        parts += [f"{self.held:,} {'is' if self.held == 1 else 'are'} being looked at"] if self.held else []
        parts += [f"{self.left:,} wait{'s' * (self.left == 1)} on: {self.why}"] if self.left else []
        return "; ".join(parts) or "nothing waits too long"


async def overdue(name: str, settings: Settings, store: Store, now: float | None = None) -> Overdue:
    """Settles what waits longer than `[review] within` of the task called `name`, at most 1,000 items a time.

    An item that somebody holds is left to them. With "escalate" the engine is asked, and that call is on record like
    any other; what it does not answer waits on. What was given already stands, and of what is out of scope there is no
    answer, whatever the policy says. Raises as `load_task` does.
    """
    policy = task_file(settings, name)[1].review
    if not policy.within_s:
        return Overdue()
    since = datetime.fromtimestamp((time.time() if now is None else now) - policy.within_s, UTC)
    late = oldest(await store.pending(name, LOOK), since.isoformat(timespec="milliseconds"))[:MOST]
    if not late:
        return Overdue()
    task = load_task(settings, name)
    settled: Counter[str] = Counter()
    held = left = 0
    why = ""
    async with _Asked(task, policy, settings, store) as asked:
        for pending in late:
            try:
                record = await store.record(pending.record)
                review = await _fallback(record, pending, policy, asked)
                await store.settle(review)
                settled[str(review.fallback)] += 1
            except Conflict:
                held += 1
            except InsourceError as error:
                left, why = left + 1, error.code
    return Overdue(settled=dict(settled), held=held, left=left, why=why)


def _of(record: Record, policy: Reviewing) -> Fallback:
    """What becomes of an answer that nobody looked at: as the policy says only where the task left it undecided."""
    if record.outcome == "out_of_scope":
        return "drop"  # no answer of the task fits: neither the one that was withheld nor another engine's
    return policy.otherwise if record.outcome == "review" else "provisional"


async def _fallback(record: Record, pending: Pending, policy: Reviewing, asked: "_Asked") -> Review:
    review = Review(
        record=pending.record,
        verdict="unsure",
        note=f"nobody settled it within {policy.within}",
        reviewer=TIMEOUT,
        decided=datetime.now(UTC).isoformat(timespec="seconds"),
        fallback=_of(record, policy),
    )
    if review.fallback != "escalate":
        return review
    value, answered = await asked(pending, record.tenant)
    return msgspec.structs.replace(review, corrected=value, note=f"{review.note}; {policy.engine} answered: {answered}")


class _Asked:
    """The engine that is asked, opened with the first item that needs it."""

    def __init__(self, task: Task, policy: Reviewing, settings: Settings, store: Store) -> None:
        self._task, self._name, self._settings, self._store = task, policy.engine, settings, store
        self._path: Path | None = None

    async def __aenter__(self) -> "_Asked":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._path is None:
            return
        for tier in self._path.tiers:
            await tier.engine.close()
        await self._store.let_go(TIMEOUT)  # what was not answered is anybody's again

    async def __call__(self, pending: Pending, tenant: str) -> tuple[JsonObject | None, str]:
        """What the engine answers, and the record of that call: nobody else may begin on the item meanwhile.

        Raises what the engine raises, `Invalid` for no answer, `Conflict` where somebody looks at it: then it is not
        asked.
        """
        if self._path is None:
            self._path = await self._opened()
        await self._store.hold(pending.record, TIMEOUT, self._path.deadline + HELD_S)
        request = msgspec.structs.replace(
            ask(self._task, pending.input, id=record_id()), tenant=tenant, caller=TIMEOUT, deadline=self._path.deadline
        )

        async def keep(record: Record, _: Pending | None) -> None:
            await self._store.append(record)  # nobody is asked to look at this one

        record = await answer(request, self._path, keep)
        value = record.answer.value if record.answer else None
        if value is None:
            raise Invalid(f"{self._name} gave no valid answer to {pending.record}")
        return value, record.id

    async def _opened(self) -> Path:
        if self._name not in self._settings.engines:
            raise Missing(f"there is no engine {self._name!r}", hint="[review] engine names one of insource.toml")
        allowed = permitted(self._name, self._settings.engines[self._name].place, self._task.sensitivity)
        if not allowed.allowed:
            raise Denied(allowed.reason)
        scans = await asyncio.to_thread(open_scans, self._task.scan)
        tier = configured_tier(self._name, Lineup(self._settings, self._store, self._task))
        return Path(
            task=self._task,
            tiers=(tier,),
            key=self._store.tenant_key,
            intend=self._store.intend,
            deadline=self._settings.engines[self._name].timeout_s,
            scans=scans,
            rule=TIMEOUT,
        )

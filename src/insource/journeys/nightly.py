"""What is due once a day, job after job: safe to run twice, beside a running gateway, and to kill.

No job keeps a note of when it ran: each looks at the state and does what is missing. One that fails stops no other.
What a person should look at becomes an alert, and is told at the end.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from insource.errors import Conflict, InsourceError, StoreError
from insource.journeys import holdout, pinned
from insource.journeys.alerts import tell
from insource.journeys.audit import checkpoint, prune
from insource.journeys.backups import keep_backups
from insource.journeys.holdout import holdout_trend, look
from insource.journeys.overdue import overdue
from insource.journeys.pinned import Asked, ask_again, said
from insource.journeys.recheck import recheck
from insource.journeys.recover import end_calls, recover, spool_folder
from insource.journeys.recover import words as spoken
from insource.journeys.trial import advance
from insource.journeys.watch import watch
from insource.nouns import Cause, Noun, stamp
from insource.settings import Settings, load_task, task_file, task_names
from insource.store import Store
from insource.store.files import alone
from insource.watch.triage import Triage

State = Literal["done", "nothing to do", "look", "failed"]
DAY_S = 86_400
EVERY = {"monthly": 31, "quarterly": 92, "annual": 366}
BAD = ("drift", "degradation")
KEPT, LATE = "recover kept", "review late"


class Job(Noun, frozen=True, kw_only=True):
    """One job and what came of it; `look` means that a person should. `task` is empty for what is of the workspace.

    `causes` are alerts that it raises, `over` the causes that it has seen to be gone.
    """

    name: str
    state: State
    words: str
    task: str = ""
    next: str = ""
    causes: tuple[Cause, ...] = ()
    over: tuple[str, ...] = ()


class Night(Noun, frozen=True, kw_only=True):
    """All jobs, in their order."""

    jobs: tuple[Job, ...]

    @property
    def failed(self) -> tuple[Job, ...]:
        """Those that failed."""
        return tuple(job for job in self.jobs if job.state == "failed")


async def nightly(settings: Settings, store: Store) -> Night:
    """Runs what is due for the workspace and each of its tasks. Raises nothing of a job: its failure is its state.

    Raises `Conflict` while another process does the same: engines of others are asked once.
    """
    with alone(settings.state / "nightly.lock", "insource nightly"):
        return await _night(settings, store)


async def _night(settings: Settings, store: Store) -> Night:
    jobs = [await _job(name, "", work(settings, store), store) for name, work in WORKSPACE.items()]
    for task in task_names(settings):
        jobs += [await _job(name, task, work(task, settings, store), store) for name, work in TASK.items()]
    jobs += [await _job(name, "", work(settings, store), store) for name, work in LAST.items()]
    return Night(jobs=tuple(jobs))


async def _job(name: str, task: str, work: Awaitable[Job], store: Store) -> Job:
    """The job done, and its alerts noted. One that failed is itself a cause, until it does not."""
    failed = f"{name} failed"
    try:
        job = await work
    except InsourceError as error:
        job = Job(name=name, task=task, state="failed", words=str(error), next=error.hint)
    if job.state == "failed":
        # an error's words may quote what it is about; the night's own report has them
        cause = Cause(cause=failed, words="the job failed: insource nightly says how", next=job.next)
        job = msgspec.structs.replace(job, causes=(*job.causes, cause))
    else:
        job = msgspec.structs.replace(job, over=(*job.over, failed))
    try:
        await store.alerts.note(task, job.causes, job.over, stamp(time.time()))
    except StoreError as error:
        job = msgspec.structs.replace(job, state="failed", words=f"{job.words}; no alert could be kept: {error}")
    return job


async def _recover(settings: Settings, store: Store) -> Job:
    """Calls that a killed process left: what it spooled comes in, what it began ends as interrupted."""
    found = await recover(store, spool_folder(settings))
    ended = await end_calls(settings, store)
    words = "; ".join([*spoken(found), f"{len(ended):,} calls ended as interrupted"])
    if not found.refused:
        state: State = "done" if found.files or ended else "nothing to do"
        return Job(name="recover", state=state, words=words, over=(KEPT,))
    count = len(found.refused)
    several = f"{count:,} files of the spool did not come in whole and are kept"
    few = several if count != 1 else "a file of the spool did not come in whole and is kept"
    cause = Cause(cause=KEPT, words=few, next="insource store recover")  # which and why is said there: it names calls
    return Job(name="recover", state="look", words=words, next=cause.next, causes=(cause,))


async def _retain(settings: Settings, store: Store) -> Job:
    """Records beyond what the settings keep, and as old reports of what the nights asked."""
    gone, audit = await prune(settings, store), settings.audit
    looks = await _forget(settings, store) if audit.keep_days else 0
    words = f"{gone:,} records went" + f", and {looks:,} reports of nights" * bool(looks)
    keeps = f"{audit.keep_days:,} days and {audit.keep_calls:,} calls are kept"
    return Job(name="retention", state="done" if gone or looks else "nothing to do", words=f"{words}; {keeps}")


async def _forget(settings: Settings, store: Store) -> int:
    """Reports of the holdout and of pinned rows go; what an open alert rests on stays."""
    before = (datetime.now(UTC) - timedelta(days=settings.audit.keep_days)).isoformat(timespec="seconds")
    named = {alert.evidence for alert in await store.open_alerts()}
    found = [each for task in task_names(settings) for of in (holdout, pinned)
             for each in await of.outlived(task, store, before)]  # fmt: skip
    return await store.forget_reports([each for each in found if each not in named]) if found else 0


async def _sign(settings: Settings, store: Store) -> Job:
    """A signed checkpoint of the audit chain."""
    await checkpoint(settings, store)
    return Job(name="checkpoint", state="done", words="the audit chain has a signed checkpoint")


async def _verify(_: Settings, store: Store) -> Job:
    """The whole audit chain."""
    found = await store.verify_chain()
    if found.faults:
        return Job(
            name="audit", state="failed", words="; ".join(map(str, found.faults[:3])), next="insource audit verify"
        )
    return Job(name="audit", state="done", words="the audit chain is whole")


async def _advance(task: str, settings: Settings, store: Store) -> Job:
    """A release on its way."""
    moved = await advance(task, settings, store)
    words = "; ".join(f"{one.release}: {one.before} to {one.after}, {one.why}" for one in moved)
    return Job(name="rollout", task=task, state="done" if moved else "nothing to do", words=words or "nothing is due")


async def _watch(task: str, settings: Settings, store: Store) -> Job:
    """The newest calls."""
    try:
        found = await watch(load_task(settings, task), settings, store)
    except Conflict as error:
        return Job(name="watch", task=task, state="nothing to do", words=str(error), over=causes("watch"))
    return triaged("watch", task, found.triage)


def causes(name: str) -> tuple[str, ...]:
    """What a job that triages may call a cause."""
    return tuple(f"{name} {state}" for state in BAD)


def triaged(name: str, task: str, found: Triage, evidence: str = "") -> Job:
    """The job of what was triaged: drift and degradation are causes of their own, and what is steady has neither."""
    words = f"{found.state}: {found.why}"
    if found.state not in BAD:
        state: State = "nothing to do" if found.state == "too few" else "done"
        return Job(name=name, task=task, state=state, words=words, over=causes(name) * (state == "done"))
    cause = Cause(cause=f"{name} {found.state}", words=found.why, next=found.next, evidence=evidence)
    over = tuple(each for each in causes(name) if each != cause.cause)
    return Job(name=name, task=task, state="look", words=words, next=found.next, causes=(cause,), over=over)


async def _holdout(task: str, settings: Settings, store: Store) -> Job:
    """The live release on what people settled lately."""
    named = load_task(settings, task)
    looked = await look(named, settings, store)
    found = await holdout_trend(named, store)
    job = triaged("holdout", task, found.triage, found.results[-1].report if found.results else "")
    quiet = job.state == "done" and not looked
    return msgspec.structs.replace(job, state="nothing to do") if quiet else job


async def _pinned(task: str, settings: Settings, store: Store) -> Job:
    """The engines of others on the same rows as ever. One that was not asked tonight is as it was."""
    found = await ask_again(load_task(settings, task), settings, store)
    causes, over = [], []
    for one in found:
        cause, down = f"pinned {one.engine}", f"pinned {one.engine} down"
        if one.fault:
            causes.append(Cause(cause=down, words=f"it does not answer: {one.fault}"))
            continue
        over.append(down)
        if one.compared is not None and one.compared.changed:
            words, accepted = "; ".join(one.compared.changed), f"insource watch {task} --accept {one.engine}"
            causes.append(Cause(cause=cause, words=words, next=accepted, evidence=one.compared.report))
        elif one.compared is not None or one.asked or one.kept_out:
            over.append(cause)
    state: State = "look" if causes else "done" if any(one.asked for one in found) else "nothing to do"
    words = "; ".join(f"{one.engine}: {said(one)}" for one in found) or "no engine of others is asked"
    following = next((cause.next for cause in causes if cause.next), "")
    over += [alert.cause for alert in await store.open_alerts(task) if _unrouted(alert.cause, found)]
    return Job(name="pinned", task=task, state=state, words=words, next=following,
               causes=tuple(causes), over=tuple(over))  # fmt: skip


def _unrouted(cause: str, found: Sequence[Asked]) -> bool:
    """Whether it is a cause of an engine that the task does not route to any more."""
    of_engine = cause.removeprefix("pinned ").removesuffix(" down")
    return cause.startswith("pinned ") and cause != "pinned failed" and of_engine not in {one.engine for one in found}


async def _retrain(task: str, settings: Settings, store: Store) -> Job:
    """Whether the task is to be trained again, as long as its newest release is."""
    asked = task_file(settings, task)[1].watch.retrain
    made = [one.created for one in await store.releases(task) if one.created]
    if not made or await store.live(task) is None:
        return Job(name="cadence", task=task, state="nothing to do", words="nothing is live", over=("retrain",))
    days = (datetime.now(UTC) - datetime.fromisoformat(max(made))).total_seconds() / DAY_S
    words = f"trained {days:,.0f} days ago; {asked} is every {EVERY[asked]}"
    if days < EVERY[asked]:
        return Job(name="cadence", task=task, state="done", words=words, over=("retrain",))
    cause = Cause(cause="retrain", words=words, next=f"insource improve {task}")
    return Job(name="cadence", task=task, state="look", words=words, next=cause.next, causes=(cause,))


async def _back_up(settings: Settings, store: Store) -> Job:
    """The newest backups, each proved."""
    kept = await keep_backups(settings, store)
    if kept is None:
        return Job(name="backup", state="nothing to do", words="none is asked for: [backup] keep is 0")
    what = "was made, was restored and is whole" if kept.made else "is recent, and was restored when it was made"
    count = f"{kept.proved:,} {'is' if kept.proved == 1 else 'are'} kept"
    words = f"{kept.file}, {kept.bytes / 1e6:,.1f} MB, {what}; {count}"
    return Job(name="backup", state="done" if kept.made else "nothing to do", words=words)


async def _tell(settings: Settings, store: Store) -> Job:
    """The log and the webhook hear of what was opened and closed; what a task left that is gone is closed before."""
    names = task_names(settings)
    for alert in await store.open_alerts():
        if alert.task and alert.task not in names:
            await store.alerts.note(alert.task, (), (alert.cause,), stamp(time.time()))
    told = await tell(settings, store)
    words = f"{told.logged:,} told to the log" + f", {told.sent:,} to the webhook" * bool(settings.alerts.webhook)
    return Job(name="alerts", state="done" if told.logged or told.sent else "nothing to do", words=words)


async def _settle_late(task: str, settings: Settings, store: Store) -> Job:
    """What nobody looked at in time."""
    found = await overdue(task, settings, store)
    if not found.left:
        state: State = "done" if found.settled else "nothing to do"
        return Job(name="review", task=task, state=state, words=found.words, over=(LATE,))
    words = f"{found.left:,} wait{'s' * (found.left == 1)} on: {found.why}"
    cause = Cause(cause=LATE, words=words, next=f"insource review {task}")
    return Job(name="review", task=task, state="look", words=found.words, next=cause.next, causes=(cause,))


async def _recheck(task: str, settings: Settings, store: Store) -> Job:
    """What was promised of the error of given answers."""
    broken = "promise broken"
    try:
        found = await recheck(task, settings, store)
    except Conflict as error:
        return Job(name="promise", task=task, state="nothing to do", words=str(error), over=(broken,))
    words = f"{found.state}: {found.why}"
    if found.state == "broken":
        cause = Cause(cause=broken, words=found.why, next=found.next)
        return Job(name="promise", task=task, state="look", words=words, next=found.next, causes=(cause,))
    state: State = "done" if found.state == "holds" else "nothing to do"
    return Job(name="promise", task=task, state=state, words=words, next=found.next, over=(broken,))


WORKSPACE: dict[str, Callable[[Settings, Store], Awaitable[Job]]] = {
    "recover": _recover,
    "retention": _retain,
    "checkpoint": _sign,
    "audit": _verify,
}
TASK: dict[str, Callable[[str, Settings, Store], Awaitable[Job]]] = {
    "rollout": _advance,
    "review": _settle_late,
    "watch": _watch,
    "promise": _recheck,
    "holdout": _holdout,
    "pinned": _pinned,
    "cadence": _retrain,
}
LAST: dict[str, Callable[[Settings, Store], Awaitable[Job]]] = {"backup": _back_up, "alerts": _tell}

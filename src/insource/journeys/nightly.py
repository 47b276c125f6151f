"""What is due once a day, job after job: safe to run twice, beside a running gateway, and to kill.

No job keeps a note of when it ran: each looks at the state and does what is missing. One that fails stops no other.
"""

from collections.abc import Awaitable, Callable
from typing import Literal

from insource.errors import Conflict, InsourceError
from insource.journeys.audit import checkpoint, prune
from insource.journeys.recheck import recheck
from insource.journeys.recover import end_calls, recover, spool_folder
from insource.journeys.recover import words as spoken
from insource.journeys.trial import advance
from insource.journeys.watch import watch
from insource.nouns import Noun
from insource.settings import Settings, load_task, task_names
from insource.store import Store

State = Literal["done", "nothing to do", "look", "failed"]


class Job(Noun, frozen=True, kw_only=True):
    """One job and what came of it; `look` means that a person should. `task` is empty for what is of the workspace."""

    name: str
    state: State
    words: str
    task: str = ""
    next: str = ""


class Night(Noun, frozen=True, kw_only=True):
    """All jobs, in their order."""

    jobs: tuple[Job, ...]

    @property
    def failed(self) -> tuple[Job, ...]:
        """Those that failed."""
        return tuple(job for job in self.jobs if job.state == "failed")


async def nightly(settings: Settings, store: Store) -> Night:
    """Runs what is due for the workspace and each of its tasks. Raises nothing of a job: its failure is its state."""
    jobs = [await _job(name, "", work(settings, store)) for name, work in WORKSPACE.items()]
    for task in task_names(settings):
        jobs += [await _job(name, task, work(task, settings, store)) for name, work in TASK.items()]
    return Night(jobs=tuple(jobs))


async def _job(name: str, task: str, work: Awaitable[Job]) -> Job:
    try:
        return await work
    except InsourceError as error:
        return Job(name=name, task=task, state="failed", words=str(error), next=error.hint)


async def _recover(settings: Settings, store: Store) -> Job:
    """Calls that a killed process left: what it spooled comes in, what it began ends as interrupted."""
    found = await recover(store, spool_folder(settings))
    ended = await end_calls(settings, store)
    said = [*spoken(found), f"{len(ended):,} calls ended as interrupted"]
    state: State = "look" if found.refused else "done" if found.files or ended else "nothing to do"
    return Job(name="recover", state=state, words="; ".join(said))


async def _retain(settings: Settings, store: Store) -> Job:
    """Records beyond what the settings keep."""
    gone = await prune(settings, store)
    audit = settings.audit
    keeps = f"{audit.keep_days:,} days and {audit.keep_calls:,} calls are kept"
    return Job(name="retention", state="done" if gone else "nothing to do", words=f"{gone:,} records went; {keeps}")


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
        return Job(name="watch", task=task, state="nothing to do", words=str(error))
    state: State = "nothing to do" if found.triage.state == "too few" else "done"
    if found.triage.state in ("drift", "degradation"):
        state = "look"
    words = f"{found.triage.state}: {found.triage.why}"
    return Job(name="watch", task=task, state=state, words=words, next=found.triage.next)


async def _recheck(task: str, settings: Settings, store: Store) -> Job:
    """What was promised of the error of given answers."""
    try:
        found = await recheck(task, settings, store)
    except Conflict as error:
        return Job(name="promise", task=task, state="nothing to do", words=str(error))
    state: State = "look" if found.state == "broken" else "done" if found.state == "holds" else "nothing to do"
    return Job(name="promise", task=task, state=state, words=f"{found.state}: {found.why}", next=found.next)


WORKSPACE: dict[str, Callable[[Settings, Store], Awaitable[Job]]] = {
    "recover": _recover,
    "retention": _retain,
    "checkpoint": _sign,
    "audit": _verify,
}
TASK: dict[str, Callable[[str, Settings, Store], Awaitable[Job]]] = {
    "rollout": _advance,
    "watch": _watch,
    "promise": _recheck,
}

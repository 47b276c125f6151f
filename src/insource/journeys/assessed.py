"""What the newest migration of a task came to, for those who read it later."""

from contextlib import suppress

from insource.errors import Missing, StoreError
from insource.nouns import Task, digest
from insource.nouns.assessment import Assessed
from insource.store import Store
from insource.store.stored import stored


async def verdict(task: Task, store: Store) -> Assessed | None:
    """What the newest migration that came to its end says. Raises `StoreError` where that cannot be read any more."""
    done = [run for run in await store.assessments.of_task(task.name) if run.report]
    return stored(store.blobs.get(done[-1].report), Assessed) if done else None


def changed(found: Assessed, task: Task, store: Store) -> str:
    """What of the task is not as the run had it, in words: empty where all is. Raises `Missing`, `StoreError`."""
    if found.criteria.task_digest == digest(task):
        return ""
    then = stored(store.blobs.get(found.pieces["task"]), Task)
    told = {one.instruction for one in found.entrants if one.name == found.verdict.way}
    names = [name for name in Task.__struct_fields__ if getattr(then, name) != getattr(task, name)]
    return ", ".join("instruction, as it says" if n == "instruction" and task.instruction in told else n for n in names)


async def automatic(task: Task, live: str, newest: str, store: Store) -> tuple[float, str] | None:
    """The share of the sample that the release answers by itself, and in words which run measured it.

    It is the `live` release; where none is, who the verdict is for, else the `newest`. None where the run is not of
    the task as it is now, did not have the release, or cannot be read here.
    """
    found = None
    with suppress(Missing, StoreError):  # its report may lie on another host
        found = await verdict(task, store)
    if found is None or found.criteria.task_digest != digest(task):
        return None
    shares = {one.name: one.automatic for one in found.entrants if one.release}
    for name in (live,) if live else (found.verdict.way, newest):
        share = shares.get(name)
        if share is not None:
            of = f"{share.value:.1%} of {share.n:,} rows ({share.low:.1%} to {share.high:.1%}) {name} answered alone"
            return share.value, f"{of}: insource migrate of {found.created[:10]}, run {found.run[:12]}"
    return None

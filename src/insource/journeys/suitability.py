"""Is a task one for a small model? What people say of it, beside what its rows and its calls show."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from insource.collect.shown import LEAST, NEWEST, shown
from insource.engines.catalogue import listed
from insource.engines.models import shape_here
from insource.errors import Invalid, Missing
from insource.journeys.declared import declare
from insource.nouns import Record, Task
from insource.nouns.suitability import Answers, Novelty, Shown, Suitability
from insource.price.suitability import QUESTIONS, Case, judge
from insource.settings import Settings, task_file
from insource.stats import shifts
from insource.store import Store
from insource.watch.window import of_records

CALLS, LOOKED_AT = 10_000, 2_000
DAY_S = 86_400.0
WORDS = {"yes": True, "no": False, "y": True, "n": False}


async def suitability(task: Task, settings: Settings, store: Store) -> Suitability:
    """The verdict of today, from `[suitability]` of the task's file, its newest rows and its newest calls.

    How many come is told from the newest 10,000, how they change from the newest 2,000.

    Nothing is asked and nothing is kept: the same state gives the same verdict.
    """
    _, file = task_file(settings, task.name)
    dataset = await store.dataset(task.name)
    rows = await store.examples(dataset.id) if dataset else []
    calls, reach = await store.records(task.name, LOOKED_AT), await store.listings.reach(task.name, CALLS)
    context = await asyncio.to_thread(_context, settings)
    found = await asyncio.to_thread(shown, task, rows, context=context)
    found = await asyncio.to_thread(_with_calls, task, found, calls, reach)
    return judge(Case(task=task, rollout=file.rollout, answers=file.suitability, shown=found))


def answered(settings: Settings, task: str, given: Sequence[tuple[str, str]]) -> Answers:
    """Writes answers (key, words) into the task's file, and gives back all that stand there then.

    "yes" and "no" are understood. Raises `Invalid` for a key or a value that is none, and writes nothing.
    """
    words = {key: value.strip() for key, value in given}
    unknown = [key for key in words if key not in QUESTIONS]
    if unknown:
        raise Invalid(f"{unknown[0]!r} is no question", hint=f"there are {', '.join(QUESTIONS)}")
    said = {key: _typed(key, value) for key, value in words.items()}
    declare(settings, task, "suitability", said)
    return task_file(settings, task)[1].suitability


def _typed(key: str, words: str) -> str | float | bool:
    if key == "operator":
        value: str | float | bool | None = words
    else:
        try:
            value = getattr(msgspec.convert({key: WORDS.get(words.lower(), words)}, Answers, strict=False), key)
        except msgspec.ValidationError as error:
            raise Invalid(f"{words!r} is no answer to {key}", hint=f"{QUESTIONS[key]} Yes, no or a number") from error
    if value is None or value == "":
        raise Invalid(f"{key} needs an answer", hint=QUESTIONS[key])
    return value


def _context(settings: Settings) -> int:
    """What the workspace's base model reads at once, in tokens; 0 where there is no telling."""
    base = settings.workspace.base
    known = listed().get(base)
    try:
        return (known.shape if known else shape_here(base, settings.cache)).context
    except (Invalid, Missing):
        return 0


def _with_calls(task: Task, found: Shown, calls: Sequence[Record], reach: tuple[int, str]) -> Shown:
    """With what the calls show: how many come, and whether they stay as they were where no row says so."""
    if len(calls) < LEAST:
        return found
    count, since = reach
    first, last = (datetime.fromisoformat(created) for created in (since, calls[0].created))
    days = (last - first).total_seconds() / DAY_S
    return msgspec.structs.replace(
        found,
        calls_per_day=count / days if days >= 1 else None,
        call_days=days,
        novelty=found.novelty or _novelty(task, calls),
    )


def _novelty(task: Task, calls: Sequence[Record]) -> Novelty | None:
    """The newest fifth of the calls of the release that answered most, beside those before; None of too few."""
    release, _ = Counter(record.release for record in calls).most_common(1)[0]
    ours = [record for record in calls if record.release == release]
    new, old = ours[: int(len(ours) * NEWEST)], ours[int(len(ours) * NEWEST) :]
    if len(new) < LEAST:
        return None
    wanted = ("unknown words", *(output.name for output in task.outputs))
    now, before = ({k: v for k, v in of_records(task, side).items() if k in wanted} for side in (new, old))
    both = now.keys() & before.keys()
    if not both:
        return None
    moved = min(
        shifts({k: before[k] for k in sorted(both)}, {k: now[k] for k in sorted(both)}),
        key=lambda shift: (shift.p, -shift.distance),
    )
    return Novelty(
        of="calls",
        since=new[-1].created[:10],
        n=len(new),
        new_labels=None,
        unknown=None,
        chance=None,
        moved=moved.distance,
        p=moved.p,
    )

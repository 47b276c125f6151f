"""A stronger model labels what has no label: planned, paid for within a budget, doubted by a second one, and kept.

pool → plan → asked (each call reserved and noted before it is made) → a second opinion on a sample → the dataset.
Killed anywhere, the same call goes on: what was answered is not asked for again.
"""

import math
from collections import Counter
from collections.abc import Callable

import msgspec

from insource.collect.purse import Purse
from insource.collect.split import counts
from insource.collect.teach import Differing, differing, example, joined, spread
from insource.journeys.asking import BROKE, Asking
from insource.journeys.lineup import Progress, quiet
from insource.journeys.on_cluster import cluster_at
from insource.journeys.scanned import watched
from insource.journeys.serve import close_path
from insource.journeys.taught import kept_as, tally
from insource.journeys.teach_plan import TYPICAL, Class, Plan, Wanted, check, must_have_budget, open_class, plan
from insource.nouns import Example, Noun, Pending, Task, digest, same
from insource.nouns.lesson import ANSWERED, DISPUTED, SET_ASIDE, Lesson
from insource.review import ANY
from insource.settings import Settings
from insource.store import Store
from insource.store.files import alone

MARGIN = 1.5  # of what second opinions are expected to cost is kept for them


class Taught(Noun, frozen=True, kw_only=True):
    """What came of it. `became` counts this run's answers; `joined` the new rows of the dataset by split.

    `usd` was spent in this run, of which `usd_unknown` on calls of which nobody can say what they cost, counted as the
    most they may have; `spent` is all that was ever spent on teaching the task. `stopped` says why it ended early.
    """

    task: str
    plan: Plan
    done: bool
    became: dict[str, int] = {}
    aside: dict[str, int] = {}
    joined: dict[str, int] = {}
    leaks: int = 0
    differing: Differing | None = None
    usd: float = 0.0
    usd_unknown: float = 0.0
    spent: float = 0.0
    dataset: str = ""
    stopped: str = ""


async def teach(
    task: Task, settings: Settings, store: Store, wanted: Wanted, *, agree: Callable[[Plan], bool] = lambda _: True,
    progress: Progress = quiet,
) -> Taught:  # fmt: skip
    """Labels what of the task's pool has no label, where `agree` says yes to the plan.

    Raises `Conflict` without a pool, or while another teaches the task; `Invalid` for a budget that cannot be kept;
    `Denied` where the texts may not go to the engine; `StoreError`.
    """
    with alone(settings.state / "locks" / f"teach-{digest(task.name)[:16]}", f"insource teach {task.name}"):
        check(task, settings, wanted)
        async with cluster_at(wanted.ray, settings) as cluster:
            made = await open_class(task, settings, store, wanted, cluster=cluster, progress=progress)
            try:
                planned = plan(made)
                if not agree(planned):
                    return Taught(task=task.name, plan=planned, done=False, spent=planned.spent)
                must_have_budget(planned)
                return await _teach(made, planned, settings, progress)
            finally:
                for one in filter(None, (made.teacher, made.second)):
                    await close_path(one.path)


async def _teach(made: Class, planned: Plan, settings: Settings, progress: Progress) -> Taught:
    wanted, store = made.wanted, made.store
    purse = Purse(wanted.budget, planned.spent)
    asking = Asking(
        made.teacher, store, purse, progress, at_once=wanted.at_once, sure=wanted.sure,
        spare=_spare(made),
    )  # fmt: skip
    await asking.all([(row, None) for row in made.rows])
    doubting = await _doubted(made, purse, progress)
    lessons = await store.lessons.of(made.task.name)
    ours = {lesson.id for lesson in (*asking.lessons, *(doubting.lessons if doubting else ()))}
    run = [lesson for lesson in lessons if lesson.id in ours]
    ends = {one.row: one for one in run if one.part == "teacher"}.values()  # of several tries the last
    seconds = [one for one in lessons if one.part == "second" and not one.closed]
    undoubted = doubting is not None and doubting.stopped not in ("", BROKE)
    dataset, fresh, leaks = "", list[Example](), 0
    if not undoubted:  # else they wait until the second engine is there again
        with alone(
            settings.state / "locks" / f"collect-{digest(made.task.name)[:16]}", f"insource collect {made.task.name}"
        ):
            dataset, fresh, leaks = await _join(made, lessons, differing(seconds))
    return Taught(
        task=made.task.name,
        plan=planned,
        done=True,
        became=tally(ends),
        aside=dict(Counter(one.why for one in ends if one.became in SET_ASIDE)),
        joined=counts(fresh),
        leaks=leaks,
        differing=differing(seconds),
        usd=sum(one.usd for one in run),
        usd_unknown=sum(one.usd for one in run if not one.known),
        spent=sum(one.usd for one in lessons),
        dataset=dataset,
        stopped=asking.stopped or (doubting.stopped if doubting else ""),
    )


def _spare(made: Class) -> Callable[[int], float]:
    """US dollars that are kept for second opinions, by how many labels this run gave so far; one more is to come."""
    second = made.second
    if second is None or not second.costs:
        return lambda _: 0.0
    waiting = [one for one in made.before if not one.closed]  # of killed runs
    labels = sum((one.part, one.became) == ("teacher", "label") for one in waiting)
    heard = sum(one.part == "second" and one.became in ANSWERED for one in waiting)
    text = max((row.input for row in made.rows), key=len, default="")
    each, most = MARGIN * second.usd(second.expected(text, TYPICAL)), second.most(text)

    def spare(so_far: int) -> float:
        due = max(0, math.ceil(made.wanted.share * (labels + so_far + 1)) - heard)
        return due * each + most

    return spare


async def _doubted(made: Class, purse: Purse, progress: Progress) -> Asking | None:
    """The second opinion on a sample of the labels that are new; those on which it differs go to a person."""
    second, store = made.second, made.store
    if second is None:
        return None
    lessons = await store.lessons.of(made.task.name)
    new = [
        one for one in lessons
        if one.part == "teacher" and not one.closed and one.became in ("label", "disputed")
        and one.engine == made.teacher.name and one.row in made.pool
    ]  # fmt: skip
    if not new:
        return None
    said = {one.key: one for one in lessons if one.part == "second" and one.engine == second.name}
    firsts = {one.row: one for one in new}

    async def heard(lesson: Lesson, row: Example) -> None:
        await _compared(made, firsts[row.id], lesson)

    todo: list[tuple[Example, Lesson | None]] = []
    for first in spread(made.task, new, made.wanted.share, made.wanted.seed):
        row = made.pool[first.row]
        earlier = said.get(second.key(row))
        if earlier is not None and earlier.became == "label":  # killed before they were compared
            await heard(earlier, row)
        elif earlier is None or earlier.became not in ANSWERED:
            todo.append((row, first))
    asking = Asking(second, store, purse, progress, at_once=made.wanted.at_once)
    await asking.all(todo, heard)
    return asking


async def _compared(made: Class, first: Lesson, second: Lesson) -> None:
    """Keeps whether the two agree. Where they do not, neither answer is a label, and a person is to see both."""
    if second.target is None:
        return
    agrees = same(first.target, second.target)
    second = msgspec.structs.replace(second, became="agrees" if agrees else "differs")
    if agrees:
        await made.store.lessons.note([second])
        return
    why = f"{second.engine} answers otherwise"
    disputed = msgspec.structs.replace(first, became="disputed", why=why)
    row = made.pool[first.row]
    watch = await watched(made.teacher.request(row, first.id), made.teacher.path.scans)
    both = [(first.target or {}, first.confidence), (second.target or {}, second.confidence)]
    pending = Pending(
        record=first.id,
        task=made.task.name,
        input=watch.request.input,
        value=first.target,
        confidence=first.confidence,
        alternatives={
            output.name: tuple((str(value.get(output.name, "")), sure or 0.0) for value, sure in both)
            for output in made.task.outputs
        },
        reason=DISPUTED,
        created=first.created,
        worth=ANY,
    )
    await made.store.lessons.note([second, disputed], pending)


async def _join(made: Class, lessons: list[Lesson], found: Differing | None) -> tuple[str, list[Example], int]:
    """The labels in the dataset: its name, the new rows, and how many may not join since their likes are held out."""
    store, task = made.store, made.task
    before = await store.dataset(task.name)
    known = await store.examples(before.id) if before else []
    labels = {
        one.row: one for one in lessons if one.part == "teacher" and one.became == "label" and one.row in made.pool
    }
    new = [example(task, made.pool[row].input, one) for row, one in labels.items()]
    disputed = [one for one in lessons if one.became == "disputed" and one.row in made.pool]
    out = {example(task, made.pool[one.row].input, one).id for one in disputed} - {row.id for row in new}
    had = {row.id for row in known if row.origin != "teacher" or row.id not in out}
    rows, leaks = joined(task, [row for row in known if row.id in had], new)
    fresh = [row for row in rows if row.id not in had]
    name = before.id if before else ""
    if fresh or len(had) < len(known):
        of = {example(task, made.pool[row].input, one).id: one for row, one in labels.items()}
        dataset = kept_as(task, before, rows, [of[row.id] for row in fresh], found)
        await store.save_dataset(dataset, rows)
        name = dataset.id
    await store.lessons.note([msgspec.structs.replace(one, closed=True) for one in lessons if not one.closed])
    return name, fresh, len(leaks)

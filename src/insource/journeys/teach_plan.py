"""What teaching is about to do, and what it will cost: looked at before anyone is asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from insource.collect.teach import Left, unlabelled
from insource.engines.ray_cluster import Cluster
from insource.errors import Conflict, Invalid
from insource.journeys.lineup import Progress
from insource.journeys.pool import pooled
from insource.journeys.taught import open_lessons
from insource.journeys.teacher import Teacher, kept_back, must_be_there, open_teacher, shots_of, terms, with_shots
from insource.nouns import Example, Noun, Task, canonical
from insource.nouns.lesson import ANSWERED, Lesson
from insource.settings import Settings
from insource.store import Store

TYPICAL = "x" * 40  # an answer, where none is known


class Wanted(Noun, frozen=True, kw_only=True):
    """How to teach. `teacher` and `second` name engines; `budget` is US dollars for all teaching of the task, ever.

    At most `rows` are asked now, `shots` examples are shown, the `second` gives its opinion on a `share` of the labels.
    An answer less sure than `sure` goes to a person. `at_once` calls are made at a time. An answer has `max_tokens`;
    where none is said 256 for labels, else 1,024. Where `ray` is the address of a Ray cluster, embedded engines compute
    there.
    """

    teacher: str
    budget: float | None = None
    rows: int | None = None
    second: str = ""
    share: float = 0.1
    shots: int = 0
    sure: float = 0.5
    at_once: int = 8
    max_tokens: int | None = None
    seed: int = 0
    ray: str = ""


class Plan(Noun, frozen=True, kw_only=True):
    """What is about to happen, before anyone is asked.

    Of the `pool` so many are `labelled`, `leaks` (near duplicates of rows held out), `kept_back` by a rule of the task,
    or `answered` before (as labels, for people, or aside); `rows` are asked. `usd` and `tokens` are expected,
    `usd_most` cannot be exceeded, `spent` was spent on teaching this task so far; `minutes` is None where nothing was
    timed yet.
    """

    task: str
    teacher: str
    model: str
    prompt: str
    pool: int
    labelled: int
    leaks: int
    kept_back: int
    answered: int
    rows: int
    second: str
    seconds: int
    shots: int
    tokens: tuple[int, int]
    usd: float
    usd_most: float
    spent: float
    budget: float | None
    minutes: float | None
    notes: tuple[str, ...] = ()


@dataclass
class Class:
    """Everything that one run works with: who is asked, and the `rows` that are put to them."""

    task: Task
    store: Store
    wanted: Wanted
    teacher: Teacher
    second: Teacher | None
    pool: dict[str, Example]
    left: Left
    rows: list[Example]
    kept_back: int
    known: list[Example]
    before: list[Lesson]
    shots: int


async def open_class(
    task: Task, settings: Settings, store: Store, wanted: Wanted, *, cluster: Cluster | None, progress: Progress
) -> Class:
    """Everyone and everything that the run needs, opened. Raises `Conflict` without a pool, and as `open_teacher`."""
    before = await open_lessons(task.name, store)
    _, pool = await pooled(task.name, store)
    if not pool:
        hint = f"insource collect {task.name} FILE --unlabelled"
        raise Conflict(f"{task.name} has no inputs without a label", hint=hint)
    dataset = await store.dataset(task.name)
    known = await store.examples(dataset.id) if dataset else []
    left = unlabelled(pool, known, wanted.seed, progress)
    shots = await shots_of(task, known, wanted.shots)
    free, back = kept_back(task, [wanted.teacher, *filter(None, [wanted.second])], settings, left.rows)
    shown = with_shots(task, shots)
    asked = [
        await open_teacher(name, shown, settings, store, max_tokens=wanted.max_tokens, cluster=cluster)
        for name in filter(None, (wanted.teacher, wanted.second))
    ]
    teacher, second = asked[0], asked[1] if wanted.second else None
    answered = {one.key for one in before if one.part == "teacher" and one.became in ANSWERED}
    rows = [row for row in free if teacher.key(row) not in answered]
    return Class(
        task=task, store=store, wanted=wanted, teacher=teacher, second=second, pool={row.id: row for row in pool},
        left=left, rows=rows[: wanted.rows], kept_back=back, known=known, before=before, shots=len(shots),
    )  # fmt: skip


def plan(made: Class) -> Plan:
    """What is about to happen."""
    wanted, teacher, second = made.wanted, made.teacher, made.second
    into, out = _tokens(made, teacher, made.rows)
    usd, most = teacher.usd((into, out)), sum(teacher.most(row.input) for row in made.rows)
    seconds = math.ceil(wanted.share * len(made.rows)) if second else 0
    if second and seconds:
        some = made.rows[:seconds]
        more = _tokens(made, second, some)
        usd, most = usd + second.usd(more), most + sum(second.most(row.input) for row in some)
        into, out = into + more[0], out + more[1]
    timed = [one.seconds for one in made.before if one.engine == teacher.name and one.seconds]
    each = min(wanted.at_once, teacher.settings.max_concurrent)
    asked = [one for one in (teacher, second) if one]
    unpriced = [
        f"{one.name} has no price in insource.toml: what it costs is not counted" for one in asked
        if not one.costs and one.settings.place != "premises" and one.settings.kind != "scripted"
    ]  # fmt: skip
    return Plan(
        task=made.task.name,
        teacher=teacher.name,
        model=teacher.settings.model,
        prompt=teacher.prompt,
        pool=len(made.pool),
        labelled=made.left.labelled,
        leaks=made.left.leaks,
        kept_back=made.kept_back,
        answered=_answered(made),
        rows=len(made.rows),
        second=wanted.second,
        seconds=seconds,
        shots=made.shots,
        tokens=(into, out),
        usd=usd,
        usd_most=most,
        spent=sum(one.usd for one in made.before),
        budget=wanted.budget,
        minutes=fmean(timed) * len(made.rows) / each / 60 if timed else None,
        notes=(*filter(None, (terms(one.name, one.settings) for one in asked)), *unpriced),
    )


def must_have_budget(plan: Plan) -> None:
    """Raises `Invalid` for a plan that costs money and has no budget."""
    if plan.usd_most and plan.budget is None:
        raise Invalid(f"the plan costs up to ${plan.usd_most:.4f}", hint="--budget USD says how much it may be")


def check(task: Task, settings: Settings, wanted: Wanted) -> None:
    """Raises `Missing` for no such engine, `Invalid` for a second opinion that is none or a budget that cannot hold."""
    for name in filter(None, (wanted.teacher, wanted.second)):
        must_be_there(name, settings)
    if wanted.second == wanted.teacher:
        raise Invalid("a second opinion must be of another engine", hint="--second ENGINE")
    if task.kind == "generate" and wanted.second:
        raise Invalid("free texts always differ: there is no second opinion on them", hint="leave --second out")
    asked = [name for name in (wanted.teacher, wanted.second) if name in settings.engines]
    if wanted.ray and not any(settings.engines[name].kind == "embedded" for name in asked):
        raise Invalid(f"{wanted.teacher} does not compute here", hint="--ray is for engines of kind embedded")
    priced = {name: _has_price(settings, name) for name in asked}
    unknown = next((n for n in asked if not priced[n] and settings.engines[n].kind not in ("embedded", "scripted")), "")
    if wanted.budget is not None and unknown and settings.engines[unknown].place != "premises":
        hint = f"usd_per_million_input and usd_per_million_output under [engines.{unknown}]"
        raise Invalid(f"no budget can be kept for {unknown}: insource.toml has no price of it", hint=hint)


def _has_price(settings: Settings, name: str) -> bool:
    return bool(settings.engines[name].usd_per_million_input or settings.engines[name].usd_per_million_output)


def _answered(made: Class) -> int:
    said = {one.key for one in made.before if one.part == "teacher" and one.became in ANSWERED}
    return sum(made.teacher.key(row) in said for row in made.left.rows)


def _tokens(made: Class, teacher: Teacher, rows: Sequence[Example]) -> tuple[int, int]:
    """What the rows take, about: as calls with the same words took so far, else four letters a token."""
    heard = [one.tokens for one in made.before if (one.prompt, one.engine) == (teacher.prompt, teacher.name)]
    heard = [tokens for tokens in heard if all(tokens)]
    if heard:
        return tuple(round(fmean(side) * len(rows)) for side in zip(*heard, strict=True))  # type: ignore[return-value]
    answer = canonical(made.known[0].target).decode() if made.known else TYPICAL
    each = [teacher.expected(row.input, answer) for row in rows]
    return sum(into for into, _ in each), sum(out for _, out in each)

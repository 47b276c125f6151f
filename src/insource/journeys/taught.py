"""What teachers did: every label with who gave it, under which words and when; and how labels are taken back."""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import get_args

import msgspec

from insource.collect.split import counts
from insource.collect.teach import BY, Differing, differing, without
from insource.errors import Missing
from insource.nouns import Dataset, Example, JsonObject, Noun, Task, canonical, digest, stamp
from insource.nouns.lesson import SET_ASIDE, Became, Lesson
from insource.settings import Settings
from insource.store import Store
from insource.store.files import alone

KILLED = "the process that asked was killed; it is counted as what it may have cost"


class Teaching(Noun, frozen=True, kw_only=True):
    """One engine under one prompt: what its answers became, how many rows of the dataset are its labels now.

    `usd` includes `usd_unknown`, the most that calls may have cost of which nobody can say. Times are UTC.
    """

    engine: str
    model: str
    prompt: str
    part: str
    became: dict[str, int]
    aside: dict[str, int]
    in_dataset: int
    usd: float
    usd_unknown: float
    since: str
    until: str


class History(Noun, frozen=True, kw_only=True):
    """All teaching of a task. `differing` is over every second opinion that was heard; `lessons` has each call."""

    task: str
    dataset: str
    teachings: tuple[Teaching, ...]
    differing: Differing | None
    spent: float
    lessons: tuple[Lesson, ...]


class Withdrawn(Noun, frozen=True, kw_only=True):
    """The labels of an engine taken back: how many rows left the dataset, by split, and the dataset that is left."""

    task: str
    engine: str
    rows: dict[str, int]
    dataset: str


async def open_lessons(task: str, store: Store) -> list[Lesson]:
    """Every lesson of the task; one that a killed run left without an end is ended first. Only for who holds the lock.

    Raises `StoreError`.
    """
    lost = [
        msgspec.structs.replace(one, became="failed", why=KILLED, closed=True)
        for one in await store.lessons.of(task)
        if one.became == "asked"
    ]
    await store.lessons.note(lost)
    return await store.lessons.of(task)


def kept_as(
    task: Task, before: Dataset | None, rows: Sequence[Example], lessons: Sequence[Lesson], found: Differing | None
) -> Dataset:
    """The dataset of these rows, to whose lineage is added where the new ones are from: the `lessons`."""
    entries: list[JsonObject] = []
    for (engine, model, prompt), n in sorted(Counter((one.engine, one.model, one.prompt) for one in lessons).items()):
        ids = sorted(one.id for one in lessons if (one.engine, one.prompt) == (engine, prompt))
        said: JsonObject = {"origin": "teacher", "engine": engine, "model": model, "prompt": prompt, "kept": n}
        if found is not None:
            said["second_opinion"] = msgspec.to_builtins(found)
        entries.append({"file": f"teacher {engine}", "sha256": digest(ids), **said})
    return _dataset(task.name, rows, [*(before.lineage if before else ()), *entries])


async def history(task: Task, store: Store) -> History:
    """What teachers did for the task so far."""
    lessons = await store.lessons.of(task.name)
    dataset = await store.dataset(task.name)
    rows = await store.examples(dataset.id) if dataset else []
    mine = {(row.tags.get(BY, ""), row.input) for row in rows if row.origin == "teacher"}
    by_text = {(engine, Example.identity(task.name, text, {})) for engine, text in mine}
    groups: dict[tuple[str, str, str, str], list[Lesson]] = {}
    for one in lessons:
        groups.setdefault((one.engine, one.model, one.prompt, one.part), []).append(one)
    return History(
        task=task.name,
        dataset=dataset.id if dataset else "",
        teachings=tuple([_teaching(key, of, by_text) for key, of in groups.items()]),
        differing=differing([one for one in lessons if one.part == "second"]),
        spent=sum(one.usd for one in lessons),
        lessons=tuple(lessons),
    )


async def withdraw(task: Task, engine: str, settings: Settings, store: Store) -> Withdrawn:
    """Takes the labels of `engine` out of the dataset. Releases that were trained on them stay as they are.

    What a person said of its answers stays, too: that is the person's. Raises `Missing` where the engine gave none,
    `Conflict` while the task is being taught or collected.
    """
    mark = digest(task.name)[:16]
    with (
        alone(settings.state / "locks" / f"teach-{mark}", f"insource teach {task.name}"),
        alone(settings.state / "locks" / f"collect-{mark}", f"insource collect {task.name}"),
    ):
        lessons = [
            one for one in await open_lessons(task.name, store) if one.engine == engine and one.part == "teacher"
        ]
        before = await store.dataset(task.name)
        rows = await store.examples(before.id) if before else []
        left = without(rows, engine)
        if not lessons and len(left) == len(rows):
            raise Missing(f"{engine} taught {task.name} nothing", hint=f"insource teach {task.name} --show")
        name = before.id if before else ""
        gone = counts([row for row in rows if row.id not in {one.id for one in left}])
        if before is not None and gone:
            ids = sorted({row.id for row in rows} - {row.id for row in left})
            entry: JsonObject = {"file": f"teacher {engine}", "sha256": digest([*ids, "withdrawn"])}
            entry |= {"origin": "teacher", "withdrawn": len(ids)}
            made = _dataset(task.name, left, [*before.lineage, entry])
            await store.save_dataset(made, left)
            name = made.id
        back = [
            msgspec.structs.replace(one, became="withdrawn", closed=True) for one in lessons if one.became == "label"
        ]
        await store.lessons.note(back)
        return Withdrawn(task=task.name, engine=engine, rows=gone, dataset=name)


def tally(lessons: Collection[Lesson]) -> dict[str, int]:
    """How many became what, labels first."""
    found = Counter(one.became for one in lessons)
    return {became: found[became] for became in get_args(Became) if found[became]}


def _dataset(task: str, rows: Sequence[Example], lineage: list[JsonObject]) -> Dataset:
    body = b"".join(canonical(row) + b"\n" for row in rows) or task.encode()  # that of no rows is this task's own
    return Dataset(id=digest(body), task=task, counts=counts(rows), lineage=tuple(lineage), created=stamp(time.time()))


def _teaching(key: tuple[str, str, str, str], lessons: Sequence[Lesson], rows: set[tuple[str, str]]) -> Teaching:
    engine, model, prompt, part = key
    aside = Counter(one.why for one in lessons if one.became in SET_ASIDE)
    return Teaching(
        engine=engine,
        model=model,
        prompt=prompt,
        part=part,
        became=tally(lessons),
        aside=dict(aside),
        in_dataset=sum((engine, one.row) in rows for one in lessons if one.became == "label" and part == "teacher"),
        usd=sum(one.usd for one in lessons),
        usd_unknown=sum(one.usd for one in lessons if not one.known),
        since=min(one.created for one in lessons),
        until=max(one.created for one in lessons),
    )

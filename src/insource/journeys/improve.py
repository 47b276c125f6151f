"""What people said becomes the next release: reviewed rows in, cleaned, trained, measured beside what is live, tried.

Each step looks at what is there and does what is missing, so the same call goes on where one was killed.
"""

import asyncio
import time
from pathlib import Path

import msgspec

from insource.collect.reviewed import Cleaned, cleaned
from insource.collect.split import counts, merge, with_groups, with_splits
from insource.errors import Conflict
from insource.journeys.gate import gate
from insource.journeys.lineup import Progress, quiet
from insource.journeys.measure import measure
from insource.journeys.promote import promote
from insource.journeys.sign import seal_of
from insource.journeys.train import Say, train
from insource.nouns import Dataset, Example, Gate, Noun, Pair, Release, Task, canonical, digest, stamp
from insource.release.stages import ON_ITS_WAY, has_passed
from insource.review import to_example, unfit
from insource.settings import Settings, load_rollout
from insource.store import Store

LEAST = 20


class Improved(Noun, frozen=True, kw_only=True):
    """What came of it: rows that joined by split, rows left out by reason, the release, and what is next in words.

    `against` compares the release with the live one on the task's metric and the same test rows.
    """

    task: str
    joined: dict[str, int]
    left: dict[str, int]
    dataset: str
    release: str = ""
    changelog: str = ""
    passed: bool | None = None
    stage: str = ""
    against: Pair | None = None
    notes: tuple[str, ...] = ()


class Wanted(Noun, frozen=True, kw_only=True):
    """How to improve: from so many new rows on, from which base model (empty: the live release's), by which recipe."""

    least: int = LEAST
    base: str = ""
    recipe: str = ""


async def improve(
    task: Task, settings: Settings, store: Store, wanted: Wanted, *,
    speak: tuple[Say, Progress] = (lambda _: None, quiet),
) -> Improved:  # fmt: skip
    """Takes the reviewed rows of `task` in, trains on all rows, and starts the release in the shadow of the live one.

    Each row goes to one split and stays there, near duplicates together. With fewer than `least` new rows nothing is
    trained. Raises `Conflict` for a task without rows, and as `collect`, `train` and `gate` do.
    """
    before = await store.dataset(task.name)
    if before is None:
        raise Conflict(f"{task.name} has no rows to improve on", hint=f"insource collect {task.name} FILE")
    found, rows = await reviewed(task, store, before)
    fresh = [row for row in rows if row.id in {new.id for new in found.rows}]
    none = unfit(task, [review for _, review in await store.reviews(task.name)]).words
    notes = (*_notes(found), *filter(None, [none]))
    told = Improved(task=task.name, joined=counts(fresh), left=found.left, dataset=before.id, notes=notes)
    if fresh and len(fresh) >= wanted.least:
        dataset = _dataset(task, before, rows, found)
        await store.save_dataset(dataset, rows)
        told = msgspec.structs.replace(told, dataset=dataset.id)
    made = await _trained(task, told.dataset, settings, store, wanted, speak)
    if made is None:
        few = f"{len(fresh):,} new rows, {wanted.least:,} are wanted: nothing was trained"
        return msgspec.structs.replace(told, notes=(*told.notes, few))
    return await _tried(task, made, told, settings, store, speak[1])


async def reviewed(task: Task, store: Store, dataset: Dataset) -> tuple[Cleaned, list[Example]]:
    """The rows that verdicts made, cleaned; and all rows with them, each in its split."""
    known = await store.examples(dataset.id)
    said = await store.reviews(task.name)
    made = [(to_example(task, pending, review), review.decided[:7]) for pending, review in said]
    found = cleaned(task, made, [row for row in known if row.origin != "teacher"])
    return found, with_splits(task, with_groups(merge(known, found.rows).rows))


def _dataset(task: Task, before: Dataset, rows: list[Example], found: Cleaned) -> Dataset:
    body = b"".join(canonical(row) + b"\n" for row in rows)
    name = digest([row.id for row in found.rows])
    entry = {"file": f"reviews {name[:12]}", "sha256": name, "origin": "human", "kept": len(found.rows)}
    lineage = (*before.lineage, entry | {"left_out": found.left})
    return Dataset(id=digest(body), task=task.name, counts=counts(rows), lineage=lineage, created=stamp(time.time()))


async def _trained(
    task: Task, dataset: str, settings: Settings, store: Store, wanted: Wanted, speak: tuple[Say, Progress]
) -> Release | None:
    """The newest release of this very dataset, trained where there is none; None where that one has had its trial."""
    releases = await store.releases(task.name)
    live = await store.live(task.name)
    of_it = [release for release in releases if release.dataset == dataset]
    if of_it:
        return of_it[-1] if of_it[-1].stage in ("candidate", *ON_ITS_WAY) else None
    if not releases:
        return None
    base = wanted.base or (live or releases[-1]).base
    recipe = Path(wanted.recipe) if wanted.recipe else None
    return await train(task, settings, store, base=base, recipe=recipe, speak=speak)


async def _tried(
    task: Task, made: Release, told: Improved, settings: Settings, store: Store, progress: Progress
) -> Improved:
    """The release through its gate, beside the live one, and on its way where it may be."""
    asked = await store.gates(made.name)
    answer: Gate = asked[-1] if asked else await gate(task, made, settings, store, progress=progress)
    live = await store.live(task.name)
    against = None
    if live is not None and live.name != made.name:
        report = await measure(task, settings, store, candidates=[made.name, live.name], progress=progress)
        both = [pair for pair in report.pairs if {pair.a, pair.b} == {made.name, live.name}]
        against = next((pair for pair in both if pair.metric == task.metric), both[0] if both else None)
    notes = list(told.notes)
    passed = has_passed(made, [answer])
    if passed and made.stage == "candidate":
        made, note = await _on_its_way(made, settings, store, first=live is None)
        notes.append(note)
    return msgspec.structs.replace(
        told, release=made.name, changelog=made.changelog, passed=passed, stage=made.stage, against=against,
        notes=tuple(notes),
    )  # fmt: skip


async def _on_its_way(made: Release, settings: Settings, store: Store, *, first: bool) -> tuple[Release, str]:
    """Starts it in the shadow, or in staging where no stage may be left out. The first one waits for a person."""
    if first:
        return made, f"nothing is live: insource release promote {made.name}"
    if settings.signing.trusted and not (await asyncio.to_thread(seal_of, made, settings)).by:
        return made, f"it waits for a signature: insource release sign {made.name} --key FILE, then release promote"
    tried = await store.on_trial(made.task)
    to = "staging" if tried is not None or load_rollout(settings, made.task).required else "shadow"
    change = await promote(made, settings, store, to=to, why="improved by what people said")
    after = await store.release(made.task, made.version)
    waits = f", for {tried.name} is on trial" if tried is not None else ""
    return after, f"{made.name} is in {change.after}{waits}"


def _notes(found: Cleaned) -> tuple[str, ...]:
    if not found.contradicted:
        return ()
    some = ", ".join(row[:12] for row in found.contradicted[:5])
    return (f"people contradict {len(found.contradicted):,} older rows ({some} …): look at those",)

"""The whole loop on generated defect reports, step by step, by the same journeys that the verbs use.

workspace → reports → collect and check → base model → measure → train → gate → promote → serve and call.
It takes a folder and gives back what happened; it asks nothing and needs no key and no GPU. It speaks through `tell`,
in values: a `Step` begins, a str is a line, a Report, Gate, Release or Call is what a step found.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from insource.collect.columns import Wish
from insource.engines.artefact import read_manifest
from insource.engines.models import resolve
from insource.errors import Conflict
from insource.journeys.collect import Collected, collect
from insource.journeys.demo_calls import Call, official, serve_and_call
from insource.journeys.demo_place import RECIPE, REPORTS, TASK, fresh, lay_out
from insource.journeys.demo_reports import FIELDS
from insource.journeys.gate import gate
from insource.journeys.lineup import Progress
from insource.journeys.measure import measure, write_page
from insource.journeys.promote import promote
from insource.journeys.train import LINEAR, train
from insource.nouns import Gate, Noun, Release, Report, Task
from insource.release.gate import baseline_pair
from insource.settings import Settings, load_settings, load_task
from insource.store import Store

T = TypeVar("T")
Tell = Callable[[object], None]

BASELINE = "baseline"
SAMPLE = 16
SHOTS = 8
STEPS = 8


class Step(Noun, frozen=True, kw_only=True):
    """One step of the story; `seconds` is how long it took, 0 while it goes on."""

    number: int
    name: str
    seconds: float = 0.0


class Gated(Noun, frozen=True, kw_only=True):
    """A release, the gate's answer to it, and the report that the gate looked at."""

    release: Release
    gate: Gate
    report: Report


class Told(Noun, frozen=True, kw_only=True):
    """What happened. `released` is empty when the gate said no to both; `why` says why this one.

    `report` and `untuned` are pages to open: the releases on all test rows, the untuned model on a sample of them.
    """

    workspace: str
    report: str
    untuned: str
    released: str
    why: str
    gates: dict[str, bool]
    calls: tuple[Call, ...]
    steps: tuple[Step, ...]
    seconds: float


class Story:
    """Tells the steps with their times, and hands on what the journeys say of their progress."""

    def __init__(self, tell: Tell, progress: Progress) -> None:
        self.tell, self.progress = tell, progress
        self.steps: list[Step] = []

    async def step(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Tells that a step begins, does its work and notes how long it took."""
        number = len(self.steps) + 1
        self.tell(Step(number=number, name=name))
        started = time.monotonic()
        result = await work
        self.steps.append(Step(number=number, name=name, seconds=round(time.monotonic() - started, 1)))
        return result


class Plant:
    """What every step works with."""

    def __init__(self, task: Task, settings: Settings, store: Store, story: Story) -> None:
        self.task, self.settings, self.store, self.story = task, settings, store, story


async def demo(folder: Path, rows: int, tell: Tell, progress: Progress) -> Told:
    """Plays the loop in a new workspace under `folder`, with `rows` labelled reports.

    Raises what the verbs raise, `StoreError` when the folder cannot be written.
    """
    story = Story(tell, progress)
    home = await asyncio.to_thread(fresh, folder)
    settings = await story.step(f"{rows:,} generated defect reports, in a new workspace", _laid_out(home, rows))
    async with await Store.open(settings) as store:
        plant = Plant(load_task(settings, TASK), settings, store, story)
        await story.step("collect: read, check, split", _collected(plant))
        await story.step(f"base model: fetch {settings.workspace.base}, check it, convert it once", _base(plant))
        await story.step("measure: the baseline, and the model before any training", _untuned(plant))
        trained = await story.step("train: a specialist, and the baseline as a release", _trained(plant))
        gated = await story.step("gate: both as they would be served, on rows they never saw", _gated(plant, trained))
        released, why = await story.step(
            "promote: the better one answers, on a tie the baseline", _promoted(plant, gated)
        )
        calls = await story.step(_serving(), _called(plant, home)) if released else []
    return Told(
        workspace=str(home),
        report=str(home / "report.html"),
        untuned=str(home / "untuned.html"),
        released=released,
        why=why,
        gates={one.release.name: one.gate.passed for one in gated},
        calls=tuple(calls),
        steps=tuple(story.steps),
        seconds=round(sum(step.seconds for step in story.steps), 1),
    )


def choose(specialist: Gated, linear: Gated) -> tuple[Gated | None, str]:
    """Which of the two answers, by the gate's own rule, and why. A tie goes to the baseline: it is cheaper."""
    passed = [one for one in (specialist, linear) if one.gate.passed]
    if not passed:
        return None, "the gate said no to both: nothing is released"
    if len(passed) == 1:
        other = linear if passed[0] is specialist else specialist
        return passed[0], f"its gate said yes, that of {other.release.name} said no"
    pair = baseline_pair(specialist.report, specialist.release.name, "accuracy")
    if pair is None:
        return linear, "the two were not compared"
    said = f"{pair.difference * 100:+.1f} points ({pair.low * 100:+.1f} to {pair.high * 100:+.1f}, n {pair.n:,})"
    if pair.low > 0:
        return specialist, f"it is better than the baseline, {said}"
    if pair.high < 0:
        return linear, f"it is the baseline, and {specialist.release.name} is worse, {said}"
    return linear, f"it is the baseline, which is cheaper to run; {specialist.release.name} ties with it, {said}"


async def _laid_out(home: Path, rows: int) -> Settings:
    await asyncio.to_thread(lay_out, home, rows)
    return load_settings(home)


async def _collected(plant: Plant) -> Collected:
    wish = Wish(input="report", targets=FIELDS)
    files = [plant.settings.root / REPORTS]
    found = await collect(TASK, files, plant.settings, plant.store, wish=wish, progress=plant.story.progress)
    plant.story.tell(found)
    return found


async def _base(plant: Plant) -> None:
    story = plant.story
    local = await asyncio.to_thread(
        resolve, plant.settings.workspace.base, plant.settings.cache, progress=story.progress
    )
    story.tell(f"{local.name}, SHA-256 {local.sha256[:12]}…, in {local.folder}")


async def _untuned(plant: Plant) -> None:
    base = plant.settings.workspace.base
    names = [BASELINE, f"zero-shot:{base}", f"few-shot:{base}"]
    report = await measure(
        plant.task,
        plant.settings,
        plant.store,
        candidates=names,
        split="test",
        shots=SHOTS,
        rows=SAMPLE,
        progress=plant.story.progress,
    )
    await _written(report, plant, "untuned.html")
    plant.story.tell(report)


async def _trained(plant: Plant) -> tuple[Release, Release]:
    """The specialist, and the baseline as a release."""
    speak = plant.story.tell, plant.story.progress
    recipe = plant.settings.root / RECIPE
    specialist = await train(plant.task, plant.settings, plant.store, recipe=recipe, speak=speak)
    return specialist, await train(plant.task, plant.settings, plant.store, base=LINEAR, speak=speak)


async def _gated(plant: Plant, trained: Sequence[Release]) -> list[Gated]:
    found = []
    for release in trained:
        answer = await gate(plant.task, release, plant.settings, plant.store, progress=plant.story.progress)
        found.append(Gated(release=release, gate=answer, report=await plant.store.report(answer.report)))
        plant.story.tell(answer)
    await _written(found[0].report, plant, "report.html")
    plant.story.tell(found[0].report)
    return found


async def _promoted(plant: Plant, gated: Sequence[Gated]) -> tuple[str, str]:
    """The name of the release that answers now ("" if none may), and why it."""
    chosen, why = choose(gated[0], gated[1])
    plant.story.tell(why)
    if chosen is None:
        return "", why
    await promote(chosen.release, plant.settings, plant.store, why=why)
    promise = read_manifest(plant.settings.state / chosen.release.folder).promise
    plant.story.tell(f"{chosen.release.name} ({chosen.release.engine}) is live; its promise: {promise}")
    return chosen.release.name, why


def _serving() -> str:
    client = "the official openai client" if official() else "plain HTTP, for want of the openai package"
    return f"serve: the gateway on this machine, called by {client}"


async def _called(plant: Plant, home: Path) -> list[Call]:
    dataset = await plant.store.dataset(TASK)
    if dataset is None:
        raise Conflict(f"the rows of {TASK} are gone")
    calls = await serve_and_call(home, TASK, await plant.store.examples(dataset.id, "test"))
    for decision in ("answered", "review"):
        plant.story.tell(next((call for call in calls if call.decision == decision), f"none of them was {decision}"))
    return calls


async def _written(report: Report, plant: Plant, name: str) -> None:
    await asyncio.to_thread(write_page, report, plant.task, plant.settings.root / name)

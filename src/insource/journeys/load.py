"""How much a task's engine, or a running gateway, bears: an open-loop load on the rows of a split."""

import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

import insource
from insource.engines.outward import Outward
from insource.errors import EngineError, Invalid, Missing
from insource.journeys.lineup import SHOTS, Lineup, Progress
from insource.journeys.loads import keep
from insource.journeys.measure import contender, machine
from insource.measure.load import LONGEST_S, Load, Pace, Reply, Send, Step, hold, saturate
from insource.measure.load_http import over_http
from insource.nouns import PREMISES, Dataset, Noun, Request, Task, ask
from insource.settings import Settings, secret, task_file
from insource.store import Store, egress
from insource.store.files import write_whole

TARGET_MS = 200.0  # what people take for an answer at once


class Wanted(Noun, frozen=True, kw_only=True):
    """What to load, and how. `rate` is in calls a second, None finds out how many are too many.

    `candidate` is a name as `measure` has them, or the model's name at `url`; empty for the live
    release (else the newest), or the task itself. `target_ms` None takes the task's own p95.
    """

    candidate: str = ""
    url: str = ""
    split: str = "test"
    shots: int = SHOTS
    rate: float | None = None
    seconds: float = 20.0
    target_ms: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Loadable:
    """Whom to send calls, which, and at what pace; `target_of` says whose word the pace's target is."""

    name: str
    send: Send
    inputs: list[str]
    pace: Pace
    target_of: str


async def load(task: Task, settings: Settings, store: Store, wanted: Wanted, progress: Progress) -> Load:
    """Loads what is wanted, and keeps what came of it in the state (`journeys/loads.py`).

    In this process nothing is kept of the calls; what is at a URL keeps what it keeps.

    Raises `Invalid` without rows, `Missing` for nobody to load.
    """
    async with ready(task, settings, store, wanted, progress) as to:
        steps, held = await _steps(to, wanted, progress)
    done = Load(
        task=task.name,
        candidate=to.name,
        url=wanted.url,
        split=wanted.split,
        seed=wanted.seed,
        target_ms=to.pace.target_ms,
        target_of=to.target_of,
        steps=tuple(steps),
        held=held,
        code=f"insource {insource.__version__}",
        machine=machine(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    keep(done, settings)
    return done


def write_page(found: Load, path: Path) -> None:
    """Writes the load as one HTML file at `path`, whole or not at all. Raises `StoreError`."""
    from insource.measure.load_page import html

    write_whole(path, html(found))


@asynccontextmanager
async def ready(
    task: Task, settings: Settings, store: Store, wanted: Wanted, progress: Progress
) -> AsyncIterator[Loadable]:
    """What is to be loaded, warmed up. Raises as `load` does."""
    dataset = await store.dataset(task.name)
    if dataset is None:
        raise Invalid(f"no rows collected for {task.name} yet", hint=f"insource collect {task.name} FILE")
    inputs = [example.input for example in await store.examples(dataset.id, wanted.split)]
    if not inputs:
        raise Invalid(
            f"{task.name} has no rows in the split {wanted.split}", hint=f"there are {', '.join(dataset.counts)}"
        )
    random.Random(wanted.seed).shuffle(inputs)  # noqa: S311 - an order, not a secret
    target_ms, target_of = _target(task, settings, wanted)
    pace = Pace(seconds=wanted.seconds, target_ms=target_ms, seed=wanted.seed)
    lineup = Lineup(settings, store, task, progress=progress)
    name = wanted.candidate or (task.name if wanted.url else await _served(lineup))
    async with _way(name, lineup, dataset, wanted) as send:
        await send(inputs[0])  # warms up
        yield Loadable(name, send, inputs, pace, target_of)


async def _steps(to: Loadable, wanted: Wanted, progress: Progress) -> tuple[list[Step], float | None]:
    if wanted.rate is None:
        return await saturate(to.send, to.inputs, to.pace, progress)
    step = await hold(to.send, to.inputs, wanted.rate, to.pace, progress)
    return [step], None


@asynccontextmanager
async def _way(name: str, lineup: Lineup, dataset: Dataset, wanted: Wanted) -> AsyncIterator[Send]:
    """How a call is sent: over HTTP, or through the path that serves in this process."""
    if wanted.url:
        async with over_http(wanted.url, name, secret("INSOURCE_KEY"), _way_out(lineup)) as send:
            yield send
        return
    chosen = await contender(name, lineup, dataset, wanted.shots, None)
    async with chosen.open() as answer:

        async def here(text: str) -> Reply:
            request: Request = msgspec.structs.replace(ask(lineup.task, text, id=uuid.uuid4().hex), deadline=LONGEST_S)
            try:
                record = await answer(request)
            except EngineError as error:
                return Reply(error=error.code)
            return Reply() if record.answer else Reply(error="no_answer")

        yield here


def _way_out(lineup: Lineup) -> Outward:
    """The rows of a task go no further than its texts may: to the premises, unless they may go anywhere."""
    region = "" if "any" in lineup.task.sensitivity else PREMISES
    settings = lineup.settings
    return Outward("load", region, networks=settings.networks, journal=settings.state / egress.FILE)


async def _served(lineup: Lineup) -> str:
    """The live release, else the newest."""
    live = await lineup.store.live(lineup.task.name)
    releases = await lineup.store.releases(lineup.task.name)
    if not releases:
        hint = f"insource train {lineup.task.name}, or --candidate baseline"
        raise Missing(f"{lineup.task.name} has no release to load", hint=hint)
    return (live or releases[-1]).name


def _target(task: Task, settings: Settings, wanted: Wanted) -> tuple[float, str]:
    """Milliseconds that are good enough, and who says so."""
    promised = task_file(settings, task.name)[1].levels.p95_ms
    if wanted.target_ms is not None:
        return wanted.target_ms, "--target-ms"
    if promised is not None:
        return promised, "[levels] p95_ms"
    if "p95_ms" in task.acceptance:
        return task.acceptance["p95_ms"], "[acceptance] p95_ms"
    return TARGET_MS, "no target of the task's own"

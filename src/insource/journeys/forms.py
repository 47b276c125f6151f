"""The forms of one specialist, timed on this machine: which engine answers quickest, and whether it says the same.

same dataset, recipe and base → each form alone in a process of its own, warmed up → one call at a time, then many
"""

import asyncio
import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from insource.engines.extractor import Extractor
from insource.engines.specialist import READERS, Specialist
from insource.errors import Conflict, Missing
from insource.journeys.lineup import Progress, quiet
from insource.nouns import Noun, Release, Task, ask
from insource.release.shared import here
from insource.settings import Settings
from insource.stats import clopper_pearson_lower
from insource.store import Store

ROWS, ALONE, AT_ONCE = 500, 30, 64
ALIKE = 0.99
Took = tuple[list[str], float, float, float]


class Timed(Noun, frozen=True, kw_only=True):
    """One form, called `form`. `p50_ms` of one call alone, `rows_per_s` with 64 waiting, `memory_mb` the most it held.

    `same` of `rows` labels are those of the first form, `same_low` the 95% lower bound of that share.
    """

    release: str
    engine: str
    form: str
    rows: int
    p50_ms: float
    rows_per_s: float
    memory_mb: float
    disk_mb: float
    same: int
    same_low: float


class Compared(Noun, frozen=True, kw_only=True):
    """Every form, the first as it was trained; the quickest of those that say the same, and why it is that one."""

    task: str
    forms: tuple[Timed, ...]
    best: str
    why: str


class Choice(TypedDict, total=False):
    """How to compare: on how many test rows (500), and only with these of its forms (default: all of them)."""

    rows: int
    among: Sequence[str]
    progress: Progress


async def compare(task: Task, release: Release, settings: Settings, store: Store, **how: Unpack[Choice]) -> Compared:
    """Times `release` and what was made over from the same training, on the first rows of its test split.

    Raises `Conflict` for a release that no local model serves, `Missing` without rows, what an engine raises.
    """
    if release.engine not in READERS or task.kind != "classify":
        raise Conflict(f"{release.name} is served by {release.engine}, which has one form only",
                       hint="a release that `insource train` made of a model has several")  # fmt: skip
    rows, among, progress = how.get("rows", ROWS), how.get("among"), how.get("progress", quiet)
    made = [one for one in await forms_of(release, store) if among is None or one.name in among]
    examples = await store.examples(release.dataset, "test")
    texts = [example.input for example in examples][:rows]
    if not texts:
        raise Missing(f"the dataset of {release.name} has no test rows", hint=f"insource collect {task.name} FILE")
    found: list[Timed] = []
    first: list[str] = []
    for done, one in enumerate(made):
        progress(f"timing {one.name}, {form_of(one)}", done, len(made))
        folder = await here(one, settings, store.place, progress)
        said, p50, rate, memory = await asyncio.to_thread(_apart, folder, task, texts, settings.workspace.threads)
        first = first or said
        same = sum(a == b for a, b in zip(said, first, strict=True))
        size = sum(path.stat().st_size for path in (folder / "model").iterdir()) / 1e6
        found.append(Timed(release=one.name, engine=one.engine, form=form_of(one), rows=len(texts), p50_ms=p50,
                           rows_per_s=rate, memory_mb=memory, disk_mb=size, same=same,
                           same_low=clopper_pearson_lower(same, len(texts))))  # fmt: skip
    progress("timing", len(made), len(made))
    best, why = chosen(found)
    return Compared(task=task.name, forms=tuple(found), best=best, why=why)


def chosen(forms: list[Timed]) -> tuple[str, str]:
    """The quickest of the forms that give at least 99% of the first one's labels, and why. Pure.

    It is said where so few rows cannot show those 99%.
    """
    first = forms[0]
    alike = [form for form in forms if form.same >= ALIKE * form.rows]
    best = max(alike, key=lambda form: form.rows_per_s)
    if len(forms) == 1:
        return best.release, "it is the only form; insource release export --format makes others"
    if best is first:
        return best.release, f"no form that gives {ALIKE:.0%} of its labels is quicker"
    said = f"{best.rows_per_s / first.rows_per_s:.1f} times the rows a second of {first.release}"
    words = f"{said}, {best.same:,} of {best.rows:,} labels the same"
    if best.same_low < ALIKE:
        words += f", which shows {best.same_low:.1%} at least: {ALIKE:.0%} takes more rows"
    return best.release, words


def origin(release: Release, form: str) -> str:
    """How the changelog of what was made over from `release` begins."""
    return f"{release.name} as {form}:"


def form_of(release: Release) -> str:
    """The form that `release` was made over into, such as openvino-int8; its engine where it is as it was trained."""
    return _made_from(release)[1] or release.engine


def source_of(release: Release) -> str:
    """The name of the release that `release` was made over from; "" where it is as it was trained."""
    return _made_from(release)[0]


def _made_from(release: Release) -> tuple[str, str]:
    """What `origin` said: the release and the form, both "" without it. Changelogs of other releases are people's."""
    found = re.match(r"(\S+) as (\S+):", release.changelog)
    made = found is not None and found[1].startswith(f"{release.task}@") and found[2].startswith(release.engine)
    return (found[1], found[2]) if found and made else ("", "")


async def forms_of(release: Release, store: Store) -> list[Release]:
    """The releases of the same training that a model serves, oldest first: the first is the one as it was trained."""
    found = await store.releases(release.task)
    return [one for one in found if one.engine in READERS and _kin(one) == _kin(release)]


def _kin(release: Release) -> tuple[str, str, str]:
    return release.dataset, release.recipe, release.base


async def weighed(release: Release, task: Task, settings: Settings, store: Store, progress: Progress = quiet) -> float:
    """The most memory in MB (2**20 bytes) that a process takes which only answers up to 64 test rows with `release`."""
    progress(f"weighing {release.name}", 0, 1)
    texts = [row.input for row in (await store.examples(release.dataset, "test"))[:AT_ONCE]]
    folder = settings.state / release.folder
    return (await asyncio.to_thread(_apart, folder, task, texts, settings.workspace.threads))[3]


def _apart(folder: Path, task: Task, texts: list[str], threads: int) -> Took:
    """`read` in a fresh process, so that no engine inherits threads or memory of another."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(read, (folder, task, texts, threads))


def read(folder: Path, task: Task, texts: list[str], threads: int) -> Took:
    """The labels of all texts, the median ms of one call alone, rows a second with 64 waiting, MB at most."""

    async def work() -> Took:
        engine = (Extractor if task.kind == "extract" else Specialist)(folder, name="timed", threads=threads)
        await asyncio.gather(*[engine.complete(ask(task, text, id="timing")) for text in texts[:AT_ONCE]])
        alone = []
        for text in texts[:ALONE]:
            start = time.perf_counter()
            await engine.complete(ask(task, text, id="timing"))
            alone.append((time.perf_counter() - start) * 1000)
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(text: str) -> str:
            async with turns:
                return (await engine.complete(ask(task, text, id="timing"))).text

        start = time.perf_counter()
        said = await asyncio.gather(*[one(text) for text in texts])
        took = time.perf_counter() - start
        await engine.close()
        return said, sorted(alone)[len(alone) // 2], len(texts) / took, _memory_mb()

    return asyncio.run(work())


def _memory_mb() -> float:
    """The most memory this process ever held. Linux' ru_maxrss is not it: it begins at the parent's, across exec."""
    status = Path("/proc/self/status")
    if status.is_file():
        peak = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text("ascii", "replace"), re.MULTILINE)
        if peak:
            return int(peak[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

"""A copy of a release for another engine: written, then read by that engine beside the release, on the test rows.

checked and copied → its server started, if there is one here → both on the same rows → memory → what it costs
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from insource.engines.copied import Copied, reader_of
from insource.errors import Conflict, InsourceError, Invalid
from insource.journeys.answer import Tier
from insource.journeys.forms import form_of, source_of, weighed
from insource.journeys.lineup import Progress, quiet
from insource.journeys.measure import answering, measure
from insource.measure import Answer, Contender
from insource.nouns import Noun, Release, Report, Task, digest
from insource.release.export import CALIBRATED, MERGED, MODEL, export
from insource.release.integrity import damage
from insource.settings import Settings, load_task
from insource.store import Store


class Copy(Noun, frozen=True, kw_only=True):
    """A release as files in `folder`, by name and bytes, and the report on both, the copy under the name of its form.

    `reader` is the server that read the copy, `memory_mb` the most that its processes held, and one that answers with
    the release; None where it cannot be told. Without a report `unmeasured` says why.
    """

    release: str
    form: str
    folder: str
    files: dict[str, int]
    reader: str = ""
    memory_mb: dict[str, float | None] = {}
    report: Report | None = None
    unmeasured: str = ""


class Order(Noun, frozen=True, kw_only=True):
    """What to copy to: the new folder `out`, as `form`; `rows` test rows to measure on, 0 for all."""

    out: Path
    form: str = MERGED
    rows: int = 0


async def copy(release: Release, order: Order, settings: Settings, store: Store, *, progress: Progress = quiet) -> Copy:
    """Copies `release` out, and measures the copy beside it.

    Raises what `release.export.export` raises. A copy that cannot be measured is there all the same, and says why.
    """
    form, task = order.form, load_task(settings, release.task)
    _check(release, settings.state / release.folder, order)
    progress(f"copying as {form}", 0, 1)
    rows = await store.examples(release.dataset, "train") if form in CALIBRATED else []
    train = [row.input for row in rows]
    files = await asyncio.to_thread(export, release, settings.state / release.folder, order.out, form, texts=train)
    for path in files:
        path.chmod(0o644)  # safetensors makes its files for their owner alone; servers run as somebody else
    sizes = {path.relative_to(order.out).as_posix(): path.stat().st_size for path in files}
    made = Copy(release=release.name, form=form, folder=str(order.out), files=sizes)
    if form == MERGED:
        return replace(made, unmeasured="the weights are those of the release")
    reader = reader_of(form, settings.workspace.vllm)
    if isinstance(reader, str):
        return replace(made, unmeasured=reader)
    held: list[float | None] = []
    opened = _opened(Copied(form, order.out, reader, task), task, settings, held)
    beside = Contender(form, "specialist", opened, order.rows or None, fingerprint=digest(sizes))
    try:
        report = await measure(task, settings, store, candidates=[release.name], beside=[beside],
                               rows=order.rows or None, progress=progress)  # fmt: skip
    except InsourceError as error:
        return replace(made, unmeasured=str(error))
    source = await weighed(release, task, settings, store, progress)
    memory = {release.name: source, form: next(iter(held), None)}
    failed = report.failed.get(form, "")
    return replace(made, report=report, reader=reader.server, memory_mb=memory, unmeasured=failed)


def _check(release: Release, folder: Path, order: Order) -> None:
    """Raises `Invalid` or `Conflict` for what no copy comes of, before anything is said to be copied."""
    first = source_of(release)
    if first:
        raise Invalid(f"{release.name} is kept as {form_of(release)}, which has no other form",
                      hint=f"it was made from {first}: name that one")  # fmt: skip
    if order.out.exists():
        raise Conflict(f"{order.out} exists already", hint="name another folder with --out")
    if not (folder / MODEL).is_dir() and not damage(folder, release.artefact, release.left):
        raise Invalid(f"{release.name} has no merged model: its engine is {release.engine}",
                      hint="only trained models are exported; insource serves this one as it is")  # fmt: skip


def _opened(
    engine: Copied, task: Task, settings: Settings, held: list[float | None]
) -> Callable[[], AbstractAsyncContextManager[Answer]]:
    """Opens the copy's server; what it held of memory is in `held` when it is closed."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Answer]:
        try:
            await engine.start(settings.workspace.threads, settings.workspace.vllm)
            async with answering(task, Tier(engine)) as way:
                yield way
                held.append(engine.memory_mb())
        finally:
            await engine.close()

    return opened

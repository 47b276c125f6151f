"""Bring labelled rows in: read them, set aside what cannot be used, merge, group, split, check, and keep."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from insource.collect.check import News, check
from insource.collect.columns import Wish
from insource.collect.draft import draft, write_task
from insource.collect.findings import Finding, Rows, verdict
from insource.collect.intake import split_name
from insource.collect.page import Sheet, page
from insource.collect.read import read
from insource.collect.rejects import Rejects
from insource.collect.split import Merged, counts, merge, with_groups, with_splits, without_leaks
from insource.collect.take import Taken, lineage, take_file
from insource.errors import Conflict, Invalid, Missing, StoreError
from insource.journeys.lineup import Progress, quiet
from insource.nouns import Dataset, Example, JsonObject, Noun, Task, canonical, digest
from insource.settings import Settings, load_task
from insource.store import Store
from insource.store.files import alone, write_whole


class Collected(Noun, frozen=True, kw_only=True):
    """What a collect did, and what it thinks of the data.

    `rows` counts this call, `splits` the whole dataset. `rejects` and `page` are paths below the workspace, `rejects`
    None when every row could be used. `notes` tells what was made or changed on the way. `refused` says why a strict
    collect kept nothing. `made` says that the task file is new.
    """

    task: str
    dataset: str
    rows: Rows
    splits: dict[str, int]
    rejects: str | None
    findings: tuple[Finding, ...]
    verdict: str
    page: str
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    made: bool = False


async def collect(
    name: str, files: Sequence[Path], settings: Settings, store: Store, *, wish: Wish | None = None,
    progress: Progress = quiet,
) -> Collected:  # fmt: skip
    """Takes `files` in for the task `name` and keeps the dataset. Makes the task file when there is none.

    Nothing is kept when it raises: `Missing` (no such file or task), `Invalid` (no rows, wrong columns, one class),
    `Conflict` (rows kept before no longer fit the task, or the task is being collected), `StoreError` (disk).
    """
    with alone(settings.state / "locks" / f"collect-{digest(name)[:16]}", f"insource collect {name}"):
        return await _collect(name, files, settings, store, wish or Wish(), progress)


async def _collect(
    name: str, files: Sequence[Path], settings: Settings, store: Store, wish: Wish, progress: Progress
) -> Collected:
    hear = _heeding(progress)
    task, made = _task(name, files, settings, wish)
    place = settings.state / "collect" / task.name
    taken, news, rejects = _taken(task, files, wish, place, hear)
    before, old = await _kept_before(task, store, wish)
    merged = merge(old, (row for one in taken for row in one.rows))
    rows, notes = _split(task, merged, old, wish, hear)
    _learnable(task, rows)
    fresh = len(merged.rows) - len(old) + merged.outdone
    tally = Rows(read=news.rows.read, kept=fresh, rejected=news.rows.rejected, duplicates=merged.duplicates)
    news = News(rows=tally, reject_kinds=news.reject_kinds, reject_examples=news.reject_examples, moved=merged.moved)
    findings = check(task, rows, news, progress=hear)
    dataset = _dataset(task, rows, lineage(before.lineage if before else (), taken, {row.id for row in old}))
    refused = objections(findings) if wish.strict else ()
    sheet = Sheet(task=task, dataset=dataset, rows=tuple(rows), tally=tally, findings=findings, rejects=rejects or "")
    written = page(sheet)
    if not refused:
        notes = [*await _keep(settings, store, (task, made), dataset, rows), *notes]
    write_whole(place / "check.html", written)
    return Collected(
        task=task.name,
        dataset=dataset.id,
        rows=tally,
        splits=dataset.counts,
        rejects=rejects,
        findings=findings,
        verdict=verdict(findings),
        page=(place / "check.html").relative_to(settings.root).as_posix(),
        notes=tuple(notes),
        refused=refused,
        made=made,
    )


async def _keep(
    settings: Settings, store: Store, drafted: tuple[Task, bool], dataset: Dataset, rows: list[Example]
) -> list[str]:
    """Keeps the dataset, and the task's files where they are new; tells which. All of it or nothing."""
    task, made = drafted
    files = write_task(settings.root, task) if made else []
    try:
        await store.save_dataset(dataset, rows)
    except StoreError:
        for file in files:
            (settings.root / file).unlink(missing_ok=True)
        raise
    if not files:
        return []
    labels = "; ".join(f"{output.name}: {len(output.labels):,} labels" for output in task.outputs)
    return [f"made {files[-1]} from the data ({labels}), with {', '.join(files[:-1])}"]


def objections(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Why --strict says no; empty when it does not: rejected rows and serious findings."""
    return tuple(f.message for f in findings if f.severity == "serious" or f.kind == "rejected")


def _heeding(progress: Progress) -> Progress:
    """The same progress, which also ends long work when Ctrl-C has cancelled this task."""
    task = asyncio.current_task()

    def hear(what: str, done: int, total: int) -> None:
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        progress(what, done, total)

    return hear


def _task(name: str, files: Sequence[Path], settings: Settings, wish: Wish) -> tuple[Task, bool]:
    """The task of the workspace, or one made from the data; and whether it was made."""
    if not files:
        raise Invalid("there is no file to collect", hint=f"insource collect {name} FILE")
    if wish.split:
        split_name(wish.split)
    if (settings.root / "tasks" / f"{name}.toml").is_file():
        return load_task(settings, name), False
    if wish.input and wish.targets:
        return draft(name, ((str(path), read(path, wanted=wish.named)) for path in files), wish), True
    try:
        return load_task(settings, name), False
    except Missing as error:
        making = "--input COL --target COL make it from the data"
        raise Missing(str(error), hint=f"{error.hint}; {making}") from error


def _taken(
    task: Task, files: Sequence[Path], wish: Wish, place: Path, progress: Progress
) -> tuple[list[Taken], News, str | None]:
    """The rows of all files, the news of what was set aside, and the path of the rejects file below the workspace."""
    with Rejects(place) as rejects:
        taken = [take_file(task, path, wish, rejects, progress=progress) for path in files]
        kept = rejects.keep(digest([one.sha256 for one in taken])[:8])
        shown = f".insource/collect/{task.name}/{kept.name}" if kept else None
    read_rows = sum(one.read for one in taken)
    if rejects.count == read_rows:
        reason = rejects.examples[0]
        raise Invalid(
            f"none of the {read_rows:,} rows can be used; {reason['file']}:{reason['line']}: {reason['reason']}",
            hint=f"every row with its reason: {shown}",
        )
    rows = Rows(read=read_rows, kept=0, rejected=rejects.count, duplicates=0)
    news = News(rows=rows, reject_kinds=dict(rejects.kinds), reject_examples=tuple(rejects.examples))
    return taken, news, shown


async def _kept_before(task: Task, store: Store, wish: Wish) -> tuple[Dataset | None, list[Example]]:
    """The newest dataset and its rows; none with --replace. Raises `Conflict` when the rows no longer fit the task."""
    before = None if wish.replace else await store.dataset(task.name)
    if before is None:
        return None, []
    old = await store.examples(before.id)
    known = {output.name: frozenset(output.labels) for output in task.outputs}
    stale = [row for row in old if any(row.target.get(field) not in labels for field, labels in known.items())]
    if stale:
        raise Conflict(
            f"{len(stale):,} rows kept before carry labels that tasks/{task.name}.toml no longer has, "
            f"such as {canonical(stale[0].target).decode()[:120]}",
            hint="put the labels back, or collect all files again with --replace",
        )
    return before, old


def _split(
    task: Task, merged: Merged, old: Sequence[Example], wish: Wish, progress: Progress
) -> tuple[list[Example], list[str]]:
    """The rows with groups and splits, sorted by id; and what is worth telling about it."""
    rows = with_splits(task, with_groups(merged.rows, progress=progress))
    notes = [f"{merged.outdone:,} labels of teachers gave way to those of these files"] if merged.outdone else []
    free = sum(not row.split for row in merged.rows)
    if free:
        notes.append(f"{free:,} rows were split 80/10/10 by content, near duplicates together")
    carved = counts(rows).get("dev", 0) if not free and "dev" not in counts([*old, *merged.rows]) else 0
    if carved:
        notes.append(f"there was no dev split: {carved:,} rows of train became one")
    if wish.drop_leaks:
        honest = without_leaks(rows)
        notes.append(f"{len(rows) - len(honest):,} rows left train: they have a near duplicate in another split")
        rows = honest
    return rows, notes


def _learnable(task: Task, rows: Sequence[Example]) -> None:
    """Raises `Invalid` when an output has the same label on every row."""
    for output in task.outputs:
        seen = {row.target[output.name] for row in rows}
        if len(seen) < 2:
            raise Invalid(
                f"every row has the same {output.name}: {str(next(iter(seen)))[:80]!r}; there is nothing to learn",
                hint="collect rows of at least two labels, in one call: insource collect TASK FILE FILE…",
            )


def _dataset(task: Task, rows: Sequence[Example], entries: tuple[JsonObject, ...]) -> Dataset:
    """The dataset, named by the SHA-256 of its canonical rows in the order of their ids."""
    body = b"".join(canonical(row) + b"\n" for row in rows)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Dataset(id=digest(body), task=task.name, counts=counts(rows), lineage=entries, created=now)

"""Bring labelled rows in: read them, set aside what cannot be used, merge, group, split, check, and keep."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from insource.collect import check_clean, clean
from insource.collect.check import News, check
from insource.collect.clean import Removal
from insource.collect.columns import Wish
from insource.collect.draft import named, write_task
from insource.collect.findings import Finding, Rows, sorted_findings, verdict
from insource.collect.kept import dataset_of
from insource.collect.page import Sheet, page
from insource.collect.rejects import Rejects
from insource.collect.split import Merged, counts, merge, with_groups, with_splits, without_leaks
from insource.collect.strays import settle
from insource.collect.take import lineage
from insource.errors import Conflict, Invalid, Missing, StoreError
from insource.journeys import incumbent
from insource.journeys.lineup import Progress, quiet
from insource.journeys.removals import Book, read_book, with_book, written
from insource.journeys.sources import Gathered, forms, gather
from insource.nouns import Dataset, Example, JsonObject, Noun, Task, canonical, digest
from insource.settings import Settings
from insource.store import Store
from insource.store.files import alone, write_whole

TENANT = "local"


class Collected(Noun, frozen=True, kw_only=True):
    """What a collect did, and what it thinks of the data.

    `rows` counts this call, `splits` the whole dataset. `rejects` and `page` are paths below the workspace, `rejects`
    None when every row could be used. `notes` tells what was made or changed on the way. `refused` says why a strict
    collect kept nothing. `made` says that the task file is new. `removed` counts what cleaning has taken out of the
    dataset so far, by kind, listed in the file `removals`; `replaced` the personal data of this call, by kind;
    `prompts` are system prompts whose calls were left out; `calls` were read with what the model so far answered.
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
    removed: dict[str, int] = {}
    removals: str | None = None
    prompts: tuple[JsonObject, ...] = ()
    replaced: dict[str, int] = {}
    calls: int = 0


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
    listed = forms(name, files, settings, wish)
    place = settings.state / "collect" / named(name)
    key = await store.tenant_key(TENANT)
    with Rejects(place) as rejects:
        got = gather(name, listed, settings, wish, (rejects, key), hear)
        before, old = await _kept_before(got.task, store, wish)
        kept = _Rows(got, old, read_book(before, store), wish, hear)
        for stray in kept.unfit:
            rejects.stray(stray)
        shown = _rejected(got, rejects)
    _learnable(got.task, kept.rows)
    tally = kept.tally(rejects.count)
    news = News(rows=tally, reject_kinds=dict(rejects.kinds), reject_examples=tuple(rejects.examples), moved=kept.moved)
    findings = _findings(got, kept, news, hear)
    entries = lineage(before.lineage if before else (), got.taken, {row.id for row in old})
    entries = incumbent.with_entry(entries, got.facts, store)
    dataset = dataset_of(got.task, kept.rows, with_book(entries, kept.book, store))
    refused = objections(findings) if wish.strict else ()
    sheet = Sheet(
        task=got.task, dataset=dataset, rows=tuple(kept.rows), tally=tally, findings=findings, rejects=shown or ""
    )
    words = page(sheet)
    notes = list(kept.notes)
    if not refused:
        notes = [*await _keep(settings, store, (got.task, got.made), dataset, kept.rows), *notes]
    write_whole(place / "check.html", words)
    taken_out = written(kept.book, place)
    below = place.relative_to(settings.root).as_posix()
    return Collected(
        task=got.task.name,
        dataset=dataset.id,
        rows=tally,
        splits=dataset.counts,
        rejects=shown,
        findings=findings,
        verdict=verdict(findings),
        page=f"{below}/check.html",
        notes=tuple(notes),
        refused=refused,
        made=got.made,
        removed=clean.tally(kept.book.removals),
        removals=f"{below}/{taken_out}" if taken_out else None,
        prompts=tuple(prompt.shown() for prompt in got.others),
        replaced=dict(got.care.private.kinds) if got.care else {},
        calls=len(got.facts),
    )


class _Rows:
    """The rows of the dataset to be, and what was taken out on the way: before splits are dealt, and after."""

    def __init__(self, got: Gathered, old: list[Example], book: Book, wish: Wish, progress: Progress) -> None:
        task, care = got.task, got.care
        fresh = [row for one in got.taken for row in one.rows]
        drifted, self.unfit = settle(task, [*old, *fresh], care.strays) if care else ([], [])
        known, book = {row.id for row in old}, book.without(fresh)
        out = book.gone
        self.again = sum(row.id in out for row in fresh)
        merged = merge(old, (row for row in fresh if row.id not in out))
        rows, gone = with_groups(merged.rows, progress=progress), [one for one in drifted if one.row.id not in out]
        if care:
            back = [one.row for one in drifted if one.row.id in book.spared]
            merged = msgspec.structs.replace(merge(merged.rows, back), outdone=merged.outdone) if back else merged
            gone = [one for one in gone if one.row.id not in book.spared]
            rows = with_groups(merged.rows) if back else rows
            spared = _spared(rows, book, wish)
            first = clean.before_splits(task, rows, spared)
            rows, gone = clean.without(rows, first), gone + first
        self.rows, self.notes = _split(task, msgspec.structs.replace(merged, rows=tuple(rows)), old, wish, progress)
        if care:
            last, note = _cleaned(task, self.rows, _spared(self.rows, book, wish), progress)
            self.rows, gone = clean.without(self.rows, last), gone + last
            self.notes += note
        self.book = book.added(gone)
        self.moved, self.duplicates = merged.moved, merged.duplicates
        self.kept = (
            sum(row.id not in known for row in self.rows) if care else len(merged.rows) - len(old) + merged.outdone
        )
        self.read = sum(one.read for one in got.taken)
        self.elsewhere = got.elsewhere

    def tally(self, rejected: int) -> Rows:
        """The rows of this call. What is neither kept, rejected nor known was taken out."""
        duplicates = self.duplicates + self.again
        return Rows(
            read=self.read + self.elsewhere,
            kept=self.kept,
            rejected=rejected,
            duplicates=duplicates,
            removed=max(0, self.read - self.kept - rejected - duplicates),
            elsewhere=self.elsewhere,
        )


def _spared(rows: Sequence[Example], book: Book, wish: Wish) -> frozenset[str]:
    """Rows that stay: those brought back; and where only a log is to be cleaned, those that are no model's word."""
    others = () if wish.clean else (row.id for row in rows if row.origin not in ("teacher", "traffic"))
    return book.spared.union(others)


def _cleaned(
    task: Task, rows: list[Example], spared: frozenset[str], progress: Progress
) -> tuple[list[Removal], list[str]]:
    """What goes once the splits are known, and a note where labels could not be looked at."""
    try:
        return clean.after_splits(task, rows, spared, progress=progress), []
    except Missing as error:
        return [], [f"labels were not looked at: {error}"]


def _rejected(got: Gathered, rejects: Rejects) -> str | None:
    """The path of the rejects file below the workspace. Raises `Invalid` when no row is left."""
    kept = rejects.keep(digest([one.sha256 for one in got.taken])[:8])
    shown = f".insource/collect/{got.task.name}/{kept.name}" if kept else None
    read_rows = sum(one.read for one in got.taken)
    if rejects.count == read_rows:
        reason = rejects.examples[0]
        raise Invalid(
            f"none of the {read_rows:,} rows can be used; {reason['file']}:{reason['line']}: {reason['reason']}",
            hint=f"every row with its reason: {shown}",
        )
    return shown


def _findings(got: Gathered, kept: _Rows, news: News, progress: Progress) -> tuple[Finding, ...]:
    found = check(got.task, kept.rows, news, progress=progress)
    more = check_clean.elsewhere(got.others) + check_clean.own_word(kept.rows)
    if got.care:
        more += check_clean.removed(got.task, kept.book.removals)
        more += check_clean.replaced(got.care.private.kinds)
    return sorted_findings([*found, *more])


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

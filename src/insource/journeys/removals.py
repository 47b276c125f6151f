"""What cleaning took out of a task's rows: a blob beside the dataset, told by its lineage, brought back on demand."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from insource.collect.clean import KINDS, Removal, tally
from insource.collect.kept import dataset_of
from insource.collect.split import WORTH, merge, with_groups, with_splits
from insource.errors import Conflict, Invalid
from insource.nouns import Dataset, Example, JsonObject, Noun, Task, digest, from_json, to_json
from insource.settings import Settings, load_task
from insource.store import Store
from insource.store.files import alone, write_whole

ENTRY = "removals"
SHORTEST = 8


class Book(NamedTuple):
    """The removals of a dataset so far, and the ids of rows that somebody brought back."""

    removals: tuple[Removal, ...] = ()
    spared: frozenset[str] = frozenset()

    @property
    def gone(self) -> frozenset[str]:
        """Ids of the rows that were taken out: they stay out when they come again."""
        return frozenset(one.row.id for one in self.removals)

    def without(self, fresh: Sequence[Example]) -> "Book":
        """The book without rows that come again as the word of somebody worth more: a person's, not a model's."""
        worth = {row.id: WORTH.index(row.origin) for row in fresh}
        left = [one for one in self.removals if worth.get(one.row.id, 0) <= WORTH.index(one.row.origin)]
        return Book(tuple(left), self.spared)

    def added(self, more: Sequence[Removal]) -> "Book":
        """The book with more removals, kind by kind; a row stands in it once. The worst come first, as they came."""
        known = {one.row.id: one for one in more} | {one.row.id: one for one in self.removals}
        order = list(KINDS)
        return Book(tuple(sorted(known.values(), key=lambda one: order.index(one.kind))), self.spared)


class Restored(Noun, frozen=True, kw_only=True):
    """What was brought back: how many rows of each kind, what is still out, and the dataset that there is now."""

    task: str
    dataset: str
    restored: dict[str, int]
    removed: dict[str, int]
    splits: dict[str, int]


def read_book(dataset: Dataset | None, store: Store) -> Book:
    """The removals that the dataset's lineage names. Raises `Missing` or `StoreError` when the blob is not whole."""
    for one in dataset.lineage if dataset else ():
        if ENTRY in one:
            lines = store.blobs.get(str(one[ENTRY])).splitlines()
            spared = frozenset(map(str, one.get("restored", ())))
            return Book(tuple(from_json(line, Removal) for line in lines), spared)
    return Book()


def with_book(lineage: Sequence[JsonObject], book: Book, store: Store) -> tuple[JsonObject, ...]:
    """The lineage with this book in place of an older one; the blob is kept first. Raises `StoreError`."""
    rest = tuple(one for one in lineage if ENTRY not in one)
    if not book.removals and not book.spared:
        return rest
    body = _bytes(book)
    sha = store.blobs.put(body)
    return (*rest, {ENTRY: sha, "sha256": sha, "removed": tally(book.removals), "restored": sorted(book.spared)})


def written(book: Book, place: Path) -> str | None:
    """Writes the removals one a line to removed-SHA8.jsonl in the folder; the file's name, None without removals."""
    if not book.removals:
        return None
    body = _bytes(book)
    name = f"removed-{digest(body)[:8]}.jsonl"
    write_whole(place / name, body.decode())
    return name


async def restored(name: str, settings: Settings, store: Store, wanted: str) -> Restored:
    """Brings back the rows of one kind, or the row whose id begins with `wanted`; they are not taken out again.

    A row comes back to its own split, or is dealt to one. Raises `Missing` for an unknown task, `Conflict` where
    nothing was taken out, `Invalid` when `wanted` names nothing.
    """
    task = load_task(settings, name)
    with alone(settings.state / "locks" / f"collect-{digest(name)[:16]}", f"insource collect {name}"):
        return await _restored(task, store, wanted, settings.state / "collect" / task.name)


async def _restored(task: Task, store: Store, wanted: str, place: Path) -> Restored:
    before = await store.dataset(task.name)
    book = read_book(before, store)
    if before is None or not book.removals:
        raise Conflict(f"nothing was taken out of the rows of {task.name}", hint=f"insource collect {task.name} FILE")
    back = [one for one in book.removals if _meant(one, wanted)]
    if not back:
        kinds = ", ".join(f"{kind} ({n:,})" for kind, n in tally(book.removals).items())
        raise Invalid(f"no row that was taken out is called {wanted[:80]!r}", hint=f"a row's id, or a kind: {kinds}")
    ids = frozenset(one.row.id for one in back)
    left = Book(tuple(one for one in book.removals if one.row.id not in ids), book.spared | ids)
    merged = merge(await store.examples(before.id), (one.row for one in back))
    rows = with_splits(task, with_groups(merged.rows))
    dataset = dataset_of(task, rows, with_book(before.lineage, left, store))
    await store.save_dataset(dataset, rows)
    written(left, place)
    return Restored(
        task=task.name,
        dataset=dataset.id,
        restored=tally(back),
        removed=tally(left.removals),
        splits=dataset.counts,
    )


def _meant(one: Removal, wanted: str) -> bool:
    return one.kind == wanted or (len(wanted) >= SHORTEST and one.row.id.startswith(wanted.lower()))


def _bytes(book: Book) -> bytes:
    return b"".join(to_json(one) + b"\n" for one in book.removals)

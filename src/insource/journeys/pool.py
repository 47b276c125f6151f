"""Bring inputs without a label in: each text once, with the files it came from, for `insource teach`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from insource.collect.columns import Wish
from insource.collect.findings import Rows
from insource.collect.near import plain
from insource.collect.pool import joined, pool_of, take_inputs
from insource.collect.rejects import Rejects
from insource.collect.take import lineage
from insource.errors import Invalid
from insource.journeys.lineup import Progress, quiet
from insource.nouns import Dataset, Example, Noun, canonical, digest
from insource.settings import Settings, load_task
from insource.store import Store
from insource.store.files import alone


class Pooled(Noun, frozen=True, kw_only=True):
    """What came in: `rows` of this call, `total` texts in the pool, of which so many are `labelled` by now.

    `pool` names it by the SHA-256 of its rows; `rejects` is a path below the workspace, None where none was set aside.
    """

    task: str
    pool: str
    rows: Rows
    total: int
    labelled: int
    rejects: str | None


async def pool(
    name: str, files: Sequence[Path], settings: Settings, store: Store, *, wish: Wish | None = None,
    progress: Progress = quiet,
) -> Pooled:  # fmt: skip
    """Adds the inputs of `files` to the pool of the task `name`; with `replace` they are all of it.

    Raises `Missing` for no such file or task, `Invalid` where no row can be used, `Conflict` while another collects.
    """
    task, wish = load_task(settings, name), wish or Wish()
    with alone(settings.state / "locks" / f"collect-{digest(name)[:16]}", f"insource collect {name}"):
        place = settings.state / "collect" / name
        with Rejects(place) as rejects:
            taken = [take_inputs(name, path, wish, rejects, progress=progress) for path in files]
            kept = rejects.keep(digest([one.sha256 for one in taken])[:8])
        read = sum(one.read for one in taken)
        if rejects.count == read:
            raise Invalid(f"none of the {read:,} rows can be used: {rejects.examples[0]['reason']}")
        before, old = await pooled(task.name, store) if not wish.replace else (None, [])
        rows, repeated = joined(old, (row for one in taken for row in one.rows))
        entries = lineage(before.lineage if before else (), taken, {row.id for row in old})
        made = Dataset(
            id=digest(b"".join(canonical(row) + b"\n" for row in rows)),
            task=pool_of(name),
            counts={"": len(rows)},
            lineage=entries,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        await store.save_dataset(made, rows)
        return Pooled(
            task=name,
            pool=made.id,
            rows=Rows(read=read, kept=len(rows) - len(old), rejected=rejects.count, duplicates=repeated),
            total=len(rows),
            labelled=await _labelled(name, rows, store),
            rejects=f".insource/collect/{name}/{kept.name}" if kept else None,
        )


async def pooled(task: str, store: Store) -> tuple[Dataset | None, list[Example]]:
    """The task's inputs without a label and where they are from; none where nobody collected any."""
    found = await store.dataset(pool_of(task))
    return (found, await store.examples(found.id)) if found else (None, [])


async def _labelled(task: str, rows: Sequence[Example], store: Store) -> int:
    dataset = await store.dataset(task)
    known = {plain(row.input) for row in (await store.examples(dataset.id) if dataset else [])}
    return sum(plain(row.input) in known for row in rows)

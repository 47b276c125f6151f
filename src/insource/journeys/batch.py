"""A file of documents, answered through the same path as every call. Stopped at any moment, a second run goes on.

What a document came to is kept in the store, by its text, the release and the policy: another run, into whichever file,
asks only for what is missing. Several runs may be at work on the same documents, each answers what no other does. At
the end OUT is written in the order of the inputs and takes its place whole; until then answers are in OUT.part as they
came.
"""

from collections.abc import Iterator
from pathlib import Path as FilePath

from insource.collect.documents import Columns, count
from insource.errors import Invalid
from insource.journeys.answer import Path
from insource.journeys.batch_keys import Keys, policy
from insource.journeys.batch_out import Journal, finish
from insource.journeys.batch_row import Row, Summary, Tally
from insource.journeys.batch_run import TENANT, Limits, Run, at_work
from insource.journeys.lineup import Progress, quiet
from insource.nouns import Noun, from_json
from insource.store import Store

AT_ONCE = 64
TRIES = 3


class Wish(Noun, frozen=True, kw_only=True):
    """How a batch is run. `at_once` calls at a time, 0 for as many as pay with the engine that is asked first.

    It ends before it may cost more than `max_usd` US dollars, and begins nothing after `max_minutes`; None: no limit.
    A document that failed `tries` times is not asked again. `hangs_on` is what answers hang on beside release and
    policy, by its digest.
    """

    columns: Columns = Columns()
    at_once: int = 0
    max_usd: float | None = None
    max_minutes: float | None = None
    tries: int = TRIES
    hangs_on: str = ""


class Dead(Noun, frozen=True, kw_only=True):
    """A document that is not asked again: the id it had last, how often it failed, and why the last time."""

    id: str | None
    tries: int
    error: str | None
    record: str | None


async def batch(
    source: FilePath,
    out: FilePath,
    path: Path,
    store: Store,
    *,
    progress: Progress = quiet,
    wish: Wish = Wish(),  # noqa: B008 frozen
) -> Summary:
    """Answers every document of `source` into `out`.

    One that cannot be read, and one that no engine answered, get a row with `error`; the latter is asked again by the
    next run. Where a limit of the wish ends the run, `out` is not written and the summary says so. Raises `Missing`
    without the file, `Conflict` when another run writes to `out`, `StoreError` when the disk or the store fails.
    """
    if path.task is None:
        raise Invalid("a batch is answered by a task")
    total = count(source)
    tally = Tally()
    with Journal(out, source) as journal:
        keys = Keys(await store.tenant_key(TENANT), policy(path, wish.hangs_on))
        limits = Limits(wish.max_usd, wish.max_minutes, wish.tries)
        async with at_work(store) as holder:
            run = Run(path, store, holder, limits, tally)
            plan = await run.answer_all(
                source, (wish.columns, keys), wish.at_once or at_once(path), _Ink(journal, progress, total, tally)
            )
        if not run.stopped:
            await finish(plan, out, path.task, store)
            journal.done()
    return tally.summary(path.task.name, out, total, run.stopped)


class _Ink:
    """Writes each row down as it comes and tells how far the run is."""

    def __init__(self, journal: Journal, progress: Progress, total: int, tally: Tally) -> None:
        self._journal, self._progress, self._total, self._tally = journal, progress, total, tally

    def __call__(self, row: Row | None) -> None:
        if row is not None:
            self._journal.write(row)
        self._progress(self._tally.words(), self._tally.rows, max(self._total, self._tally.rows))


def at_once(path: Path) -> int:
    """How many calls at a time keep the first engine busy: twice as many as it reads together, where it does."""
    engine: object = path.tiers[0].engine if path.tiers else None
    while engine is not None and not hasattr(engine, "reads_at_once"):
        engine = getattr(engine, "engine", None)
    return 2 * int(getattr(engine, "reads_at_once", AT_ONCE // 2))


async def dead(task: str, store: Store, tries: int = TRIES) -> list[Dead]:
    """The task's documents that failed `tries` times."""
    return [one for each in await store.batches.failed(task, tries) for one in _dead(each.body, each.tries)]


def _dead(body: str, tries: int) -> Iterator[Dead]:
    row = from_json(body, Row)
    yield Dead(id=row.id, tries=tries, error=row.error, record=row.record)

"""The router of a workspace: fitted on the rows of its tasks, kept beside its releases."""

from collections.abc import Iterable
from pathlib import Path

from insource.engines.router import NO_TASK, Card, Router, Text
from insource.errors import Invalid, Missing
from insource.nouns import Example, digest
from insource.settings import Settings, task_names
from insource.store import Store
from insource.store.files import alone

MOST_ROWS = 2000  # of one task and split: more teach a linear router little, and take long


def router_folder(settings: Settings) -> Path:
    """Where the workspace keeps its router."""
    return settings.state / "router"


async def train_router(settings: Settings, store: Store) -> Card:
    """Fits the router on every task that has rows, and puts it in the place of the one before.

    A running gateway takes it up at the next call. Raises `Invalid` with fewer than two such tasks or without held-out
    rows, `Conflict` while another is being fitted, `EngineDown` without scikit-learn, `StoreError` on a full disk.
    """
    with alone(settings.state / "locks" / "train-router", "insource train --router"):
        train, dev, datasets = list[Text](), list[Text](), dict[str, str]()
        for task in task_names(settings):
            dataset = await store.dataset(task)
            if dataset is not None:
                datasets[task] = dataset.id
                train += _some(await store.examples(dataset.id, "train"))
                dev += _some(await store.examples(dataset.id, "dev"))
        texts = _unknown(settings)
        train, dev = [*train, *texts[::2]], [*dev, *texts[1::2]]
        router = Router.fit(train, dev, max_error=settings.router.max_error, datasets=datasets)
        return router.save(router_folder(settings))


def _some(rows: Iterable[Example]) -> list[Text]:
    """At most `MOST_ROWS`, the same for the same rows."""
    return [Text(row.input, row.task) for row in sorted(rows, key=lambda row: row.id)[:MOST_ROWS]]


def _unknown(settings: Settings) -> list[Text]:
    """The owner's texts that are for no task, in an order that says nothing."""
    if not settings.router.unknown:
        return []
    path = settings.root / settings.router.unknown
    try:
        lines = {line.strip() for line in path.read_text("utf-8-sig").splitlines()}
    except OSError as error:
        raise Missing(f"{path} cannot be read: {error.strerror}", hint="one text a line") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{path}: not UTF-8 text (byte {error.start})", hint="save the file as UTF-8") from error
    return [Text(line, NO_TASK) for line in sorted(lines - {""}, key=digest)]

"""The rows as a dataset, named by what they are."""

from collections.abc import Sequence
from datetime import UTC, datetime

from insource.collect.split import counts
from insource.nouns import Dataset, Example, JsonObject, Task, canonical, digest


def dataset_of(task: Task, rows: Sequence[Example], entries: tuple[JsonObject, ...]) -> Dataset:
    """The dataset, named by the SHA-256 of its canonical rows in the order of their ids."""
    body = b"".join(canonical(row) + b"\n" for row in rows)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Dataset(id=digest(body), task=task.name, counts=counts(rows), lineage=entries, created=now)

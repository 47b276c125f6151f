"""Datasets and reports in SQL. A dataset's rows are one blob of canonical JSON lines."""

from collections.abc import Collection

from sqlalchemy import Connection, delete, select

from insource.errors import Missing
from insource.nouns import Dataset, Example, Report, canonical, to_json
from insource.store.stored import stored
from insource.store.tables import DATASET, REPORT


def rows_to_bytes(examples: list[Example]) -> bytes:
    """The rows as canonical JSON lines: the same rows in the same order give the same bytes."""
    return b"".join(canonical(example) + b"\n" for example in examples)


def rows_from_bytes(data: bytes, split: str | None) -> list[Example]:
    """The rows of one split, or all, in the order in which they were kept."""
    rows = [stored(line, Example) for line in data.splitlines()]
    return [row for row in rows if split is None or row.split == split]


def save_dataset(connection: Connection, dataset: Dataset, rows: str) -> None:
    """Notes the dataset as its task's newest; `rows` is the blob that holds its rows."""
    connection.execute(delete(DATASET).where(DATASET.c.id == dataset.id))
    newest = connection.execute(select(DATASET.c.seq).order_by(DATASET.c.seq.desc()).limit(1)).scalar() or 0
    body = to_json(dataset).decode()
    connection.execute(DATASET.insert().values(seq=newest + 1, id=dataset.id, task=dataset.task, rows=rows, body=body))


def newest_dataset(connection: Connection, task: str) -> Dataset | None:
    """The dataset saved last for `task`."""
    found = select(DATASET.c.body).where(DATASET.c.task == task).order_by(DATASET.c.seq.desc()).limit(1)
    body = connection.execute(found).scalar()
    return stored(body, Dataset) if body else None


def dataset_row(connection: Connection, id: str) -> tuple[Dataset, str]:
    """The dataset and the blob of its rows. Raises `Missing`."""
    row = connection.execute(select(DATASET.c.body, DATASET.c.rows).where(DATASET.c.id == id)).first()
    if row is None:
        raise Missing(f"there is no dataset {id}", hint="insource collect TASK FILE makes one")
    return stored(row.body, Dataset), row.rows


def save_report(connection: Connection, report: Report) -> None:
    """Keeps the report; the same report again changes nothing."""
    known = connection.execute(select(REPORT.c.seq).where(REPORT.c.id == report.id)).first()
    if known is None:
        body = to_json(report).decode()
        connection.execute(REPORT.insert().values(id=report.id, task=report.task, split=report.split, body=body))


def report(connection: Connection, id: str) -> Report:
    """The report called `id`. Raises `Missing`."""
    body = connection.execute(select(REPORT.c.body).where(REPORT.c.id == id)).scalar()
    if body is None:
        raise Missing(f"there is no report {id}", hint="insource measure TASK makes one")
    return stored(body, Report)


def reports(connection: Connection, task: str) -> list[Report]:
    """The task's reports, oldest first."""
    found = connection.execute(select(REPORT.c.body).where(REPORT.c.task == task).order_by(REPORT.c.seq))
    return [stored(body, Report) for body in found.scalars()]


def forget_reports(connection: Connection, ids: Collection[str]) -> int:
    """Removes these reports; how many there were."""
    return int(connection.execute(delete(REPORT).where(REPORT.c.id.in_(ids))).rowcount)

"""The demo's workspace: what it holds before anything is collected."""

import csv
import io
from pathlib import Path

from insource.errors import StoreError
from insource.journeys.demo_reports import FIELDS, defect_reports, labels
from insource.journeys.init import init
from insource.store.files import write_whole

TASK = "defects"
REPORTS = "reports.csv"
RECIPE = "recipe.toml"
FILES = {
    f"tasks/{TASK}.toml": """# Three outputs make one answer: it is right when all three are.
name = "defects"
kind = "classify"
instruction = "File the defect report from the shop floor."
sensitivity = "premises"
owner = "quality@plant.example"

[outputs.category]
labels = "labels/category.txt"

[outputs.cause]
labels = "labels/cause.txt"

[outputs.urgency]
labels = ["low", "medium", "high"]

# What is good enough, written before any result.
[acceptance]
"category.accuracy" = 0.75
"urgency.accuracy" = 0.55

# Of the answers given automatically, at most this share may be wrong in any of the three.
[risk]
max_error = 0.25
else = ["review"]
""",
    RECIPE: """# Few dials; what is left out is derived from the rows. Keys: docs/reference/recipe.md
epochs = 3
learning_rate = 0.001
""",
}


def fresh(folder: Path) -> Path:
    """A new folder run-1, run-2, … in `folder`; earlier runs are left alone. Raises `StoreError`."""
    number = 1
    while True:
        home = folder / f"run-{number}"
        try:
            home.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise StoreError(f"{home} cannot be made: {error.strerror}", hint="insource demo --dir FOLDER") from error
        else:
            return home.resolve()


def lay_out(home: Path, rows: int) -> None:
    """Makes `home` a workspace with the task and the reports. Raises `StoreError` when it cannot be written."""
    init(home)
    closed = {f"labels/{field}.txt": "\n".join(labels(field)) + "\n" for field in ("category", "cause")}
    for name, text in (FILES | closed).items():
        write_whole(home / name, text)
    write_reports(home / REPORTS, rows)


def write_reports(path: Path, rows: int, *, seed: int = 0) -> None:
    """A CSV of `rows` reports with their labels. Raises `StoreError` when it cannot be written."""
    made = defect_reports(rows, seed=seed)
    columns = ("report", *FIELDS)
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(columns)
    writer.writerows([getattr(report, column) for column in columns] for report in made)
    write_whole(path, table.getvalue())

"""Answers before people: candidates are asked, a sheet without names goes out, and what comes back joins the report.

rows → contenders → the report, kept → the sheet, its key kept beside the releases → filled sheets → the report again.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from insource.errors import Invalid, Missing
from insource.journeys.lineup import SHOTS, Lineup, quiet
from insource.journeys.measure import SPLIT, Plan, about, check_names, contender, fitting, rows_of
from insource.measure import Contender
from insource.measure.rating import RATED, Key, Ratings, Scale, lay_out, rated
from insource.measure.rating_files import as_csv, as_html, check, read_back
from insource.measure.report import asked, assemble
from insource.measure.run import sample
from insource.nouns import Example, Report, Task, from_json, to_json
from insource.settings import Settings
from insource.store import Store
from insource.store.files import write_whole

ROWS = 40
FORMS = {".csv": as_csv, ".html": as_html, ".htm": as_html}


async def rating_sheet(
    task: Task, settings: Settings, store: Store, path: Path, scale: Scale, **plan: Unpack[Plan]
) -> tuple[Report, Key]:
    """Asks the candidates the same rows (default 40), keeps the report, and writes a blind sheet of it to `path`.

    Raises what `measure` raises, and `Invalid` for another ending than .csv or .html, `StoreError` for a full disk.
    """
    if path.suffix.lower() not in FORMS:
        raise Invalid(f"a rating sheet is a .csv or an .html, not {path.name}", hint="--rating-sheet sheet.html")
    split, progress = plan.get("split", SPLIT), plan.get("progress", quiet)
    dataset, examples = await rows_of(task, store, split)
    lineup = Lineup(settings, store, task, progress=progress)
    chosen = list(plan.get("candidates") or ())
    await check_names(chosen, lineup)
    names = chosen or fitting(task, await lineup.names())
    contenders = [await contender(name, lineup, dataset, plan.get("shots", SHOTS), None) for name in names]
    picked = sample(task, examples, plan.get("rows") or ROWS)

    def asks(_: Contender) -> Sequence[tuple[int, Example]]:
        return picked

    runs, failed = await asked(task, contenders, asks, progress=progress)
    notes = [f"{len(picked):,} of {len(examples):,} rows, stratified (seed 0), were asked for people to rate."]
    report = assemble(task, contenders, runs, failed, about(dataset, f"{split}, {RATED}", notes))
    answered = {name: run.rows for name, run in runs.items()}
    key, lines = lay_out(task, report.id, answered, scale, secrets.token_hex(16))
    await store.save_report(report)
    write_whole(_place(settings, task, key.sheet), to_json(key).decode())
    write_whole(path, FORMS[path.suffix.lower()](key, lines))
    return report, key


async def ratings(task: Task, settings: Settings, store: Store, paths: Sequence[Path]) -> Report:
    """The report of the sheet that was filled in, with what people said of it, kept as a report of its own.

    Raises `Invalid` for files of several sheets or with what no scale holds, `Missing` where the sheet is not of here.
    """
    found: list[Ratings] = []
    sheets = set()
    for path in paths:
        sheet, said = read_back(path)
        sheets.add(sheet)
        found += said
    if len(sheets) != 1:
        raise Invalid(f"these are {len(sheets)} sheets, not one", hint="give the files of one sheet at a time")
    names = [one.rater for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Invalid(f"{twice!r} rated in two files", hint="each rater has a name of their own: the column rater")
    key = _key(settings, task, sheets.pop())
    for path in paths:
        check(key, found, path)
    report = rated(await store.report(key.report), key, found)
    await store.save_report(report)
    return report


def _place(settings: Settings, task: Task, sheet: str) -> Path:
    return settings.state / "ratings" / task.name / f"{sheet}.json"


def _key(settings: Settings, task: Task, sheet: str) -> Key:
    """The key of a sheet. Raises `Missing` for one that this workspace did not make."""
    path = _place(settings, task, sheet)
    if not sheet.isalnum() or not path.is_file():
        raise Missing(
            f"{task.name} has no rating sheet {sheet[:20]!r}", hint="insource measure TASK --rating-sheet FILE"
        )
    return from_json(path.read_bytes(), Key)

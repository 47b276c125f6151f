"""`insource measure --rating-sheet` and `--ratings`: answers before people."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from insource.cli.words import bold, dim
from insource.errors import Invalid
from insource.nouns import Report

FILE = click.Path(path_type=Path, dir_okay=False)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a rating."""
    for option in reversed((
        click.option("--rating-sheet", metavar="FILE", type=FILE,
                     help="Write the answers, blind and shuffled, for people to rate: .csv or .html."),
        click.option("--scale", type=click.Choice(["marks", "pairs"]), default=None,
                     help="marks: 1 to 5 each (default); pairs: of two, is the first better, same or worse."),
        click.option("--ratings", metavar="FILE", type=FILE, multiple=True,
                     help="Read a sheet that was filled in; one file a rater, repeatable."),
    )):  # fmt: skip
        command = option(command)
    return command


def check(given: dict[str, Any]) -> None:
    """Raises `Invalid` for options that contradict each other."""
    if given.get("scale") and not given.get("rating_sheet"):
        raise Invalid("--scale is about a rating sheet", hint="insource measure TASK --rating-sheet FILE --scale pairs")
    asked = [name for name in ("rating_sheet", "ratings", "adversarial") if given.get(name)]
    if len(asked) > 1:
        words = " and ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise Invalid(f"{words} are two measurements", hint="leave one of them out")


def words(report: Report, sheet: Path | None) -> list[str]:
    """What to say of a sheet that was written, or of one that came back; nothing of another report."""
    if sheet is not None:
        kept = dim(f"answers of report {report.id[:8]}; whose they are is kept here, not in the sheet")
        return [bold(f"{sheet} is to be rated"), kept, f"next: insource measure {report.task} --ratings FILLED.csv"]
    people = [one for one in report.candidates if one.details.get("ratings")]
    first, *rest = report.summary
    return [bold(first), "", *[dim(line) for line in rest]] if people else []

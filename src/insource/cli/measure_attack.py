"""`insource measure --adversarial`: what spoiled and hostile texts do to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from insource.cli.words import bold, dim, table
from insource.errors import Invalid
from insource.journeys.attack import texts
from insource.measure import robustness as made
from insource.measure.adversarial import TAG
from insource.nouns import Candidate, Report, Score

HEAD = ("way", "clean", "hard", "points", "95% interval", "wrong, all given", "wrong and given", "n")


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of an attack."""
    for option in reversed((
        click.option("--adversarial", is_flag=True,
                     help="Ask the rows in every way that spoils or turns them: typos, noise, orders to the model."),
        click.option("--outside", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
                     help="With --adversarial: texts that are none of the task's, one a line, not the general ones."),
    )):  # fmt: skip
        command = option(command)
    return command


def check(given: dict[str, Any]) -> None:
    """Raises `Invalid` when an option of an attack is given without one."""
    if given.get("outside") is not None and not given.get("adversarial"):
        raise Invalid("--outside is about an attack", hint="insource measure TASK --adversarial --outside FILE")


def outside(given: dict[str, Any]) -> list[str]:
    """The user's own texts of another domain; none where no file is given. Raises `Invalid` for one without any."""
    file: Path | None = given.get("outside")
    return texts(file.expanduser()) if file else []


def words(report: Report) -> list[str]:
    """The report of an attack in lines; none for another report."""
    attacks = [candidate for candidate in report.candidates if candidate.details.get("robustness")]
    if not attacks:
        return []
    first, *rest = report.summary
    lines = [bold(first), ""]
    for candidate in attacks:
        lines += [candidate.candidate, table(HEAD, _rows(candidate)), ""]
    return [*lines, *[dim(line) for line in rest]]


def _rows(candidate: Candidate) -> list[tuple[str, ...]]:
    found = [_row(candidate, way["says"], f"{TAG}={way['name']}") for way in candidate.details["robustness"]["ways"]]
    return [row for row in found if any(row[1:])]


def _row(candidate: Candidate, says: str, of: str) -> tuple[str, ...]:
    lost, after = candidate.score(made.LOST, of), candidate.score(made.AFTER, of)
    counted = after or lost
    return (
        says,
        *(_share(candidate.score(metric, of)) for metric in (made.CLEANLY, made.HARD)),
        f"{lost.value * 100:+.1f}" if lost else "",
        f"{lost.low * 100:+.1f} to {lost.high * 100:+.1f}" if lost else "",
        *(_share(candidate.score(metric, of)) for metric in (made.BEFORE, made.AFTER)),
        f"{counted.n:,}" if counted else "",
    )


def _share(score: Score | None) -> str:
    return f"{score.value:.1%}" if score else ""

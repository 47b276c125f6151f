"""`insource migrate`: whether a task should move, in six steps and one verdict."""

import sys
from pathlib import Path
from typing import Any

import click

from insource.cli.door import Door, run, verb
from insource.cli.numbers import Number
from insource.cli.words import bold, dim, short, table
from insource.errors import Invalid
from insource.journeys.migrate import migrate
from insource.journeys.migrate_begin import MARGIN, ROWS, Wanted
from insource.journeys.migrate_page import write_page
from insource.journeys.migrate_plan import Planned, plan
from insource.journeys.replay import Replayed, replay
from insource.nouns.assessment import Assessed
from insource.settings import load_task
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource migrate tickets                       the plan; --yes goes through with it
  insource migrate tickets --yes --report verdict.html --budget 5
  insource migrate tickets --replay 3fa1          every figure told again from what was kept
"""


@verb("migrate", epilog=EXAMPLE)
@click.argument("task")
@click.option("--yes", is_flag=True, help="Go through with the plan without asking.")
@click.option("--rows", metavar="N", type=click.IntRange(20, 100_000), default=ROWS, show_default=True,
              help="Test rows that everyone is asked.")  # fmt: skip
@click.option("--margin", metavar="M", type=Number(0, 0.5), default=MARGIN, show_default=True,
              help="How far behind the incumbent is still not inferior, as a share.")  # fmt: skip
@click.option("--budget", metavar="USD", type=Number(min=0.0),
              help="What engines may cost this time: who would cost more is not asked.")  # fmt: skip
@click.option("--report", "page", metavar="FILE.html", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the report there too.")  # fmt: skip
@click.option("--replay", "again", metavar="ID", help="Tell the report of a finished run again, and compare.")
def command(door: Door, task: str, page: Path | None, again: str | None, **how: Any) -> None:
    """Say whether TASK should move in-house: go, not yet, stay, or a cheaper API, with reasons.

    Six steps: a sample of the test rows; criteria, fixed and hashed before any result; candidates without training; the
    best fine-tuned; the same rows made harder; a load. Then costs at the measured rates. A plan is shown first. Killed
    anywhere, the same command goes on.
    """
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise Invalid(f"the report is an HTML page, {page} does not end in .html", hint="--report report.html")
    page = page.expanduser() if page else None
    if again is not None:
        _replayed(door, *run(_replay(door, task, again)), page)
        return
    wanted = Wanted(rows=how["rows"], margin=how["margin"], budget=how["budget"])
    planned = run(_plan(door, task, wanted))
    if not how["yes"]:
        door.say(_plan_words(planned))
        if door.json or not sys.stdin.isatty():
            held = "" if wanted.budget is None else f" --budget {wanted.budget:.12g}"
            door.show(planned, f"next: {bold(f'insource migrate {task} --yes{held}')}")
            return
        click.confirm("go through with it?", abort=True, err=True)
    found, path = run(_migrate(door, task, wanted, page))
    door.show(found, _words(found, path))


async def _plan(door: Door, name: str, wanted: Wanted) -> Planned:
    settings = door.settings()
    async with await Store.open(settings) as store:
        return await plan(load_task(settings, name), settings, store, wanted)


async def _migrate(door: Door, name: str, wanted: Wanted, page: Path | None) -> tuple[Assessed, Path]:
    settings = door.settings()
    task = load_task(settings, name)
    async with await Store.open(settings) as store:
        with door.progress() as progress:
            found = await migrate(task, settings, store, wanted, speak=(door.say, progress))
    path = write_page(found, settings.state / "reports" / task.name / f"migrate-{found.run[:8]}.html")
    return found, write_page(found, page) if page else path


async def _replay(door: Door, name: str, again: str) -> tuple[Replayed, Assessed | None]:
    settings = door.settings()
    load_task(settings, name)
    async with await Store.open(settings) as store:
        return await replay(name, store, again)


def _replayed(door: Door, found: Replayed, told: Assessed | None, page: Path | None) -> None:
    if page is not None and told is not None:
        write_page(told, page)
    said = f"{found.figures:,} figures and words of run {short(found.run)} told again"
    lines = [f"{said}: the same, to the byte" if found.same else f"{said}: they are not what was said"]
    lines += [f"  {one.at}: said {one.said}, told {one.told}" for one in found.differs]
    door.show(found, "\n".join(lines))
    if not found.same:
        sys.exit(1)


def _plan_words(found: Planned) -> str:
    head = ("step", "what", "where", "rows", "about")
    rows = [
        (
            part.step,
            part.what,
            part.blocked or part.where,
            f"{part.rows:,}" if part.rows else "",
            "" if part.blocked else _about(part.minutes, part.usd),
        )
        for part in found.parts
    ]
    demanded = ", ".join(f"{name} {value:g}" for name, value in found.acceptance.items()) or "nothing"
    lines = [
        bold(f"{found.task}: {found.rows:,} of {found.of:,} test rows, ±{found.half_width:.1%} at 95%"),
        f"demanded: {demanded}; incumbent: {found.incumbent or 'not named'}",
        "",
        table(head, rows),
        "",
        f"in all about {_about(found.minutes, found.usd)}, API calls ${found.usd:,.2f}"
        + ("" if found.budget is None else f" of ${found.budget:,.2f} at most"),
    ]
    return "\n".join([*lines, *[dim(note) for note in found.notes], ""])


def _about(minutes: float, usd: float) -> str:
    return f"{max(0.1, minutes):,.1f} min" + (f", ${usd:,.2f}" if usd else "")


def _words(found: Assessed, path: Path) -> str:
    verdict = found.verdict
    lines = [bold(verdict.sentence), *verdict.first, ""]
    lines += [f"  {reason}" for reason in verdict.reasons]
    if found.failed:
        lines += ["", "not measured:", *[f"  {name}: {why}" for name, why in found.failed.items()]]
    if verdict.missing:
        lines += ["", "missing:", *[f"  {gap.words}" for gap in verdict.missing]]
    if verdict.changes:
        lines += ["", "what would change it:", *[f"  {change.words}" for change in verdict.changes]]
    again = f"insource migrate {found.task} --replay {short(found.run)}"
    return "\n".join([*lines, "", f"run {short(found.run)}, report {path}", dim(f"every figure again: {again}")])

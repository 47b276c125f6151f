"""`insource measure`: every candidate on the same rows."""

from pathlib import Path
from typing import Any

import click

from insource.cli import measure_attack, measure_load, measure_rate
from insource.cli.door import Door, run, verb
from insource.cli.words import bold, dim, table
from insource.errors import Invalid
from insource.journeys.attack import attack
from insource.journeys.lineup import SHOTS
from insource.journeys.load import write_page as write_load
from insource.journeys.measure import SPLIT, Plan, measure, publish, write_page
from insource.journeys.rate import rating_sheet, ratings
from insource.measure.load import Load
from insource.measure.words import called, leading
from insource.nouns import Candidate, Report, Task
from insource.settings import Settings, load_task
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource measure tickets
  insource measure tickets --candidate baseline --candidate tickets@1.0.0 --report report.html
  insource measure tickets --rows 500 --json
  insource measure tickets --adversarial --candidate tickets@1.0.0
  insource measure replies --rating-sheet sheet.html --candidate replies@1.0.0 --candidate big
  insource measure replies --ratings ann.csv --ratings ben.csv
  insource measure tickets --load --rate 50
  insource measure tickets --load --until-saturated --url http://127.0.0.1:8080
  insource measure tickets --load --size-for 200 --target-ms 250
"""


@verb("measure", epilog=EXAMPLE)
@click.argument("task")
@click.option("--candidate", "candidates", metavar="ID", multiple=True,
              help="baseline, zero-shot[:MODEL], few-shot[:MODEL], TASK@VERSION, an engine or ENGINE+examples; "
                   "repeatable.")  # fmt: skip
@click.option("--shots", metavar="K", type=click.IntRange(1, 64), default=SHOTS, show_default=True,
              help="Examples in the prompt of who is shown some.")  # fmt: skip
@click.option("--split", default=SPLIT, show_default=True, help="The rows to ask.")
@click.option("--rows", metavar="N", type=click.IntRange(1), help="Ask a stratified sample of N rows only.")
@measure_attack.options
@measure_rate.options
@click.option("--report", "page", metavar="FILE.html", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the report there too.")  # fmt: skip
@measure_load.options
def command(door: Door, task: str, candidates: tuple[str, ...], page: Path | None, **plan: Any) -> None:
    """Measure the candidates of TASK on the same rows, and compare them pair by pair.

    Without --candidate: the linear baseline, the base model without and with examples, the newest release and the
    engines of insource.toml. The untuned model is slow on a processor: it is asked 200 rows unless --rows says more.

    With --load: the live release, one --candidate, or a running gateway, under calls that arrive at random and do not
    wait for each other; latency at p50, p95 and p99 from when a call was due, and the share that was in time.

    With --adversarial: 200 rows as they are and in every way that people, scanners and attackers spoil them, and texts
    of no task at all; how many answers each way costs, and how many wrong ones leave by themselves. The untuned model
    is asked only by name, and 10 rows.

    With --rating-sheet: the answers of 40 rows for people to rate without knowing whose they are; --ratings reads the
    filled sheets back, with intervals and how far the raters agree.
    """
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise Invalid(f"the report is an HTML page, {page} does not end in .html", hint="--report report.html")
    page = page.expanduser() if page else None
    if plan.pop("load"):
        if page is not None and plan["size_for"]:
            raise Invalid("a size has no page", hint="--json has all of it; leave --report out")
        found = run(measure_load.loaded(door, task, candidates, plan))
        if page is not None and isinstance(found, Load):
            write_load(found, page)
        door.show(found, measure_load.words(found))
        return
    measure_load.refuse(plan)
    measure_attack.check(plan)
    measure_rate.check(plan)
    report, asked, path = run(_measure(door, task, candidates, page, plan))
    door.show(report, _words(report, asked, path, plan.get("rating_sheet")))


async def _measure(
    door: Door, name: str, candidates: tuple[str, ...], page: Path | None, plan: dict[str, Any]
) -> tuple[Report, Task, Path]:
    settings = door.settings()
    task = load_task(settings, name)
    shots, rows = plan.get("shots"), plan.get("rows")
    async with await Store.open(settings) as store:
        with door.progress() as progress:
            wanted: Plan = {
                "candidates": candidates,
                "split": str(plan.get("split") or SPLIT),
                "shots": int(shots or SHOTS),
                "rows": None if rows is None else int(rows),
                "progress": progress,
            }
            report = await _report(task, settings, store, plan, wanted)
    path = publish(report, task, settings)
    if page is not None:
        path = write_page(report, task, page)
    return report, task, path


async def _report(task: Task, settings: Settings, store: Store, plan: dict[str, Any], wanted: Plan) -> Report:
    """What was asked for: plain rows, hard rows, rows for people to rate, or what people said."""
    if plan.get("ratings"):
        return await ratings(task, settings, store, [path.expanduser() for path in plan["ratings"]])
    if sheet := plan.get("rating_sheet"):
        report, _ = await rating_sheet(task, settings, store, sheet.expanduser(), plan["scale"] or "marks", **wanted)
        return report
    if plan.get("adversarial"):
        return await attack(task, settings, store, outside=measure_attack.outside(plan), **wanted)
    return await measure(task, settings, store, **wanted)


def _words(report: Report, task: Task, path: Path, sheet: Path | None) -> str:
    if said := measure_attack.words(report) or measure_rate.words(report, sheet):
        return "\n".join([*said, "", f"report {report.id[:8]}: {path}"])
    metric = leading(task, report)
    rows = [_row(candidate, metric) for candidate in report.candidates]
    head = ("candidate", called(metric), "95% interval", "n", "p50 ms", "p95 ms", "rows/s", "calibration", "invalid")
    first, *rest = report.summary
    lines = [bold(first), "", table(head, rows), "", *[dim(line) for line in rest]]
    return "\n".join([*lines, "", f"report {report.id[:8]}: {path}"])


def _row(candidate: Candidate, metric: str) -> tuple[str, ...]:
    score, ece, time = candidate.score(metric), candidate.score("ece"), candidate.latency_ms
    figures = (f"{score.value:.1%}", f"{score.low:.1%} to {score.high:.1%}", f"{score.n:,}") if score else ("", "", "0")
    return (
        candidate.candidate,
        *figures,
        f"{time.p50:,.1f}",
        f"{time.p95:,.1f}",
        f"{candidate.rows_per_s:,.1f}",
        f"{ece.value:.3f}" if ece else "unknown",
        f"{candidate.failures.invalid:,}",
    )

"""`insource demo`: the whole loop on this machine."""

import shutil
import sys
from pathlib import Path

import click

from insource.cli.door import Door, run, verb
from insource.cli.release_words import gate_words
from insource.cli.words import bold, dim, table
from insource.journeys.collect import Collected
from insource.journeys.demo import STEPS, Step, Told, demo
from insource.journeys.demo_calls import Call
from insource.journeys.demo_place import write_reports
from insource.journeys.demo_reports import FIELDS
from insource.nouns import Candidate, Gate, Report, Score

EXAMPLE = """
\b
Examples:
  insource demo
  insource demo --dir /tmp/demo --rows 600
  insource demo --reports reports.csv        only the reports, to try the verbs on by hand
"""
OWN = """your own rows (docs/tutorial/your-own-csv.md):

  insource init plant
  insource -C plant collect TASK rows.csv --input TEXT_COLUMN --target LABEL_COLUMN
  write what is good enough into plant/tasks/TASK.toml, under [acceptance]
  insource -C plant train TASK
  insource -C plant release gate TASK
  insource -C plant release promote TASK
  insource -C plant serve"""


@verb("demo", epilog=EXAMPLE)
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), default="demo", show_default=True,
    help="Where the workspace goes: a new folder in it.",
)  # fmt: skip
@click.option("--rows", type=click.IntRange(200, 100_000), default=1400, show_default=True, help="How many reports.")
@click.option("--reports", type=click.Path(path_type=Path), help="Only write the reports to this CSV, and stop.")
def command(door: Door, folder: Path, rows: int, reports: Path | None) -> None:
    """Play the whole loop on generated defect reports: collect, measure, train, gate, promote, serve, review.

    Real weights, no key, no GPU, no question. A second run goes into a folder of its own.
    """
    if reports is not None:
        write_reports(reports, rows)
        return door.show({"file": str(reports), "rows": rows}, f"{rows:,} reports are in {reports}")
    with door.progress() as progress:
        told = run(demo(door.directory / folder, rows, lambda value: door.say(words(value)), progress))
    return door.show(told, ending(told))


def words(value: object) -> str:
    """What a step found, as people read it."""
    if isinstance(value, Step):
        return f"\n{bold(f'[{value.number}/{STEPS}] {value.name}')}"
    text = str(value)
    if isinstance(value, Report):
        text = report_words(value)
    elif isinstance(value, Gate):
        text = gate_words(value)
    elif isinstance(value, Collected):
        text = collected_words(value)
    elif isinstance(value, Call):
        text = call_words(value)
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def collected_words(found: Collected) -> str:
    """What came in and what the check says of it, the gravest first."""
    splits = ", ".join(f"{name} {count:,}" for name, count in found.splits.items())
    lines = [f"{found.rows.kept:,} rows kept of {found.rows.read:,}: {splits}. The data is {found.verdict}."]
    lines += [f"- {finding.message}" for finding in found.findings]
    return "\n".join([*lines, f"the check, to read: {found.page} in the workspace"])


def report_words(report: Report) -> str:
    """One line a candidate: the whole answer and each field, with interval and n, and the latency of one call."""
    head = ("candidate", "all right", *FIELDS, "n", "one call")
    return table(head, [_line(candidate) for candidate in report.candidates], indent="")


def _line(candidate: Candidate) -> list[str]:
    scores = [candidate.score("accuracy"), *[candidate.score("accuracy", field) for field in FIELDS]]
    n = next((f"{score.n:,}" for score in scores if score), "-")
    return [candidate.candidate, *[_share(score) for score in scores], n, f"{candidate.latency_ms.p50:,.0f} ms"]


def _share(score: Score | None) -> str:
    return f"{score.value:.1%} ({score.low:.0%} to {score.high:.0%})" if score else "-"


def call_words(call: Call) -> str:
    """The report that was sent, what came back, and what a person had filed."""
    said, filed = (" · ".join(map(str, value.values())) for value in (call.value, call.filed))
    outcome = "answered" if call.decision == "answered" else "waits for a person (the answer is provisional)"
    right = "as filed by hand" if call.value == call.filed else f"filed by hand as {filed}"
    return f"{call.input!r}\n  → {said}   {dim(f'confidence {call.confidence:.2f}, {right}')}\n  {outcome}"


def ending(told: Told) -> str:
    """Times, where things are, what to do next."""
    lines = [f"\n{step.seconds:>7.1f} s  {step.name}" for step in told.steps]
    place = told.workspace
    looks = [
        f"the report      {told.report}",
        f"before training {told.untuned}",
        f"the workspace   {place}: tasks/, recipe.toml, and all state in .insource/",
    ]
    if told.released:
        looks += [
            "",
            "go on with it:",
            f"  insource -C {place} review defects        settle what waits for a person",
            f"  insource -C {place} serve                 and call it from your own code",
            f"  insource -C {place} price defects         what it costs a month, beside the cheapest APIs",
            f"  insource -C {place} govern defects        its evidence, and what only people can say",
        ]
    minutes = f"{told.seconds // 60:.0f} min {told.seconds % 60:.0f} s"
    said = f"{told.released} answers: {told.why}" if told.released else told.why
    text = "\n".join(["\n" + "".join(lines).strip("\n"), f"{bold(f'done in {minutes}')}. {said}", "", *looks, "", OWN])
    return text.replace("  insource ", f"  {program()} ")


def program() -> str:
    """How `insource` is called from here: by its name where the shell finds it, else by its path."""
    if shutil.which("insource"):
        return "insource"
    path = Path(sys.argv[0]).absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)

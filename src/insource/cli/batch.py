"""`insource batch`: a file of inputs."""

from pathlib import Path

import click

from insource.cli.door import Door, run, verb
from insource.journeys.batch import AT_ONCE, Summary, batch
from insource.journeys.serve import close_path, open_path
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource batch tickets in.jsonl --out out.jsonl
  head -1 in.jsonl   {"id": "r1", "input": "where is my order?"}
"""


@verb("batch", epilog=EXAMPLE)
@click.argument("task")
@click.argument("source", metavar="IN.jsonl", type=click.Path(path_type=Path))
@click.option("--out", required=True, metavar="OUT.jsonl", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--workers", type=click.IntRange(1, 4096), default=AT_ONCE, show_default=True, help="Calls at a time.")
def command(door: Door, task: str, source: Path, out: Path, workers: int) -> None:
    """Answer every line of IN.jsonl with TASK or TASK@VERSION, in order, into OUT.jsonl.

    Stopped or killed, the same command answers only what is missing. A line that cannot be read gets an error, not
    lost. Ends with 4 when an engine left calls without an answer; run it again to ask only for those.
    """
    summary = run(_batch(door, task, (source, out), workers))
    door.show(summary, _words(summary))
    if summary.failed:
        click.get_current_context().exit(4)


async def _batch(door: Door, task: str, files: tuple[Path, Path], workers: int) -> Summary:
    settings = door.settings()
    async with await Store.open(settings) as store:
        with door.progress() as progress:
            path = await open_path(task, settings, store, progress=progress)
            try:
                return await batch(*files, path, store, progress=progress, at_once=workers)
            finally:
                await close_path(path)


def _words(summary: Summary) -> str:
    reused = f" ({summary.reused:,} by an earlier run)" if summary.reused else ""
    said = [f"{summary.out}: {summary.rows:,} rows, {summary.answered:,} answered{reused}"]
    waiting = f"{summary.review:,} wait{'s' * (summary.review == 1)} for a person"
    said += [f"  {waiting}: insource review {summary.task}"] * bool(summary.review)
    said += [f"  {summary.bad:,} lines could not be read; their error says why"] * bool(summary.bad)
    said += [f"  {summary.failed:,} have no valid answer; the same command asks for them again"] * bool(summary.failed)
    return "\n".join(said)

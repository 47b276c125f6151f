"""`insource improve`: what people said becomes the next release."""

from pathlib import Path

import click

from insource.cli.door import Door, run, verb
from insource.cli.words import bold, mark
from insource.journeys.improve import LEAST, Improved, Wanted, improve
from insource.settings import load_task
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource improve tickets
  insource improve tickets --least 100 --base smollm2-135m
"""


@verb("improve", epilog=EXAMPLE)
@click.argument("task")
@click.option("--least", type=click.IntRange(1), default=LEAST, show_default=True, help="New rows worth a training.")
@click.option("--base", metavar="MODEL", default="", help="Base model (default: the live release's), or linear.")
@click.option("--recipe", type=click.Path(path_type=Path, dir_okay=False), help="A recipe file.")
def command(door: Door, task: str, least: int, base: str, recipe: Path | None) -> None:
    """Take the reviewed answers of TASK in as labelled rows, retrain, and try the release beside the live one.

    Rows on which people disagree, or that the task no longer has, are left out. A row goes to one split and stays
    there. The release passes its gate, is measured beside what is live, and starts in its shadow. Killed, the same
    command goes on.
    """
    found = run(_improve(door, task, Wanted(least=least, base=base, recipe=str(recipe or ""))))
    door.show(found, _words(found))


async def _improve(door: Door, name: str, wanted: Wanted) -> Improved:
    settings = door.settings()
    async with await Store.open(settings) as store:
        with door.progress() as progress:
            return await improve(load_task(settings, name), settings, store, wanted, speak=(door.say, progress))


def _words(found: Improved) -> str:
    joined = ", ".join(f"{n:,} {split}" for split, n in found.joined.items()) or "none"
    lines = [f"{bold(found.task)}: reviewed rows that are new: {joined}"]
    lines += [f"  left out: {n:,}, {why}" for why, n in found.left.items()]
    if found.release:
        lines += [f"  {found.release}: {found.changelog}"]
        lines.append("  " + mark(bool(found.passed), f"its gate says {'yes' if found.passed else 'no'}"))
    if (pair := found.against) is not None:
        says = f"{pair.a} minus {pair.b}, {pair.metric}: {pair.difference:+.3f} ({pair.low:+.3f} to {pair.high:+.3f}"
        lines.append(f"  {says}, n {pair.n:,})")
    lines += [f"  {note}" for note in found.notes]
    if found.release:
        lines.append(f"\nnext: insource release show {found.release}")
    return "\n".join(lines)

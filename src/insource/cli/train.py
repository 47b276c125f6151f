"""`insource train`: make a specialist."""

from pathlib import Path

import click

from insource.cli.door import Door, run, verb
from insource.journeys.train import train
from insource.nouns import Release
from insource.settings import load_task
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource train tickets
  insource train tickets --base gemma3-270m --recipe recipe.toml
  insource train tickets --base linear        the baseline as a release
"""


@verb("train", epilog=EXAMPLE)
@click.argument("task")
@click.option("--base", metavar="MODEL", help="Base model (default: the workspace's), or linear.")
@click.option(
    "--recipe", type=click.Path(path_type=Path, dir_okay=False), help="A recipe file; dials left out are derived."
)
def command(door: Door, task: str, base: str | None, recipe: Path | None) -> None:
    """Fine-tune a model on the task's rows and register it as a candidate release.

    Says first what it will take. Stopped or killed, the same command goes on from the last checkpoint.
    """
    release = run(_train(door, task, base, recipe))
    door.show(
        release,
        f"{release.name} is a candidate. It answers nothing yet.\n{release.changelog}\n\n"
        f"next: insource release gate {release.name}",
    )


async def _train(door: Door, name: str, base: str | None, recipe: Path | None) -> Release:
    settings = door.settings()
    task = load_task(settings, name)
    store = await Store.open(settings)
    try:
        with door.progress() as progress:
            return await train(task, settings, store, base=base, recipe=recipe, speak=(door.say, progress))
    finally:
        await store.close()

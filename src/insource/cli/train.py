"""`insource train`: make a specialist."""

from pathlib import Path

import click

from insource.cli.door import Door, run, verb
from insource.engines.router import Card
from insource.journeys.auto import train_router
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
  insource train --router                     which task a call is for that names none
"""


@verb("train", epilog=EXAMPLE)
@click.argument("task", required=False)
@click.option("--router", is_flag=True, help='Fit the router of the model "auto" on the rows of all tasks.')
@click.option("--base", metavar="MODEL", help="Base model (default: the workspace's), or linear.")
@click.option(
    "--recipe", type=click.Path(path_type=Path, dir_okay=False), help="A recipe file; dials left out are derived."
)
def command(door: Door, task: str | None, router: bool, base: str | None, recipe: Path | None) -> None:
    """Fine-tune a model on the task's rows and register it as a candidate release.

    Says first what it will take. Stopped or killed, the same command goes on from the last checkpoint.
    """
    if router:
        card = run(_router(door))
        door.show(card, "\n".join(_told(card)))
        return
    if task is None:
        raise click.UsageError("Missing argument 'TASK'.")
    release = run(_train(door, task, base, recipe))
    door.show(
        release,
        f"{release.name} is a candidate. It answers nothing yet.\n{release.changelog}\n\n"
        f"next: insource release gate {release.name}",
    )


def _told(card: Card) -> list[str]:
    return [
        f"the router tells {len(card.tasks)} tasks: {', '.join(card.tasks)}",
        card.promise,
        f"held-out texts for these tasks: {card.answered:.1%} of {card.known:,} told, {card.right:.1%} of those right",
        f"held-out texts for none: {card.fooled:.1%} of {card.strange:,} taken for one of these tasks",
        "",
        'next: a call to insource serve with the model "auto"',
    ]


async def _router(door: Door) -> Card:
    settings = door.settings()
    async with await Store.open(settings) as store:
        return await train_router(settings, store)


async def _train(door: Door, name: str, base: str | None, recipe: Path | None) -> Release:
    settings = door.settings()
    task = load_task(settings, name)
    store = await Store.open(settings)
    try:
        with door.progress() as progress:
            return await train(task, settings, store, base=base, recipe=recipe, speak=(door.say, progress))
    finally:
        await store.close()

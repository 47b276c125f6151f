"""`insource models bench`: which engine serves a specialist quickest on this machine."""

import click

from insource.cli.door import Door, run, verb
from insource.cli.release_words import compared_words
from insource.errors import Missing
from insource.journeys.forms import ROWS, Compared, compare
from insource.nouns import Release
from insource.settings import load_task
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource release export tickets@1.0.0 --format openvino-int8
  insource release export tickets@1.0.0 --format llamacpp-q8_0
  insource models bench tickets
"""


@verb("bench", epilog=EXAMPLE)
@click.argument("name", metavar="TASK[@VERSION]")
@click.option("--rows", type=click.IntRange(1), default=ROWS, show_default=True, help="Test rows to read.")
def bench(door: Door, name: str, rows: int) -> None:
    """Time every form of a trained release on this machine, and say which to serve.

    A form is what `insource release export --format openvino…` or `llamacpp-…` made of it. Each reads the same test
    rows in a process of its own: one call at a time, then 64 at a time.
    """
    found, gated = run(_bench(door, name, rows))
    hint = "" if gated else f"\n\nnext: insource release gate {found.best}"
    door.show(found, compared_words(found) + hint)


async def _bench(door: Door, name: str, rows: int) -> tuple[Compared, bool]:
    """How the forms compare, and whether the best of them has been through its gate."""
    settings = door.settings()
    task, _, version = name.partition("@")
    loaded = load_task(settings, task)
    async with await Store.open(settings) as store:
        release = await store.release(task, version) if version else await _trained(store, task)
        with door.progress() as progress:
            found = await compare(loaded, release, settings, store, rows=rows, progress=progress)
        return found, bool(await store.gates(found.best))


async def _trained(store: Store, task: str) -> Release:
    """The newest release that a model serves."""
    found = [release for release in await store.releases(task) if release.engine != "linear"]
    if not found:
        raise Missing(f"{task} has no trained release yet", hint=f"insource train {task}")
    return found[-1]

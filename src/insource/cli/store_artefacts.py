"""`insource store push` and `pull`: between this host and the place that hosts share."""

from collections.abc import Awaitable, Callable

import click

from insource.cli.door import Door, verb
from insource.cli.stored import with_store
from insource.cli.words import mark
from insource.journeys import artefacts as journey
from insource.journeys.artefacts import Shared
from insource.journeys.lineup import Progress
from insource.settings import Settings
from insource.store import Store

Work = Callable[[Settings, Store, Progress], Awaitable[Shared]]


@verb("push", epilog="\b\nExample:\n  insource store push")
@click.option("--check", is_flag=True, help="Read what is there already, and put again what is damaged.")
def push(door: Door, check: bool) -> None:
    """Put the rows, releases and signatures of this host where hosts share them: [artefacts] of insource.toml.

    What is there already is left; stopped, the same command goes on. Ends with 1 when something here is damaged.
    """
    _move(door, "put", lambda settings, store, progress: journey.push(settings, store, check=check, progress=progress))


@verb("pull", epilog="\b\nExample:\n  insource store pull")
def pull(door: Door) -> None:
    """Fetch the rows and releases that this host lacks from where hosts share them. Serving does so by itself.

    Every file is checked before it is used; stopped, the same command goes on. Ends with 1 when something is damaged
    there, or missing.
    """
    _move(door, "fetched", lambda settings, store, progress: journey.pull(settings, store, progress=progress))


def _move(door: Door, done: str, work: Work) -> None:
    with door.progress() as progress:
        found = with_store(door, lambda settings, store: work(settings, store, progress))
    lines = [
        (
            f"{mark(not found.faults)} {found.place}: {found.files:,} files {done}, {found.bytes / 1e6:,.1f} MB; "
            f"{found.there:,} were there already; {found.releases:,} releases are whole"
        ),
        *[f"  {mark(False, fault)}" for fault in found.faults],
    ]
    door.show(found, "\n".join(lines))
    if found.faults:
        click.get_current_context().exit(1)


VERBS = (push, pull)

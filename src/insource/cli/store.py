"""`insource store`: migrate, back up, restore."""

from pathlib import Path

import click

from insource.cli.door import Door, run, verb
from insource.store import Store
from insource.store.backup import unpack

EXAMPLE = """
\b
Examples:
  insource store backup monday.tar       while the gateway runs
  insource store restore monday.tar
  insource store migrate
"""


@click.group("store", epilog=EXAMPLE)
def command() -> None:
    """Migrate, back up and restore what insource remembers: rows, releases, records, reviews, keys."""


@verb("migrate", epilog="\b\nExample:\n  insource store migrate")
def migrate(door: Door) -> None:
    """Bring the database to this version's form. Every command does so by itself; this one only says so."""
    state = run(_open(door))
    door.show({"store": str(state), "migrated": True}, f"{state} has the form of this version")


@verb("backup", epilog="\b\nExample:\n  insource store backup monday.tar")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(door: Door, file: Path) -> None:
    """Write the whole state to FILE, as it is at one moment. The gateway may go on meanwhile."""
    size = run(_backup(door, file))
    door.show({"file": str(file), "bytes": size}, f"{file}: {size / 1e6:.1f} MB. insource store restore {file}")


@verb("restore", epilog="\b\nExample:\n  insource store restore monday.tar --replace")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--replace", is_flag=True, help="Move the present state aside first.")
def restore(door: Door, file: Path, replace: bool) -> None:
    """Put the state in FILE in place. Stop insource serve first."""
    state = door.settings().state
    aside = unpack(file, state, replace=replace)
    former = f"\nthe former state lies in {aside}" if aside else ""
    door.show({"store": str(state), "former": str(aside) if aside else None}, f"restored {state}{former}")


async def _open(door: Door) -> Path:
    settings = door.settings()
    async with await Store.open(settings):
        return settings.state


async def _backup(door: Door, file: Path) -> int:
    async with await Store.open(door.settings()) as store:
        return await store.backup(file)


for _verb in (migrate, backup, restore):
    command.add_command(_verb)

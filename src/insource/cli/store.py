"""`insource store`: migrate, back up, restore, and carry records from one store to another."""

from pathlib import Path

import click

from insource.cli.door import Door, run, verb
from insource.cli.stored import with_store
from insource.errors import Invalid
from insource.journeys import carry
from insource.journeys import recover as journey
from insource.journeys.carry import Carry
from insource.journeys.recover import Recovered, spool_folder, words
from insource.settings import Settings
from insource.store import Store
from insource.store.backup import unpack
from insource.store.carried import Taken

EXAMPLE = """
\b
Examples:
  insource store backup monday.tar       while the gateway runs
  insource store restore monday.tar
  insource store migrate
  insource store export kiosk.jsonl      at the kiosk
  insource store import kiosk.jsonl      at home
  insource store recover                 what was spooled while the store was down
"""


@click.group("store", epilog=EXAMPLE)
def command() -> None:
    """Migrate, back up and restore what insource remembers: rows, releases, records, reviews, keys.

    Export and import carry records and reviews home from where there is no network.
    """


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


@verb("export", epilog="\b\nExample:\n  insource store export kiosk.jsonl")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def give(door: Door, file: Path) -> None:
    """Write every call, what waits for a person and what people said to FILE. The gateway may go on meanwhile.

    FILE holds the text of what waits, and the keys under which inputs are hashed: keep it as you keep a backup.
    """
    made = run(_give(door, file))
    words = f"calls {made.calls:,}, waiting for a person {made.waiting:,}, reviews {made.reviews:,}"
    door.show(made, f"{file}: {words}\n\nat home: insource store import {file.name}")


@verb("import", epilog="\b\nExample:\n  insource store import kiosk.jsonl")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def take(door: Door, file: Path) -> None:
    """Add the calls of FILE, written by insource store export. A call that is here already is not added again.

    What waits there waits here. Where people said one thing there and another here, what was said here stands.
    """
    found = run(_take(door, file))
    door.show(found, _taken_words(found))


@verb("recover", epilog="\b\nExample:\n  insource store recover\n  insource store recover /mnt/other/spool")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False, exists=True))
def recover(door: Door, folder: Path | None) -> None:
    """Carry in the calls that were spooled while the store was down, each once. The gateway does so by itself.

    Left out, FOLDER is audit.spool of insource.toml. Files of a gateway that runs are its own matter. One that was
    changed is kept, and named with what to do; it ends with 1 then.
    """
    found = with_store(door, lambda settings, store: _recover(settings, store, folder))
    door.show(found, "\n".join(words(found)) or "nothing is spooled")
    if found.refused:
        click.get_current_context().exit(1)


async def _recover(settings: Settings, store: Store, folder: Path | None) -> Recovered:
    folder = folder or spool_folder(settings)
    if folder is None:
        raise Invalid("no spool is set", hint="name the folder, or set audit.spool in insource.toml")
    return await journey.recover(store, folder)


async def _open(door: Door) -> Path:
    settings = door.settings()
    async with await Store.open(settings):
        return settings.state


async def _backup(door: Door, file: Path) -> int:
    async with await Store.open(door.settings()) as store:
        return await store.backup(file)


async def _give(door: Door, file: Path) -> Carry:
    async with await Store.open(door.settings()) as store:
        with door.progress() as progress:
            return await carry.give(store, file, progress=progress)


async def _take(door: Door, file: Path) -> Taken:
    async with await Store.open(door.settings()) as store:
        with door.progress() as progress:
            return await carry.take(store, file, progress=progress)


def _taken_words(found: Taken) -> str:
    lines = [f"new calls {found.records:,}, here already {found.known:,}"]
    lines += [f"waiting for a person, new {found.pending:,}: insource review TASK"] * bool(found.pending)
    lines += [f"reviews taken over {found.reviews:,}"] * bool(found.reviews)
    lines += [f"words of one of several people {found.opinions:,}"] * bool(found.opinions)
    lines += [f"taken back there, and now here {found.withdrawn:,}"] * bool(found.withdrawn)
    lines += [f"judged otherwise here, which stands: {', '.join(found.differ[:10])}"] * bool(found.differ)
    return "\n".join(lines)


for _verb in (migrate, backup, restore, give, take, recover):
    command.add_command(_verb)

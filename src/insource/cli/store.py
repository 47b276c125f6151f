"""`insource store`: migrate, back up, restore, drill, share artefacts, and carry records to another store."""

from pathlib import Path

import click
import msgspec

from insource.cli.door import Door, InOrder, run, verb
from insource.cli.store_artefacts import VERBS
from insource.cli.stored import with_store
from insource.cli.words import mark
from insource.errors import Invalid
from insource.journeys import carry
from insource.journeys import recover as journey
from insource.journeys.artefacts import gather
from insource.journeys.carry import Carry
from insource.journeys.drill import ROWS, Drilled, drill
from insource.journeys.lineup import Progress
from insource.journeys.recover import Recovered, spool_folder, words
from insource.journeys.store_copy import copy_store
from insource.settings import CONFIG, STATE, Settings
from insource.store import Store
from insource.store.backup import WORKSPACE, unpack
from insource.store.carried import Taken
from insource.store.opened import IN_FILE

EXAMPLE = """
\b
Examples:
  insource store backup monday.tar       while the gateway runs
  insource store restore monday.tar
  insource store drill                   does the newest backup answer as this does?
  insource store migrate
  insource store copy sqlite postgresql  to the shared database
  insource store export kiosk.jsonl      at the kiosk
  insource store import kiosk.jsonl      at home
  insource store recover                 what was spooled while the store was down
  insource store push                    releases and rows, for other hosts to serve
"""


@click.group("store", cls=InOrder, epilog=EXAMPLE)
def command() -> None:
    """Back up, restore and bring up to date what insource remembers: rows, releases, records, reviews, keys.

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
    """Write the whole workspace to FILE, as it is at one moment. The gateway may go on meanwhile."""
    with door.progress() as progress:
        size = with_store(door, lambda settings, store: _backup(settings, store, file, progress))
    door.show({"file": str(file), "bytes": size}, f"{file}: {size / 1e6:.1f} MB. insource store restore {file}")


@verb("copy", epilog="\b\nExample:\n  insource store copy sqlite postgresql    stop insource serve before")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(door: Door, source: str, target: str) -> None:
    """Copy all that the store keeps from one database to another, and compare every row.

    FROM and TO are "sqlite" (the workspace's file), "postgresql" (store.url, or INSOURCE_STORE_URL) or a url. TO must
    be empty. Blobs and releases lie beside the database and stay where they are.
    """
    with door.progress() as progress:
        found = run(copy_store(door.settings(), source, target, progress=progress))
    words = f"{found.rows:,} rows of {len(found.tables)} tables are the same in both, SHA-256 {found.sha256[:16]}"
    door.show({**msgspec.to_builtins(found), "rows": found.rows}, words)


@verb("restore", epilog="\b\nExample:\n  insource store restore monday.tar --replace")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--replace", is_flag=True, help="Move the present state aside first.")
def restore(door: Door, file: Path, replace: bool) -> None:
    """Put the state in FILE in place, and the settings and tasks that are absent. Stop insource serve first.

    An empty folder becomes the workspace. Settings and tasks that are others here than in FILE are left as they are.
    """
    state = door.directory.resolve() / STATE
    made = unpack(file, state, replace=replace)
    lines = [f"restored {state}"]
    lines += [f"the former state lies in {made.former}"] * bool(made.former)
    lines += [f"made {', '.join(made.made)}"] * bool(made.made)
    lines += [
        f"others here than in {file}, and left: {', '.join(made.differ)}; its own lie in {state / WORKSPACE}"
    ] * bool(made.differ)
    if (door.directory / CONFIG).is_file() and door.settings().store.url not in ("", IN_FILE):
        lines.append("the settings name a shared database: insource store copy sqlite postgresql puts the rows there")
    door.show({"store": str(state), **msgspec.to_builtins(made)}, "\n".join(lines))


@verb("drill", epilog="\b\nExamples:\n  insource store drill\n  insource store drill monday.tar --rows 500")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--rows", type=click.IntRange(0), default=ROWS, show_default=True, help="Test rows to ask of each task.")
def restore_drill(door: Door, file: Path | None, rows: int) -> None:
    """Restore FILE, or the newest backup, into a folder that goes again, and see that it answers as this does.

    The audit chain and every release are verified there; the live releases answer test rows here and there. Ends with 1
    when anything differs. The outcome stays in the state, as evidence.
    """
    with door.progress() as progress:
        found = with_store(
            door, lambda settings, store: drill(settings, store, file=file, rows=rows, progress=progress)
        )
    door.show({**msgspec.to_builtins(found), "whole": found.whole}, _drilled_words(found))
    if not found.whole:
        click.get_current_context().exit(1)


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


async def _backup(settings: Settings, store: Store, file: Path, progress: Progress) -> int:
    await gather(settings, store, progress=progress)  # what only other hosts have belongs to it as well
    return await store.backup(file)


async def _give(door: Door, file: Path) -> Carry:
    async with await Store.open(door.settings()) as store:
        with door.progress() as progress:
            return await carry.give(store, file, progress=progress)


async def _take(door: Door, file: Path) -> Taken:
    async with await Store.open(door.settings()) as store:
        with door.progress() as progress:
            return await carry.take(store, file, progress=progress)


def _drilled_words(found: Drilled) -> str:
    bound = f", at most {found.upper95:.1%} with 95% confidence" if found.upper95 is not None else ""
    lines = [
        f"{mark(found.whole)} {found.file} was restored and answered within {found.recovered_s:,.1f} s",
        f"  {found.records:,} records in its audit chain, {found.releases:,} releases file by file",
        f"  {found.answers:,} answers compared, {len(found.differ):,} differ{bound}",
        f"  it is {_age(found.lost_s)} old: what came later would have been lost with the disk",
    ]
    return "\n".join([*lines, *[f"  {mark(False, fault)}" for fault in found.faults]])


def _age(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} hours" if seconds >= 3600 else f"{seconds / 60:,.0f} minutes"


def _taken_words(found: Taken) -> str:
    lines = [f"new calls {found.records:,}, here already {found.known:,}"]
    lines += [f"waiting for a person, new {found.pending:,}: insource review TASK"] * bool(found.pending)
    lines += [f"reviews taken over {found.reviews:,}"] * bool(found.reviews)
    lines += [f"words of one of several people {found.opinions:,}"] * bool(found.opinions)
    lines += [f"taken back there, and now here {found.withdrawn:,}"] * bool(found.withdrawn)
    lines += [f"judged otherwise here, which stands: {', '.join(found.differ[:10])}"] * bool(found.differ)
    return "\n".join(lines)


for _verb in (backup, restore, restore_drill, copy, migrate, give, take, recover, *VERBS):
    command.add_command(_verb)

"""`insource audit`: is every record as it was written, what was spent, what left, and all as a file for an auditor."""

from pathlib import Path

import click

from insource.cli import audit_levels
from insource.cli.door import Door, InOrder, run, verb
from insource.cli.words import dim, mark, table
from insource.journeys import audit
from insource.journeys.audit import BY, Audit
from insource.journeys.egress import EgressReport, report
from insource.store import Store
from insource.store.checkpoints import Checkpoint, public_key
from insource.store.tally import Took

EXAMPLE = """
\b
Examples:
  insource audit verify
  insource audit verify --checkpoints /mnt/worm/checkpoints.jsonl --key "$(cat insource.pub)"
  insource audit usage --by tenant --since 2026-11-01
  insource audit levels tickets
  insource audit egress
"""
SHOWN = 20


@click.group("audit", cls=InOrder, epilog=EXAMPLE)
def command() -> None:
    """Verify what was recorded, export it, see what was spent, what left, and whether levels were kept.

    Every call is noted before it is answered and recorded before its answer leaves; each entry is bound to the one
    before it. Checkpoints, signed and kept elsewhere, show an end that was cut off.
    """


@verb("verify", epilog="\b\nExample:\n  insource audit verify --checkpoints /mnt/worm/checkpoints.jsonl")
@click.option("--checkpoints", "file", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="Compare with these; left out, those of this workspace.")  # fmt: skip
@click.option("--key", "public", default="", metavar="BASE64", help="The key that signed them, by insource audit key.")
def verify(door: Door, file: Path | None, public: str) -> None:
    """Look at every entry, every row it vouches for and every checkpoint. Ends with 1 when something was changed."""
    found = run(_verify(door, file, public))
    door.show(found, _found(found))
    if not found.whole:
        click.get_current_context().exit(1)


@verb("checkpoint", epilog="\b\nExample:\n  insource audit checkpoint --to /mnt/worm/checkpoints.jsonl")
@click.option("--to", "file", type=click.Path(path_type=Path, dir_okay=False), help="The file to add it to.")
def checkpoint(door: Door, file: Path | None) -> None:
    """Sign the last entry and add it to the file of checkpoints. The gateway does so by itself every minute."""
    made = run(_checkpoint(door, file))
    words = f"entry {made.seq:,} signed" if made else "nothing was recorded since the last checkpoint"
    door.show({"checkpoint": made}, words)


@verb("key", epilog="\b\nExample:\n  insource audit key > insource.pub")
def key(door: Door) -> None:
    """Print the public key that checkpoints are verified with. Keep it where you keep the checkpoints."""
    public = public_key(door.settings().state)
    door.show({"key": public}, public)


@verb("export", epilog="\b\nExample:\n  insource audit export november.jsonl")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(door: Door, file: Path) -> None:
    """Write every entry, with the row it vouches for, to FILE. No text of callers or engines is in it."""
    count = run(_export(door, file))
    door.show({"file": str(file), "entries": count}, f"{file}: {count:,} entries")


@verb("prune", epilog="\b\nExample:\n  insource audit prune")
def prune(door: Door) -> None:
    """Remove what [audit] of insource.toml no longer keeps. The gateway does so by itself every hour."""
    count = run(_prune(door))
    door.show({"records": count}, f"{count:,} records went" if count else "nothing is old enough to go")


@verb("usage", epilog="\b\nExample:\n  insource audit usage --by task --since 2026-11-01")
@click.option("--by", type=click.Choice(BY), default="task", show_default=True, help="What to add up.")
@click.option("--since", default="", metavar="DAY", help="From this day or time on, UTC.")
def usage(door: Door, by: str, since: str) -> None:
    """Add up calls, tokens and US dollars. By engine, every engine that a call was put to counts.

    What went by age counts as well.
    """
    found = run(_usage(door, by, since))
    door.show({"by": by, "since": since, "usage": found}, _spent(by, found))


@verb("egress", epilog="\b\nExample:\n  insource audit egress --json")
def egress(door: Door) -> None:
    """List every connection out of this workspace by purpose and destination, those that were refused too.

    It tells who was connected to, for whom, when, how often, and how many bytes of requests left. Model downloads are
    those of all workspaces that share this user's cache.
    """
    found = run(report(door.settings()))
    door.show(found, _left(found))


async def _verify(door: Door, file: Path | None, public: str) -> Audit:
    settings = door.settings()
    async with await Store.open(settings) as store:
        return await audit.verify(settings, store, file=file, public=public)


async def _checkpoint(door: Door, file: Path | None) -> Checkpoint | None:
    settings = door.settings()
    async with await Store.open(settings) as store:
        return await audit.checkpoint(settings, store, file=file)


async def _export(door: Door, file: Path) -> int:
    async with await Store.open(door.settings()) as store:
        with door.progress() as progress:
            return await audit.export(store, file, progress=progress)


async def _prune(door: Door) -> int:
    settings = door.settings()
    async with await Store.open(settings) as store:
        await audit.checkpoint(settings, store)
        return await audit.prune(settings, store)


async def _usage(door: Door, by: str, since: str) -> list[Took]:
    async with await Store.open(door.settings()) as store:
        with door.progress() as progress:
            return await audit.usage(store, by=by, since=since, progress=progress)


def _found(found: Audit) -> str:
    said = f"{found.entries:,} entries, {found.rows:,} rows, {found.checkpoints:,} checkpoints"
    said += f"; what came before entry {found.foot.seq + 1:,} went by age" if found.foot.seq else ""
    begun = f"\n{found.open_calls:,} calls are being answered" if found.open_calls else ""
    begun += f"\n{found.spooled:,} calls came in from a spool: the store was down" if found.spooled else ""
    if found.whole:
        kept = (
            "" if found.checkpoints else dim("\nan end that was cut off shows only against a checkpoint kept elsewhere")
        )
        return f"{mark(True, 'as it was written')}: {said}{begun}{kept}"
    lines = [f"  entry {one.seq:,} {one.kind} {one.about}: {one.what}" for one in found.faults[:SHOWN]]
    more = len(found.faults) - SHOWN
    lines += [f"  and {more:,} more: --json shows them"] * (more > 0)
    return "\n".join([f"{mark(False, 'not as it was written')}: {said}{begun}", *lines])


def _spent(by: str, found: list[Took]) -> str:
    if not found:
        return "no calls were recorded"
    rows = [
        (one.name, f"{one.calls:,}", f"{one.failed:,}", f"{one.review:,}", f"{one.input_tokens:,}",
         f"{one.output_tokens:,}", f"{one.usd:,.4f}")
        for one in found
    ]  # fmt: skip
    spooled = sum(one.spooled for one in found)
    return table((by, "calls", "failed", "to review", "tokens in", "tokens out", "US dollars"), rows) + (
        f"\n{spooled:,} of these came in from a spool: the store was down" if spooled else ""
    )


def _left(found: EgressReport) -> str:
    rows = [
        (one.purpose, one.place, one.address or "-", one.region or "-", f"{one.connections:,}",
         f"{one.refused:,}", f"{one.sent:,}", one.first, one.last)
        for one in found.egress
    ]  # fmt: skip
    head = ("purpose", "destination", "address", "region", "connections", "refused", "bytes", "first", "last")
    lines = [table(head, rows)] if rows else ["nothing left this workspace"]
    lines += [f"{mark(False, one.purpose)}: {one.place}: {one.why}" for one in found.egress if one.refused]
    lines += [f"{found.unreadable:,} lines of the journal cannot be read"] * (found.unreadable > 0)
    return "\n".join(lines)


for _verb in (verify, checkpoint, key, export, prune, usage, egress, audit_levels.command):
    command.add_command(_verb)

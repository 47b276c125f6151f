"""`insource audit`: is every record as it was written, what was spent, were levels kept, and all of it as a file."""

from pathlib import Path

import click
import msgspec

from insource.cli.door import Door, run, verb
from insource.cli.words import bold, dim, mark, table
from insource.journeys import audit
from insource.journeys.audit import BY, Audit, Usage
from insource.journeys.levels import SHARES, Level, Service, broken, levels
from insource.nouns import JsonObject
from insource.store import Store
from insource.store.checkpoints import Checkpoint, public_key

EXAMPLE = """
\b
Examples:
  insource audit verify
  insource audit verify --checkpoints /mnt/worm/checkpoints.jsonl --key "$(cat insource.pub)"
  insource audit usage --by tenant --since 2026-11-01
  insource audit levels tickets
"""
SHOWN = 20


@click.group("audit", epilog=EXAMPLE)
def command() -> None:
    """Verify what was recorded, export it, see what was spent and whether service levels were kept.

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
    """Add up calls, tokens and US dollars. By engine, every engine that a call was put to counts."""
    found = run(_usage(door, by, since))
    door.show({"by": by, "since": since, "usage": found}, _spent(by, found))


@verb("levels", epilog="\b\nExample:\n  insource audit levels tickets --since 2026-11-01")
@click.argument("task", required=False, default="")
@click.option("--since", default="", metavar="DAY", help="From this day or time on, UTC (default: 30 days ago).")
def service_levels(door: Door, task: str, since: str) -> None:
    """Compare what callers of TASK, or of every task, got with the [levels] of its file: answers, form, time.

    Ends with 1 when a level is broken.
    """
    found = run(_levels(door, task, since))
    told = [{**msgspec.structs.asdict(one), "levels": [_told(level) for level in one.levels]} for one in found]
    door.show({"levels": told}, "\n\n".join(_service(one) for one in found) or "no tasks yet")
    if broken(found):
        click.get_current_context().exit(1)


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


async def _usage(door: Door, by: str, since: str) -> list[Usage]:
    async with await Store.open(door.settings()) as store:
        return await audit.usage(store, by=by, since=since)


async def _levels(door: Door, task: str, since: str) -> list[Service]:
    settings = door.settings()
    async with await Store.open(settings) as store:
        return await levels(settings, store, task=task, since=since)


def _told(level: Level) -> JsonObject:
    return {**msgspec.structs.asdict(level), "kept": level.kept, "sure": level.sure}


def _service(found: Service) -> str:
    head = f"{bold(found.task)}  {dim(f'{found.calls:,} calls since {found.since}')}"
    if not found.levels:
        return head
    rows = [_row(level) for level in found.levels]
    return f"{head}\n{table(('level', 'is', '95% interval', 'n', 'promised', ''), rows)}"


def _row(level: Level) -> tuple[str, ...]:
    say = _percent if level.name in SHARES else _ms
    verdict = "" if level.kept is None else mark(level.kept, "" if level.sure else "not sure: too few calls")
    target = "" if level.target is None else say(level.target)
    return (
        level.name.removesuffix("_ms"),
        say(level.value),
        f"{say(level.low)} to {say(level.high)}",
        f"{level.n:,}",
        target,
        verdict,
    )


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share:.3%}"


def _ms(ms: float | None) -> str:
    return "?" if ms is None else f"{ms:,.1f} ms"


def _found(found: Audit) -> str:
    said = f"{found.entries:,} entries, {found.rows:,} rows, {found.checkpoints:,} checkpoints"
    said += f"; what came before entry {found.foot.seq + 1:,} went by age" if found.foot.seq else ""
    begun = f"\n{found.open_calls:,} calls are being answered" if found.open_calls else ""
    if found.whole:
        kept = (
            "" if found.checkpoints else dim("\nan end that was cut off shows only against a checkpoint kept elsewhere")
        )
        return f"{mark(True, 'as it was written')}: {said}{begun}{kept}"
    lines = [f"  entry {one.seq:,} {one.kind} {one.about}: {one.what}" for one in found.faults[:SHOWN]]
    more = len(found.faults) - SHOWN
    lines += [f"  and {more:,} more: --json shows them"] * (more > 0)
    return "\n".join([f"{mark(False, 'not as it was written')}: {said}{begun}", *lines])


def _spent(by: str, found: list[Usage]) -> str:
    if not found:
        return "no calls were recorded"
    rows = [
        (one.name, f"{one.calls:,}", f"{one.failed:,}", f"{one.review:,}", f"{one.input_tokens:,}",
         f"{one.output_tokens:,}", f"{one.usd:,.4f}")
        for one in found
    ]  # fmt: skip
    return table((by, "calls", "failed", "to review", "tokens in", "tokens out", "US dollars"), rows)


for _verb in (verify, checkpoint, key, export, prune, usage, service_levels):
    command.add_command(_verb)

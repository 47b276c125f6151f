"""`insource audit levels`: what callers were promised, and what they got."""

import click
import msgspec

from insource.cli.door import Door, run, verb
from insource.cli.words import bold, dim, mark, table
from insource.journeys.levels import SHARES, Level, Service, broken, levels
from insource.nouns import JsonObject
from insource.store import Store


@verb("levels", epilog="\b\nExample:\n  insource audit levels tickets --since 2026-11-01")
@click.argument("task", required=False, default="")
@click.option("--since", default="", metavar="DAY", help="From this day or time on, UTC (default: 30 days ago).")
def command(door: Door, task: str, since: str) -> None:
    """Compare what callers of TASK, or of every task, got with the [levels] of its file: answers, form, time.

    Ends with 1 when a level is broken.
    """
    found = run(_levels(door, task, since))
    told = [{**msgspec.structs.asdict(one), "levels": [_told(level) for level in one.levels]} for one in found]
    door.show({"levels": told}, "\n\n".join(_service(one) for one in found) or "no tasks yet")
    if broken(found):
        click.get_current_context().exit(1)


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

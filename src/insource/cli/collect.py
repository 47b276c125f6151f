"""`insource collect`: labelled rows in."""

from pathlib import Path

import click

from insource.cli.door import Door, run, verb
from insource.cli.words import bold, dim, table
from insource.collect.columns import Wish
from insource.collect.findings import Finding
from insource.collect.forms import FORMS, TABLE
from insource.errors import Invalid, Refused
from insource.journeys.collect import Collected, collect
from insource.journeys.pool import Pooled, pool
from insource.journeys.removals import Restored, restored
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource collect tickets rows.csv --input text --target intent
  insource collect tickets train.csv --split train && insource collect tickets test.csv --split test
  insource collect defects reports.parquet --input report --target category=kind --target urgency
  insource collect tickets chats.jsonl        OpenAI fine-tune form, no columns to name
  insource collect tickets log.jsonl          what a model answered so far: its log, cleaned
  insource collect tickets --restore leaks    rows that cleaning took out, back again
"""
COLOURS = {"serious": "red", "care": "yellow", "note": "blue"}
SIGNS = {"serious": "✗", "care": "!", "note": "·"}
TONES = {"not ready": "red", "ready with care": "yellow", "ready": "green"}


@verb("collect", epilog=EXAMPLE)
@click.argument("task")
@click.argument("files", metavar="FILE…", nargs=-1, type=click.Path(path_type=Path))
@click.option("--input", "source", metavar="COL", default="", help="The column of the input (default: input or text).")
@click.option("--target", "targets", metavar="COL", multiple=True, help="A target's column, or OUTPUT=COL; repeatable.")
@click.option("--tag", "tags", metavar="COL", multiple=True, help="Keep a column as a slice; repeatable.")
@click.option("--split", metavar="NAME", default="", help="train, dev or test for all rows of this call.")
@click.option("--replace", is_flag=True, help="Start over instead of adding to the rows kept before.")
@click.option("--drop-leaks", is_flag=True, help="Take out of train what has a near duplicate in another split.")
@click.option("--format", "form", metavar="NAME", default="", help=f"What the files are: {', '.join((TABLE, *FORMS))}.")
@click.option(
    "--prompt", metavar="NAME", default="", help="Of a log, the calls that were told this: digits of its name."
)
@click.option("--clean/--no-clean", default=None, help="Take out what would teach something wrong (default: of logs).")
@click.option(
    "--restore", metavar="KIND|ROW", default="", help="Bring back rows that cleaning took out; needs no FILE."
)
@click.option("--unlabelled", is_flag=True, help="Keep rows without a target, as inputs for insource teach.")
@click.option("--strict", is_flag=True, help="Exit 1 and keep nothing if a row is rejected or a finding is serious.")
def command(door: Door, task: str, files: tuple[Path, ...], restore: str, unlabelled: bool, **asked: object) -> None:
    """Bring labelled rows in: csv, jsonl, parquet, OpenAI fine-tune jsonl, or the log of a model that did the work.

    The rows are checked, near duplicates are kept together, and rows without a split get one (80/10/10, by content).
    The check is a page. Rows that cannot be used are named by file, line and reason, and set aside. Without a task
    file, --input and --target make one from the data, and so does a log, from its answers. Personal data in a log is
    replaced, and rows that contradict, repeat, leak or look wrong are taken out, each with its reason; --restore brings
    them back. With --unlabelled only --input and --replace count.
    """
    if restore:
        restored = run(_restore(door, task, files, restore))
        door.show(restored, _back(restored))
        return
    asked["input"] = asked.pop("source")
    wish = Wish(**asked)  # type: ignore[arg-type]
    if unlabelled:
        pooled = run(_pool(door, task, files, wish))
        door.show(pooled, _pool_words(pooled))
        return
    collected = run(_collect(door, task, files, wish))
    door.show(collected, _words(collected))
    if collected.refused:
        door.say("error: --strict: nothing was kept\n" + "\n".join(f"       {why}" for why in collected.refused))
        click.get_current_context().exit(Refused.exit_code)


async def _collect(door: Door, name: str, files: tuple[Path, ...], wish: Wish) -> Collected:
    settings = door.settings()
    async with await Store.open(settings) as store:
        with door.progress() as progress:
            return await collect(name, files, settings, store, wish=wish, progress=progress)


async def _pool(door: Door, name: str, files: tuple[Path, ...], wish: Wish) -> Pooled:
    settings = door.settings()
    async with await Store.open(settings) as store:
        with door.progress() as progress:
            return await pool(name, files, settings, store, wish=wish, progress=progress)


def _pool_words(pooled: Pooled) -> str:
    rows = pooled.rows
    lines = [
        f"{bold(pooled.task)}: {pooled.total:,} inputs, {pooled.total - pooled.labelled:,} of them without a label",
        f"  rows      {rows.read:,} read: {rows.kept:,} new, {rows.duplicates:,} repeated, {rows.rejected:,} set aside",
    ]
    lines += [f"  set aside {pooled.rejects}"] if pooled.rejects else []
    return "\n".join([*lines, "", f"next: insource teach {pooled.task} --teacher ENGINE --plan"])


async def _restore(door: Door, name: str, files: tuple[Path, ...], wanted: str) -> Restored:
    if files:
        raise Invalid("--restore takes no file", hint=f"insource collect {name} --restore {wanted}")
    settings = door.settings()
    async with await Store.open(settings) as store:
        return await restored(name, settings, store, wanted)


def _back(done: Restored) -> str:
    kinds = ", ".join(f"{kind} {n:,}" for kind, n in done.restored.items())
    splits = ", ".join(f"{split} {n:,}" for split, n in done.splits.items())
    return f"{bold(done.task)}: brought back: {kinds}\n  dataset  {splits}  {dim(done.dataset[:12])}"


def _words(collected: Collected) -> str:
    rows = collected.rows
    splits = ", ".join(f"{split} {count:,}" for split, count in collected.splits.items())
    more = [f", {n:,} {what}" for what, n in (("taken out", rows.removed), ("of other tasks", rows.elsewhere)) if n]
    parts = f"{rows.kept:,} new, {rows.duplicates:,} repeated, {rows.rejected:,} set aside"
    facts = [
        ("rows", f"{rows.read:,} read: {parts}{''.join(more)}"),
        ("dataset", f"{sum(collected.splits.values()):,} rows: {splits}  {dim(collected.dataset[:12])}"),
        *[("", note) for note in collected.notes],
    ]
    verdict = click.style(collected.verdict, fg=TONES[collected.verdict], bold=True)
    lines = [f"{bold(collected.task)}: {verdict}", "", *(f"  {name:<8} {words}" for name, words in facts), ""]
    for finding in collected.findings:
        lines += _finding(finding)
    if collected.rejects:
        lines.append(f"  set aside: {collected.rejects}")
    if collected.removals:
        lines.append(f"  taken out: {collected.removals}")
    lines.append(f"  page:      {collected.page}")
    first = f"write what is good enough into tasks/{collected.task}.toml under [acceptance]" if collected.made else ""
    then = f"{first}, then " if first else ""
    after = "" if collected.refused else f"\n\nnext: read the page, {then}insource train {collected.task}"
    return "\n".join(lines) + after


def _finding(finding: Finding) -> list[str]:
    sign = click.style(SIGNS[finding.severity], fg=COLOURS[finding.severity], bold=True)
    lines = [f"  {sign} {finding.message}", dim(f"    {finding.do}")]
    if finding.kind == "rejected":
        where = [(f"{e['file']}:{e['line']}", str(e["reason"])) for e in finding.examples[:5]]
        lines.append(table(("where", "why"), where, indent="    "))
    return [*lines, ""]

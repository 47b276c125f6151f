"""`insource answer`: one input, the answer, and why."""

import sys

import click
import msgspec
from msgspec import to_builtins

from insource.cli.door import Door, run, verb
from insource.cli.words import dim
from insource.decode.check import render
from insource.errors import Invalid
from insource.journeys.answer import Path, answer
from insource.journeys.batch_row import Row, row_of
from insource.journeys.serve import close_path, open_path
from insource.nouns import WAITS, Hit, JsonObject, Record, ask, record_id, visible
from insource.store import Store

PATIENCE_S = 600.0  # a long document takes its time, and Ctrl-C ends it
EXAMPLE = """
\b
Examples:
  insource answer tickets --input "where is my order?"
  insource answer tickets@1.0.0 --input - < message.txt
"""


@verb("answer", epilog=EXAMPLE)
@click.argument("task")
@click.option("--input", "text", metavar="TEXT|-", help="The input; - reads standard input.")
def command(door: Door, task: str, text: str | None) -> None:
    """Put one input to TASK, or to TASK@VERSION, the way the gateway would, and explain the decision."""
    record, path = run(_answer(door, task, _input(text)))
    row = row_of(record.id, record, path)
    door.show(_shown(row, record), _words(row, record, path))
    if row.error is not None:
        click.get_current_context().exit(4)


async def _answer(door: Door, name: str, text: str) -> tuple[Record, Path]:
    settings = door.settings()
    async with await Store.open(settings) as store:
        with door.progress() as progress:
            path = await open_path(name, settings, store, progress=progress)
        try:
            if path.task is None:
                raise Invalid(f"{name} is no task")
            request = msgspec.structs.replace(ask(path.task, text, id=record_id()), deadline=PATIENCE_S)
            return await answer(request, path, store.append), path
        finally:
            await close_path(path)


def _input(text: str | None) -> str:
    if text is None and sys.stdin.isatty():
        raise Invalid("there is no input", hint='--input "…", or --input - for standard input')
    if text is not None and text != "-":
        try:
            return text.encode("utf-8").decode()
        except UnicodeEncodeError as error:
            raise Invalid(f"the input is not UTF-8 text (character {error.start})") from error
    try:
        return sys.stdin.buffer.read().decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise Invalid(f"the input is not UTF-8 text (byte {error.start})") from error


def _shown(row: Row, record: Record) -> JsonObject:
    found: JsonObject = {"fields": row.fields, "places": row.places} if row.places is not msgspec.UNSET else {}
    return {
        "id": record.id,
        "output": row.output,
        "confidence": row.confidence,
        **found,
        "decision": row.decision,
        "release": row.release,
        "record": record.id,
        "tier": record.tier,
        "reason": record.attempts[-1].decision.reason,
        "error": row.error,
        **_found(record),
    }


def _found(record: Record) -> JsonObject:
    """What the scan found in the input and in the answers, where it found something."""
    answers = [[to_builtins(hit) for hit in attempt.found] for attempt in record.attempts]
    if not record.found and not any(answers):
        return {}
    return {"found": {"input": [to_builtins(hit) for hit in record.found], "answers": answers}}


def _words(row: Row, record: Record, path: Path) -> str:
    said = visible(render(path.task, row.output)) if path.task and row.output is not None else f"no answer: {row.error}"
    said = "nothing is answered: it is out of the task's scope" if record.withheld else said
    lines = [said, "", *([_hits("  found in the input", record.found)] if record.found else [])]
    for number, attempt in enumerate(record.attempts, 1):
        decision = attempt.decision
        why = f" ({decision.rule})" if ":" in decision.rule else ""
        lines.append(f"  {number}. {decision.engine}{why}: {decision.reason}{_hits('; in the answer', attempt.found)}")
    lines += [f"  not asked: {choice.reason}" for choice in path.refused]
    lines.append(f"  decision: {record.outcome}, {record.latency_ms:.0f} ms")
    if record.outcome in WAITS:
        lines.append(f"  it waits for a person: insource review {record.task}")
    return "\n".join([*lines, dim(f"  record {record.id}")])


def _hits(where: str, found: tuple[Hit, ...]) -> str:
    said = ", ".join(f"{hit.count} {hit.kind} ({hit.action})" for hit in found)
    return f"{where}: {said}" if said else ""

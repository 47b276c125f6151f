"""`insource review`: what waits for a person."""

import getpass
import sys
from contextlib import suppress
from typing import Any, get_args

import click

from insource.cli import review_words
from insource.cli.door import Door, run, verb
from insource.cli.review_keys import Desk
from insource.cli.stored import with_store
from insource.cli.words import dim
from insource.errors import Conflict, Invalid
from insource.journeys.review import Said, figures, queue, settle, undo
from insource.nouns import Pending, Review, Task, Verdict, visible
from insource.settings import load_task
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource review tickets                  on a terminal: one key settles one answer
  insource review tickets --json           the queue
  insource review tickets --settle RECORD --verdict wrong --correct refund
  insource review tickets --stats          how long people take, how far they agree
  insource review tickets --undo RECORD    take back what you said last of it
"""


@verb("review", epilog=EXAMPLE)
@click.argument("task")
@click.option("--settle", "record", metavar="RECORD", help="Settle one answer.")
@click.option(
    "--undo", "back", metavar="RECORD", help="Take back what you said of an answer in the last quarter of an hour."
)
@click.option("--verdict", type=click.Choice(list(get_args(Verdict))), help="What you say of it.")
@click.option("--correct", multiple=True, metavar="LABEL|FIELD=VALUE", help="What is right; once for each field.")
@click.option("--note", default="", help="Why; with none_of_these the label that is missing.")
@click.option("--stats", is_flag=True, help="The queue in figures: service times, agreement, timeouts.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many to show.")
def command(door: Door, task: str, limit: int, record: str | None, back: str | None, **said: Any) -> None:
    """See and settle the answers of TASK that were not sure enough. On a terminal, key by key."""
    if said.pop("stats"):
        found = with_store(door, lambda settings, store: figures(load_task(settings, task), store))
        return door.show(found, review_words.words(found))
    if back is not None:
        return door.show(run(_undo(door, task, back)), f"{back} waits again")
    if record is not None:
        review, waits = run(_settle(door, task, record, _said(said)))
        more = "; it waits for another person's word" if waits else ""
        return door.show(review, f"{record}: {review.verdict}{_now(review)}{more}")
    if said["verdict"] or said["correct"]:
        raise Invalid("which answer?", hint=f"insource review {task} --settle RECORD --verdict …")
    if not door.json and sys.stdin.isatty() and sys.stdout.isatty():
        return run(_by_keys(door, task))
    name, waiting = run(_queue(door, task, limit))
    return door.show({"task": name, "pending": waiting}, _listed(name, waiting))


def _said(options: dict[str, object]) -> Said:
    correct = tuple(str(word) for word in options["correct"] or ())  # type: ignore[attr-defined]
    given = options["verdict"] or ("wrong" if correct else None)
    if given is None:
        raise Invalid("what do you say of it?", hint=f"--verdict {', '.join(get_args(Verdict))}")
    verdict: Verdict = given  # type: ignore[assignment]
    return Said(verdict=verdict, correct=correct, note=str(options["note"]), reviewer=getpass.getuser())


async def _settle(door: Door, name: str, record: str, said: Said) -> tuple[Review, bool]:
    """The review, and whether the answer waits still: more than one person has to see it."""
    settings = door.settings()
    task = load_task(settings, name)
    async with await Store.open(settings) as store:
        review = await settle(task, store, record, said)
        with suppress(Conflict):
            await store.waiting(record)
            return review, True
        return review, False


async def _undo(door: Door, name: str, record: str) -> Pending:
    settings = door.settings()
    task = load_task(settings, name)
    async with await Store.open(settings) as store:
        return await undo(task, store, record, getpass.getuser())


async def _queue(door: Door, name: str, limit: int) -> tuple[str, list[Pending]]:
    settings = door.settings()
    task = load_task(settings, name)
    async with await Store.open(settings) as store:
        return task.name, await queue(task, store, limit)


async def _by_keys(door: Door, name: str) -> None:
    settings = door.settings()
    task: Task = load_task(settings, name)
    async with await Store.open(settings) as store:
        desk = Desk(task, store, getpass.getuser(), say=click.echo, key=click.getchar, line=_line)
        settled = await desk.work()
        left = await store.listings.waiting(task.name)
    door.say(f"{settled} settled, {left} wait{'s' * (left == 1)}")


def _line(question: str) -> str:
    return str(click.prompt(question, default="", show_default=False))


def _listed(task: str, waiting: list[Pending]) -> str:
    if not waiting:
        return f"nothing of {task} waits for a person"
    lines = []
    for pending in waiting:
        text = visible(" ".join(pending.input.split()))
        lines.append(text if len(text) <= 100 else text[:99] + "…")
        value = ", ".join(f"{name}: {visible(str(said))}" for name, said in (pending.value or {}).items())
        value = value or "no valid answer"
        lines.append(f"  proposed {value}   {dim(pending.reason)}")
        lines.append(f"  {dim(pending.record)}")
    lines.append(
        f"\nnext: insource review {task} --settle RECORD --verdict {'|'.join(get_args(Verdict))} [--correct LABEL]"
    )
    return "\n".join(lines)


def _now(review: Review) -> str:
    if review.corrected is None:
        return ""
    return ", it is " + ", ".join(f"{name}: {said}" for name, said in review.corrected.items())

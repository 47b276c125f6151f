"""`insource teach`: labels from a stronger model."""

import sys
from collections.abc import Callable

import click

from insource.cli.door import Door, run, verb
from insource.cli.numbers import Number
from insource.cli.teach_words import history_words, plan_words, taught_words
from insource.errors import Invalid
from insource.journeys.asking import BROKE
from insource.journeys.taught import History, Withdrawn, history, withdraw
from insource.journeys.teach import Taught, teach
from insource.journeys.teach_plan import Plan, Wanted, must_have_budget
from insource.settings import load_task
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource collect tickets unlabelled.csv --unlabelled
  insource teach tickets --teacher large --plan
  insource teach tickets --teacher large --budget 5 --second other
  insource teach tickets --show
  insource teach tickets --withdraw large
"""
SHARE = Number(0.0, 1.0)
ALONE, ON_RAY = 8, 128  # calls at a time


@verb("teach", epilog=EXAMPLE)
@click.argument("task")
@click.option("--teacher", default="", metavar="ENGINE", help="An engine of insource.toml.")
@click.option("--budget", type=Number(min=0.0), metavar="USD", help="For all teaching of the task, ever.")
@click.option("--rows", type=click.IntRange(min=1), metavar="N", help="Ask for so many at most, drawn by chance.")
@click.option("--second", default="", metavar="ENGINE", help="Another engine, for a second opinion on a sample.")
@click.option("--second-share", "share", type=SHARE, default=0.1, show_default=True, help="How large a sample.")
@click.option("--shots", type=click.IntRange(0, 100), default=0, show_default=True, help="Examples to show it.")
@click.option("--sure", type=SHARE, default=0.5, show_default=True, help="Less sure than this goes to a person.")
@click.option("--max-tokens", type=click.IntRange(1, 1_000_000), help="Of an answer (default: 256, not labels 1024).")
@click.option("--at-once", type=click.IntRange(1, 1024), help="Calls at a time (default: 8, with --ray 128).")
@click.option(
    "--ray", metavar="ADDRESS", default="", help="Embedded engines on a Ray cluster: HOST:PORT, ray://HOST:PORT, auto."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is drawn by chance.")
@click.option("--plan", "only_plan", is_flag=True, help="Say what would happen and what it costs; ask nobody.")
@click.option("--yes", is_flag=True, help="Do not ask before money is spent.")
@click.option("--show", is_flag=True, help="What teachers did so far, and what it cost.")
@click.option("--withdraw", "engine", default="", metavar="ENGINE", help="Take an engine's labels out of the dataset.")
def command(door: Door, task: str, only_plan: bool, yes: bool, show: bool, engine: str, **asked: object) -> None:
    """Have a stronger model label the inputs of TASK that have no label, within a budget.

    The plan comes first: rows, tokens, US dollars. The budget is never exceeded. Stopped or killed, the same command
    asks only for what is missing. A teacher's labels train and never test; each says who gave it. Where a second
    engine answers otherwise, or the teacher is not sure, a person decides: insource review TASK.
    """
    if show:
        shown = run(_history(door, task))
        door.show(shown, history_words(shown))
        return
    if engine:
        gone = run(_withdraw(door, task, engine))
        left = ", ".join(f"{split} {n:,}" for split, n in gone.rows.items()) or "none"
        door.show(gone, f"{task}: the labels of {engine} are out of the dataset: {left}")
        return
    if not asked["teacher"]:
        raise Invalid("who is to teach?", hint="--teacher ENGINE, an engine of insource.toml")
    at_once = asked.pop("at_once") or (ON_RAY if asked["ray"] else ALONE)
    wanted = Wanted(at_once=at_once, **asked)  # type: ignore[arg-type]
    if only_plan or not yes:  # a bar on the screen leaves no place for a question
        planned = run(_teach(door, task, wanted, lambda _: False))
        if only_plan:
            door.show(planned.plan, plan_words(planned.plan))
            return
        if not _agreed(door, planned.plan):
            door.show(planned, "nobody was asked")
            return
    taught = run(_teach(door, task, wanted, (lambda plan: _said(door, plan)) if yes else (lambda _: True)))
    door.show(taught, taught_words(taught))
    if taught.stopped not in ("", BROKE):
        click.get_current_context().exit(4)


def _said(door: Door, plan: Plan) -> bool:
    door.say(plan_words(plan))
    return True


def _agreed(door: Door, plan: Plan) -> bool:
    """Shows the plan and asks. Raises `Invalid` where there is nobody to ask, or no budget."""
    door.say(plan_words(plan))
    must_have_budget(plan)
    if not plan.rows:
        return True
    if not sys.stdin.isatty():
        raise Invalid("nobody is there to say yes to the plan", hint="--yes")
    return click.confirm("ask them?", err=True)


async def _teach(door: Door, name: str, wanted: Wanted, agree: Callable[[Plan], bool]) -> Taught:
    settings = door.settings()
    task = load_task(settings, name)
    async with await Store.open(settings) as store:
        with door.progress() as progress:
            return await teach(task, settings, store, wanted, agree=agree, progress=progress)


async def _history(door: Door, name: str) -> History:
    settings = door.settings()
    async with await Store.open(settings) as store:
        return await history(load_task(settings, name), store)


async def _withdraw(door: Door, name: str, engine: str) -> Withdrawn:
    settings = door.settings()
    async with await Store.open(settings) as store:
        return await withdraw(load_task(settings, name), engine, settings, store)

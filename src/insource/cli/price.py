"""`insource price`: what a task costs, hosted and on machines of one's own, and from where on which is cheaper."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from insource.cli.door import Door, verb
from insource.cli.numbers import Number
from insource.cli.stored import with_store
from insource.cli.words import bold, dim, mark, table
from insource.errors import Invalid
from insource.journeys.business import business, write_case
from insource.journeys.known import CALLS_A_DAY, SPEED
from insource.journeys.price import Asked, price, write_page
from insource.nouns.business import Business
from insource.price.compare import Priced, Turn, number, rate, usd
from insource.price.known import Known
from insource.price.page import cash_words, value
from insource.settings import Settings, load_task
from insource.store import Store

MOST_TURNS, MOST_SWINGS = 4, 5
HEAD = ("way", "US$ a month", "of it people", "a call", "once", "machines", "busy")
NEXT = {  # a guess that decides much, and what makes it a figure
    CALLS_A_DAY: "insource price {task} --calls-per-day N",
    SPEED: "insource measure {task} --load --until-saturated",
}
EXAMPLE = """
\b
Examples:
  insource price tickets
  insource price tickets --calls-per-day 50000 --api gpt-4o --machine aws-g6.xlarge
  insource price tickets --report price.html
  insource price tickets --case case/
  insource price tickets --json
"""


@verb("price", epilog=EXAMPLE)
@click.argument("task")
@click.option(
    "--calls-per-day",
    metavar="N",
    type=Number(0, 1e9, min_open=True),
    help="How many calls come on a day (default: as the records show).",
)
@click.option("--api", "apis", metavar="NAME", multiple=True, help="Show this API as well; may be given again.")
@click.option(
    "--machine",
    "machines",
    metavar="NAME",
    multiple=True,
    help="Show this machine instead of the default ones; may be given again.",
)
@click.option(
    "--report",
    "page",
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write it as one HTML page.",
)
@click.option(
    "--case",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the business case there: case.html, case.md, and case.xlsx with live formulas.",
)
def command(door: Door, task: str, page: Path | None, folder: Path | None, **asked: Any) -> None:
    """Say what TASK costs a month, each way it could be answered, and from how many calls a day which is cheaper.

    Tokens, shares and speed come from records, reports and load tests where there are any; every figure says whether
    it is measured, declared or assumed. The cheap tier of the large providers always stands in the table.
    """  # fmt: skip
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise Invalid(f"the report is an HTML page, {page} does not end in .html", hint="--report price.html")
    if page is not None and folder is not None:
        raise Invalid("--report is the page of prices, --case the business case", hint="ask for one after the other")
    wanted, today = Asked(**asked), f"{datetime.now(UTC):%Y-%m-%d}"

    async def priced(settings: Settings, store: Store) -> Priced:
        return await price(load_task(settings, task), settings, store, wanted, today)

    async def cased(settings: Settings, store: Store) -> Business:
        return await business(load_task(settings, task), settings, store, wanted, today)

    if folder is not None:
        case = with_store(door, cased)
        door.show(case, _case_words(case, write_case(case, folder.expanduser())))
        return
    found = with_store(door, priced)
    if page is not None:
        write_page(found, page.expanduser())
    door.show(found, _words(found, page))


def _case_words(found: Business, files: tuple[Path, ...]) -> str:
    lines = [bold(found.first), *found.lines, *(mark(False, words) for words in found.warnings), ""]
    lines += [f"{number}. {section.title}\n   {section.finding}" for number, section in enumerate(found.sections, 1)]
    return "\n".join([*lines, "", f"The pilot: {found.pilot.finding}", "", *(str(path) for path in files)])


def _words(found: Priced, page: Path | None) -> str:
    lines = [bold(found.finding + ".")]
    lines += [found.also + "."] * bool(found.also)
    lines += [click.style(f"! {words}", fg="yellow") for words in found.warnings]
    lines += ["", table(HEAD, [_row(found, i) for i in range(len(found.costs))])]
    lines += ["", dim("Costs alone: whether the answers are as good is for insource measure to say.")]
    if found.turns:
        lines += ["", bold("Break-even"), *[f"  {_turn(turn)}" for turn in found.turns[:MOST_TURNS]]]
        lines += [dim(f"  and {len(found.turns) - MOST_TURNS} more")] * (len(found.turns) > MOST_TURNS)
    if found.flow:
        lines += ["", bold("Cash"), f"  {cash_words(found)}"]
    if found.swings:
        rows = [(one.name, _end(one.base, one.unit), f"{usd(one.low_usd)} to {usd(one.high_usd)}",
                 "never" if one.flips_at is None else _end(one.flips_at, one.unit))
                for one in found.swings[:MOST_SWINGS]]  # fmt: skip
        lines += ["", bold("What decides"), table(("input", "stands at", "difference a month", "flips at"), rows)]
    rows = [(one.name, value(one), one.how, one.of) for one in found.known]
    lines += ["", bold("What it rests on"), table(("figure", "value", "how", "where from"), rows)]
    lines += [f"\nreport: {page}"] * (page is not None)
    guess = next((one.name for one in found.known if one.how == "assumed" and one.name in NEXT), "")
    return "\n".join([*lines, *([f"\nnext: {bold(NEXT[guess].format(task=found.task))}"] if guess else [])])


def _row(found: Priced, place: int) -> tuple[str, ...]:
    one = found.costs[place]
    return (
        one.option + (" (today)" if one.option == found.today else ""),
        usd(one.month_usd),
        usd(sum(line.usd for line in one.lines if line.drive == "people")),
        "" if one.call_usd is None else usd(one.call_usd),
        usd(one.once_usd),
        str(one.machines or ""),
        "" if one.utilisation is None else f"{one.utilisation:.1%}",
    )


def _turn(turn: Turn) -> str:
    why = " (a machine more is needed)" if turn.step else ""
    tokens = f"{number(turn.tokens_per_day)} tokens, {rate(turn.requests_per_s)}"
    return f"from {number(turn.calls_per_day)} calls a day ({tokens}) {turn.cheaper} is cheaper{why}"


def _end(amount: float, unit: str) -> str:
    return value(Known(name="", value=amount, unit=unit, how="measured", of=""))

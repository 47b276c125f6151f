"""`insource status`: where each task stands on the way in-house, and what its next gate needs."""

import click

from insource.cli import status_suitability
from insource.cli.door import Door, run, verb
from insource.cli.words import bold, dim, mark, table
from insource.journeys.status import LOOK_BACK, Facts, Leg, Standing, named, status
from insource.nouns import WAITS
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource status            every task, a line each
  insource status tickets    one task: the roadmap, the facts, the next gate
  insource status tickets --suitability
  insource status tickets --answer calls_per_day=4000 --answer operator="the support team"
"""
NO_ROWS = {True: "where the release was made: it came in a bundle", False: "none collected"}
NONE_YET = "no tasks yet. insource init DIR makes a workspace with one; a task is a file tasks/NAME.toml"


@verb("status", epilog=EXAMPLE)
@click.argument("task", required=False, default="")
@click.option("--suitability", "fit", is_flag=True, help="Say whether TASK is one for a small model, and why.")
@click.option("--answer", "answers", metavar="KEY=VALUE", multiple=True,
              help="Answer a question of it; kept in the task's file. Repeatable.")  # fmt: skip
def command(door: Door, task: str, fit: bool, answers: tuple[str, ...]) -> None:
    """Say where TASK, or each task, stands on the roadmap, and what its next gate needs.

    With --suitability: whether it is a task for a small model at all, from what people say of it and what its rows and
    calls show. On a terminal what is open is asked.
    """
    if fit or answers:
        found = run(status_suitability.found(door, task, answers))
        door.show(found, status_suitability.words(found))
        return
    standings = run(_status(door, task))
    door.show({"tasks": standings}, _words(standings, one=bool(task)))


async def _status(door: Door, task: str) -> list[Standing]:
    settings = door.settings()
    async with await Store.open(settings) as store:
        return await status(settings, store, task)


def _words(found: list[Standing], *, one: bool) -> str:
    if not found:
        return NONE_YET
    if one or len(found) == 1:
        return "\n\n".join(_page(standing) for standing in found)
    rows = [
        (s.task, f"{_place(s)} of {len(s.roadmap)}  {s.stage}", s.facts.live or "-", s.next.command if s.next else "-")
        for s in found
    ]
    return table(("task", "stands at", "live", "next"), rows)


def _page(standing: Standing) -> str:
    who = f" · {standing.owner}" if standing.owner else ""
    lines = [f"{bold(standing.task)}  {dim(standing.kind + who)}", ""]
    lines += [_leg(number, leg) for number, leg in enumerate(standing.roadmap, 1)]
    lines += ["", *[f"  {dim(name.ljust(9))} {said}" for name, said in _facts(standing.facts)]]
    here = standing.roadmap[_place(standing) - 1]
    width = max(len(need.what) for need in here.needs)
    lines += ["", f"  the gate of {bold(here.stage)} needs"]
    for need in here.needs:
        lines.append(f"  {mark(need.met)} {need.what.ljust(width)}  {dim('now: ')}{need.found}")
    lines += [
        "",
        f"  next: {bold(standing.next.command)}" if standing.next else "  nothing is open: this task is in-house",
    ]
    return "\n".join(lines)


def _leg(number: int, leg: Leg) -> str:
    if leg.state == "done":
        return f"  {mark(True, f'{number} {leg.stage}')}"
    return f"  {bold(f'▶ {number} {leg.stage}')}" if leg.state == "here" else f"  {dim(f'· {number} {leg.stage}')}"


def _place(standing: Standing) -> int:
    return 1 + [leg.stage for leg in standing.roadmap].index(standing.stage)


def _facts(facts: Facts) -> list[tuple[str, str]]:
    """The facts in words, those that are not there yet left out."""
    splits = ", ".join(f"{count:,} {split}" for split, count in facts.rows.items())
    seen = "the newest " if facts.total_calls >= LOOK_BACK else ""
    review = sum(facts.calls.get(outcome, 0) for outcome in WAITS)
    strange = facts.calls.get("out_of_scope", 0)
    beyond = f", {strange:,} of them out of scope" if strange else ""
    said = [
        ("suits", facts.suits),
        ("rows", f"{facts.total_rows:,} collected: {splits}" if facts.rows else NO_ROWS[facts.arrived]),
        ("measured", f"{len(facts.candidates)} candidates; best {facts.best}" if facts.candidates else ""),
        ("verdict", facts.assessed),
        ("releases", named(facts.releases, facts.earlier)),
        ("passed", named(facts.passed)),
        ("live", facts.live),
        ("on trial", f"{facts.trial}; it waits for: {facts.waits_for}" if facts.trial else ""),
        ("pilot", facts.pilot),
        (
            "calls",
            f"{seen}{facts.total_calls:,}, {review:,} sent to review ({facts.to_review:.1%}){beyond}"
            if facts.calls
            else "",
        ),
        ("queue", f"{facts.waiting:,} wait{'s' * (facts.waiting == 1)} for a person" if facts.calls else ""),
        ("holdout", facts.holdout),
        ("alerts", ", ".join(facts.alerts)),
    ]
    return [(name, words) for name, words in said if words]

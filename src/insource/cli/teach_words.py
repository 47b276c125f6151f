"""A plan, a run and the history of teaching, in words."""

from collections.abc import Mapping

from insource.cli.words import bold, dim, short, table
from insource.collect.teach import Differing
from insource.journeys.asking import BROKE
from insource.journeys.taught import History
from insource.journeys.teach import Taught
from insource.journeys.teach_plan import Plan

BECAME = {
    "label": "labels",
    "unsure": "not sure: a person decides",
    "disputed": "disputed: a person decides",
    "invalid": "invalid",
    "refused": "refused",
    "blocked": "kept back by a scan",
    "failed": "failed",
    "withdrawn": "withdrawn",
    "agrees": "agree",
    "differs": "differ",
    "asked": "under way",
}


def plan_words(plan: Plan) -> str:
    """The plan, for who is to say yes to it."""
    out = {
        "have a label": plan.labelled,
        "were answered before": plan.answered,
        "are like a row held out": plan.leaks,
        "are kept here by a rule": plan.kept_back,
    }
    why = ", ".join(f"{n:,} {words}" for words, n in out.items() if n)
    doubt = f", {plan.seconds:,} of them to {plan.second} as well" if plan.seconds else ""
    shots = f"; {plan.shots} examples are shown" if plan.shots else ""
    into, back = plan.tokens
    facts = [
        (
            "rows",
            f"{plan.rows:,} of {plan.pool:,} inputs go to {plan.teacher}{doubt}{shots}" + (f" ({why})" * bool(why)),
        ),
        ("tokens", f"about {into:,} in, {back:,} out"),
        ("cost", _cost(plan)),
    ]
    if plan.minutes is not None:
        long = f"about {plan.minutes:.0f} min" if plan.minutes >= 1 else "less than a minute"
        facts.append(("time", f"{long}, as calls took so far"))
    lines = [f"{bold(plan.task)}: the plan", *(f"  {name:<8} {words}" for name, words in facts)]
    return "\n".join([*lines, *(f"  ! {note}" for note in plan.notes)])


def taught_words(taught: Taught) -> str:
    """What a run came to."""
    rows = ", ".join(f"{n:,} {BECAME[name]}" for name, n in taught.became.items()) or "nobody was asked"
    lines = [f"{bold(taught.task)}: {rows}"]
    lines += [f"  {_times(n)}: {why}" for why, n in taught.aside.items()]
    joined = ", ".join(f"{split} {n:,}" for split, n in taught.joined.items())
    lines += [f"  joined   {joined}  {dim(short(taught.dataset))}"] if joined else []
    lines += [f"  left out {taught.leaks:,}: a near duplicate is held out"] if taught.leaks else []
    lines += [f"  second   {_differing(taught.differing)}"] if taught.differing else []
    if taught.spent:
        unknown = f", ${taught.usd_unknown:.4f} of it for calls that broke off" if taught.usd_unknown else ""
        budget = f" of ${taught.plan.budget:g}" if taught.plan.budget is not None else ""
        lines.append(f"  cost     ${taught.usd:.4f}{unknown}; ${taught.spent:.4f}{budget} spent on this task")
    broke = taught.stopped == BROKE
    again = "with a larger --budget the same command goes on" if broke else "the same command goes on"
    lines += [f"  stopped  {taught.stopped}; {again}"] if taught.stopped else []
    more = f"insource teach {taught.task} --teacher {taught.plan.teacher} --budget USD"
    return "\n".join(
        [*lines, "", f"next: {more if broke and not taught.became else _next(taught.became, taught.task)}"]
    )


def history_words(found: History) -> str:
    """Who taught the task what."""
    if not found.teachings:
        return f"{found.task}: nobody taught it yet"
    rows = [
        (one.engine, one.part, short(one.prompt), str(sum(one.became.values())), str(one.in_dataset),
         f"${one.usd:.4f}", one.until[:10], ", ".join(f"{n} {BECAME[name]}" for name, n in one.became.items()))
        for one in found.teachings
    ]  # fmt: skip
    head = ("engine", "as", "prompt", "calls", "in dataset", "cost", "until", "became")
    lines = [f"{bold(found.task)}: ${found.spent:.4f} spent on teaching", table(head, rows)]
    for one in found.teachings:
        lines += [f"  {one.engine}, {_times(n)}: {why}" for why, n in one.aside.items()]
    lines += [f"  second opinions: {_differing(found.differing)}"] if found.differing else []
    return "\n".join(lines)


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n:,} times"


def _differing(found: Differing) -> str:
    return f"{found.rate:.1%} differ ({found.low:.1%} to {found.high:.1%}, n {found.n:,})"


def _cost(plan: Plan) -> str:
    if not plan.usd_most:
        return "none"
    spent = f"; ${plan.spent:.4f} was spent before" if plan.spent else ""
    budget = f"; the budget of ${plan.budget:g} holds whatever comes" if plan.budget is not None else ""
    return f"about ${plan.usd:.4f}, at most ${plan.usd_most:.4f}{spent}{budget}"


def _next(became: Mapping[str, int], task: str) -> str:
    waits = became.get("unsure", 0) + became.get("disputed", 0)
    return f"insource review {task}" if waits else f"insource train {task}"

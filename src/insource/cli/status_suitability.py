"""`insource status TASK --suitability`: whether it is a task for a small model, and why."""

import sys
from collections.abc import Sequence

import click

from insource.cli.door import Door
from insource.cli.words import NO, YES, bold, dim, table
from insource.errors import Invalid
from insource.journeys.suitability import answered, suitability
from insource.nouns.suitability import Novelty, Shown, Suitability
from insource.price.suitability import QUESTIONS
from insource.settings import load_task
from insource.store import Store

MARKS = {"for": YES, "care": "!", "against": NO, "open": "?"}


async def found(door: Door, task: str, answers: Sequence[str]) -> Suitability:
    """The verdict, after the answers given were kept. Raises `Invalid` for those that are none."""
    if not task:
        raise Invalid("of which task?", hint="insource status TASK --suitability")
    settings = door.settings()
    given = [_pair(answer) for answer in answers]
    if given:
        answered(settings, task, given)
    async with await Store.open(settings) as store:
        said = await suitability(load_task(settings, task), settings, store)
        if said.open and not given and not door.json and sys.stdin.isatty() and sys.stdout.isatty():
            answered(settings, task, _asked(said))
            said = await suitability(load_task(settings, task), settings, store)
        return said


def _pair(answer: str) -> tuple[str, str]:
    key, sign, value = answer.partition("=")
    if not sign:
        raise Invalid(f"{answer!r} is no answer", hint=f"--answer KEY=VALUE; keys are {', '.join(QUESTIONS)}")
    return key.strip(), value


def _asked(said: Suitability) -> list[tuple[str, str]]:
    """Asks what is open, one question after the other; Ctrl-C keeps nothing."""
    return [(key, click.prompt(QUESTIONS[key], err=True)) for key in dict.fromkeys(said.open)]


def words(said: Suitability) -> str:
    """The verdict in words."""
    rows = [
        (MARKS[ground.weighs], ground.rule, ground.why, f"--answer {ground.asks}=…" if ground.asks else ground.of)
        for ground in said.grounds
    ]
    lines = [bold(f"{said.task}: {said.summary}"), "", table(("", "", "why", "told by"), rows), ""]
    lines += [f"  {dim(line)}" for line in _shown(said.shown)]
    if said.open:
        keys = " ".join(f"--answer {key}=…" for key in dict.fromkeys(said.open))
        lines += ["", f"  next: {bold(f'insource status {said.task} {keys}')}"]
    return "\n".join(lines)


def _shown(shown: Shown) -> list[str]:
    """What the data shows, a line each."""
    lines = [
        f"{one.output}: {one.labels} labels, {one.even:.0%} of an even spread (entropy {one.entropy:.2f} bits), "
        f"the commonest {one.commonest:.1%}, {one.rare} with fewer than 5 rows"
        for one in shown.labels
    ]
    if shown.tokens_p95 is not None:
        lines.append(f"length: about {shown.tokens_median:,} tokens, 95% at most {shown.tokens_p95:,}")
    for what, found in (("texts with two answers", shown.contradicting), ("unlike their near copies", shown.at_odds)):
        if found:
            lines.append(f"{what}: {found.value:.1%} ({found.low:.1%} to {found.high:.1%}, n {found.n:,})")
    lines.append(_new(shown.novelty))
    return lines


def _new(found: Novelty | None) -> str:
    if found is None:
        return "novelty: no row has a date (insource collect --tag COLUMN), and there are few calls yet"
    said = f"novelty: {found.n:,} {found.of} since {found.since}; moved by {found.moved:.2f} (p {found.p:.2g})"
    if found.unknown is not None and found.chance is not None:
        said += f"; {found.unknown:.1%} of their words are new, {found.chance:.1%} by chance"
    return said + (f"; {found.new_labels.value:.1%} have a new label" if found.new_labels else "")

"""What cleaning did, as findings: rows taken out by kind, calls of other tasks, personal data replaced. Pure."""

from collections.abc import Mapping, Sequence

from insource.collect.check_rows import said
from insource.collect.clean import KINDS, Removal
from insource.collect.findings import EXAMPLES, Finding, cut, rows_of
from insource.collect.prompts import Prompt
from insource.nouns import JsonObject, Task

LOOK = {
    "other-task": "Look whether they are. If so they want a task of their own.",
    "drift": "If you agree with what each is today, bring them back: they come in today's form.",
    "contradictions": "Decide each text once, in the data.",
    "near-duplicates": "Nothing. Their like was kept.",
    "leaks": "Nothing, unless you compare with published figures on the same split.",
    "label-errors": "Read the list from the top. Correct what is wrong in the data; bring back what is right.",
}


def removed(task: Task, removals: Sequence[Removal]) -> list[Finding]:
    """One finding per kind of removal, with the first rows and what speaks against each."""
    found = []
    for kind, words in KINDS.items():
        rows = [one for one in removals if one.kind == kind]
        if rows:
            found.append(
                Finding(
                    kind=f"removed-{kind}",
                    severity="note",
                    count=len(rows),
                    message=f"{rows_of(len(rows))} taken out: {words}.",
                    do=f"{LOOK[kind]} To bring back: insource collect {task.name} --restore {kind}, or a row's id.",
                    examples=tuple(_shown(task, one) for one in rows[:EXAMPLES]),
                )
            )
    return found


def _shown(task: Task, one: Removal) -> JsonObject:
    return {
        "row": one.row.id[:12],
        "text": cut(one.row.input),
        "target": cut(said(task, one.row.target), 80),
        "why": cut(one.why),
        "against it": one.other,
    }


def elsewhere(others: Sequence[Prompt]) -> list[Finding]:
    """The calls that were told something else."""
    if not others:
        return []
    calls = sum(prompt.rows for prompt in others)
    return [
        Finding(
            kind="prompts",
            severity="care",
            count=len(others),
            message=f"{len(others):,} other system prompts stand in these files, over {calls:,} calls: they are other "
            "tasks and were left out.",
            do=f"Make each a task of its own: insource collect OTHER FILE --prompt {others[0].name}",
            examples=tuple(prompt.shown() for prompt in others[:EXAMPLES]),
        )
    ]


def replaced(kinds: Mapping[str, int]) -> list[Finding]:
    """Personal data and secrets that were replaced by placeholders."""
    if not kinds:
        return []
    listed = ", ".join(f"{kind} {n:,}" for kind, n in sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
    return [
        Finding(
            kind="personal",
            severity="note",
            count=sum(kinds.values()),
            message=f"Replaced by placeholders, the same thing by the same one in every row: {listed}.",
            do="Nothing. What they stood for is kept nowhere but in your own file; names of people are not looked for.",
        )
    ]

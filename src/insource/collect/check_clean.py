"""What cleaning did, as findings: rows taken out by kind, calls of other tasks, personal data replaced. Pure."""

from collections.abc import Mapping, Sequence

from insource.collect.check_rows import said
from insource.collect.clean import KINDS, Removal
from insource.collect.findings import EXAMPLES, Finding, cut, rows_of
from insource.collect.prompts import Prompt
from insource.nouns import Example, JsonObject, Task

NAMED = ("label-errors", "contradictions", "leaks")  # their reason names the target, or it does not matter
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
        **({} if one.kind in NAMED else {"target": cut(said(task, one.row.target), 80)}),
        "why": cut(one.why),
        "against it": one.other,
    }


def own_word(rows: Sequence[Example]) -> list[Finding]:
    """A test whose labels are a model's: what it measures is agreement with that model."""
    test = [row for row in rows if row.split == "test"]
    said = sum(row.origin == "teacher" for row in test)
    if not said:
        return []
    return [
        Finding(
            kind="own-word",
            severity="care" if 2 * said > len(test) else "note",
            count=said,
            message=f"{rows_of(said)} of {len(test):,} in the test are labelled by a model: on them a score is "
            "agreement with it, not truth.",
            do="Label some hundred by hand and collect them with --split test; they go before the model's word.",
        )
    ]


def elsewhere(others: Sequence[Prompt]) -> list[Finding]:
    """The calls that were told something else."""
    if not others:
        return []
    calls, one = sum(prompt.rows for prompt in others), len(others) == 1
    return [
        Finding(
            kind="prompts",
            severity="care",
            count=len(others),
            message=f"{len(others):,} other system prompt{'' if one else 's'} in these files, over {calls:,} calls: "
            f"{'another task' if one else 'other tasks'}, left out.",
            do=f"Make a task of its own of each: insource collect OTHER FILE --prompt {others[0].name}",
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

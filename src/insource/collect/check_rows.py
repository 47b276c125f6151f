"""Checks of rows against each other and against the splits: duplicates, contradictions, leaks, lengths. Pure."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from insource.collect.findings import EXAMPLES, Finding, Severity, cut, rows_of, share, texts_of
from insource.collect.near import plain
from insource.collect.split import Moved, rank
from insource.nouns import Example, JsonObject, Task, canonical

CHARS_PER_TOKEN = 4
LONG_TOKENS = 2048
SAME_SERIOUS = 0.05
NEAR_SERIOUS = 0.20
CONTRADICTION_SERIOUS = 0.10
NEAR_CARE = 0.30
LONG_CARE = 0.01


def tokens(text: str) -> int:
    """Tokens of a text, roughly: one for each 4 characters."""
    return -(-len(text) // CHARS_PER_TOKEN)


def said(task: Task, target: JsonObject) -> str:
    """A target as people read it: the bare value of a single field, else its JSON."""
    if len(task.fields) == 1 and task.kind != "extract":
        return str(target.get(task.fields[0], ""))
    return canonical(target).decode()


def duplicates(count: int) -> list[Finding]:
    """Rows that came again."""
    if not count:
        return []
    return [
        Finding(
            kind="duplicates",
            severity="note",
            count=count,
            message=f"{rows_of(count)} came again with the same input and target; each is kept once.",
            do="Nothing. If the same text should count twice, it already teaches as much as it can.",
        )
    ]


def near_duplicates(rows: Sequence[Example]) -> list[Finding]:
    """Groups of rows that say almost the same."""
    groups = by_group(rows)
    inside = sum(map(len, groups))
    if not groups:
        return []
    part = inside / len(rows)
    return [
        Finding(
            kind="near-duplicates",
            severity="care" if part > NEAR_CARE else "note",
            count=inside,
            message=f"{rows_of(inside)} ({share(inside, len(rows))}) have a near duplicate, in {len(groups):,} groups; "
            f"the largest has {len(groups[0])}. Each group stays on one side of an assigned split.",
            do="Nothing is lost. Many near copies mean less variety than the row count suggests: "
            "collect rows that differ, and read the largest groups."
            if part > NEAR_CARE
            else "Nothing. They are kept together so that the test stays honest.",
            examples=tuple(_pair(group) for group in groups[:EXAMPLES]),
        )
    ]


def by_group(rows: Sequence[Example]) -> list[list[Example]]:
    """The groups of near duplicates, the largest first."""
    groups: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        if row.group:
            groups[row.group].append(row)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0].group))


def _pair(group: list[Example]) -> JsonObject:
    texts = sorted({row.input for row in group})
    return {"rows": len(group), "one": cut(texts[0]), "another": cut(texts[-1])}


def contradictions(task: Task, rows: Sequence[Example]) -> list[Finding]:
    """The same question with different answers: equal but for case, blanks and punctuation, targets apart."""
    found: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        found[plain(row.input)].append(row)
    against = [group for group in found.values() if len({said(task, row.target) for row in group}) > 1]
    if not against:
        return []
    against.sort(key=lambda group: (-len(group), group[0].id))
    inside = sum(map(len, against))
    return [
        Finding(
            kind="contradictions",
            severity="serious" if inside > CONTRADICTION_SERIOUS * len(rows) else "care",
            count=inside,
            message=f"{rows_of(inside)} ({share(inside, len(rows))}) contradict each other: "
            f"{texts_of(len(against))} with more than one target. No model can be right on both.",
            do="Decide each text once. If both answers are right, the labels overlap: merge them, or add an output. "
            "If the text cannot tell, give the model more of it.",
            examples=tuple(_against(task, group) for group in against[:EXAMPLES]),
        )
    ]


def _against(task: Task, group: list[Example]) -> JsonObject:
    answers = Counter(said(task, row.target) for row in group)
    return {"text": cut(group[0].input), "targets": "; ".join(f"{cut(a, 80)} ({n})" for a, n in answers.most_common(4))}


def leaks(rows: Sequence[Example], moved: Sequence[Moved]) -> list[Finding]:
    """Rows of train, dev and test that say almost the same: the score of the test would flatter."""
    groups = [group for group in by_group(rows) if len({row.split for row in group}) > 1]
    leaked = Counter(split for group in groups for split in _leaking(group))
    same = Counter(split for group in groups for split in _repeated(group))
    count = leaked.total() + len(moved)
    if not count:
        return []
    sizes = Counter(row.split for row in rows)
    parts = [f"{rows_of(n)} of {split} ({share(n, sizes[split])})" for split, n in sorted(leaked.items())]
    words = f"{' and '.join(parts)} have a near duplicate in another split, {same.total():,} the same text. "
    words = words if parts else ""
    words += f"{rows_of(len(moved))} stood in two splits; they are kept in the stricter one alone. " if moved else ""
    inputs = {row.id: row.input for row in rows}
    examples = [_leak(group) for group in groups] + [
        {"split": one.kept, "text": cut(inputs.get(one.id, "")), "also in": one.dropped, "there": "the same row"}
        for one in moved
    ]
    return [
        Finding(
            kind="leaks",
            severity=_leak_severity(leaked["test"], same["test"], sizes["test"]),
            count=count,
            message=words + "The test asks partly what train has taught.",
            do="Collect again with --drop-leaks to take them out of train, or leave them to compare with published "
            "figures on the same split.",
            examples=tuple(examples[:EXAMPLES]),
        )
    ]


def _leaking(group: list[Example]) -> list[str]:
    """The strictest split of the group, once for each of its rows there."""
    strictest = max((row.split for row in group), key=rank)
    return [strictest for row in group if row.split == strictest]


def _repeated(group: list[Example]) -> list[str]:
    """The same, for the rows whose plain text also stands in another split of the group."""
    strictest = max((row.split for row in group), key=rank)
    elsewhere = {plain(row.input) for row in group if row.split != strictest}
    return [strictest for row in group if row.split == strictest and plain(row.input) in elsewhere]


def _leak_severity(near: int, same: int, size: int) -> Severity:
    """Serious when over 5% of the test stand elsewhere word for word, or over 20% nearly so."""
    return "serious" if same > SAME_SERIOUS * size or near > NEAR_SERIOUS * size else "care"


def _leak(group: list[Example]) -> JsonObject:
    ordered = sorted(group, key=lambda row: (-rank(row.split), row.id))
    one, other = ordered[0], ordered[-1]
    return {"split": one.split, "text": cut(one.input), "also in": other.split, "there": cut(other.input)}


def lengths(rows: Sequence[Example]) -> list[Finding]:
    """Inputs too long to read whole at once, and inputs that hold no word."""
    long = sorted((row for row in rows if tokens(row.input) > LONG_TOKENS), key=lambda row: -len(row.input))
    wordless = [row for row in rows if not any(map(str.isalnum, row.input[:4000]))]
    found = []
    if long:
        found.append(
            Finding(
                kind="long",
                severity="care" if len(long) > LONG_CARE * len(rows) else "note",
                count=len(long),
                message=f"{rows_of(len(long))} ({share(len(long), len(rows))}) are longer than about "
                f"{LONG_TOKENS:,} tokens.",
                do="Give the part that decides, if one does. What exceeds the model's window is cut and counted.",
                examples=tuple({"characters": len(row.input), "text": cut(row.input)} for row in long[:EXAMPLES]),
            )
        )
    if wordless:
        found.append(
            Finding(
                kind="wordless",
                severity="care",
                count=len(wordless),
                message=f"{rows_of(len(wordless))} hold no letter and no digit.",
                do="Leave them out, unless a text like this is a case that must be answered.",
                examples=tuple({"text": cut(row.input), "characters": len(row.input)} for row in wordless[:EXAMPLES]),
            )
        )
    return found

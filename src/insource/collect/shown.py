"""What a task's rows show of themselves: how their labels spread, how long they are, where they disagree, what is new.

Entropy is Shannon's (1948). Near duplicates are the groups that `collect` made. Pure, and the same for the same rows.
"""

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from insource.collect.check_rows import by_group, said, tokens
from insource.collect.near import plain
from insource.nouns import Example, Task
from insource.nouns.suitability import Labels, Novelty, Share, Shown
from insource.stats import shifts, wilson

DATE = re.compile(r"\d{4}-\d{2}(-\d{2}([T ].*)?)?")
FEW = 5
DATED, NEWEST, LEAST = 0.9, 0.2, 100  # of the rows have a date; the newest fifth; rows to tell anything from
COMPARED, DRAWS = 2_000, 5
LEARNED = ("classify", "extract")  # kinds of which one text has one right answer


def shown(task: Task, rows: Sequence[Example], *, context: int) -> Shown:
    """The figures of the rows; `context` is what the model reads at once, in tokens."""
    sizes = sorted(len(row.input) for row in rows)
    if not sizes:
        return Shown(context=context)
    median, p95 = (tokens("x" * sizes[min(len(sizes) - 1, int(q * len(sizes)))]) for q in (0.5, 0.95))
    return Shown(
        rows=len(rows),
        labels=tuple(spread(output.name, [str(row.target[output.name]) for row in rows]) for output in task.outputs),
        tokens_median=median,
        tokens_p95=p95,
        context=context,
        contradicting=_contradicting(task, rows) if task.kind in LEARNED else None,
        at_odds=_at_odds(task, rows) if task.kind == "classify" else None,
        novelty=novelty(task, rows),
    )


def spread(output: str, labels: Sequence[str]) -> Labels:
    """How the labels spread over the rows, one each; of one row at least."""
    counts = Counter(labels)
    n = len(labels)
    entropy = sum(-count / n * math.log2(count / n) for count in counts.values())
    most = math.log2(len(counts))
    return Labels(
        output=output,
        labels=len(counts),
        entropy=entropy,
        even=entropy / most if most else 0.0,
        commonest=max(counts.values()) / n,
        rare=sum(count < FEW for count in counts.values()),
    )


def share(part: int, n: int) -> Share:
    """A counted share with its interval; of one at least."""
    low, high = wilson(part, n)
    return Share(value=part / n, low=low, high=high, n=n)


def novelty(task: Task, rows: Sequence[Example]) -> Novelty | None:
    """The newest fifth of the rows beside the others, where a tag of theirs holds dates (2026-03 or 2026-03-09)."""
    tag = _dates(rows)
    dated = sorted((row for row in rows if DATE.fullmatch(row.tags.get(tag, ""))), key=lambda row: row.tags[tag])
    if len(dated) < LEAST:
        return None
    since = dated[int(len(dated) * (1 - NEWEST))].tags[tag]
    old, new = ([row for row in dated if (row.tags[tag] >= since) == newer] for newer in (False, True))
    if not old:
        return None
    before = {said(task, row.target) for row in old}
    moved = min(shifts(_features(task, old), _features(task, new)), key=lambda shift: (shift.p, -shift.distance))
    rng = random.Random(0)  # noqa: S311 - draws of rows, not secrets
    drawn = [_parted(rng.sample(dated, len(dated)), len(new)) for _ in range(DRAWS)]
    return Novelty(
        of="rows",
        since=since[:10],
        n=len(new),
        new_labels=share(sum(said(task, row.target) not in before for row in new), len(new))
        if task.kind == "classify"
        else None,
        unknown=_unknown(old, new),
        chance=sum(_unknown(*halves) for halves in drawn) / DRAWS,
        moved=moved.distance,
        p=moved.p,
    )


def _dates(rows: Sequence[Example]) -> str:
    """The tag that holds a date on nearly every row; "" for none."""
    held = Counter(tag for row in rows for tag, value in row.tags.items() if DATE.fullmatch(value))
    tag, count = held.most_common(1)[0] if held else ("", 0)
    return tag if count >= DATED * len(rows) else ""


def _features(task: Task, rows: Sequence[Example]) -> dict[str, list[str] | list[float]]:
    """What is held against each other, of at most 2,000 rows evenly taken."""
    some = rows[:: max(1, len(rows) // COMPARED)]
    labels = {output.name: [str(row.target[output.name]) for row in some] for output in task.outputs}
    return {**labels, "length": [float(len(row.input)) for row in some]}


def _parted(rows: list[Example], new: int) -> tuple[list[Example], list[Example]]:
    return rows[new:], rows[:new]


def _unknown(old: Sequence[Example], new: Sequence[Example]) -> float:
    """Of the words of `new`, the share that `old` does not have."""
    known = {word for row in old for word in plain(row.input).split()}
    words = [word for row in new for word in plain(row.input).split()]
    return sum(word not in known for word in words) / max(1, len(words))


def _contradicting(task: Task, rows: Sequence[Example]) -> Share:
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[plain(row.input)].append(said(task, row.target))
    return share(sum(len(targets) for targets in found.values() if len(set(targets)) > 1), len(rows))


def _at_odds(task: Task, rows: Sequence[Example]) -> Share | None:
    """Among rows with near duplicates; None without any."""
    groups = [Counter(said(task, row.target) for row in group) for group in by_group(rows) if len(group) > 1]
    inside = sum(group.total() for group in groups)
    return share(sum(group.total() - max(group.values()) for group in groups), inside) if inside else None

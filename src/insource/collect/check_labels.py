"""Checks of labels: variants of one label, labels with few rows or none, imbalance, labels that look wrong. Pure."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence

from insource.collect.findings import EXAMPLES, Finding, Severity, cut, rows_of, share, some
from insource.collect.suspects import Suspicion
from insource.nouns import Example, JsonObject, Output, Task

FEW = 5
HALF = 0.5
TIMES_MEDIAN = 20
SUSPECT_CARE = 0.01
SUSPECT_SERIOUS = 0.10
SURE = 0.8
WEAK = 0.7


def labels(task: Task, rows: Sequence[Example]) -> list[Finding]:
    """Every finding about the labels of a classify task; none for other kinds."""
    found: list[Finding] = []
    for output in task.outputs:
        train = Counter(str(row.target[output.name]) for row in rows if row.split == "train")
        everywhere = Counter(str(row.target[output.name]) for row in rows)
        found += _variants(output, everywhere)
        if train:
            found += _unseen(output, train, everywhere)
            found += _rare(output, train)
        found += _imbalance(output, everywhere)
    return found


def _variants(output: Output, counts: Counter[str]) -> list[Finding]:
    """Labels that differ in case, blanks or punctuation alone."""
    alike: dict[str, list[str]] = defaultdict(list)
    for label in output.labels:
        alike["".join(filter(str.isalnum, label.casefold())) or label].append(label)
    twins = sorted((group for group in alike.values() if len(group) > 1), key=lambda g: (-sum(counts[x] for x in g), g))
    if not twins:
        return []
    touched = sum(counts[label] for group in twins for label in group)
    return [
        Finding(
            kind="label-variants",
            severity="care",
            count=sum(map(len, twins)),
            message=f"{output.name}: {sum(map(len, twins)):,} labels differ only in case, blanks or punctuation and "
            f"are {len(twins):,} labels in truth; {rows_of(touched)} carry one of them.",
            do="Write each label one way, in the data and in the labels file. "
            "A model cannot guess which spelling is meant.",
            examples=tuple(
                {"spellings": "; ".join(f"{cut(x, 60)} ({counts[x]:,})" for x in g[:6])} for g in twins[:EXAMPLES]
            ),
        )
    ]


def _unseen(output: Output, train: Counter[str], everywhere: Counter[str]) -> list[Finding]:
    missing = sorted((label for label in output.labels if not train[label]), key=lambda x: (-everywhere[x], x))
    if not missing:
        return []
    asked = sum(everywhere[label] for label in missing)
    elsewhere = f" {rows_of(asked)} of other splits ask for them." if asked else ""
    return [
        Finding(
            kind="unseen-labels",
            severity="care",
            count=len(missing),
            message=f"{output.name}: {len(missing):,} of {len(output.labels):,} labels have no train row, for example "
            f"{some(missing, 3)}.{elsewhere}",
            do="Collect rows for them, or take them out of the labels file. A label never seen is hardly ever given.",
            examples=tuple({"label": cut(x, 120), "rows elsewhere": everywhere[x]} for x in missing[:EXAMPLES]),
        )
    ]


def _rare(output: Output, train: Counter[str]) -> list[Finding]:
    rare = sorted((label for label, n in train.items() if n < FEW), key=lambda label: (train[label], label))
    if not rare:
        return []
    return [
        Finding(
            kind="rare-labels",
            severity="care",
            count=len(rare),
            message=f"{output.name}: {len(rare):,} labels have fewer than {FEW} train rows, for example "
            f"{some(rare, 3)}.",
            do=f"Collect at least {FEW} rows for each (20 are better), or merge them into a label such as “other”.",
            examples=tuple({"label": cut(label, 120), "train rows": train[label]} for label in rare[:EXAMPLES]),
        )
    ]


def _imbalance(output: Output, counts: Counter[str]) -> list[Finding]:
    """One label far more common than the rest."""
    if len(counts) < 2:
        return []
    total, median = counts.total(), statistics.median(counts.values())
    label, most = counts.most_common(1)[0]
    heavy = most > HALF * total and len(counts) > 2
    if not heavy and most <= TIMES_MEDIAN * median:
        return []
    return [
        Finding(
            kind="imbalance",
            severity="care" if heavy else "note",
            count=most,
            message=f"{output.name}: “{cut(label, 60)}” has {rows_of(most)} ({share(most, total)}), "
            f"the median label {median:g}.",
            do="Read macro-F1 beside accuracy, and collect more rows of the small labels. "
            "Do not throw rows of the large one away.",
            examples=tuple({"label": cut(x, 120), "rows": n} for x, n in counts.most_common(EXAMPLES)),
        )
    ]


def suspected(one: Suspicion) -> list[Finding]:
    """Labels that are probably wrong, in one output."""
    count = len(one.suspects)
    if not count:
        return []
    words = f"{one.field}: {count:,} of {one.n:,} train labels ({share(count, one.n)}) look wrong. "
    words += f"A plain classifier, right on {share(round(one.accuracy * one.n), one.n)} of rows it has not seen, "
    words += "would choose another label."
    weak = " It is weak here, so read this as a list to look at, not as a count." if one.accuracy < WEAK else ""
    return [
        Finding(
            kind="label-errors",
            severity=_severity(one),
            count=count,
            message=words + weak,
            do="Read the list from the top: correct what is wrong, and collect again with --replace. "
            "Bad labels make a model that is confidently wrong.",
            examples=tuple(_suspect(one, i) for i in range(min(count, 2 * EXAMPLES))),
        )
    ]


def _severity(one: Suspicion) -> Severity:
    part = len(one.suspects) / one.n
    if part > SUSPECT_SERIOUS and one.accuracy >= SURE:
        return "serious"
    return "care" if part >= SUSPECT_CARE else "note"


def _suspect(one: Suspicion, i: int) -> JsonObject:
    suspect = one.suspects[i]
    return {
        "text": cut(suspect.input),
        "given": cut(suspect.given, 80),
        "suggested": cut(suspect.suggested, 80),
        "confidence": suspect.confidence,
    }

"""The prerequisite check: every finding about a dataset, and the figures its page draws. Pure but for scikit-learn."""

from collections import Counter
from collections.abc import Callable, Sequence

from insource.collect import check_labels, check_rows
from insource.collect.findings import Finding, Rows, rows_of, share, some, sorted_findings
from insource.collect.split import Moved, counts
from insource.collect.suspects import suspicions
from insource.errors import Missing
from insource.nouns import Example, JsonObject, Noun, Task

ENOUGH = 500
GOOD = 5_000
REJECTED_SERIOUS = 0.10
Progress = Callable[[str, int, int], None]
LOOKED_FOR = {
    "rejected": "rows that cannot be used",
    "duplicates": "repeated rows",
    "near-duplicates": "near duplicates",
    "contradictions": "contradicting targets",
    "leaks": "leaks between splits",
    "label-errors": "labels that look wrong",
    "label-variants": "labels spelled in several ways",
    "rare-labels": "labels with fewer than 5 rows",
    "unseen-labels": "labels without train rows",
    "imbalance": "imbalance",
    "long": "inputs too long",
    "wordless": "inputs without a word",
}
OF_LABELS = ("label-errors", "label-variants", "rare-labels", "unseen-labels", "imbalance")


class News(Noun, frozen=True, kw_only=True):
    """What this call brought, beside the rows: its tally, its rejects by kind with examples, rows of two splits."""

    rows: Rows
    reject_kinds: dict[str, int] = {}
    reject_examples: tuple[JsonObject, ...] = ()
    moved: tuple[Moved, ...] = ()


def check(
    task: Task, rows: Sequence[Example], news: News, *, progress: Progress = lambda *_: None
) -> tuple[Finding, ...]:
    """Every finding about the rows, the gravest first. The rows carry groups and splits."""
    found = [
        *_rejected(news),
        *_enough(rows),
        *_splits(rows),
        *check_rows.leaks(rows, news.moved),
        *check_rows.contradictions(task, rows),
        *_suspected(task, rows, progress),
        *check_labels.labels(task, rows),
        *check_rows.near_duplicates(rows),
        *check_rows.duplicates(news.rows.duplicates),
        *check_rows.lengths(rows),
    ]
    return sorted_findings(found)


def clean(task: Task, findings: Sequence[Finding]) -> list[str]:
    """What was looked for and not found, in words."""
    kinds = {finding.kind for finding in findings} | ({"label-errors"} if "not-checked" in _kinds(findings) else set())
    absent = () if task.kind == "classify" else OF_LABELS
    return [words for kind, words in LOOKED_FOR.items() if kind not in kinds and kind not in absent]


def _kinds(findings: Sequence[Finding]) -> set[str]:
    return {finding.kind for finding in findings}


def _rejected(news: News) -> list[Finding]:
    rejected, read = news.rows.rejected, news.rows.read
    if not rejected:
        return []
    kinds = "; ".join(f"{kind}: {n:,}" for kind, n in Counter(news.reject_kinds).most_common(6))
    return [
        Finding(
            kind="rejected",
            severity="serious" if rejected > REJECTED_SERIOUS * read else "care",
            count=rejected,
            message=f"{rows_of(rejected)} of {read:,} ({share(rejected, read)}) cannot be used and were set aside: "
            f"{kinds}.",
            do=_mend(news.reject_kinds),
            examples=news.reject_examples,
        )
    ]


MEND = {
    "unknown label": "Correct the labels, or add the new ones to the labels file.",
    "not UTF-8": "Save the file as UTF-8, for example: iconv -f windows-1252 -t utf-8 FILE > NEW.",
    "wrong field count": "Quote the fields that hold the delimiter.",
    "no target": "Fill in the missing targets, or leave these rows out.",
    "breaks the schema": "Correct the targets, or the schema of the task file.",
}


def _mend(kinds: dict[str, int]) -> str:
    said = [MEND[kind] for kind, _ in Counter(kinds).most_common() if kind in MEND][:2]
    return " ".join([*(said or ["Correct the rows in the file."]), "Then collect the file again."])


def _enough(rows: Sequence[Example]) -> list[Finding]:
    if len(rows) >= GOOD:
        return []
    few = len(rows) < ENOUGH
    return [
        Finding(
            kind="few-rows",
            severity="serious" if few else "note",
            count=len(rows),
            message=f"{rows_of(len(rows))}: "
            + (
                f"fewer than the {ENOUGH} below which a measured figure says little."
                if few
                else f"enough to begin. {GOOD:,} are better."
            ),
            do=f"Collect {ENOUGH - len(rows):,} more before you judge a model."
            if few
            else "Train now and compare; collect more where the report shows errors.",
        )
    ]


def _splits(rows: Sequence[Example]) -> list[Finding]:
    have = counts(rows)
    missing = [split for split in ("train", "dev", "test") if not have.get(split)]
    if not missing:
        return []
    without = "train" in missing
    doing = {
        "train": "Nothing can be learned: collect rows with --split train.",
        "dev": "Confidence cannot be calibrated: collect more rows, or some with --split dev.",
        "test": "Nothing can be measured yet: collect rows with --split test, or all rows without --split.",
    }
    return [
        Finding(
            kind="splits",
            severity="serious" if without else "care",
            count=len(missing),
            message=f"There are no rows in the split {some(missing)}.",
            do=" ".join(doing[split] for split in missing),
        )
    ]


def _suspected(task: Task, rows: Sequence[Example], progress: Progress) -> list[Finding]:
    if task.kind != "classify":
        return []
    try:
        found = suspicions(task, rows, progress=progress)
    except Missing as error:
        return [
            Finding(
                kind="not-checked",
                severity="note",
                count=0,
                message="Labels that look wrong were not searched: scikit-learn is not installed.",
                do=f"{error.hint}, then collect again.",
            )
        ]
    return [finding for one in found for finding in check_labels.suspected(one)]

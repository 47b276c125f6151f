"""What the check found: one Finding per sort of trouble, and the verdict they add up to."""

from collections.abc import Sequence
from typing import Literal

from insource.nouns import JsonObject, Noun

Severity = Literal["serious", "care", "note"]
VERDICTS: dict[str, str] = {"serious": "not ready", "care": "ready with care", "note": "ready"}
ORDER: tuple[Severity, ...] = ("serious", "care", "note")
CELL = 240
EXAMPLES = 8


class Finding(Noun, frozen=True, kw_only=True):
    """One sort of trouble: how many rows, labels or groups it touches (`count`), in words, and what to do about it.

    "serious" makes the data not ready; "care" is worth an hour before training; "note" is good to know. `examples` are
    objects with the same keys, their texts cut at 240 characters.
    """

    kind: str
    severity: Severity
    count: int
    message: str
    do: str
    examples: tuple[JsonObject, ...] = ()


class Rows(Noun, frozen=True, kw_only=True):
    """Rows of this call: read = kept + rejected + duplicates + removed + elsewhere.

    A duplicate was kept before, or stands twice. `removed` were taken out by cleaning and can be brought back;
    `elsewhere` are calls that were told something else: they are of other tasks.
    """

    read: int
    kept: int
    rejected: int
    duplicates: int
    removed: int = 0
    elsewhere: int = 0


def verdict(findings: Sequence[Finding]) -> str:
    """What the findings add up to: "not ready" with a serious one, "ready with care" with one of care, else "ready"."""
    worst = min((ORDER.index(finding.severity) for finding in findings), default=len(ORDER) - 1)
    return VERDICTS[ORDER[worst]]


def sorted_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The gravest first, otherwise in their order."""
    return tuple(sorted(findings, key=lambda finding: ORDER.index(finding.severity)))


def cut(text: object, most: int = CELL) -> str:
    """The text on one line, cut at `most` characters with an ellipsis."""
    flat = " ".join(str(text)[: most * 4].split())
    return flat if len(flat) <= most and len(str(text)) <= most * 4 else flat[:most] + "…"


def share(part: int, whole: int) -> str:
    """A share in percent: "12%", "0.4%"; "under 0.1%" for less."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.1:
        return "under 0.1%"
    return f"{percent:.1f}%" if percent < 10 else f"{percent:.0f}%"


def rows_of(count: int) -> str:
    """A count of rows in words: "1 row", "1,200 rows"."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def texts_of(count: int) -> str:
    """A count of texts and their verb: "1 text stands", "12 texts stand"."""
    return "1 text stands" if count == 1 else f"{count:,} texts stand"


def some(names: Sequence[str], most: int = 5) -> str:
    """The first names, quoted, and how many more there are."""
    shown = ", ".join(f"“{cut(name, 60)}”" for name in names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")

"""Files to Examples: each row taken in or set aside, and what each file gave."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from insource.collect.columns import Wish, mapping
from insource.collect.intake import Intake, split_name
from insource.collect.lines import SHOWN, fingerprint
from insource.collect.private import Private
from insource.collect.read import Raw, Stray, read
from insource.collect.rejects import Rejects, peek
from insource.errors import Invalid, ScanFailed
from insource.nouns import Example, JsonObject, Noun, Task

STRIDE = 2_000
STRAYED = ("unknown label", "unknown field", "breaks the schema", "not an object", "not a label")
Progress = Callable[[str, int, int], None]


class Taken(Noun, frozen=True, kw_only=True):
    """What one file gave: its rows in its order, how many were read and set aside and why, and its mapping."""

    file: str
    sha256: str
    read: int
    rejected: int
    columns: JsonObject
    split: str
    rows: tuple[Example, ...]
    reasons: dict[str, int] = {}

    def lineage(self, known: set[str]) -> JsonObject:
        """The file as the dataset remembers it. `known` are the ids kept before it; its own are added."""
        fresh = {row.id for row in self.rows} - known
        known |= fresh
        return {
            "file": self.file,
            "sha256": self.sha256,
            "read": self.read,
            "kept": len(fresh),
            "rejected": self.rejected,
            "columns": self.columns,
            **({"split": self.split} if self.split else {}),
            **({"reasons": self.reasons} if self.reasons else {}),
        }


class Care(NamedTuple):
    """What cleaning adds to reading: what is replaced in texts, and where rows go whose target may be an older one."""

    private: Private
    strays: list[Stray]

    def redacted(self, row: Example) -> Example:
        """The row without personal data, under the id of what it is then. Raises `Invalid` where it is not scanned."""
        try:
            text, target = self.private.text(row.input), self.private.value(row.target)
        except ScanFailed as error:
            raise Invalid(f"not scanned: {error}") from error
        if (text, target) == (row.input, row.target):
            return row
        return msgspec.structs.replace(row, id=Example.identity(row.task, text, target), input=text, target=target)


def take_file(
    task: Task, path: Path, wish: Wish, rejects: Rejects,
    *, care: Care | None = None, progress: Progress = lambda *_: None,
) -> Taken:  # fmt: skip
    """The rows of one file. What cannot be used goes to `rejects`, named by file, line and reason.

    With `care`, rows whose target may be of an older form go there instead.
    Raises `Missing` or `Invalid` when the file as a whole cannot be used.
    """
    sha256, total = fingerprint(path)
    seen, rest = peek(read(path, wanted=wish.named))
    if not seen:
        raise Invalid(f"{path} has a header but no rows", hint="a csv needs a header and at least two rows")
    plan = mapping(task, seen, wish, name=str(path))
    split = split_name(wish.split) if wish.split else ""
    intake = Intake(task, plan, split)
    rows, count, before = [], 0, rejects.kinds.copy()
    for raw in rest:
        count += 1
        example = _taken(intake, raw, path.name, rejects, care)
        if example is not None:
            rows.append(example)
        if count % STRIDE == 0:
            progress(f"reading {path.name}", min(raw.line, total), total)
    progress(f"reading {path.name}", total, total)
    return Taken(
        file=path.name,
        sha256=sha256,
        read=count,
        rejected=(reasons := rejects.kinds - before).total(),
        columns=plan.described(),
        split=split,
        rows=tuple(rows),
        reasons=dict(sorted(reasons.items())),
    )


def _taken(intake: Intake, raw: Raw, file: str, rejects: Rejects, care: Care | None) -> Example | None:
    """The row as an Example, or None when it was set aside."""
    if raw.fault:
        _aside(rejects, file, raw, raw.fault, care)
        return None
    try:
        row = intake.take(raw.cells)
        return care.redacted(row) if care else row
    except Invalid as error:
        if care is None or str(error).partition(":")[0] not in STRAYED:
            _aside(rejects, file, raw, str(error), care)
        else:
            care.strays.append(_stray(intake, raw, file, care.private, str(error)))
        return None


def _aside(rejects: Rejects, file: str, raw: Raw, reason: str, care: Care | None) -> None:
    """Sets the row aside; with care, what is shown of it is free of personal data too."""
    if care:
        kind, mark, rest = reason.partition(":")
        shown, rest = (care.private.shown(text) for text in (raw.shown[:SHOWN], rest))
        raw, reason = raw._replace(shown=shown), kind + mark + rest
    rejects.add(file, raw, reason)


def _stray(intake: Intake, raw: Raw, file: str, private: Private, reason: str) -> Stray:
    text, target, split = intake.loose(raw.cells)
    return Stray(
        file=file,
        line=raw.line,
        input=private.text(text),
        target=private.value(target),
        origin="import",
        reason=private.shown(reason),
        split=split,
    )


def lineage(before: Iterable[JsonObject], taken: Sequence[Taken], known: set[str]) -> tuple[JsonObject, ...]:
    """Where the rows come from: the files before and these, a file that was taken again in the same way once."""
    listed = {_same(entry): entry for entry in before}
    for one in taken:
        entry = one.lineage(known)
        listed.setdefault(_same(entry), entry)
    return tuple(listed.values())


def _same(entry: JsonObject) -> tuple[str, str, str]:
    return str(entry.get("sha256")), str(entry.get("columns")), str(entry.get("split", ""))

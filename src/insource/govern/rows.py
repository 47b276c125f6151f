"""The rows of a dataset, counted: what a datasheet has of them."""

from insource.errors import InsourceError
from insource.govern.facts import Rows
from insource.nouns import KINDS, Example, ScanPolicy, Task
from insource.scan.originals import PLACEHOLDER

PERSONAL = tuple(kind for kind in KINDS if kind not in ("control", "own_term", "url", "age"))


def counted(task: Task, rows: list[Example]) -> Rows:
    """What the rows are, counted."""
    labels: dict[str, dict[str, dict[str, int]]] = {name: {} for name in task.fields}
    origins: dict[str, dict[str, int]] = {}
    slices: dict[str, dict[str, int]] = {}
    groups: dict[str, set[str]] = {}
    members = 0
    for row in rows:
        for name in task.fields:
            if row.target.get(name) is not None:
                label = str(row.target[name]) if task.kind == "classify" else "has a value"
                _add(labels[name], label, row.split)
        _add(origins, row.origin, row.split)
        if row.split == "test":
            for key, value in row.tags.items():
                _add(slices, key, value)
        if row.group:
            groups.setdefault(row.group, set()).add(row.split)
            members += 1
    personal, unscanned = _personal(rows)
    return Rows(
        labels={name: dict(sorted(found.items())) for name, found in labels.items()},
        origins=origins,
        groups=len(groups),
        in_groups=members,
        straddling=sum(len(splits) > 1 for splits in groups.values()),
        slices=slices,
        characters=_spread(sorted(len(row.input) for row in rows)),
        personal=personal,
        unscanned=unscanned,
        replaced=sum(PLACEHOLDER.search(row.input) is not None for row in rows),
    )


def _spread(lengths: list[int]) -> tuple[int, int, int]:
    """The median, the 95th percentile and the most; zeros where there is none."""
    return (lengths[len(lengths) // 2], lengths[len(lengths) * 95 // 100], lengths[-1]) if lengths else (0, 0, 0)


def _add(counts: dict[str, dict[str, int]], one: str, other: str) -> None:
    into = counts.setdefault(one, {})
    into[other] = into.get(other, 0) + 1


def _personal(rows: list[Example]) -> tuple[dict[str, int] | None, str]:
    """How many rows hold something of each kind; None, and why, where nothing can be looked for."""
    try:
        from insource.scan.scanner import Scanner

        scanner = Scanner(ScanPolicy(actions=dict.fromkeys(PERSONAL, "note")))
        found = dict.fromkeys(PERSONAL, 0)
        for row in rows:
            for kind in {one.kind for one in scanner.scan(row.input).findings}:
                found[kind] = found.get(kind, 0) + 1
    except (InsourceError, ImportError) as error:
        return None, str(error)
    return found, ""

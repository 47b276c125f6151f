"""What is known of the rows: where they come from, how many of what, what was set aside, and whom they speak of."""

from insource.govern.evidence import Found, Gap, Source, Table, counted, table
from insource.govern.facts import Counts, Facts

BESIDE = {"incumbent", "removals"}  # what an entry of the lineage tells that brought no rows


def no_dataset(facts: Facts) -> Gap:
    """There are no rows."""
    return Gap(why="the dataset is not in this workspace", fill=f"insource collect {facts.task.name} FILE")


def of_dataset(facts: Facts) -> Source:
    """The dataset, by its SHA-256."""
    return Source(kind="dataset", name=facts.dataset.id if facts.dataset else "")


def dataset(facts: Facts) -> Found | Gap:
    """Which rows, how many."""
    if facts.dataset is None:
        return no_dataset(facts)
    counts = facts.dataset.counts
    rows = [(split, f"{n:,}") for split, n in counts.items()]
    kept = facts.dataset.created or "at a time not on record"
    words = f"Dataset {facts.dataset.id}, {sum(counts.values()):,} rows, kept {kept}."
    if facts.rows is not None and facts.rows.characters[2]:
        middle, long, most = facts.rows.characters
        words += f" The median text has {middle:,} characters, 95% have at most {long:,}, the longest {most:,}."
    return Found(words=words, table=table(("split", "rows"), rows), sources=(of_dataset(facts),))


def lineage(facts: Facts) -> Found | Gap:
    """Which files the rows are from."""
    if facts.dataset is None:
        return no_dataset(facts)
    entries = [entry for entry in facts.dataset.lineage if BESIDE.isdisjoint(entry)]
    if not entries:
        return Gap(
            why="the dataset does not say where its rows are from", fill=f"insource collect {facts.task.name} FILE"
        )
    rows = [
        (
            str(entry.get("file", "not on record")),
            str(entry.get("sha256", "not on record")),
            *(_count(entry.get(name)) for name in ("read", "kept", "rejected")),
            ", ".join(f"{key}: {value}" for key, value in sorted(dict(entry.get("columns") or {}).items())),
        )
        for entry in entries
    ]
    columns = ("file", "SHA-256", "read", "kept", "set aside", "columns")
    words = f"The rows are from {counted(len(rows), 'import')}. Kept counts rows that were new then."
    return Found(words=words, table=table(columns, rows), sources=(of_dataset(facts),))


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "not on record"


def rejected(facts: Facts) -> Found | Gap:
    """What could not be used, and why."""
    if facts.dataset is None:
        return no_dataset(facts)
    entries = [entry for entry in facts.dataset.lineage if isinstance(entry.get("rejected"), int)]
    if not entries:
        return Gap(why="the dataset does not say what was set aside")
    total = sum(entry["rejected"] for entry in entries)
    reasons: dict[str, int] = {}
    for entry in entries:
        for why, n in dict(entry.get("reasons") or {}).items():
            reasons[str(why)] = reasons.get(str(why), 0) + int(n)
    told = sum(reasons.values())
    words = f"{total:,} of {sum(int(entry.get('read') or 0) for entry in entries):,} rows read were set aside."
    words += f" Of {total - told:,} the reason is not on record." * (told < total)
    rows = [(why, f"{n:,}") for why, n in sorted(reasons.items(), key=lambda one: (-one[1], one[0]))]
    return Found(words=words, table=table(("why", "rows"), rows) if rows else None, sources=(of_dataset(facts),))


def labels(facts: Facts) -> Found | Gap:
    """How many rows of which label, by split."""
    if facts.dataset is None or facts.rows is None:
        return no_dataset(facts)
    splits = list(facts.dataset.counts)
    rows = [
        (name, label, *(f"{counts.get(split, 0):,}" for split in splits))
        for name, found in facts.rows.labels.items()
        for label, counts in found.items()
    ]
    many = sum(len(found) for found in facts.rows.labels.values())
    words = (
        f"{many:,} labels of {len(facts.rows.labels):,} outputs."
        if facts.task.kind == "classify"
        else ("The fields, and the rows in which each has a value.")
    )
    return Found(words=words, table=table(("output", "label", *splits), rows), sources=(of_dataset(facts),))


def origins(facts: Facts) -> Found | Gap:
    """Who gave the labels."""
    if facts.dataset is None or facts.rows is None:
        return no_dataset(facts)
    splits = list(facts.dataset.counts)
    words = "Who gave the labels: people, a teacher model, verdicts on live traffic, or whoever made the imported file."
    return Found(words=words, table=_by_split("origin", facts.rows.origins, splits), sources=(of_dataset(facts),))


def _by_split(name: str, counts: Counts, splits: list[str]) -> Table:
    rows = [(one, *(f"{found.get(split, 0):,}" for split in splits)) for one, found in sorted(counts.items())]
    return table((name, *splits), rows)


def near_duplicates(facts: Facts) -> Found | Gap:
    """Rows that say almost the same."""
    if facts.dataset is None or facts.rows is None:
        return no_dataset(facts)
    rows = facts.rows
    words = f"{rows.in_groups:,} rows have a near-duplicate, in {rows.groups:,} groups; "
    words += f"{rows.straddling:,} groups stand on more than one side of a split."
    return Found(words=words, sources=(of_dataset(facts),))


def personal_data(facts: Facts) -> Found | Gap:
    """Whether the rows speak of persons, as far as patterns tell."""
    if facts.dataset is None or facts.rows is None:
        return no_dataset(facts)
    if facts.rows.personal is None:
        return Gap(why=f"the rows were not looked through: {facts.rows.unscanned}", fill="pip install 'insource[scan]'")
    found = {kind: n for kind, n in facts.rows.personal.items() if n}
    total = sum(facts.dataset.counts.values())
    names = ", ".join(sorted(facts.rows.personal))
    words = f"Looked through {total:,} rows by patterns for {names}. Patterns find no names of persons. "
    words += f"In {facts.rows.replaced:,} rows a placeholder stands where something was replaced."
    if not found:
        bound = 1 - 0.05 ** (1 / total) if total else 1.0
        return Found(words=f"{words} Nothing was found (share of such rows below {bound:.2%}, as far as the patterns "
                           "see).", sources=(of_dataset(facts),))  # fmt: skip
    rows = [(kind, f"{n:,}") for kind, n in sorted(found.items(), key=lambda one: (-one[1], one[0]))]
    return Found(words=words, table=table(("kind", "rows"), rows), sources=(of_dataset(facts),))


def slices_known(facts: Facts) -> Found | Gap:
    """By what the rows can be told apart: what a look at bias can be about."""
    if facts.dataset is None or facts.rows is None:
        return no_dataset(facts)
    if not facts.rows.slices:
        fill = f"insource collect {facts.task.name} FILE --tag COLUMN"
        return Gap(why="no row carries a tag: nothing says whom or what it is about", fill=fill)
    rows = [
        (key, value, f"{n:,}") for key, found in sorted(facts.rows.slices.items()) for value, n in sorted(found.items())
    ]
    words = f"The tags of the {facts.dataset.counts.get('test', 0):,} test rows."
    return Found(words=words, table=table(("tag", "value", "test rows"), rows), sources=(of_dataset(facts),))

"""A field of the evidence: measured, with where it can be looked up; declared, with who says so and when; or missing.

There is no fourth state, and no way from a gap to words: what is missing says what would fill it.
"""

from collections.abc import Sequence
from typing import Literal

from insource.nouns import Noun

State = Literal["measured", "declared", "missing"]
Kind = Literal[
    "release", "artefact", "gate", "report", "dataset", "task file", "insource.toml", "stage changes", "tightening",
    "egress journal", "audit chain", "checkpoint", "signature", "restore drill", "backup", "records", "keys",
    "holdout", "declaration", "installation",
]  # fmt: skip


class Source(Noun, frozen=True, kw_only=True):
    """Where it can be looked up: what kind of thing, which one, and the command that shows it."""

    kind: Kind
    name: str = ""
    command: str = ""


class Table(Noun, frozen=True, kw_only=True):
    """Rows under columns, all of them texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Found(Noun, frozen=True, kw_only=True):
    """What was measured, or is so because the workspace is set so: in words, and where they are many in a table.

    `commands` are lines to type, as they stand.
    """

    words: str
    sources: tuple[Source, ...]
    table: Table | None = None
    commands: tuple[str, ...] = ()


class Said(Noun, frozen=True, kw_only=True):
    """What a person says is so; `on` is a day or a time (UTC)."""

    words: str
    by: str
    on: str
    source: Source


class Gap(Noun, frozen=True, kw_only=True):
    """Why it is missing, and the command or the line of a file that fills it."""

    why: str
    fill: str = ""


class Field(Noun, frozen=True, kw_only=True):
    """One field as the documents have it. Of a missing one `words` say why, `fill` what to do."""

    name: str
    title: str
    state: State
    words: str
    table: Table | None = None
    commands: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    by: str = ""
    on: str = ""
    fill: str = ""


def field(name: str, title: str, answer: Found | Said | Gap) -> Field:
    """The field that an answer makes. Raises ValueError for something measured that names no source."""
    if isinstance(answer, Gap):
        return Field(name=name, title=title, state="missing", words=answer.why, fill=answer.fill)
    if isinstance(answer, Said):
        return Field(
            name=name,
            title=title,
            state="declared",
            words=answer.words,
            by=answer.by,
            on=answer.on,
            sources=(answer.source,),
        )
    if not answer.sources:
        raise ValueError(f"{name} names no source")
    return Field(
        name=name,
        title=title,
        state="measured",
        words=answer.words,
        table=answer.table,
        commands=answer.commands,
        sources=answer.sources,
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of texts. Raises ValueError for a row of another width."""
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"a row is not {len(columns)} wide")
    return Table(columns=tuple(columns), rows=tuple(tuple(row) for row in rows))


def counted(n: int, what: str) -> str:
    """So many of a thing: "1 day", "1,200 days"."""
    return f"{n:,} {what}{'s' * (n != 1)}"

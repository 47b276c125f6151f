"""Words for the terminal that several verbs share: aligned columns, marks, short digests."""

from collections.abc import Sequence

import click

YES, NO = "✓", "✗"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, indent: str = "  ") -> str:
    """Left-aligned columns, two blanks apart, under a dimmed head; plain text where nothing shows colour."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in [head, *rows]]  # fmt: skip
    return "\n".join([click.style(lines[0], dim=True), *lines[1:]])


def mark(holds: bool, words: str = "") -> str:
    """A green ✓ or a red ✗, with the words after it."""
    return click.style(f"{YES if holds else NO} {words}".rstrip(), fg="green" if holds else "red")


def bold(words: str) -> str:
    """The words in bold."""
    return click.style(words, bold=True)


def dim(words: str) -> str:
    """The words in the background."""
    return click.style(words, dim=True)


def short(digest: str) -> str:
    """The first 12 hex digits of a SHA-256, enough to tell things apart by eye."""
    return digest[:12] or "none"

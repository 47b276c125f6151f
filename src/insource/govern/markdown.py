"""Markdown that says what it is given and does nothing else: whatever stands in a label or a name is text."""

import json
import re
from collections.abc import Mapping, Sequence

from insource.govern.evidence import Field, Table
from insource.nouns import visible

MARKS = re.compile(r"([\\`*_\[\]|#~$])")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
LEADING = re.compile(r"^([-+=]+|\d+[.)])(?= |$)")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
STEERS = re.compile(r"[<>&`*_\[\]()!]")
LINKED = re.compile(r"(?i)(://|\bwww\.)")


def plain(text: str) -> str:
    """The text on one line, every mark of Markdown and HTML made harmless, nothing of it a link."""
    flat = " ".join(visible(text).split())
    kept = "".join(ENTITIES.get(each, each) for each in flat)
    marked = MARKS.sub(r"\\\1", kept)
    unlinked = LINKED.sub(lambda found: found[0][:-1] + f"&#{ord(found[0][-1])};", marked)
    return LEADING.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", unlinked)


def lines(text: str) -> str:
    """As `plain`, a line for each of the text's."""
    return "  \n".join(plain(line) for line in text.splitlines() if line.strip())


def code(commands: Sequence[str]) -> str:
    """Commands in a block, longer than any fence in them."""
    body = "\n".join(visible(one).replace("\n", " ") for one in commands)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", body)), 3)
    return f"{fence}console\n{body}\n{fence}"


def span(text: str) -> str:
    """The text as code within a line."""
    flat = " ".join(visible(text).split())
    fence = "`" * max(1, *(len(run) + 1 for run in re.findall("`+", flat)), 1)
    return f"{fence} {flat} {fence}" if "`" in flat else f"`{flat}`"


def table(found: Table) -> str:
    """A table of GitHub's Markdown."""
    head = "| " + " | ".join(plain(name) for name in found.columns) + " |"
    rule = "|" + " --- |" * len(found.columns)
    return "\n".join([head, rule, *["| " + " | ".join(plain(cell) for cell in row) + " |" for row in found.rows]])


def said(field: Field) -> str:
    """One line on how a field stands and what it stands on."""
    if field.state == "missing":
        return f"*missing*{'; to fill it: ' + span(field.fill) if field.fill else ''}"
    on = "; ".join(f"{one.kind} {plain(one.name)}".strip() for one in field.sources)
    if field.state == "declared":
        return f"*declared* by {plain(field.by)}, {plain(field.on)}; {on}"
    return f"*measured*: {on}"


def block(field: Field) -> str:
    """A field with its title, its words, its table and its commands, and what it stands on."""
    if field.state == "missing":
        fill = f"\n\nTo fill it: {span(field.fill)}" if field.fill else ""
        return f"**{plain(field.title)}: missing.** {plain(field.words[:1].upper() + field.words[1:])}{fill}"
    parts = [f"**{plain(field.title)}.** {lines(field.words)}"]
    parts += [table(field.table)] if field.table else []
    parts += [code(field.commands)] if field.commands else []
    return "\n\n".join([*parts, said(field)])


def front(data: Mapping[str, object]) -> str:
    """YAML's front matter; JSON's values are YAML's, and no text of a stranger can end it."""
    rows = [f"{key}: {QUOTED.sub(_escaped, json.dumps(value, ensure_ascii=True))}" for key, value in data.items()]
    return "\n".join(["---", *rows, "---"])


def _escaped(quoted: re.Match[str]) -> str:
    """A quoted text without what a reader that knows no front matter would take for HTML or Markdown."""
    return STEERS.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted[0])

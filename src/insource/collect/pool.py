"""Inputs without a label: the rows of files, each text once, kept for a teacher or for people."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from insource.collect.columns import INPUTS, MESSAGES, Wish
from insource.collect.intake import input_text
from insource.collect.lines import fingerprint
from insource.collect.near import plain
from insource.collect.read import Raw, read
from insource.collect.rejects import Rejects, peek
from insource.collect.take import Progress, Taken
from insource.errors import Invalid
from insource.nouns import Example, JsonObject
from insource.nouns.request import text_of

STRIDE = 2_000


def pool_of(task: str) -> str:
    """The name under which the task's inputs without a label are kept; no task can be called so."""
    return f"{task}/pool"


def take_inputs(task: str, path: Path, wish: Wish, rejects: Rejects, *, progress: Progress = lambda *_: None) -> Taken:
    """The inputs of one file, in its order, repeated ones too. What cannot be used goes to `rejects`.

    The last user message of a conversation is its input. Raises `Missing`, or `Invalid` naming the columns there are.
    """
    sha256, total = fingerprint(path)
    seen, rest = peek(read(path, wanted=wish.named))
    column, chat = _column(seen, wish, str(path))
    rows, count, before = [], 0, rejects.count
    for raw in rest:
        count += 1
        try:
            if raw.fault:
                raise Invalid(raw.fault)
            text = input_text(_last_asked(raw.cells) if chat else raw.cells, column)
            rows.append(Example(id=Example.identity(task, text, {}), task=task, input=text, target={}, split=""))
        except Invalid as error:
            rejects.add(path.name, raw, str(error))
        if count % STRIDE == 0:
            progress(f"reading {path.name}", min(raw.line, total), total)
    progress(f"reading {path.name}", total, total)
    columns: JsonObject = {"input": MESSAGES if chat else column}
    return Taken(
        file=path.name, sha256=sha256, read=count, rejected=rejects.count - before, columns=columns, split="",
        rows=tuple(rows),
    )  # fmt: skip


def joined(before: Iterable[Example], new: Iterable[Example]) -> tuple[list[Example], int]:
    """The rows of both, sorted by id, each text once, however it is written; and how many were there already."""
    found: dict[str, Example] = {}
    repeated = 0
    for row in before:
        found[plain(row.input)] = row
    for row in new:
        repeated += plain(row.input) in found
        found.setdefault(plain(row.input), row)
    return sorted(found.values(), key=lambda row: row.id), repeated


def _column(seen: Sequence[Raw], wish: Wish, name: str) -> tuple[str, bool]:
    """The column of the input, and whether rows are conversations that have none."""
    columns = list(dict.fromkeys(key for raw in seen for key in raw.cells))
    if wish.input and wish.input not in columns:
        raise Invalid(f"{name} has no column {wish.input!r}", hint=f"it has {', '.join(columns) or 'none'}")
    chat = MESSAGES in columns and not wish.input
    found = wish.input or next((column for column in INPUTS if column in columns), "")
    if not found and not chat:
        has = ", ".join(repr(column[:60]) for column in columns[:20]) or "none"
        raise Invalid(f"{name} has no column called input; it has {has}", hint="say which: --input COL")
    return ("input" if chat else found), chat


def _last_asked(cells: JsonObject) -> JsonObject:
    said = cells.get(MESSAGES)
    turns = [turn for turn in said if isinstance(turn, dict)] if isinstance(said, list) else []
    asked = next((turn for turn in reversed(turns) if turn.get("role") == "user"), None)
    if asked is None:
        raise Invalid("no input: the conversation has no user message")
    return {"input": text_of(asked.get("content"))}

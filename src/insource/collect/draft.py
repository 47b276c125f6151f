"""A task made from its first rows: a classify task, one output per target column, its labels as the data has them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from insource.collect.columns import Mapping, Wish, mapping, unfold
from insource.collect.intake import label_text
from insource.collect.read import Raw
from insource.collect.rejects import peek
from insource.errors import Invalid
from insource.nouns import JsonObject, Output, Task, canonical, visible
from insource.store.files import write_whole

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
FREE_SHARE = 0.5
FREE_FLOOR = 20


def named(name: str) -> str:
    """The name, if it can be a task's. Raises `Invalid`."""
    if not NAME.fullmatch(name):
        raise Invalid(
            f"{name[:80]!r} cannot be a task's name",
            hint="lower case letters, digits, - and _; at most 64, like tickets",
        )
    return name


def draft(name: str, files: Iterable[tuple[str, Iterable[Raw]]], wish: Wish) -> Task:
    """The task that the rows of the files (name, rows) speak of. Reads them to the end.

    Raises `Invalid` when the name can be none, or a target column holds no closed set of labels.
    """
    named(name)
    counts: dict[str, Counter[str]] = {}
    for file, rows in files:
        seen, rest = peek(rows)
        plan = mapping(None, seen, wish, name=file)
        for raw in rest:
            if not raw.fault:
                _count(raw.cells, plan, counts)
    if not counts:
        raise Invalid("none of the rows has a target", hint="is --target the right column?")
    outputs = tuple(Output(name=field, labels=_closed(field, labels)) for field, labels in counts.items())
    said = ", ".join(output.name for output in outputs)
    return Task(name=name, kind="classify", instruction=f"Choose the {said} of the text.", outputs=outputs)


def _count(cells: JsonObject, plan: Mapping, counts: dict[str, Counter[str]]) -> None:
    """Adds the row's labels, if all its targets are labels; what is wrong with it is said when it is taken in."""
    try:
        cells = unfold(cells) if plan.chat else cells
        found = {field: label_text(cells.get(column)) for field, column in plan.fields.items()}
    except Invalid:
        return
    if all(found.values()) and str(cells.get(plan.input) or "").strip():
        for field, label in found.items():
            counts.setdefault(field, Counter())[label] += 1


def _closed(field: str, counts: Counter[str]) -> tuple[str, ...]:
    """The labels, sorted. Raises `Invalid` for fewer than two, and for texts that hardly ever repeat."""
    total = counts.total()
    if len(counts) < 2:
        only = next(iter(counts))
        raise Invalid(
            f"every row has the same {field}: {only[:80]!r}; there is nothing to learn",
            hint="collect rows of at least two labels in one call",
        )
    if total >= FREE_FLOOR and len(counts) > FREE_SHARE * total:
        raise Invalid(
            f"{field} is no closed set of labels: {len(counts):,} different values in {total:,} rows",
            hint="choose another --target, or write tasks/NAME.toml with kind extract or generate",
        )
    return tuple(sorted(counts))


def write_task(root: Path, task: Task) -> list[str]:
    """Writes labels/TASK-FIELD.txt and then tasks/TASK.toml under `root`; returns their paths relative to it.

    The schema of an extract task goes to schemas/TASK.json. An existing file of that name is replaced. Each file is
    whole or not there. Raises `StoreError`.
    """
    written = []
    if task.schema is not None:
        place = f"schemas/{task.name}.json"
        write_whole(root / place, msgspec.json.format(canonical(task.schema), indent=2).decode() + "\n")
        written.append(place)
    for output in task.outputs:
        place = f"labels/{task.name}-{output.name}.txt"
        write_whole(root / place, "".join(f"{label}\n" for label in output.labels))
        written.append(place)
    place = f"tasks/{task.name}.toml"
    write_whole(root / place, task_toml(task))
    return [*written, place]


def task_toml(task: Task) -> str:
    """The task file of a drafted task, with the sections a person will want next as comments."""
    tables = [_output_table(task.name, output) for output in task.outputs]
    schema = [f'schema = "schemas/{task.name}.json"       # a JSON Schema; make it as strict as you like', ""]
    return "\n".join([*_head(task)[:-1], *(schema if task.schema is not None else [""]), *tables, *TAIL[task.kind]])


def _head(task: Task) -> Sequence[str]:
    return (
        "# Made by insource collect from the data. Everything here is yours to change.",
        f'name = "{task.name}"',
        f'kind = "{task.kind}"',
        f"instruction = {quoted(task.instruction)}",
        'sensitivity = "premises"             # the data never leaves; or "any", or a list of regions',
        "",
    )


def _output_table(name: str, output: Output) -> str:
    shown = re.fullmatch(r"[A-Za-z0-9_-]+", output.name)
    key = output.name if shown else f'"{output.name}"'
    place = f"labels/{name}-{output.name}.txt"
    note = ""
    if all("/" in label for label in output.labels):
        note = (
            f'# The labels look like paths. With levels joined by " / ", taxonomy = "{place}" scores the levels too.\n'
        )
    return f'[outputs.{key}]\n{note}labels = "{place}"             # one label a line\n'


def quoted(text: str) -> str:
    """The text as a TOML string on one line."""
    shown = visible(text.encode("utf-8", "replace").decode()).replace("\x7f", "")
    return msgspec.json.encode(shown).decode()


def _tail(demand: str) -> tuple[str, ...]:
    return (
        "# [acceptance]                      # what the gate demands; write it before you see results",
        demand,
        "",
        "# [risk]                            # when an answer may leave by itself",
        "# max_error = 0.05",
        '# else = ["review"]',
        "",
    )


TAIL = {
    "classify": _tail("# accuracy = 0.88"),
    "extract": _tail("# field_f1 = 0.90"),
    "generate": _tail("# p95_ms = 2000"),
}

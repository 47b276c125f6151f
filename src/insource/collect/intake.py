"""One raw row to one Example of the task, or `Invalid` with the reason why not."""

import difflib
import re
from typing import Any

import msgspec

from insource.collect.columns import Mapping, unfold
from insource.decode.check import faults
from insource.errors import Invalid
from insource.nouns import Example, JsonObject, JsonValue, Output, Task, depth_ok, visible

SPLITS = ("train", "dev", "test")
ALIASES = {"training": "train", "val": "dev", "valid": "dev", "validation": "dev", "eval": "dev", "testing": "test"}
NEAREST = 500
SHOWN = 80


def split_name(said: str) -> str:
    """The split that a word means: "validation" is dev. Raises `Invalid` for what can be no name of one."""
    name = said.strip().lower()
    name = ALIASES.get(name, name)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
        raise Invalid(f"unknown split: {said[:SHOWN]!r}", hint="train, dev or test")
    return name


class Intake:
    """Takes rows of one file for one task. `split` is forced on all of them, "" leaves it to the rows.

    An Example's split is "" when neither says it.
    """

    def __init__(self, task: Task, mapping: Mapping, split: str) -> None:
        self.task, self.mapping, self.split = task, mapping, split
        self._labels = {output.name: _Labels(output) for output in task.outputs}

    def take(self, cells: JsonObject) -> Example:
        """The row as an Example. Raises `Invalid`: "KIND: detail", the kind being the same for all rows of a sort."""
        if self.mapping.chat:
            cells = unfold(cells)
        text = input_text(cells, self.mapping.input)
        target = self._target(cells)
        return Example(
            id=Example.identity(self.task.name, text, target),
            task=self.task.name,
            input=text,
            target=target,
            split=self._split(cells),
            tags={tag: label_text(cells[tag]) for tag in self.mapping.tags if cells.get(tag) not in (None, "")},
        )

    def loose(self, cells: JsonObject) -> tuple[str, JsonValue, str]:
        """Input and target as they stand, fitting or not, and the split. Raises `Invalid` without an input."""
        if self.mapping.chat:
            cells = unfold(cells)
        text = input_text(cells, self.mapping.input)
        if self.mapping.whole:
            return text, cells.get(self.mapping.whole), self._split(cells)
        return text, {field: cells.get(column) for field, column in self.mapping.fields.items()}, self._split(cells)

    def _split(self, cells: JsonObject) -> str:
        said = cells.get(self.mapping.split) if self.mapping.split and not self.split else None
        return split_name(str(said)) if said not in (None, "") else self.split

    def _target(self, cells: JsonObject) -> JsonObject:
        if self.mapping.whole:
            return self._whole(cells.get(self.mapping.whole), self.mapping.whole)
        found = {field: cells.get(column) for field, column in self.mapping.fields.items()}
        return self._checked(found)

    def _whole(self, value: JsonValue, column: str) -> JsonObject:
        """The target in one column: an object, its JSON, or the bare value of the only field."""
        if value is None or (isinstance(value, str) and not value.strip()):
            raise Invalid(f"no target: column {column!r} is empty")
        if isinstance(value, str) and self._expects_object(value):
            value = _json(value, column)
        if isinstance(value, dict) and (self.task.kind != "generate" or set(value) == {"text"}):
            return self._checked(value)
        if len(self.task.fields) == 1 and self.task.kind != "extract":
            return self._checked({self.task.fields[0]: value})
        raise Invalid(f"not an object: column {column!r} must hold {', '.join(self.task.fields)} as JSON")

    def _expects_object(self, text: str) -> bool:
        if self.task.kind == "generate":
            return False
        return self.task.kind == "extract" or len(self.task.fields) > 1 or text.lstrip().startswith("{")

    def _checked(self, found: JsonObject) -> JsonObject:
        if self.task.kind == "classify":
            return self._classified(found)
        if self.task.kind == "extract":
            return self._extracted(found)
        text = found.get("text")
        if not isinstance(text, str) or not text.strip():
            raise Invalid("no target: the text is missing or blank")
        return {"text": text}

    def _classified(self, found: JsonObject) -> JsonObject:
        extra = next((name for name in found if name not in self._labels), None)
        if extra is not None:
            raise Invalid(f"unknown field: {extra[:SHOWN]!r} is no output of {self.task.name}")
        return {name: labels.find(found.get(name)) for name, labels in self._labels.items()}

    def _extracted(self, found: JsonObject) -> JsonObject:
        schema = self.task.schema or {}
        properties = schema.get("properties", {})
        value = found
        if not self.mapping.whole:
            value = {k: _typed(v, properties.get(k)) for k, v in found.items() if v is not None and v != ""}
        if not depth_ok(value):
            raise Invalid("nested too deeply: more than 64 levels of JSON")
        said = faults(schema, value)
        if said:
            raise Invalid(f"breaks the schema: {'; '.join(said)}")
        return value


class _Labels:
    """The closed set of one output, and what people write when they mean a member of it."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self._known = frozenset(output.labels)
        self._paths = _paths(output) if output.taxonomy else {}
        self._nearest: dict[str, str] = {}

    def find(self, value: JsonValue) -> str:
        """The label that the cell holds. Raises `Invalid` naming the nearest one."""
        text = label_text(value)
        if not text:
            raise Invalid(f"no target: {self.output.name} is empty")
        if text in self._known:
            return text
        path = self._paths.get(_steps(text))
        if path:
            return path
        raise Invalid(f"unknown label: {text[:SHOWN]!r} is no label of {self.output.name}{self._near(text)}")

    def _near(self, text: str) -> str:
        if text not in self._nearest and len(self._nearest) < NEAREST:
            lower = {label.lower(): label for label in reversed(self.output.labels)}
            near = difflib.get_close_matches(text.lower()[:200], lower, n=1)
            self._nearest[text] = f"; the nearest is {lower[near[0]]!r}" if near else ""
        return self._nearest.get(text, "")


def _paths(output: Output) -> dict[tuple[str, ...], str]:
    """Other ways to write a path: with other blanks around "/", or its last level alone where only one path has it."""
    whole = {_steps(label): label for label in output.labels}
    ends: dict[tuple[str, ...], list[str]] = {}
    for label in output.labels:
        ends.setdefault(_steps(label)[-1:], []).append(label)
    return {**{end: found[0] for end, found in ends.items() if len(found) == 1}, **whole}


def _steps(text: str) -> tuple[str, ...]:
    return tuple(step.strip() for step in text.split("/"))


def input_text(cells: JsonObject, column: str) -> str:
    """The input of a row, as it stands. Raises `Invalid` when it is missing, blank or no text."""
    value = cells.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Invalid(f"no input: column {column!r} is empty")
    if isinstance(value, bool | dict | list | bytes):
        raise Invalid(f"no input: column {column!r} holds no text")
    return value if isinstance(value, str) else str(value)


def label_text(value: Any) -> str:
    """A cell as a label: text without blanks around it, whole numbers without a point; "" for none.

    Raises `Invalid` for lists, objects, labels of more than one line and control characters.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list | bytes):
        raise Invalid("not a label: the cell holds a list or an object")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else ("" if value != value else repr(value))
    text = str(value).strip()
    if len(text.splitlines()) > 1:
        raise Invalid("not a label: the text has several lines")
    if visible(text) != text:
        raise Invalid("not a label: the text holds control characters")
    return text


def _typed(value: JsonValue, schema: JsonValue) -> JsonValue:
    """A csv cell as the schema's type wants it; left as it is where it does not fit, for the schema to say so."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if not isinstance(value, str) or kind in (None, "string"):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, RecursionError):
        return value


def _json(text: str, column: str) -> JsonValue:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Invalid(f"not JSON: column {column!r}: {error}") from error
    except RecursionError as error:
        raise Invalid("nested too deeply: hundreds of levels of JSON") from error

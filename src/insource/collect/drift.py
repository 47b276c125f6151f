"""Targets of an older form of the task: renamed fields and labels, other types, an object where a word is wanted now.

`translated` says what such a target would be today, and how it got there. Nothing is taken over by itself: the row is
set aside with the translation as evidence, and brought back by whoever agrees.
"""

import difflib
from collections.abc import Sequence

import msgspec

from insource.collect.calls import opened
from insource.decode.check import faults, schema_of
from insource.nouns import JsonObject, JsonValue, Task, depth_ok

ALIKE = 0.75
YES = {"yes": True, "true": True, "no": False, "false": False}


def translated(task: Task, target: JsonValue) -> tuple[JsonObject, str] | None:
    """The target as the task has it today, and in words what was changed; None where that is anybody's guess."""
    value = opened(target)
    if task.kind == "generate" or not depth_ok(value):
        return None
    if not isinstance(value, dict):
        value = {task.fields[0]: value} if len(task.fields) == 1 else None
    if value is None:
        return None
    renamed, said = _fields(task, value)
    fixed, more = _labels(task, renamed) if task.kind == "classify" else _types(task, renamed)
    said += more
    if not said or faults(schema_of(task), fixed):
        return None
    return fixed, "; ".join(said)


def _fields(task: Task, value: JsonObject) -> tuple[JsonObject, list[str]]:
    """The object under the names that the task has now; a field that is left over goes where only one place is free."""
    found: JsonObject = {key: value[key] for key in task.fields if key in value}
    loose = [key for key in value if key not in task.fields]
    free = [key for key in task.fields if key not in value]
    said = []
    for key in loose:
        name = nearest(key, free) or (free[0] if len(free) == len(loose) == 1 else "")
        if name:
            free.remove(name)
            found[name] = value[key]
            said.append(f"field {key[:80]!r} is {name!r} now")
        else:
            said.append(f"field {key[:80]!r} is gone")
    return found, said


def _labels(task: Task, value: JsonObject) -> tuple[JsonObject, list[str]]:
    """The labels as they are spelled now."""
    fixed, said = {}, []
    for output in task.outputs:
        old = value.get(output.name)
        if old in output.labels or not isinstance(old, str):
            fixed[output.name] = old
            continue
        new = spelled(old, output.labels)
        fixed[output.name] = new or old
        said += [f"label {old[:80]!r} is spelled {new!r} now"] if new else []
    return fixed, said


def _types(task: Task, value: JsonObject) -> tuple[JsonObject, list[str]]:
    """The values in the types that the schema wants; what may be null and is missing is null."""
    schema = task.schema or {}
    fixed, said = dict(value), []
    for key, wanted in schema.get("properties", {}).items():
        kinds = wanted.get("type") if isinstance(wanted, dict) else None
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if key not in fixed and key in schema.get("required", ()) and "null" in kinds:
            fixed[key] = None
            said.append(f"field {key!r} was not there")
        elif key in fixed and faults(wanted, fixed[key]):
            new = next((n for kind in kinds if not faults(wanted, n := _as(fixed[key], kind))), fixed[key])
            said += [f"field {key!r} was of another type"] if new != fixed[key] else []
            fixed[key] = new
    return fixed, said


def _as(value: JsonValue, kind: str) -> JsonValue:
    if kind == "string" and isinstance(value, int | float | bool):
        return msgspec.json.encode(value).decode()
    if kind == "array" and not isinstance(value, list):
        return [value]
    if isinstance(value, list) and len(value) == 1 and kind != "array":
        return value[0]
    if kind in ("number", "integer") and isinstance(value, str):
        level = value.strip().replace(",", "") if value.count(".") <= 1 else value
        try:
            return int(level) if kind == "integer" else float(level)
        except ValueError:
            return value
    return YES.get(value.strip().lower(), value) if kind == "boolean" and isinstance(value, str) else value


def nearest(name: str, names: Sequence[str]) -> str:
    """The one of `names` that is spelled most alike; "" where none is."""
    same = spelled(name, names)
    close = difflib.get_close_matches(name.lower()[:80], [n.lower() for n in names], n=1, cutoff=ALIKE)
    return same or next((n for n in names if close and n.lower() == close[0]), "")


def spelled(name: str, names: Sequence[str]) -> str:
    """The one of `names` that differs in case, blanks and punctuation alone; "" where none or several do."""
    key = _level(name)
    found = [one for one in names if _level(one) == key]
    return found[0] if key and len(found) == 1 else ""


def _level(name: str) -> str:
    return "".join(filter(str.isalnum, name[:200].casefold()))

"""Text back to a value: parsed, and held to the task's contract. What does not hold is `OutputInvalid`, never patched.

Values are validated by jsonschema-rs with its linear-time regex engine and without fetching references, so neither a
hostile schema nor a hostile output can hang or call out (docs/decisions/0005-decoding.md).
"""

import json
from functools import lru_cache
from typing import Any

import msgspec

from insource.decode.form import written
from insource.errors import Invalid, OutputInvalid
from insource.nouns import JsonObject, JsonValue, Output, Task, canonical, to_json

SHOWN = 160


def schema_of(task: Task) -> JsonObject:
    """The JSON Schema of the task's value: an enum per output, the task's own schema, or one text."""
    if task.kind == "extract":
        return task.schema or {"type": "object"}
    if task.kind == "generate":
        return _object({"text": {"type": "string"}})
    return _object({output.name: {"type": "string", "enum": list(output.labels)} for output in task.outputs})


def render(task: Task, value: JsonObject) -> str:
    """The text form of a value: the bare label of a single output, the text of `generate`, else compact JSON.

    Fields stand in the order of the task, or of its schema.
    """
    if task.kind == "generate":
        return str(value["text"])
    if task.kind == "extract":
        return written(schema_of(task), value)
    if len(task.outputs) == 1:
        return str(value[task.outputs[0].name])
    return to_json({output.name: value[output.name] for output in task.outputs}).decode()


def parse(task: Task, text: str) -> JsonObject:
    """The value that `text` spells for `task`. Raises `OutputInvalid` saying what is wrong.

    A single output may be the bare label or {"output": label}; several are a JSON object with exactly the outputs;
    `extract` is JSON valid for the schema; `generate` is any text. Blanks around are ignored but for `generate`.
    """
    if task.kind == "generate":
        return {"text": text}
    if task.kind == "extract":
        return parse_json(schema_of(task), text)
    bare = text.strip()
    if len(task.outputs) == 1 and (bare in _set(task.outputs[0].labels) or not bare.startswith("{")):
        return {task.outputs[0].name: _label(task.outputs[0], bare)}
    return _labels(task, text)


def parse_json(schema: JsonObject, text: str) -> JsonObject:
    """The JSON in `text` if it is valid for `schema`. Raises `OutputInvalid`, or `Invalid` for a broken schema."""
    value: JsonObject = _json(text)
    said = faults(schema, value)
    if said:
        raise OutputInvalid("the output breaks the schema: " + "; ".join(said))
    return value


def read_once(text: str) -> str:
    """The JSON `text`, with a key that stands twice in an object kept once, with its last value: so readers take it.

    RFC 8259 leaves such an object's meaning open; a grammar does not remember free keys, so it cannot forbid one.
    Raises `OutputInvalid` for what is no JSON.
    """
    value, twice = _json(text), False

    def kept(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
        nonlocal twice
        found = dict(pairs)
        twice = twice or len(found) < len(pairs)
        return found

    json.loads(text, object_pairs_hook=kept)
    return to_json(value).decode() if twice else text


def faults(schema: JsonObject, value: JsonValue) -> list[str]:
    """Up to three ways in which `value` breaks `schema`, each with its path; empty when it is valid.

    Raises `Invalid` when the schema itself is broken. Drafts 4 to 2020-12, 2020-12 when `$schema` is absent;
    `format` is checked.
    """
    said = []
    for error in _validator(canonical(schema)).iter_errors(value):
        where = "/".join(str(step) for step in error.instance_path)
        said.append(f"at /{where}: {_short(error.message)}")
        if len(said) == 3:
            break
    return said


def check_form(schema: JsonObject, dialect: str) -> None:
    """Raises `Invalid` when `schema` breaks the rules of its `dialect` (a URI); references and patterns aside."""
    import jsonschema_rs

    try:
        jsonschema_rs.meta.validate({**schema, "$schema": dialect})
    except ValueError as error:
        raise Invalid(f"not a usable JSON Schema: {_first(error)}", hint="docs/reference/schemas.md") from error


def check_schema(schema: JsonObject) -> None:
    """Raises `Invalid` when `schema` is no valid JSON Schema, refers outside itself or has a backtracking regex."""
    _validator(canonical(schema))


@lru_cache(maxsize=128)
def _validator(schema: bytes) -> Any:
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(
            schema.decode(),
            validate_formats=True,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=4_000_000, dfa_size_limit=4_000_000),
        )
    except ValueError as error:
        raise Invalid(f"not a usable JSON Schema: {_first(error)}", hint="docs/reference/schemas.md") from error


def _first(error: ValueError) -> str:
    return _short(str(error).split("\n", 1)[0].replace(' is not a "regex"', " is no regex, or one too costly to check"))


def _labels(task: Task, text: str) -> JsonObject:
    value = _json(text)
    if not isinstance(value, dict):
        raise OutputInvalid(f"the output is {_kind(value)}, not a JSON object with {', '.join(task.fields)}")
    missing = [name for name in task.fields if name not in value]
    extra = [str(name) for name in value if name not in task.fields]
    if missing or extra:
        said = [f"misses {', '.join(missing)}"] * bool(missing) + [f"adds {', '.join(extra)}"] * bool(extra)
        raise OutputInvalid(f"the output {_short(' and '.join(said))}")
    return {output.name: _label(output, value[output.name]) for output in task.outputs}


def _label(output: Output, said: JsonValue) -> str:
    if isinstance(said, str) and said in _set(output.labels):
        return said
    shown = said if isinstance(said, str) else _kind(said)
    raise OutputInvalid(f"{output.name}: {_short(repr(shown))} is none of its {len(output.labels)} labels")


@lru_cache(maxsize=128)
def _set(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(labels)


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise OutputInvalid(f"the output is not JSON: {error}: {_short(repr(text))}") from error
    except RecursionError as error:
        raise OutputInvalid("the output is nested too deeply") from error


def _object(properties: JsonObject) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _kind(value: JsonValue) -> str:
    names = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"

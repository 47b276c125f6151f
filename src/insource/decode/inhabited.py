"""Which schemas have a value at all: one that needs itself inside itself has none, its grammar would lead nowhere."""

from typing import Any

from insource.decode.dialect import types_of
from insource.nouns import JsonObject, JsonValue

PREFIX = "#/$defs/"


def inhabited(schema: JsonObject) -> JsonObject | None:
    """The normal `schema` with what has no value said as false; None when it has none itself."""
    definitions = schema.get("$defs", {})
    alive: set[str] = set()
    found = True
    while found:
        new = {name for name, each in definitions.items() if name not in alive and _has_value(each, alive)}
        alive |= new
        found = bool(new)
    root = {key: each for key, each in schema.items() if key != "$defs"}
    if not _has_value(root, alive):
        return None
    if len(alive) == len(definitions) and not any(_dead(each, alive) for each in [root, *definitions.values()]):
        return schema
    return {
        **_living(root, alive),
        "$defs": {name: _living(definitions[name], alive) for name in definitions if name in alive},
    }


def openings(schema: JsonValue, definitions: JsonObject) -> int:
    """How many ways there are to go on at the beginning of a value: what an engine keeps in mind at once."""
    ways, waiting, seen = 0, [schema], set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict) and "$ref" in part and part["$ref"] not in seen:
            seen.add(part["$ref"])
            waiting.append(definitions.get(part["$ref"].removeprefix(PREFIX), True))
        elif isinstance(part, dict):
            waiting += part.get("anyOf", [])
            ways += 1 + len(part.get("properties", {}).keys() - set(part.get("required", [])))
    return ways


def _has_value(schema: JsonValue, alive: set[str]) -> bool:
    if not isinstance(schema, dict):
        return schema is not False
    if "$ref" in schema:
        return schema["$ref"].removeprefix(PREFIX) in alive
    if "anyOf" in schema:
        return any(_has_value(each, alive) for each in schema["anyOf"])
    if "enum" in schema:
        return bool(schema["enum"])
    return any(_of_type(kind, schema, alive) for kind in types_of(schema))


def _of_type(kind: str, schema: JsonObject, alive: set[str]) -> bool:
    if kind == "object":
        named = schema.get("properties", {})
        return all(_has_value(named.get(name, True), alive) for name in schema.get("required", []))
    if kind == "array":
        least, prefix = schema.get("minItems", 0), schema.get("prefixItems", [])
        rest = bool(least <= len(prefix)) or _has_value(schema.get("items", True), alive)
        return bool(rest and all(_has_value(each, alive) for each in prefix[:least]))
    return True


def _dead(schema: JsonValue, alive: set[str]) -> bool:
    """Whether something in `schema`, itself apart, has no value and does not say so."""
    return bool(_living(schema, alive) != schema)


def _living(schema: JsonValue, alive: set[str]) -> Any:
    """The same without what has no value."""
    if not isinstance(schema, dict):
        return schema
    if not _has_value(schema, alive):
        return False
    part = {key: _inside(key, value, alive) for key, value in schema.items()}
    if not any(key in part for key in ("$ref", "anyOf", "enum")):
        kinds = [kind for kind in types_of(schema) if _of_type(kind, schema, alive)]
        part |= {"type": kinds} if len(kinds) < len(types_of(schema)) else {}
    return part


def _inside(key: str, value: Any, alive: set[str]) -> Any:
    if key in ("properties", "patternProperties"):
        return {name: _living(each, alive) for name, each in value.items()}
    if key == "anyOf":
        return [_living(each, alive) for each in value if _has_value(each, alive)]
    if key == "prefixItems":
        return [_living(each, alive) for each in value]
    return _living(value, alive) if key in ("items", "additionalProperties") else value

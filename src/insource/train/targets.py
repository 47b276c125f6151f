"""What a window of a long text has to answer: of the whole text's target, what stands in the window."""

from insource.decode.check import faults, schema_of
from insource.decode.places import place
from insource.nouns import JsonObject, JsonValue, Task, normal, to_json

EMPTIES: tuple[JsonValue, ...] = (None, [], "")


def target_within(task: Task, target: JsonObject, text: str) -> tuple[JsonObject, bool] | None:
    """The part of `target` that `text` bears out, and whether anything was found there.

    Texts, items of lists and numbers are kept where they stand literally in `text`; a property that is an enum, a
    constant or true or false is said of the whole document and kept everywhere. What is left over is left out where
    the schema allows it, else null, [] or "". None where the schema allows none of these.
    """
    schema = schema_of(task)
    made: JsonObject = {}
    found = False
    for name, value in target.items():
        about = schema.get("properties", {}).get(name, {})
        if _of_document(about, value):
            made[name] = value
            continue
        kept = _standing(value, text)
        if normal(kept) is not None:
            made[name], found = kept, True
        elif name in schema.get("required", ()):
            empty = [each for each in EMPTIES if not faults(_alone(schema, about), each)]
            if not empty:
                return None
            made[name] = empty[0]
    return None if faults(schema, made) else (made, found)


def _of_document(about: JsonValue, value: JsonValue) -> bool:
    return isinstance(value, bool) or (isinstance(about, dict) and ("enum" in about or "const" in about))


def _standing(value: JsonValue, text: str) -> JsonValue:
    """The value as far as it stands in the text: itself, the items that do, or None."""
    if isinstance(value, list):
        return [item for item in value if _standing(item, text) is not None]
    if isinstance(value, int | float):
        return value if place(text, to_json(value).decode()) else None
    if isinstance(value, dict):
        inside = [_standing(item, text) for item in value.values()]
        return value if inside and all(normal(item) is not None for item in inside) else None
    return value if place(text, value) else None


def _alone(schema: JsonObject, about: JsonObject) -> JsonObject:
    """A property's schema, with the definitions it may refer to."""
    return {**{key: schema[key] for key in ("$schema", "$defs", "definitions") if key in schema}, **about}

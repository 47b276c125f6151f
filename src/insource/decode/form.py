"""The one text form of an extraction: compact JSON with properties in the schema's order, as the grammar writes it.

What a model is trained to write and what it may write are then the same text.
"""

from insource.nouns import JsonObject, JsonValue, to_json

CASES = ("anyOf", "oneOf", "allOf")


def written(schema: JsonObject, value: JsonValue) -> str:
    """Compact JSON of `value`; keys that the schema does not name follow those it names, in their own order."""
    return to_json(_ordered(schema, value, schema)).decode()


def _ordered(schema: JsonValue, value: JsonValue, root: JsonObject) -> JsonValue:
    if isinstance(value, dict):
        known = _properties(schema, root)
        names = [*(name for name in known if name in value), *(name for name in value if name not in known)]
        return {name: _ordered(known.get(name), value[name], root) for name in names}
    if isinstance(value, list):
        return [_ordered(_item(schema, i, root), item, root) for i, item in enumerate(value)]
    return value


def _properties(schema: JsonValue, root: JsonObject) -> JsonObject:
    """What the schema says of each property it names, the cases of a combination one after another."""
    found: JsonObject = {}
    for part in _parts(schema, root):
        found = {**found, **{name: one for name, one in part.get("properties", {}).items() if name not in found}}
    return found


def _item(schema: JsonValue, place: int, root: JsonObject) -> JsonValue:
    for part in _parts(schema, root):
        firsts = part.get("prefixItems", [])
        if place < len(firsts):
            return firsts[place]
        if "items" in part:
            return part["items"]
    return None


def _parts(schema: JsonValue, root: JsonObject, depth: int = 0) -> list[JsonObject]:
    """The schema, what it refers to, and its cases."""
    if not isinstance(schema, dict) or depth > 8:
        return []
    found = [schema]
    if "$ref" in schema:
        found += _parts(_referred(str(schema["$ref"]), root), root, depth + 1)
    for key in CASES:
        for case in schema.get(key, []):
            found += _parts(case, root, depth + 1)
    return found


def _referred(pointer: str, root: JsonObject) -> JsonValue:
    """What a reference inside the schema points at; None where it points elsewhere."""
    at: JsonValue = root
    for step in pointer.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        at = at.get(name) if isinstance(at, dict) else None
    return at if pointer.startswith("#") else None

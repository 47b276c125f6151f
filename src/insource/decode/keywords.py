"""Which JSON Schema keywords a grammar can honour, and the walk over a schema that knows where schemas may stand.

Drafts 7 and 2020-12. A keyword that is in neither table is refused by name and path, also where the standard would
ignore it: what the user wrote holds, or is not accepted.
"""

import difflib
from collections.abc import Iterator

from insource.errors import Invalid
from insource.nouns import JsonObject, JsonValue

HONOURED = frozenset(
    (
        *("type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"),
        *("properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"),
        *("items", "prefixItems", "additionalItems", "minItems", "maxItems"),
        *("minLength", "maxLength", "pattern", "format"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    )
)
NOTES = frozenset(
    (
        *("$schema", "$id", "id", "$anchor", "$comment", "$defs", "definitions"),
        *("title", "description", "default", "example", "examples", "readOnly", "writeOnly", "deprecated"),
    )
)
FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"))
INSTEAD = {
    "nullable": 'write {"type": ["string", "null"]}',
    "uniqueItems": "a grammar cannot remember earlier items: leave it out",
    "if": "write the cases as anyOf",
    "not": "name what is allowed instead",
    "dependencies": "write the cases as anyOf",
    "$dynamicRef": "use $ref",
    "$recursiveRef": "use $ref",
}
MAPS = ("properties", "patternProperties", "$defs", "definitions")
LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
ONE = ("items", "additionalItems", "additionalProperties")

NODES, DEPTH, CHARACTERS = 50_000, 64, 1_000_000
PATTERN = 2_000


def check_size(schema: JsonValue) -> None:
    """Raises `Invalid` when the schema is larger than we compile: 50,000 values, 64 deep, 1 MB of text."""
    nodes = characters = 0
    waiting: list[tuple[JsonValue, int]] = [(schema, 0)]
    while waiting:
        value, depth = waiting.pop()
        nodes += 1
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, dict):
            characters += sum(len(key) for key in value)
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in value]
        if nodes + len(waiting) > NODES or depth > DEPTH or characters > CHARACTERS:
            limits = f"{NODES:,} values, {DEPTH} levels, {CHARACTERS:,} characters"
            raise Invalid(f"the schema is too large to decode by (limits: {limits})", hint="split the task")


def subschemas(schema: JsonValue, path: str = "") -> Iterator[tuple[str, JsonObject]]:
    """Every object schema inside `schema`, itself first, with its JSON pointer; booleans are left out."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for key, value in schema.items():
        inner: list[tuple[str, JsonValue]] = []
        if key in MAPS and isinstance(value, dict):
            inner = [(f"{key}/{escape(name)}", each) for name, each in value.items()]
        elif key in LISTS and isinstance(value, list):
            inner = [(f"{key}/{i}", each) for i, each in enumerate(value)]
        elif key in ONE:
            inner = [(key, value)]
        for step, each in inner:
            yield from subschemas(each, f"{path}/{step}")


def check_keywords(schema: JsonObject) -> None:
    """Raises `Invalid` naming the first keyword that cannot be honoured whole, and its path."""
    for path, part in subschemas(schema):
        for key, value in part.items():
            if key == "uniqueItems" and value is False:
                continue
            if key not in HONOURED and key not in NOTES and not (key.startswith("x-") and key != "x-guidance"):
                near = difflib.get_close_matches(key, HONOURED | NOTES, n=1, cutoff=0.8)
                guess = f"did you mean {near[0]}?" if near else "leave it out and check that yourself"
                refuse(key, path, INSTEAD.get(key, guess))
        _check_values(part, path)


def _check_values(part: JsonObject, path: str) -> None:
    if "format" in part and part["format"] not in FORMATS:
        refuse("format", path, f"formats: {', '.join(sorted(FORMATS))}", f" {part['format']!r}")
    if len(str(part.get("pattern", ""))) > PATTERN:
        refuse("pattern", path, f"at most {PATTERN:,} characters")
    reference = part.get("$ref", "#")
    if not isinstance(reference, str) or not reference.startswith("#"):
        refuse("$ref", path, "refer inside the schema (#/$defs/…)", f" {reference!r}")
    open_keys = part.get("additionalProperties", True) is not False or "patternProperties" in part
    least = part.get("minProperties", 0)
    if open_keys and isinstance(least, int | float) and least > 1:
        refuse("minProperties", path, "name the properties and add additionalProperties = false", f" {least}")


def refuse(keyword: str, path: str, hint: str, given: str = "") -> None:
    """Raises the one `Invalid` for a keyword that a grammar cannot honour."""
    raise Invalid(f"the schema's {keyword}{given} at #{path} cannot be honoured by a grammar", hint=hint, at=f"#{path}")


def escape(name: str) -> str:
    """`name` as one step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")

"""JSON Schema's keywords: what each draft knows, which of them a grammar honours, and how large a schema may be.

Drafts 4 to 2020-12. A keyword no draft knows is an annotation by the standard and changes nothing, unless it looks like
a slip of the pen (`additonalProperties`): that is refused, for what the user wrote holds or is not accepted. So is a
keyword of another draft than the schema's own.
"""

import difflib
from collections.abc import Iterator
from typing import NoReturn

from insource.errors import Invalid
from insource.nouns import JsonObject, JsonValue

DRAFT4 = frozenset(
    (
        *("type", "enum", "anyOf", "oneOf", "allOf", "not", "$ref"),
        *("properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"),
        *("items", "additionalItems", "minItems", "maxItems", "uniqueItems", "dependencies"),
        *("minLength", "maxLength", "pattern", "format"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    )
)
DRAFT6 = DRAFT4 | {"const", "contains", "propertyNames"}
DRAFT7 = DRAFT6 | {"if", "then", "else"}
DRAFT2019 = DRAFT7 | {"dependentRequired", "dependentSchemas", "minContains", "maxContains",
                      "unevaluatedProperties", "unevaluatedItems", "$recursiveRef"}  # fmt: skip
DRAFT2020 = DRAFT2019 - {"$recursiveRef"} | {"prefixItems", "$dynamicRef"}
DRAFTS = {"draft-04": DRAFT4, "draft-06": DRAFT6, "draft-07": DRAFT7, "2019-09": DRAFT2019, "2020-12": DRAFT2020}
DIALECTS = {name: f"http://json-schema.org/{name}/schema#" for name in ("draft-04", "draft-06", "draft-07")}
DIALECTS |= {name: f"https://json-schema.org/draft/{name}/schema" for name in ("2019-09", "2020-12")}
ASSERTIONS = DRAFT2019 | DRAFT2020
OLD = ("draft-04", "draft-06", "draft-07")  # what stands beside a $ref is ignored

NOTES = frozenset(
    (
        *("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$comment", "$defs", "definitions", "$vocabulary"),
        *("title", "description", "default", "example", "examples", "readOnly", "writeOnly", "deprecated"),
        *("contentEncoding", "contentMediaType", "contentSchema"),
    )
)
FORMATS = frozenset(
    (
        *("date-time", "time", "date", "duration", "ipv4", "ipv6", "uuid"),
        *("email", "idn-email", "hostname", "idn-hostname"),
        *("uri", "uri-reference", "uri-template", "iri", "iri-reference", "json-pointer", "relative-json-pointer"),
    )
)
TYPES = ("string", "number", "boolean", "null", "array", "object")

MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
ONE = (
    *("items", "additionalItems", "contains", "unevaluatedItems"),
    *("additionalProperties", "propertyNames", "unevaluatedProperties"),
    *("not", "if", "then", "else"),
)

NODES, DEPTH, CHARACTERS = 50_000, 64, 1_000_000
PATTERN = 2_000


def check_size(schema: JsonValue) -> None:
    """Raises `Invalid` when what to decode by is larger than we compile: 50,000 values, 64 deep, 1 MB of text."""
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
            raise Invalid(f"this is too large to decode by (limits: {limits})", hint="split the task")


def draft(schema: JsonObject) -> str:
    """The draft that `$schema` names; 2020-12 without one, or with one that we do not know."""
    said = str(schema.get("$schema", ""))
    return next((name for name in DRAFTS if name in said), "2020-12")


def inside(schema: JsonObject) -> Iterator[tuple[str, JsonValue]]:
    """The schemas that stand directly in `schema`, each with its step of a JSON pointer."""
    for key, value in schema.items():
        if key in MAPS and isinstance(value, dict):
            yield from ((f"{key}/{escape(name)}", each) for name, each in value.items() if not isinstance(each, list))
        elif key in LISTS and isinstance(value, list):
            yield from ((f"{key}/{i}", each) for i, each in enumerate(value))
        elif key in ONE:
            yield key, value


def subschemas(schema: JsonValue, path: str = "") -> Iterator[tuple[str, JsonObject]]:
    """Every object schema inside `schema`, itself first, with its JSON pointer; booleans are left out."""
    if isinstance(schema, dict):
        yield path, schema
        for step, each in inside(schema):
            yield from subschemas(each, f"{path}/{step}")


def check_keywords(part: JsonObject, path: str, known: frozenset[str]) -> None:
    """Raises `Invalid` naming the first keyword of one schema that is misspelt or of a draft other than `known`."""
    for key in part:
        if key in known or key in NOTES:
            continue
        if key in ASSERTIONS:
            refuse(key, path, "that draft does not know it: name a newer one in $schema")
        if key == "x-guidance":
            refuse(key, path, "leave it out")
        near = _meant(key)
        if near:
            refuse(key, path, f"did you mean {near}?")


def _meant(key: str) -> str:
    """The keyword of which `key` looks like a slip: other capitals, or a letter or two wrong in a long word.

    What begins with a mark (`_format`, `@type`) was set apart on purpose.
    """
    if not key[:1].isalpha():
        return ""
    for keyword in ASSERTIONS:
        if key.casefold() == keyword.casefold():
            return keyword
    near = difflib.get_close_matches(key, [each for each in ASSERTIONS if len(each) > 6], n=1, cutoff=0.85)
    return near[0] if near else ""


def refuse(keyword: str, path: str, hint: str, given: str = "") -> NoReturn:
    """Raises the one `Invalid` for a keyword that a grammar cannot honour."""
    raise Invalid(f"the schema's {keyword}{given} at #{path} cannot be honoured by a grammar", hint=hint, at=f"#{path}")


def escape(name: str) -> str:
    """`name` as one step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")

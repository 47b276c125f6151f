"""A task or a JSON Schema → the grammar its output must follow (llguidance), or a refusal that names the fault.

Output is compact JSON with properties in the schema's order. So that every answer ends, the grammar is narrower than
the schema where that sets no bound (`decode.bounds`). Whatever the grammar lets through is valid for the schema as
written.
"""

import json
import re
from functools import lru_cache
from typing import Any

from insource.decode.bounds import bounded
from insource.decode.check import check_schema, schema_of
from insource.decode.keywords import check_keywords, check_size, refuse, subschemas
from insource.errors import Invalid
from insource.nouns import JsonObject, Task, to_json

BLAMED = {
    "oneOf": "make the cases exclude each other, or use anyOf",
    "patternProperties": "the patterns must not overlap",
    "minProperties": "only where every named property is required",
    "maxProperties": "only where every named property is required",
    "pattern": "look-around and back-references are not supported",
    "$ref": "it must point inside the schema",
    "format": "leave it out",
    "multipleOf": "the number is too fine to count by",
}


def for_task(task: Task) -> str | None:
    """The grammar of the task's text form (`decode.check.render`); None for `generate`, which may say anything."""
    if task.kind == "generate":
        return None
    if task.kind == "classify" and len(task.outputs) == 1:
        return for_labels(task.outputs[0].labels)
    return for_schema(schema_of(task))


def for_labels(labels: tuple[str, ...]) -> str:
    """The grammar that says exactly one of `labels`, bare."""
    from llguidance import LLMatcher

    said = " | ".join(json.dumps(label, ensure_ascii=False) for label in labels)
    return str(LLMatcher.grammar_from_lark(f"start: {said}"))


def for_schema(schema: JsonObject) -> str:
    """The grammar of `schema`. Raises `Invalid` naming keyword and path when it cannot be honoured whole."""
    check_size(schema)
    check_keywords(schema)
    return _compiled(to_json(schema))


@lru_cache(maxsize=256)
def _compiled(schema: bytes) -> str:
    given: JsonObject = json.loads(schema)
    check_schema(given)
    said = _fault(given)
    if said:
        _blame(given, said)
    ladder = ((True, True), (False, True), (False, False))
    for keys, lengths in ladder:
        narrow = bounded(given, keys=keys, lengths=lengths)
        if not (said := _fault(narrow)):
            return _grammar(narrow)
    raise Invalid(
        f"the schema cannot be bounded, so an answer might never end: {said.splitlines()[0][:200]}",
        hint="give numbers a minimum and a maximum, texts a maxLength, and close objects with additionalProperties",
    )


def _grammar(schema: JsonObject) -> str:
    from llguidance import LLMatcher

    options: Any = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":", "lenient": False}
    return str(LLMatcher.grammar_from_json_schema(to_json(schema).decode(), overrides=options))


def _fault(schema: JsonObject) -> str:
    """What llguidance has against `schema`; empty when it compiles without a warning."""
    from llguidance import LLMatcher

    try:
        _, said = LLMatcher.validate_grammar_with_warnings(_grammar(schema))
    except ValueError as error:
        return str(error)
    return str(said[0]) if said else ""


def _blame(schema: JsonObject, said: str) -> None:
    """Raises `Invalid` with the keyword that llguidance's words are about and the deepest path that shows the fault."""
    line = said.strip().split("\n")[0][:200]
    keyword = next((key for key, mark in _MARKS if re.search(mark, said)), "")
    if not keyword:
        raise Invalid(f"the schema cannot be honoured by a grammar: {line}", hint="docs/reference/schemas.md")
    holders = [(path, part) for path, part in subschemas(schema) if keyword in part]
    root: JsonObject = {key: schema[key] for key in ("$schema", "$defs", "definitions") if key in schema}
    guilty = [path for path, part in holders[-32:] if len(holders) > 1 and _fault({**root, **part})]
    paths = guilty[-1:] or [path for path, _ in holders[:1]] or [""]
    refuse(keyword, paths[0], f"{BLAMED[keyword]} ({line})")


_MARKS = (
    ("oneOf", r"oneOf constraints"),
    ("patternProperties", r"patternProperty|patternProperties"),
    ("minProperties", r"min/maxProperties|minProperties"),
    ("maxProperties", r"maxProperties"),
    ("pattern", r"regex|Regex|lexeme"),
    ("format", r"format"),
    ("$ref", r"Resource|Pointer|\$ref|reference"),
)

"""What is left when a schema must not hold: a few cases, each a schema without `not`.

Exact within what is known already: no value that the negation allows is lost and none is added. Where no schema says
the rest (a text that does not match a pattern, a number that is no multiple), `Hard` names the keyword.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from insource.decode.dialect import types_of
from insource.decode.known import KINDS, MANY, OF_TYPE, Known, alike, kind_of
from insource.decode.patterns import none_of
from insource.nouns import JsonObject, JsonValue

Cases = list[JsonObject]
DEEP, LITERALS = 8, 2_000


class Hard(Exception):
    """A keyword that cannot be turned round, or said in other words."""

    def __init__(self, keyword: str) -> None:
        super().__init__(keyword)
        self.keyword = keyword


def without(part: JsonValue, known: Known, depth: int = 0) -> Cases:
    """Cases that together say: as `known`, but not `part`. Empty when nothing is left. Raises `Hard`."""
    if isinstance(part, bool):
        return [] if part else [{}]
    if depth > DEEP:
        raise Hard("$ref")
    found: Cases = []
    kinds = known.kinds()
    for key in part:
        if key not in OPPOSITES:
            raise Hard(key)
        kind, rule = OPPOSITES[key]
        if kind is None or kinds & set(OF_TYPE.get(kind, (kind,))):
            found += [{"type": kind, **case} if kind else case for case in rule(part, known, depth)]
    return found


def _hard_at(keyword: str, kind: str) -> tuple[str, "Rule"]:
    """A keyword that only says something of one kind, but cannot be turned round there."""

    def rule(part: JsonObject, known: Known, depth: int) -> Cases:  # noqa: ARG001
        raise Hard(keyword)

    return kind, rule


def _nothing(part: JsonObject, known: Known, depth: int) -> Cases:  # noqa: ARG001
    return []


def one_of(cases: Cases) -> JsonValue:
    """The schema that says: one of the cases, or more."""
    return {"anyOf": cases} if len(cases) > 1 else cases[0] if cases else False


def type_list(kinds: set[str] | frozenset[str]) -> list[str]:
    """The kinds as JSON Schema's types. Raises `Hard` for numbers that are not whole: there is no such type."""
    if "fraction" in kinds and "whole" not in kinds:
        raise Hard("type")
    names = {"whole": "number" if "fraction" in kinds else "integer"}
    return [names.get(kind, kind) for kind in KINDS if kind in kinds and kind != "fraction"]


def _other_type(part: JsonObject, known: Known, depth: int) -> Cases:  # noqa: ARG001 - the table's form
    own = {kind for each in types_of(part) for kind in OF_TYPE.get(each, (each,))}
    left = known.kinds() - own
    return [{"type": type_list(left)}] if left else []


def _other_value(part: JsonObject, known: Known, depth: int) -> Cases:  # noqa: ARG001
    taken = part["enum"]
    values, marks = known.values(), {alike(value) for value in taken}
    if values is not None:
        left = [value for value in values if alike(value) not in marks]
        return [{"enum": left}] if left else []
    kinds = known.kinds()
    touched = {kind_of(value) for value in taken} & kinds
    if touched & {"whole", "fraction"}:
        touched |= {"whole", "fraction"} & kinds
    free = kinds - touched
    found: Cases = [{"type": type_list(free)}] if free else []
    for kind in sorted(touched - {"fraction"}):
        found += BESIDE[kind]([value for value in taken if kind_of(value) in OF_KIND.get(kind, (kind,))], kinds)
    return found


def _other_text(taken: list[Any], kinds: frozenset[str]) -> Cases:  # noqa: ARG001
    if sum(map(len, taken)) > LITERALS:
        raise Hard("enum")
    return [{"type": "string", "pattern": f"^(?:{none_of(sorted(set(taken)))})$"}]


def _other_number(taken: list[Any], kinds: frozenset[str]) -> Cases:
    if len(taken) > MANY:
        raise Hard("enum")
    name = type_list(kinds & {"whole", "fraction"})[0]
    marks = sorted({float(value) for value in taken})
    found: Cases = [{"type": name, "exclusiveMaximum": marks[0]}, {"type": name, "exclusiveMinimum": marks[-1]}]
    return found + [{"type": name, "exclusiveMinimum": low, "exclusiveMaximum": high} for low, high in pairwise(marks)]


def _other_boolean(taken: list[Any], kinds: frozenset[str]) -> Cases:  # noqa: ARG001
    left = [value for value in (True, False) if value not in taken]
    return [{"enum": left}] if left else []


def _only_empty(taken: list[Any], kinds: frozenset[str]) -> Cases:  # noqa: ARG001
    if any(taken):
        raise Hard("enum")
    return (
        [{"type": "array", "minItems": 1}] if isinstance(taken[0], list) else [{"type": "object", "minProperties": 1}]
    )


OF_KIND = {"whole": ("whole", "fraction")}
BESIDE: dict[str, Callable[[list[Any], frozenset[str]], Cases]] = {
    "string": _other_text,
    "whole": _other_number,
    "boolean": _other_boolean,
    "null": lambda taken, kinds: [],  # noqa: ARG005
    "array": _only_empty,
    "object": _only_empty,
}


def _missing(part: JsonObject, known: Known, depth: int) -> Cases:  # noqa: ARG001
    sure = known.required()
    return [{"properties": {name: False}} for name in part["required"] if name not in sure]


def _property(part: JsonObject, known: Known, depth: int) -> Cases:
    found: Cases = []
    for name, each in part["properties"].items():
        cases = without(each, known.of(name), depth + 1)
        if cases and not known.of(name).impossible():
            found.append({"required": [name], "properties": {name: one_of(cases)}})
    return found


def _further(part: JsonObject, known: Known, depth: int) -> Cases:  # noqa: ARG001
    """Nothing, where the object is closed already or the rest may be anything."""
    rest = part["additionalProperties"]
    named = set(part.get("properties", {}))
    closed = any(
        each.get("additionalProperties") is False
        and not each.get("patternProperties")
        and set(each.get("properties", {})) <= named
        for each in known.parts
    )
    if not closed and rest not in (True, {}):
        raise Hard("additionalProperties")
    return []


def _position(part: JsonObject, known: Known, depth: int) -> Cases:
    found: Cases = []
    for i, each in enumerate(part["prefixItems"]):
        cases = without(each, known.at(i), depth + 1)
        if cases:
            found.append({"minItems": i + 1, "prefixItems": [*[True] * i, one_of(cases)]})
    return found


def _items(part: JsonObject, known: Known, depth: int) -> Cases:  # noqa: ARG001
    """Only what needs no look at every item: no item allowed, or all."""
    if part["items"] is False:
        return [{"minItems": len(part.get("prefixItems", [])) + 1}]
    if part["items"] not in (True, {}):
        raise Hard("items")
    return []


def _none_contained(part: JsonObject, known: Known, depth: int) -> Cases:
    if part.get("minContains", 1) != 1 or "maxContains" in part:
        raise Hard("contains")
    return [{"items": one_of(without(part["contains"], Known(known.terms, ()), depth + 1))}]


def _none(part: JsonObject, known: Known, depth: int) -> Cases:
    """None of some cases holds."""
    opposites = [without(case, known, depth + 1) for case in part["anyOf"]]
    return [{"allOf": [one_of(each) for each in opposites]}] if all(opposites) else []


def _not_one(part: JsonObject, known: Known, depth: int) -> Cases:
    """None of some cases holds, where no two can."""
    cases = part["oneOf"]
    if not all(known.also(a, b).impossible() for i, a in enumerate(cases) for b in cases[i + 1 :]):
        raise Hard("oneOf")
    return _none({"anyOf": cases}, known, depth)


def _referred(part: JsonObject, known: Known, depth: int) -> Cases:
    return without(known.terms.definitions[part["$ref"].removeprefix("#/$defs/")], known, depth + 1)


def _otherwise(part: JsonObject, known: Known, depth: int) -> Cases:
    """The consequence of a condition fails."""
    yes = without(part.get("then", True), known.also(part["if"]), depth + 1)
    no = without(part.get("else", True), known, depth + 1)
    found: Cases = [{"allOf": [part["if"], one_of(yes)]}] if yes else []
    unmet = without(part["if"], known, depth + 1) if no else []
    return [*found, {"allOf": [one_of(unmet), one_of(no)]}] if unmet else found


def _unmet(part: JsonObject, known: Known, depth: int) -> Cases:  # noqa: ARG001
    return [
        {"required": [name], "properties": {other: False}}
        for name, others in part["dependentRequired"].items()
        for other in others
    ]


def _unmet_schema(part: JsonObject, known: Known, depth: int) -> Cases:
    found = []
    for name, each in part["dependentSchemas"].items():
        cases = without(each, known, depth + 1)
        found += [{"required": [name], "allOf": [one_of(cases)]}] if cases else []
    return found


def _under(key: str, opposite: str, step: int) -> Callable[[JsonObject, Known, int], Cases]:
    """The case on the other side of a bound; nothing lies below 0."""

    def rule(part: JsonObject, known: Known, depth: int) -> Cases:  # noqa: ARG001
        value = part[key] + step
        return [{opposite: value}] if step == 0 or value >= 0 else []

    return rule


Rule = Callable[[JsonObject, Known, int], Cases]
OPPOSITES: dict[str, tuple[str | None, Rule]] = {
    "type": (None, _other_type),
    "enum": (None, _other_value),
    "const": (None, lambda part, known, depth: _other_value({"enum": [part["const"]]}, known, depth)),
    "allOf": (None, lambda part, known, depth: [c for each in part["allOf"] for c in without(each, known, depth + 1)]),
    "anyOf": (None, _none),
    "oneOf": (None, _not_one),
    "not": (None, lambda part, known, depth: [{"allOf": [part["not"]]}]),  # noqa: ARG005
    "$ref": (None, _referred),
    "if": (None, _otherwise),
    "required": ("object", _missing),
    "properties": ("object", _property),
    "additionalProperties": ("object", _further),
    "dependentRequired": ("object", _unmet),
    "dependentSchemas": ("object", _unmet_schema),
    "minProperties": ("object", _under("minProperties", "maxProperties", -1)),
    "maxProperties": ("object", _under("maxProperties", "minProperties", 1)),
    "items": ("array", _items),
    "prefixItems": ("array", _position),
    "contains": ("array", _none_contained),
    "minItems": ("array", _under("minItems", "maxItems", -1)),
    "maxItems": ("array", _under("maxItems", "minItems", 1)),
    "minLength": ("string", _under("minLength", "maxLength", -1)),
    "maxLength": ("string", _under("maxLength", "minLength", 1)),
    "minimum": ("number", _under("minimum", "exclusiveMaximum", 0)),
    "maximum": ("number", _under("maximum", "exclusiveMinimum", 0)),
    "exclusiveMinimum": ("number", _under("exclusiveMinimum", "maximum", 0)),
    "exclusiveMaximum": ("number", _under("exclusiveMaximum", "minimum", 0)),
    **{key: _hard_at(key, "string") for key in ("pattern", "format")},
    **{key: _hard_at(key, "array") for key in ("uniqueItems", "unevaluatedItems")},
    **{key: _hard_at(key, "object") for key in ("patternProperties", "propertyNames", "unevaluatedProperties")},
    "multipleOf": _hard_at("multipleOf", "number"),
    **dict.fromkeys(("then", "else"), (None, _nothing)),  # said with `if`
    **dict.fromkeys(("minContains", "maxContains"), ("array", _nothing)),  # said with `contains`
}

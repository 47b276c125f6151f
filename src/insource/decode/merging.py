"""Several plain schemas of one value as one: the value is valid for it when it is valid for all of them."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from insource.decode.counting import counted
from insource.decode.keywords import refuse
from insource.decode.known import KINDS, Known
from insource.decode.negation import Hard, type_list
from insource.decode.patterns import but, matches, matches_all
from insource.nouns import JsonObject, JsonValue

LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
SEVERAL = ("pattern", "format", "multipleOf")
NAMES, PATTERNS = 1_000, 100  # of one object: what the engine does with them grows with the square
AT_ONCE = 4  # what the engine intersects grows with each
MERGED = frozenset((*LEAST, *MOST, *SEVERAL, "type", "enum", "const", "items", "prefixItems",
                    "properties", "required", "patternProperties", "additionalProperties"))  # fmt: skip
NUMBERS = {"whole", "fraction"}
Inner = Callable[[Iterable[tuple[JsonValue, str]]], Any]
Part = tuple[JsonObject, str]


def merged(parts: list[Part], known: Known, inner: Inner) -> list[JsonObject]:
    """The one schema, or a few that stand for it, of parts without anyOf, allOf and `$ref`.

    `known` is what they say together; `inner` makes one schema of those an item or a property must satisfy, each with
    its place.
    """
    values = known.values(math.inf)
    if values is None and known.least("minimum", -math.inf) == known.most("maximum") and known.kinds() <= NUMBERS:
        values = known.also({"const": known.most("maximum")}).values()
    if values is not None:
        return [{"enum": values}] if values else []
    kinds = known.kinds()
    made: JsonObject = {"type": type_list(kinds)} if len(kinds) < len(KINDS) else {}
    _simple(made, parts)
    parts = [(_plainly(part), place) for part, place in parts]
    if "array" in kinds:
        _items(made, parts, inner)
    if "object" not in kinds:
        return [made]
    rest = kinds - {"object"}
    return _objects(made, parts, known, inner) or ([made | {"type": type_list(rest)}] if rest else [])


def _simple(made: JsonObject, parts: list[Part]) -> None:
    """The keywords whose values are no schemas. Raises for one that nobody has dealt with."""
    for part, place in parts:
        for key in part.keys() - MERGED:
            refuse(key, place, "leave it out")
    for keys, choose in ((LEAST, max), (MOST, min), (SEVERAL, None)):
        for key in keys:
            said = list(dict.fromkeys(part[key] for part, _ in parts if key in part))
            if said:
                made[key] = choose(said) if choose else said[0]
            if not choose and len(said) > AT_ONCE:
                raise Hard(key)
            if not choose and len(said) > 1:
                made.setdefault("allOf", []).extend({key: each} for each in said[1:])


def _items(made: JsonObject, parts: list[Part], inner: Inner) -> None:
    """Items: each place satisfies whatever any part says of it."""
    long = max((len(part.get("prefixItems", [])) for part, _ in parts), default=0)
    if long:
        made["prefixItems"] = [inner(_at(parts, i)) for i in range(min(long, made.get("maxItems", long)))]
    rest = [(part["items"], f"{place}/items") for part, place in parts if "items" in part]
    if rest:
        made["items"] = inner(rest)


def _at(parts: list[Part], i: int) -> Iterable[tuple[JsonValue, str]]:
    for part, place in parts:
        prefix = part.get("prefixItems", [])
        if i < len(prefix):
            yield prefix[i], f"{place}/prefixItems/{i}"
        elif "items" in part:
            yield part["items"], f"{place}/items"


def _plainly(part: JsonObject) -> JsonObject:
    """The same where a pattern matches every name: it speaks of all properties, and leaves none to the others."""
    patterns = part.get("patternProperties", {})
    every = [each for pattern, each in patterns.items() if matches_all(pattern)]
    if not every:
        return part

    def held(schemas: JsonObject) -> JsonObject:
        return {name: {"allOf": [each, *every]} for name, each in schemas.items()}

    rest = {pattern: each for pattern, each in patterns.items() if not matches_all(pattern)}
    named = held(part.get("properties", {}))
    return {**part, "properties": named, "patternProperties": held(rest), "additionalProperties": {"allOf": every}}


def _objects(made: JsonObject, parts: list[Part], known: Known, inner: Inner) -> list[JsonObject]:
    """The properties by name, by pattern and the rest; more than one schema where their number is limited."""
    names = dict.fromkeys(name for part, _ in parts for name in part.get("properties", {}))
    required = known.required()
    patterns = dict.fromkeys(pattern for part, _ in parts for pattern in part.get("patternProperties", {}))
    if len(names) + len(required) > NAMES or len(patterns) > PATTERNS:
        raise Hard("properties" if len(patterns) <= PATTERNS else "patternProperties")
    known.terms.spend((len(names) + len(required)) * len(patterns))
    alone = [name for name in required if name in names or not any(matches(each, name) for each in patterns)]
    named = {name: inner(_named(parts, name)) for name in dict.fromkeys([*names, *alone])}
    if named:
        made["properties"] = named
    if required:
        made["required"] = required
    for pattern in patterns:
        spared = _spared(pattern, [name for name in named if matches(pattern, name)], parts)
        if spared:
            made.setdefault("patternProperties", {})[spared] = inner(_matching(parts, pattern))
    rest = [(part["additionalProperties"], f"{place}/additionalProperties") for part, place in parts
            if "additionalProperties" in part]  # fmt: skip
    if rest:
        made["additionalProperties"] = inner(rest)
    return counted(made)


def _spared(pattern: str, names: list[str], parts: list[Part]) -> str:
    """`pattern` but for names that are done with: the engine would hold them to it again.

    Raises `Hard` where that would change what they may be.
    """
    spared = but(pattern, names)
    if spared == pattern and any(_apart(part, pattern, name) for part, _ in parts for name in names):
        raise Hard("patternProperties")
    return spared


def _named(parts: list[Part], name: str) -> Iterable[tuple[JsonValue, str]]:
    """What the parts say of a property of this name."""
    for part, place in parts:
        own = name in part.get("properties", {})
        if own:
            yield part["properties"][name], f"{place}/properties/{name}"
        found = [pattern for pattern in part.get("patternProperties", {}) if matches(pattern, name)]
        for pattern in found:
            yield part["patternProperties"][pattern], f"{place}/patternProperties/{pattern}"
        if not own and not found and "additionalProperties" in part:
            yield part["additionalProperties"], f"{place}/additionalProperties"


def _apart(part: JsonObject, pattern: str, name: str) -> bool:
    """Whether `part` holds an unnamed property that matches to something it does not hold `name` to."""
    if pattern in part.get("patternProperties", {}) or "additionalProperties" not in part:
        return False
    return name in part.get("properties", {}) or any(matches(each, name) for each in part.get("patternProperties", {}))


def _matching(parts: list[Part], pattern: str) -> Iterable[tuple[JsonValue, str]]:
    """What the parts say of an unnamed property that matches; patterns that overlap are refused by the engine."""
    for part, place in parts:
        if pattern in part.get("patternProperties", {}):
            yield part["patternProperties"][pattern], f"{place}/patternProperties/{pattern}"
        elif "additionalProperties" in part:
            yield part["additionalProperties"], f"{place}/additionalProperties"

"""One schema at a time into the words of 2020-12, whatever draft it was written in; what they cannot say is refused."""

import re
from typing import Any

from insource.decode.keywords import FORMATS, PATTERN, TYPES, refuse
from insource.nouns import JsonObject, JsonValue

COUNTS = (
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minContains",
    "maxContains",
)
LEAST = {"minLength": 20_000, "minItems": 1_000, "minProperties": 1_000}
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
BEYOND = {"minimum": 1, "exclusiveMinimum": 1, "maximum": -1, "exclusiveMaximum": -1}
LARGEST = 1e300
CONTROLS = re.compile(r"[\x00-\x07\x0b\x0e-\x1f]")
NESTED = 500
EXACT = 2**53  # beyond it whole numbers are no longer told apart


def current(part: JsonObject, place: str) -> JsonObject:
    """`part`, a schema whose inner schemas are done, as 2020-12 would say it. Raises `Invalid` naming the keyword."""
    _check(part, place)
    if isinstance(part.get("items"), list):
        part = _renamed(part, {"items": "prefixItems", "additionalItems": "items"})
    elif "additionalItems" in part:
        if "prefixItems" in part:
            refuse("additionalItems", place, "beside prefixItems it is called items")
        del part["additionalItems"]  # says nothing without a list of items
    for own, other in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(part.get(own), bool):
            exclusive = part.pop(own) and other in part
            part = _renamed(part, {other: own}) if exclusive else part
    if "dependencies" in part:
        part = _split(part)
    if "format" in part and "string" not in types_of(part):
        del part["format"]
    return part


def types_of(part: JsonObject) -> tuple[str, ...]:
    """The types `part` allows by its own `type`; `integer` stands where `number` does not."""
    said = part.get("type", TYPES)
    said = [said] if isinstance(said, str) else list(said)
    return tuple(each for each in said if not (each == "integer" and "number" in said))


def _check(part: JsonObject, place: str) -> None:
    _check_numbers(part, place)
    _check_values(part, place)
    _check_words(part, place)


def _check_numbers(part: JsonObject, place: str) -> None:
    for key in COUNTS:
        if isinstance(part.get(key), float):
            part[key] = int(part[key])  # the metaschema has seen to it that nothing is lost
    for key, most in LEAST.items():
        if part.get(key, 0) > most:
            refuse(key, place, f"at most {most:,}: no answer is that long")
    for key in BOUNDS:
        if abs(part.get(key, 0)) > LARGEST:
            refuse(key, place, "numbers lie within ±1e300")
    if "integer" in types_of(part):
        _check_whole(part, place)


def _check_whole(part: JsonObject, place: str) -> None:
    for key, sign in BEYOND.items():
        if sign * part.get(key, 0) + key.startswith("exclusive") > EXACT:
            refuse(key, place, "whole numbers beyond 2^53 are not told apart: write a text")


def _check_values(part: JsonObject, place: str) -> None:
    if not all(map(_sayable, [*part.get("enum", []), part.get("const")])):
        hint = "numbers beyond 2^53 are not told apart, and control characters have no one spelling: write a text"
        refuse("enum" if "enum" in part else "const", place, hint)
    if sum(isinstance(value, dict | list) for value in part.get("enum", [])) > NESTED:
        refuse("enum", place, f"at most {NESTED} lists and objects among the values")


def _check_words(part: JsonObject, place: str) -> None:
    if len(part.get("pattern", "")) > PATTERN:
        refuse("pattern", place, f"at most {PATTERN:,} characters")
    if "format" in part and "string" in types_of(part) and part["format"] not in FORMATS:
        refuse("format", place, f"formats: {', '.join(sorted(FORMATS))}", f" {part['format']!r}")


def _sayable(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return all(_sayable(each) for each in value.values())
    if isinstance(value, list):
        return all(_sayable(each) for each in value)
    if isinstance(value, str):
        return not CONTROLS.search(value)
    return not isinstance(value, int | float) or isinstance(value, bool) or abs(value) <= EXACT


def _renamed(part: JsonObject, names: dict[str, str]) -> JsonObject:
    """The same in the same order under other names; what bore the new name before is gone."""
    gone = set(names.values()) - set(names)
    return {names.get(key, key): value for key, value in part.items() if key not in gone}


def _split(part: JsonObject) -> JsonObject:
    """`dependencies` as the two keywords it became."""
    made: dict[str, Any] = {}
    for key, value in part.items():
        if key == "dependencies":
            made["dependentRequired"] = {name: each for name, each in value.items() if isinstance(each, list)}
            made["dependentSchemas"] = {name: each for name, each in value.items() if not isinstance(each, list)}
        else:
            made.setdefault(key, value)
    return made

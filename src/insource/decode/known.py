"""What a few schemas together say for certain of a value: enough to see that two cases exclude each other.

Never guesses: "impossible" is proved from the plain keywords, what cannot be proved is possible. A number counts as
`whole` or `fraction`, so that integers can be told from the rest.
"""

import math
from collections.abc import Iterator
from typing import Any

from insource.decode.check import faults
from insource.decode.dialect import types_of
from insource.errors import Invalid
from insource.nouns import JsonObject, JsonValue, canonical

KINDS = ("string", "whole", "fraction", "boolean", "null", "array", "object")
OF_TYPE = {"number": ("whole", "fraction"), "integer": ("whole",)}
NESTED: dict[type, str] = {list: "array", dict: "object"}
DEEP, MANY = 4, 256
EFFORT = 20_000


class Terms:
    """What the references of a schema mean, and how much thought it may take: `definitions` and some 20,000 steps."""

    def __init__(self, definitions: dict[str, JsonValue]) -> None:
        self.definitions = definitions
        self._left = EFFORT

    def spend(self, steps: int) -> None:
        """Raises `Invalid` when the schema has taken more than its share: its cases multiply."""
        self._left -= steps
        if self._left < 0:
            raise Invalid("the schema has too many cases to decode by", hint="split the task, or say less with anyOf")


class Known:
    """A conjunction of `parts` in the current dialect; `terms` say what their references mean."""

    def __init__(self, terms: Terms, parts: tuple[JsonValue, ...]) -> None:
        self.terms = terms
        self.given = parts
        self.parts = list(_flat(terms.definitions, parts))
        terms.spend(1 + len(self.parts))

    def also(self, *parts: JsonValue) -> "Known":
        """The same and `parts`."""
        return Known(self.terms, (*self.given, *parts))

    def kinds(self) -> frozenset[str]:
        """The kinds of value that all parts allow by their type, enum or const."""
        left = frozenset(KINDS)
        for part in self.parts:
            said = [OF_TYPE.get(each, (each,)) for each in types_of(part)]
            left &= {kind for each in said for kind in each}
            listed = _listed(part)
            if listed is not None:
                left &= {kind_of(value) for value in listed}
        return left

    def values(self, most: float = MANY) -> list[JsonValue] | None:
        """All values there can be, when a part lists them or only booleans and null are left; None when more."""
        listed = next((each for each in map(_listed, self.parts) if each is not None and len(each) <= most), None)
        if listed is None:
            if not self.kinds() <= {"boolean", "null"}:
                return None
            listed = [True, False, None]
        left = list({alike(value): value for value in listed}.values())
        for part in self.parts:
            left = self.holding(part, left)
        return left

    def holding(self, part: JsonObject, values: list[JsonValue]) -> list[JsonValue]:
        """Those of `values` that are valid for `part`."""
        kinds = {kind for each in types_of(part) for kind in OF_TYPE.get(each, (each,))}
        listed = _listed(part)
        marks = None if listed is None else {alike(each) for each in listed}
        left = [value for value in values if kind_of(value) in kinds and (marks is None or alike(value) in marks)]
        if part.keys() <= {"type", "enum", "const"}:
            return left
        rest = {key: each for key, each in part.items() if key not in ("enum", "const")}
        if b'"$ref"' in canonical(rest):
            rest["$defs"] = self.terms.definitions
        return [value for value in left if not faults(rest, value)]

    def of(self, name: str) -> "Known":
        """What is known of the property `name`, if it is there."""
        found = [each for part in self.parts for each in _property(part, name)]
        return Known(self.terms, tuple(found))

    def at(self, index: int) -> "Known":
        """What is known of the item at `index`, if it is there."""
        found: list[JsonValue] = []
        for part in self.parts:
            prefix = part.get("prefixItems", [])
            found += prefix[index : index + 1] or ([part["items"]] if "items" in part else [])
        return Known(self.terms, tuple(found))

    def required(self) -> list[str]:
        """The names that must be there."""
        return list(dict.fromkeys(name for part in self.parts for name in part.get("required", [])))

    def least(self, key: str, default: float = 0) -> float:
        """The largest of what the parts say under a keyword of the form `min…`."""
        return float(max([default, *(part[key] for part in self.parts if key in part)]))

    def most(self, key: str, default: float = math.inf) -> float:
        """The smallest of what the parts say under a keyword of the form `max…`."""
        return float(min([default, *(part[key] for part in self.parts if key in part)]))

    def impossible(self, depth: int = DEEP, *, cases: bool = True) -> bool:
        """Whether no value can satisfy all parts; False also where that cannot be seen.

        Looks `depth` levels into items and properties, and with `cases` through one anyOf on each.
        """
        if all(self._void(kind, depth) for kind in self.kinds()) or self.values() == []:
            return True
        return cases and any(
            all(self._case(part, key, case).impossible(depth, cases=False) for case in part[key])
            for part in self.parts
            for key in ("anyOf", "oneOf")
            if key in part and len(part[key]) <= MANY
        )

    def _case(self, part: JsonObject, key: str, case: JsonValue) -> "Known":
        gone = ("allOf", "$ref")  # opened already
        rest = [{k: v for k, v in p.items() if k not in gone and (p is not part or k != key)} for p in self.parts]
        return Known(self.terms, (*rest, case))

    def _void(self, kind: str, depth: int) -> bool:
        """Whether there can be no value of this kind."""
        if kind == "string":
            return self.least("minLength") > self.most("maxLength")
        if kind in ("whole", "fraction"):
            return self._no_number()
        if depth == 0:
            return False
        if kind == "array":
            least = int(self.least("minItems"))
            none = (self.at(i).impossible(depth - 1) for i in range(min(least, MANY)))
            return least > self.most("maxItems") or any(none)
        if kind == "object":
            names = self.required()
            few = max(self.least("minProperties"), len(names)) > self.most("maxProperties")
            return few or any(self.of(name).impossible(depth - 1) for name in names)
        return False

    def _no_number(self) -> bool:
        low, high = self.least("minimum", -math.inf), self.most("maximum")
        above, below = self.least("exclusiveMinimum", -math.inf), self.most("exclusiveMaximum")
        return low > high or above >= below or low >= below or above >= high


def kind_of(value: JsonValue) -> str:
    """The kind of a value, as in `KINDS`."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "whole" if value == int(value) else "fraction"
    return "string" if isinstance(value, str) else NESTED.get(type(value), "null")


def alike(value: JsonValue) -> bytes:
    """A form that is equal for values that JSON Schema holds equal: 1 and 1.0, objects whatever their order."""
    return canonical(_plain(value))


def _plain(value: JsonValue) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    whole = isinstance(value, float) and value == int(value)
    return int(value) if whole and isinstance(value, float) else value


def _flat(definitions: dict[str, JsonValue], parts: tuple[JsonValue, ...]) -> Iterator[JsonObject]:
    """The parts with references followed and allOf opened, once each; False becomes a schema nothing satisfies."""
    waiting, seen = list(reversed(parts)), set()
    while waiting:
        part = waiting.pop()
        if part is False:
            yield {"enum": []}
        if not isinstance(part, dict) or id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting += reversed(part.get("allOf", []))
        if "$ref" in part:
            waiting.append(definitions.get(part["$ref"].removeprefix("#/$defs/"), True))


def _listed(part: JsonObject) -> list[JsonValue] | None:
    """What enum and const leave together; None where neither says."""
    listed: list[JsonValue] | None = part.get("enum")
    if "const" not in part:
        return listed
    own = alike(part["const"])
    return [part["const"]] if listed is None or own in map(alike, listed) else []


def _property(part: JsonObject, name: str) -> list[JsonValue]:
    """The schemas that `part` alone holds a property of this name to; patterns are passed over."""
    if name in part.get("properties", {}):
        return [part["properties"][name]]
    if "additionalProperties" in part and not part.get("patternProperties"):
        return [part["additionalProperties"]]
    return []

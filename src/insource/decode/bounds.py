"""Where a schema sets no end, the grammar does: an answer that never stops is no answer.

Texts end at 1,000 characters, lists at 64 items, numbers lie within ±10^15 with 9 decimals, an object that names
properties has no others, one that names none has at most 16, and a value of which nothing is said nests two deep. A
`maxLength`, `maxItems`, `minimum`, `maximum`, `multipleOf` or `additionalProperties` in the schema replaces ours.
Every output of the bounded schema is valid for the schema it came from.
"""

from typing import Any

from insource.decode.keywords import subschemas
from insource.nouns import JsonObject, JsonValue

TEXT, ITEMS, KEYS, NUMBER, DECIMALS, NESTED = 1_000, 64, 16, 1e15, 1e-9, 2
TYPES = ["string", "number", "boolean", "null", "array", "object"]
COMBINED = ("anyOf", "oneOf", "allOf", "$ref")
FIXED = ("enum", "const")
WORD = "[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20})?"  # no doubled hyphen: it marks encoded names
EMAIL = rf"^[A-Za-z0-9_+-]{{1,30}}(\.[A-Za-z0-9_+-]{{1,30}})?@{WORD}(\.{WORD}){{1,3}}$"
CLOCK = "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"  # without leap seconds, which validators refuse
LEAP = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
DAY = rf"([0-9]{{4}}-(0[13-9]|1[0-2])-[0-9]{{2}}|[0-9]{{4}}-02-([01][0-9]|2[0-8])|{LEAP}-02-29)"
PATTERNS = {
    "email": EMAIL,
    "hostname": rf"^{WORD}(\.{WORD}){{0,3}}$",
    "date": f"^{DAY}$",
    "time": f"^{CLOCK}",
    "date-time": f"^{DAY}[Tt]{CLOCK}",
}
LENGTHS = {"uri": 400, "duration": 40, "date-time": 40, "time": 30}


def bounded(schema: JsonObject, *, keys: bool = True, lengths: bool = True) -> JsonObject:
    """A narrower copy of `schema` in which everything ends.

    llguidance cannot combine every bound with every schema. Without `keys` the number of unnamed properties is left
    open; without `lengths` so is the length of a text that has a pattern. Numbers are always bounded.
    """
    closing = not any("allOf" in part or ("$ref" in part and len(part) > 2) for _, part in subschemas(schema))
    return dict(_Bounds(keys, lengths).narrow(schema, closing))


class _Bounds:
    """One pass over a schema; `keys` and `lengths` as in `bounded`."""

    def __init__(self, keys: bool, lengths: bool) -> None:
        self.keys, self.lengths = keys, lengths

    def narrow(self, schema: JsonValue, closing: bool) -> Any:
        """A bounded copy; `closing` says whether objects that name properties may be closed."""
        if not isinstance(schema, dict):
            return self.anything(NESTED) if schema is True else schema
        part = {key: value for key, value in schema.items() if key != "uniqueItems"}
        combined = any(key in part for key in COMBINED)
        inside = closing and not (combined and any(key in part for key in ("properties", "required")))
        self.narrow_inside(part, closing, inside)
        fixed = any(key in part for key in FIXED) or "$ref" in part  # what it refers to is bounded where it stands
        if not fixed and not combined:
            part.setdefault("type", TYPES)
        if not fixed:
            self.bound(part, closing and not combined)
        return part

    def narrow_inside(self, part: JsonObject, closing: bool, inside: bool) -> None:
        """Narrows the schemas that stand in `part`; `inside` says whether objects of its cases may be closed."""
        for key, value in part.items():
            if key in ("properties", "patternProperties", "$defs", "definitions") and isinstance(value, dict):
                part[key] = {name: self.narrow(each, closing) for name, each in value.items()}
            elif key in ("anyOf", "oneOf", "allOf", "prefixItems", "items") and isinstance(value, list):
                part[key] = [self.narrow(each, inside) for each in value]
            elif key in ("items", "additionalItems", "additionalProperties"):
                part[key] = self.narrow(value, closing)

    def bound(self, part: JsonObject, closing: bool) -> None:
        """Sets our limits where `part` names the type and sets none."""
        types = part.get("type", [])
        types = types if isinstance(types, list) else [types]
        if "string" in types:
            self.bound_text(part)
        if "array" in types:
            part.setdefault("maxItems", max(ITEMS, int(part.get("minItems", 0))))
            part.setdefault("items", self.anything(NESTED - 1))
        if "object" in types:
            self.bound_object(part, closing)
        if "number" in types or "integer" in types:
            _bound_number(part, whole="number" not in types)

    def bound_text(self, part: JsonObject) -> None:
        """A length, and for a format the pattern that validators agree on."""
        form = str(part.get("format"))
        if "pattern" not in part and form in PATTERNS:
            part["pattern"] = PATTERNS[form]
        if self.lengths or "pattern" not in part:
            part.setdefault("maxLength", max(LENGTHS.get(form, TEXT), int(part.get("minLength", 0))))

    def bound_object(self, part: JsonObject, closing: bool) -> None:
        """No further properties where some are named, few where none is."""
        named, required = part.get("properties") or {}, part.get("required", [])
        if "additionalProperties" not in part:
            closed = closing and named and set(required) <= named.keys() and "patternProperties" not in part
            part["additionalProperties"] = False if closed else self.anything(NESTED - 1)
        if self.keys and closing and not named:
            part.setdefault("maxProperties", max(KEYS, len(required)))

    def anything(self, depth: int) -> JsonObject:
        """A value of which nothing is said, with `depth` levels of lists and objects."""
        scalars: list[JsonObject] = [{"type": ["boolean", "null"]}, {"type": "string", "maxLength": TEXT}]
        number = {"type": "number", "minimum": -NUMBER, "maximum": NUMBER, "multipleOf": DECIMALS}
        if depth == 0:
            return {"anyOf": [*scalars, number]}
        inner = self.anything(depth - 1)
        array = {"type": "array", "items": inner, "maxItems": ITEMS}
        mapping: JsonObject = {"type": "object", "additionalProperties": inner}
        if self.keys:
            mapping["maxProperties"] = KEYS
        return {"anyOf": [*scalars, number, array, mapping]}


def _bound_number(part: JsonObject, *, whole: bool) -> None:
    lows = [part[key] for key in ("minimum", "exclusiveMinimum") if _numeric(part.get(key))]
    highs = [part[key] for key in ("maximum", "exclusiveMaximum") if _numeric(part.get(key))]
    if not lows:
        part["minimum"] = -max([NUMBER, *(abs(high) * 10 for high in highs)])
    if not highs:
        part["maximum"] = max([NUMBER, *(abs(low) * 10 for low in lows)])
    if not whole:
        part.setdefault("multipleOf", DECIMALS)


def _numeric(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Where a schema sets no end, the grammar does: an answer that never stops is no answer.

Texts end at 1,000 characters, lists at 64 items, numbers lie within ±10^15 with 9 decimals, an object that may have
properties nobody named has at most 16 of them, and a value of which nothing is said nests ten deep. A `maxLength`,
`maxItems`, `minimum`, `maximum`, `multipleOf` or `maxProperties` in the schema replaces ours. Every output of the
bounded schema is valid for the schema it came from.
"""

import math
from fractions import Fraction
from typing import Any

from insource.decode.dialect import EXACT
from insource.decode.keywords import TYPES
from insource.nouns import JsonObject, JsonValue

TEXT, ITEMS, KEYS, NUMBER, DECIMALS, NESTED = 1_000, 64, 16, 1e15, 1e-9, 10
FINEST = 1e-14  # of a number, what a step from it may be
NARROW = 1e-6  # between bounds closer than this nine decimals may say nothing
WHOLE = ("enum", "$ref", "anyOf")  # its cases, and what it refers to, are bounded where they stand
WORD = "[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20})?"  # no doubled hyphen: it marks encoded names
EMAIL = rf"^[A-Za-z0-9_+-]{{1,30}}(\.[A-Za-z0-9_+-]{{1,30}})?@{WORD}(\.{WORD}){{1,3}}$"
CLOCK = "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"  # without leap seconds, which validators refuse
LEAP = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
DAY = rf"([0-9]{{4}}-(0[13-9]|1[0-2])-[0-9]{{2}}|[0-9]{{4}}-02-([01][0-9]|2[0-8])|{LEAP}-02-29)"
HOST = rf"{WORD}(\.{WORD}){{0,3}}"
PART = r"([A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})"
REFERENCE = rf"^(([a-z]{{2,10}}:)?//{HOST}(:[0-9]{{1,4}})?(/{PART}*)*|/?{PART}+(/{PART}*)*|)(\?{PART}*)?(#{PART}*)?$"
POINTER = "(/([^/~]|~[01])*)*"
PATTERNS = {
    "email": EMAIL,
    "idn-email": EMAIL,
    "hostname": f"^{HOST}$",
    "idn-hostname": f"^{HOST}$",
    "date": f"^{DAY}$",
    "time": f"^{CLOCK}",
    "date-time": f"^{DAY}[Tt]{CLOCK}",
    "uri-reference": REFERENCE,
    "iri-reference": REFERENCE,
    "uri-template": rf"^({PART}|[/:?=&#]|\{{[A-Za-z0-9_]{{1,30}}\}})*$",
    "json-pointer": f"^{POINTER}$",
    "relative-json-pointer": f"^(0|[1-9][0-9]{{0,3}})(#|{POINTER})$",
}
SAID_AS = {"iri": "uri"} | dict.fromkeys(PATTERNS.keys() - {"email", "hostname", "date", "time", "date-time"}, "")
LENGTHS = {"uri": 400, "iri": 400, "duration": 40, "date-time": 40, "time": 30}


def bounded(schema: JsonObject, *, closed: bool = False, keys: bool = True, lengths: bool = True) -> JsonObject:
    """A narrower copy of `schema`, as `decode.normal` leaves one, in which everything ends.

    With `closed` an object that names properties has no others, unless the schema says which. llguidance cannot
    combine every bound with every schema: without `keys` the number of unnamed properties is left open, without
    `lengths` so is the length of a text that has a pattern. Numbers are always bounded.
    """
    made: JsonObject = _Bounds(closed, keys, lengths).narrow(schema)
    return {**made, "$defs": {**made.get("$defs", {}), **_anything(keys)}}


class _Bounds:
    """One pass over a schema; the settings are those of `bounded`."""

    def __init__(self, closed: bool, keys: bool, lengths: bool) -> None:
        self.closed, self.keys, self.lengths = closed, keys, lengths

    def narrow(self, schema: JsonValue) -> Any:
        """A bounded copy."""
        if not isinstance(schema, dict):
            return anything(NESTED) if schema is True else schema
        part = dict(schema)
        for key, value in part.items():
            if key in ("properties", "patternProperties", "$defs"):
                part[key] = {name: self.narrow(each) for name, each in value.items()}
            elif key in ("anyOf", "prefixItems"):
                part[key] = [self.narrow(each) for each in value]
            elif key in ("items", "additionalProperties"):
                part[key] = self.narrow(value)
        if not any(key in part for key in WHOLE):
            self.bound(part)
        return part

    def bound(self, part: JsonObject) -> None:
        """Sets our limits where `part` sets none."""
        types = part.setdefault("type", list(TYPES))
        types = types if isinstance(types, list) else [types]
        if "string" in types:
            self.bound_text(part)
        if "array" in types:
            part.setdefault("maxItems", max(ITEMS, part.get("minItems", 0), len(part.get("prefixItems", []))))
            part.setdefault("items", anything(NESTED - 1))
        if "object" in types:
            self.bound_object(part)
        if "number" in types or "integer" in types:
            _bound_number(part, whole="number" not in types)

    def bound_text(self, part: JsonObject) -> None:
        """A length, and for a format the pattern that validators agree on."""
        beside = part.pop("allOf", [])
        forms = [each["format"] for each in [part, *beside] if "format" in each]
        said = [SAID_AS.get(form, form) for form in forms if SAID_AS.get(form, form)]
        patterns = [each["pattern"] for each in [part, *beside] if "pattern" in each]
        patterns += [PATTERNS[form] for form in forms if form in PATTERNS]
        rest = [each for each in beside if "format" not in each and "pattern" not in each]
        part.pop("format", None)
        for key, values in (("format", said), ("pattern", patterns)):
            part |= {key: values[0]} if values else {}
            rest += [{key: each} for each in values[1:]]
        if rest:
            part["allOf"] = rest
        if self.lengths or not patterns:
            longest = min((LENGTHS[form] for form in forms if form in LENGTHS), default=TEXT)
            part.setdefault("maxLength", max(longest, part.get("minLength", 0)))

    def bound_object(self, part: JsonObject) -> None:
        """Few further properties, or none; counted where llguidance can: beside named ones that are all required."""
        named, required = part.get("properties", {}), set(part.get("required", []))
        there = {name for name, each in named.items() if each is not False}
        if "additionalProperties" not in part:
            filled = self.closed and named and "patternProperties" not in part
            enough = part.get("minProperties", 0) <= len(there)
            part["additionalProperties"] = False if filled and enough else anything(NESTED - 1)
        further = part["additionalProperties"] is not False or "patternProperties" in part
        if self.keys and further and there <= required:
            part.setdefault("maxProperties", len(required) + KEYS)


def anything(depth: int) -> JsonObject:
    """A reference to: a value of which nothing is said, with `depth` levels of lists and objects."""
    return {"$ref": f"#/$defs/any{depth}"}


def _anything(keys: bool) -> JsonObject:
    """The definitions `anything` refers to."""
    scalars: list[JsonObject] = [
        {"type": ["boolean", "null"]},
        {"type": "string", "maxLength": TEXT},
        {"type": "number", "minimum": -NUMBER, "maximum": NUMBER, "multipleOf": DECIMALS},
    ]
    made: JsonObject = {"any0": {"anyOf": scalars}}
    for depth in range(1, NESTED + 1):
        inner = anything(depth - 1)
        array = {"type": "array", "items": inner, "maxItems": ITEMS}
        mapping: JsonObject = {"type": "object", "additionalProperties": inner}
        if keys:
            mapping["maxProperties"] = KEYS
        made[f"any{depth}"] = {"anyOf": [anything(0), array, mapping]}
    return made


def _bound_number(part: JsonObject, *, whole: bool) -> None:
    """Both ends, each of them one that may be said: one that may not is moved inwards, to the next that can be told."""
    lows = [part[key] for key in ("minimum", "exclusiveMinimum") if key in part]
    highs = [part[key] for key in ("maximum", "exclusiveMaximum") if key in part]
    least = max(lows) if lows else -max([NUMBER, *(abs(high) * 10 for high in highs)])
    most = min(highs) if highs else max([NUMBER, *(abs(low) * 10 for low in lows)])
    if whole:
        after = part.pop("exclusiveMinimum", None), part.pop("exclusiveMaximum", None)
        part["minimum"] = max(math.floor(least) + 1 if least == after[0] else math.ceil(least), -EXACT)
        part["maximum"] = min(math.ceil(most) - 1 if most == after[1] else math.floor(most), EXACT)
        return
    step = min(DECIMALS, (most - least) * NARROW)
    above, below = part.pop("exclusiveMinimum", None), part.pop("exclusiveMaximum", None)
    part["minimum"] = _inside(least, step) if least == above else _double(least, math.inf)
    part["maximum"] = _inside(most, -step) if most == below else _double(most, -math.inf)
    if most - least > NARROW:
        part.setdefault("multipleOf", DECIMALS)


def _inside(end: float, step: float) -> float:
    """The number a step from `end`, or as far away as fifteen digits reach: what is read is rounded to a double."""
    size = abs(end) * FINEST
    least = 10.0 ** math.ceil(math.log10(size)) if size > abs(step) else abs(step)
    return float(Fraction(end) + Fraction(math.copysign(least, step)))


def _double(end: float, towards: float) -> float:
    """`end` as a double, or the next one `towards` where it lies between two."""
    found = float(end)
    beyond = Fraction(found) < Fraction(end) if towards > 0 else Fraction(found) > Fraction(end)
    found = math.nextafter(found, towards) if beyond else found
    return end if found == end else found

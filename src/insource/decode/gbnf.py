"""A schema or labels → GBNF, the grammar that llama.cpp's server takes (its grammars/README.md).

The server makes a grammar of a schema itself, but lets blanks without end stand between the parts, sets no bound where
the schema sets none, and passes over keywords it does not know. Ours says what our own mask says, or is not made.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from insource.decode.bounds import DECIMALS, NUMBER
from insource.decode.grammar import narrowed
from insource.errors import Invalid
from insource.nouns import JsonObject, JsonValue, to_json

KNOWN = {"type", "enum", "anyOf", "$ref", "properties", "required", "additionalProperties", "items", "minItems",
         "maxItems", "minLength", "maxLength", "minimum", "maximum", "multipleOf"}  # fmt: skip
RULES = {
    "char": r'[^"\\\x7F\x00-\x1F] | "\\" ["\\bfnrt]',
    "whole": '"0" | "-"? [1-9] [0-9]{0,14}',
    "number": '"-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,9})?',
}


class _Unsaid(Exception):
    """The schema says something that this grammar does not."""


def gbnf_of_labels(labels: Sequence[str]) -> str:
    """Exactly one of these texts."""
    return "root ::= " + " | ".join(_quoted(label) for label in labels)


def gbnf_of_schema(schema: JsonObject) -> str | None:
    """Compact JSON that is valid for `schema`: no more than `decode.grammar.for_schema`, closed, lets through.

    None where the schema says what GBNF cannot, or what we cannot honour either.
    """
    return _made(to_json(schema))


@lru_cache(maxsize=256)
def _made(schema: bytes) -> str | None:
    try:
        plain = narrowed(json.loads(schema))
        made = _Rules(plain.pop("$defs", {}))
        root = made.of(plain)
    except (_Unsaid, Invalid, RecursionError):
        return None
    return "\n".join(f"{name} ::= {body}" for name, body in {"root": root, **made.rules}.items())


class _Rules:
    """The rules made so far, by name; what `$defs` holds becomes one when it is first referred to."""

    def __init__(self, defs: JsonObject) -> None:
        self.rules = dict(RULES)
        self._defs, self._names, self._numbers = defs, dict[str, str](), count()

    def of(self, part: JsonValue) -> str:
        """The expression for a schema, to stand in a sequence."""
        if not isinstance(part, dict) or not part.keys() <= KNOWN:
            raise _Unsaid
        if "$ref" in part:
            return self._referred(part["$ref"])
        if "anyOf" in part:
            return self._either(self.of(each) for each in part["anyOf"])
        if "enum" in part:
            return self._either(_quoted(to_json(each).decode()) for each in part["enum"])
        return self._either(self._typed(kind, part) for kind in _types(part))

    def _either(self, ways: Iterator[str]) -> str:
        found = list(ways)
        if not found:
            raise _Unsaid
        return found[0] if len(found) == 1 else f"({' | '.join(found)})"

    def _typed(self, kind: str, part: JsonObject) -> str:
        if kind == "string":
            return rf'"\"" char{{{part.get("minLength", 0)},{part["maxLength"]}}} "\""'
        if kind == "boolean":
            return '("true" | "false")'
        if kind == "null":
            return '"null"'
        made = {"integer": self._integer, "number": self._number, "array": self._array, "object": self._object}
        return made[kind](part)

    def _integer(self, part: JsonObject) -> str:
        if "multipleOf" in part:
            raise _Unsaid
        low, high = (int(part[key]) for key in ("minimum", "maximum"))
        if (low, high) != (part["minimum"], part["maximum"]) or low > high:
            raise _Unsaid
        if (low, high) == (-NUMBER, NUMBER):
            return "whole"
        return self._either(_between(low, high))

    def _number(self, part: JsonObject) -> str:
        if (part["minimum"], part["maximum"], part.get("multipleOf")) != (-NUMBER, NUMBER, DECIMALS):
            raise _Unsaid
        return "number"

    def _array(self, part: JsonObject) -> str:
        least, most = part.get("minItems", 0), part["maxItems"]
        if most == 0:
            return '"[]"'
        item = self._rule(self.of(part["items"]))
        some = f'{item} ("," {item}){{{max(least - 1, 0)},{most - 1}}}'
        return f'"[" {some} "]"' if least else f'"[" ({some})? "]"'

    def _object(self, part: JsonObject) -> str:
        if part.get("additionalProperties") is not False:
            raise _Unsaid
        required = set(part.get("required", []))
        named = part.get("properties", {})
        if required - named.keys():
            raise _Unsaid
        said = [(name, f"{_quoted(to_json(name).decode() + ':')} {self.of(each)}") for name, each in named.items()]
        ways, rest = list[str](), '""'
        for name, one in reversed(said):
            ways = [f"{one} {rest}"] + ([] if name in required else ways)
            rest = self._rule(f'"," {one} {rest}' if name in required else f'("," {one})? {rest}')
        whole = f"({' | '.join(ways)})" if ways else '""'
        return f'"{{" {whole} "}}"' if required or not ways else f'"{{" {whole}? "}}"'

    def _referred(self, pointer: str) -> str:
        name = pointer.removeprefix("#/$defs/")
        if name not in self._names:
            self._names[name] = f"r{next(self._numbers)}"
            self.rules[self._names[name]] = ""
            self.rules[self._names[name]] = self.of(self._defs.get(name))
        return self._names[name]

    def _rule(self, body: str) -> str:
        name = f"r{next(self._numbers)}"
        self.rules[name] = body
        return name


def _types(part: JsonObject) -> Sequence[str]:
    kinds: Any = part.get("type")
    if not kinds:
        raise _Unsaid
    return [kinds] if isinstance(kinds, str) else kinds


def _between(low: int, high: int) -> Iterator[str]:
    """The whole numbers from `low` to `high`, without leading zeros."""
    if low < 0:
        yield from (f'"-" {each}' for each in _between(max(1, -high), -low))
    for width in range(len(str(max(low, 0))), len(str(max(high, 0))) + 1) if high >= 0 else ():
        least = max(low, 0, 10 ** (width - 1) if width > 1 else 0)
        most = min(high, 10**width - 1)
        if least <= most:
            yield from _digits(str(least), str(most))


def _digits(low: str, high: str) -> Iterator[str]:
    """The texts of digits from `low` to `high`, both as long."""
    if not low:
        yield '""'
    elif low == "0" * len(low) and high == "9" * len(high):
        yield f"[0-9]{{{len(low)}}}"
    elif low[0] == high[0]:
        yield from (f'"{low[0]}" {rest}' for rest in _digits(low[1:], high[1:]))
    else:
        first, last, rest = int(low[0]), int(high[0]), len(low) - 1
        if low[1:] != "0" * rest:
            yield from (f'"{first}" {each}' for each in _digits(low[1:], "9" * rest))
            first += 1
        upper = [] if high[1:] == "9" * rest else [f'"{last}" {each}' for each in _digits("0" * rest, high[1:])]
        last -= bool(upper)
        if first <= last:
            yield f"[{first}-{last}] [0-9]{{{rest}}}" if rest else f"[{first}-{last}]"
        yield from upper


def _quoted(text: str) -> str:
    """The text as a literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
